"""Blends: trained runs joined into one."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.artefact.checkpoint import load, save
from vadose.door.days import Period, lead_days
from vadose.errors import VadoseError
from vadose.models.inputs import Channels
from vadose.training.processes import launched
from vadose.training.stacking import edges, stack

SELECTED = "selected.pt"
CHECKPOINTS = (SELECTED, "final.pt")


@dataclass(frozen=True)
class Weights:
    """Weights of the members of a blend, none negative.

    Attributes
    ----------
    values
        (member, lead).
    chosen_on
        Days they were chosen on; None where nobody says.
    blocks
        First and last of blocks of these (valid) days, and the weights (member, lead) learnt from the others.
    table
        What members, equal weights and these score; of learnt weights alone.
    """

    values: tuple[tuple[float, ...], ...]
    chosen_on: Period | None = None
    blocks: tuple[tuple[str, str, tuple[tuple[float, ...], ...]], ...] = ()
    table: pd.DataFrame | None = None


def learn_weights(members: Mapping[str, xr.Dataset], observed: xr.DataArray, period: Period) -> Weights:
    """Weights of each lead by `vadose.training.stacking.stack`, from forecasts valid within a period.

    Parameters
    ----------
    members
        Forecast stores of the same days of issue, leads and cells, by name.
    observed
        (time, y, x) of the cells to learn from.

    Raises
    ------
    VadoseError
        When a lead has too few pairs.
    """
    stores = [one.sel(init_time=slice(_days_before(period.first, one), period.last)) for one in members.values()]
    leads, days = lead_days(stores[0], "forecasts").tolist(), pd.date_range(period.first, period.last)
    observed = observed.sel(time=slice(period.first, period.last)).transpose("time", "y", "x")
    found, rows = [], []
    for place, lead in enumerate(leads):
        valid = stores[0].init_time.values + np.timedelta64(lead, "D")
        truth = observed.reindex(time=valid).values.reshape(-1)
        known = np.isfinite(truth)
        day = np.repeat((valid - days[0].to_datetime64()) // np.timedelta64(1, "D"), len(truth) // len(valid))[known]
        each = [_at_lead(store, place, known) for store in stores]
        stacked = stack(each, truth[known], day, len(days), names=list(members), apart=lead)
        weights = dict(zip(members, stacked.weights, strict=True))
        of_lead = {"lead_days": lead, "n_pairs": stacked.pairs}
        rows += [of_lead | {"name": n, "weight": weights.get(n), "crps": crps} for n, crps in stacked.scores.items()]
        found.append(stacked)
    blocks = []
    for number, (begin, end) in enumerate(pairwise(edges(len(days)))):
        of_block = _tuples(np.stack([stacked.crossed[number] for stacked in found], axis=1))
        blocks.append((f"{days[begin]:%Y-%m-%d}", f"{days[end - 1]:%Y-%m-%d}", of_block))
    values = _tuples(np.stack([stacked.weights for stacked in found], axis=1))
    return Weights(values, period, tuple(blocks), pd.DataFrame(rows))


def _days_before(first: str, store: xr.Dataset) -> str:
    """First day of issue of which a lead is valid on or after a day."""
    return f"{pd.Timestamp(first) - pd.Timedelta(store.lead_time.values.max()):%Y-%m-%d}"


def _at_lead(store: xr.Dataset, place: int, known: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and deviation at a lead, (pair,) each; the latter NaN where the store has none."""
    at = store.isel(lead_time=place).transpose("init_time", "y", "x", ...)
    mean = at.soil_moisture.values.reshape(-1)[known]
    std = at.soil_moisture_std.values.reshape(-1)[known] if "soil_moisture_std" in at else np.full_like(mean, np.nan)
    return mean, std


def _tuples(weights: NDArray[np.floating]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in weights)


def blend(
    runs: list[Path], out: Path, *, weights: Weights | None, leads: tuple[int, ...], attributes: dict[str, str]
) -> Path:
    """Join trained runs into one whose forecast is their weighted mean; the members are kept whole.

    Of weights that were learnt (`learn_weights`) ``selected.pt`` forecasts each block of the days they were learnt on
    with what the others gave, ``final.pt`` all days with the weights of all; ``weights.csv`` holds their scores.

    Raises
    ------
    VadoseError
        When the runs take different weather.
    """
    inputs: dict[str, Any] = {
        "runs": [run.name for run in runs],
        "members": identity(*(run / name for run in runs for name in CHECKPOINTS)),
        "weights": weights and weights.values,
        "blocks": weights.blocks if weights else (),
        "leads": leads,
        "learnt": {"blend weights": [weights.chosen_on.first, weights.chosen_on.last]}
        if weights and weights.chosen_on
        else {},
        "attributes": attributes,
    }
    fabric = launched()
    if fabric.is_global_zero and not is_current(out, **inputs):
        with writing(out) as scratch:
            scratch.mkdir()
            for name in CHECKPOINTS:
                blended = _blended([run / name for run in runs], out.name, inputs)
                if name == SELECTED and weights and weights.blocks:
                    # No day is forecast with weights that have learnt from it.
                    blended |= {"blocks": weights.blocks, "learnt": {}}
                save(blended, scratch / name)
            if weights and weights.table is not None:
                weights.table.to_csv(scratch / "weights.csv", index=False, float_format="%.6g")
            note_inputs(scratch, **inputs)
    fabric.barrier()
    return out


def _blended(paths: list[Path], name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """One checkpoint of several."""
    members = [load(path, needs=("name", "inputs", "attributes"), made_by="vadose train") for path in paths]
    if len({member["attributes"]["weather"] for member in members}) > 1:
        raise VadoseError(f"{name}: some members use weather and some do not; expected all or none")
    channels = Channels(
        **{part: _union(m["inputs"][part] for m in members) for part in ("history", "static", "future", "above")},
        leads=inputs["leads"],
        target=members[0]["inputs"]["target"],
        cascade="sequence" if any(m["inputs"].get("cascade") == "sequence" for m in members) else "head",
    )
    return {
        "name": "blend",
        "members": members,
        "weights": inputs["weights"],
        "inputs": channels.to_dict(),
        "learnt": inputs["learnt"],
        "look_back": max(m["look_back"] for m in members),
        "window": max(m["window"] or 0 for m in members),
        "attributes": members[0]["attributes"] | {"model": "blend"} | inputs["attributes"],
    }


def _union(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))
