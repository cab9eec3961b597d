"""A trained run and a cube to a store of forecasts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import fingerprint, is_current, provenance, writing
from vadose.errors import VadoseError
from vadose.models import from_checkpoint
from vadose.models.inputs import Channels
from vadose.samples import Samples
from vadose.train import Progress, silent
from vadose.variables import describe

LEADS = (1, 3, 7, 14, 30)
_CELLS_AT_ONCE = 8192


def forecast(
    checkpoint: Path,
    cube: xr.Dataset,
    out: Path,
    *,
    first: str,
    last: str,
    leads: tuple[int, ...] = LEADS,
    stride: int | None = None,
    made_of: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> Path:
    """Forecast every day of ``first`` .. ``last`` (the last days known) and write the store.

    A model trained on windows is applied to windows ``stride`` cells apart (a quarter of their edge
    when left out), and overlaps are averaged with weights that rise toward a window's centre, where
    errors are smallest.

    Parameters
    ----------
    checkpoint
        ``selected.pt`` or ``final.pt`` of a run.
    cube
        One grid of a cube.
    out
        Zarr store of `soil_moisture` (init_time, lead_time, y, x).

    Raises
    ------
    VadoseError
        When the model lacks a lead asked for, or the days are not in the cube, or no weather of the
        days ahead is. Leads beyond the weather of the cube are NaN.
    """
    if not checkpoint.exists():
        raise VadoseError(f"{checkpoint}: no such checkpoint; make one with: vadose train")
    kept = torch.load(checkpoint, weights_only=True)
    channels = Channels.from_dict(kept["channels"])
    if missing := sorted(set(leads) - set(channels.leads)):
        raise VadoseError(f"{checkpoint}: does not forecast leads {missing} days; it has {list(channels.leads)}")
    stride = stride or max(1, kept["window"] // 4)
    inputs = {"checkpoint": fingerprint([checkpoint]), "first": first, "last": last, "leads": leads,
              "stride": stride, **(made_of or {})}  # fmt: skip
    if is_current(out, **inputs):
        return out
    model = from_checkpoint(kept)
    samples = Samples(cube, channels, look_back=kept["look_back"], window=kept["window"], stride=stride)
    days = _positions(cube, first, last, min(leads) if channels.future else 0)
    columns = [channels.leads.index(lead) for lead in leads]
    weight = _window_weight(kept["window"])
    values = np.full((len(days), len(leads), *samples.shape), np.nan, np.float32)
    for number, day in enumerate(days):
        values[number] = _map(model, samples, day, columns, weight)
        if channels.future:
            # No forecast without the weather up to its valid day.
            values[number, [day + lead >= samples.n_days for lead in leads]] = np.nan
        progress(f"forecasting {out.parent.name} {out.stem}", (number + 1) / len(days))
    store = xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
        coords={
            "init_time": cube.time.values[days],
            "lead_time": pd.to_timedelta(leads, unit="D"),
            "lat": cube.lat, "lon": cube.lon, "y": cube.y, "x": cube.x,
        },
        attrs={key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")}
        | {"scenario": "all", **kept["attributes"], "causal": "true"}
        | provenance(**inputs),
    )  # fmt: skip
    store.init_time.attrs = {
        "standard_name": "forecast_reference_time",
        "long_name": "last day known to the forecast",
    }
    store.lead_time.attrs = {"standard_name": "forecast_period"}
    with writing(out) as scratch:
        describe(store).chunk({"init_time": 64}).to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
    return out


@torch.no_grad()
def _map(
    model: torch.nn.Module, samples: Samples, day: int, columns: list[int], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Forecast (L, y, x) of one day from all its windows."""
    index = samples.all_windows(day)
    total = np.zeros((len(columns), *samples.shape), np.float32)
    weights = np.zeros(samples.shape, np.float32)
    edge = samples.window
    size = max(1, _CELLS_AT_ONCE // edge**2)
    for start in range(0, len(index), size):
        part = index[start : start + size]
        predicted = model(samples.inputs(part))[:, columns].float().numpy()
        for values, (_, row, column) in zip(predicted, part, strict=True):
            here = (slice(row, row + edge), slice(column, column + edge))
            total[:, *here] += values * weight
            weights[here] += weight
    return np.where(samples.mask, total / np.where(weights > 0, weights, np.nan), np.nan).astype(np.float32)


def _window_weight(edge: int) -> NDArray[np.float32]:
    """Weight of a window's cells in an overlap, a triangle toward the centre."""
    side = np.minimum(np.arange(edge) + 1, edge - np.arange(edge)).astype(np.float32)
    return np.outer(side, side)


def _positions(cube: xr.Dataset, first: str, last: str, ahead: int) -> NDArray[np.int64]:
    """Positions of the days of issue, all of them inside the record."""
    time = pd.DatetimeIndex(cube.time.values)
    begin, end = pd.Timestamp(first), pd.Timestamp(last)
    if end < begin or begin < time[0] or end > time[-1] - pd.Timedelta(days=ahead):
        until = time[-1] - pd.Timedelta(days=ahead)
        raise VadoseError(
            f"forecasts of {first} .. {last}: the cube allows {time[0]:%Y-%m-%d} .. {until:%Y-%m-%d}"
            + (f" (it has to hold the weather of the days ahead, {ahead} at least)" if ahead else "")
        )
    return np.flatnonzero((time >= begin) & (time <= end))
