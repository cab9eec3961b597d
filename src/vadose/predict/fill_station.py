"""A station's series without gaps and beyond its ends: the observed, else an estimate tied to it, with intervals."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import is_current, note_inputs, provenance, writing
from vadose.errors import VadoseError
from vadose.gapfill import ClimatologyAR1, Mode, Series, series_of
from vadose.models.mmnet import Features
from vadose.parallel.running import Running
from vadose.predict.calibration import fit_calibration, interval
from vadose.samples.station_days import StationDays
from vadose.training.station_days import EXACT, estimate
from vadose.variables import describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
Learn = Callable[[Mask], dict[str, Any]]
ABOUT = ("dataset", "simulated", "day_boundary", "layer", "layer_depths")
"""Attributes of a table that are those of a series in it, too."""
FILLED = "soil_moisture_filled"
ORIGINS = ("observed", "filled", "extended", "unknown")
GAPS = (3, 10, 30, 60)
"""Days of the gaps withheld, in turn."""
APART = 5
"""Fewest days between two of them."""
RECENT, KNOWN = 30, 0.5
"""A day is estimated where this share of the weather of so many days before it is known."""
_COLOURS = {"observed": "black", "filled": "#0072B2", "extended": "#D55E00"}


def fill_station(
    table: xr.Dataset,
    station: str,
    out: Path,
    *,
    network: dict[str, Any] | Learn,
    learnt_until: str | None = None,
    level: float = 0.95,
    mode: Mode = "smoothed",
    share: float = 0.25,
    seed: int = 0,
    running: Running = EXACT,
    made_of: Mapping[str, Any] | None = None,
) -> Path:
    r"""Complete a station's series and extend it over all days of a table, with intervals.

    .. math:: \hat y(t) = f(t) + r(t)

    with f the estimate of a downscaling network and r the departure of the station from it: a mean, its season
    and what decays in time, learnt from the days observed by `vadose.gapfill.ClimatologyAR1`. Far from any
    observation r is the station's own bias and season alone.

    Part of the record is withheld in gaps of 3 to 60 days, from the network and from r. Intervals come from the
    errors in them, `fit_calibration` with a gap in place of a station: of filled days as they are, of extended
    days with r from the observations before a gap alone. They hold for gaps such as those withheld; how far
    the sensor drifts in years without an observation nobody has seen.

    Parameters
    ----------
    table
        Dataset over (station, time), see `vadose.cube.station_table`.
    station
        Its name.
    out
        Folder to write: ``series.zarr``, ``series.csv``, ``series.png``; left alone where it was made of the same.
    network
        A checkpoint that has not learnt from the station (or see ``learnt_until``), or a function that learns one
        from the station-days (station, time) it is given: all of the table's without the gaps withheld.
    learnt_until
        Last day that a given checkpoint has learnt of the station: gaps are withheld after it. The attribute
        ``network_learnt`` says so.
    level
        Probability of the intervals.
    mode
        ``'smoothed'`` with r from both sides of a gap, ``'causal'`` from the past alone: observed is then the table's
        ``soil_moisture_causal``, which no later day has screened.
    share
        Of the observations to withhold.
    running
        Where the network estimates, in which precision and whether compiled: in float32 when not said.
    made_of
        What the table and the network were made from, for the provenance.

    Returns
    -------
    Path
        ``out``. ``series.zarr`` is a station store (station, layer, time) as of `vadose.insitu.build_stations`:
        ``soil_moisture`` [m3 m-3] are the observations, which alone are scored against. Beside it stand
        ``soil_moisture_filled`` with the ends of its interval, ``soil_moisture_filled_low`` and
        ``soil_moisture_filled_high``, which on observed days are the observation; ``origin``: observed, filled
        (between the first and the last observation), extended, or unknown where less than half of the weather of
        the last 30 days is known; ``predicted``, the network's own estimate. Attributes say how many gaps were
        withheld, and the RMSE in them. In ``series.csv`` the filled series is called ``soil_moisture``.

    Raises
    ------
    VadoseError
        When the table has no such station, no ``soil_moisture_causal`` for mode ``'causal'``, or too few observations
        for the gaps that the level needs; when a checkpoint has learnt from it later than ``learnt_until`` says.
    """
    inputs = {
        **(made_of or {}),
        "station": station,
        "learnt_until": learnt_until,
        "level": level,
        "mode": mode,
        "share": share,
        "seed": seed,
        "precision": running.precision,
    }
    if made_of and is_current(out, **inputs):
        return out
    names = [str(name) for name in table.station.values]
    if station not in names:
        near = [name for name in names if station.lower() in name.lower()] or names
        raise VadoseError(f"the table has no station {station!r}; it has {len(names)}, such as {', '.join(near[:5])}")
    here = names.index(station)
    learnt = "with this station's days but those withheld"
    if not callable(network):
        learnt = _learnt_by(network, station, learnt_until)
    if mode == "causal":
        if "soil_moisture_causal" not in table:
            raise VadoseError(
                f"station {station}: the table has no soil_moisture_causal (moisture screened without later days), "
                "which causal filling needs; make the table and its station store again, or fill without --causal"
            )
        table = table.assign(soil_moisture=table.soil_moisture_causal)
    known = np.isfinite(table.soil_moisture.transpose("station", "time").values)
    gaps = _withheld_gaps(known[here], _may_withhold(table, learnt_until), share, seed, level, station)
    training = known.copy()
    training[here] &= gaps < 0
    checkpoint = network(training) if callable(network) else network
    days = StationDays(table, Features.from_dict(checkpoint["inputs"]), training)
    predicted = _estimated(checkpoint, days, here, running)
    series, told = _joined(days.observed[here].astype(float), predicted, gaps, days.days, level, mode, station)
    told["network_learnt"] = learnt
    told["precision"] = "bfloat16" if running.precision == "bfloat16" else "float32"
    dataset = _dataset(table, here, series, level, told | provenance(**inputs))
    with writing(out) as scratch:
        scratch.mkdir()
        note_inputs(scratch, **inputs)
        dataset.to_zarr(scratch / "series.zarr", mode="w", zarr_format=3, consolidated=False)
        of_station = dataset.isel(station=0, layer=0)
        _csv(of_station).to_csv(scratch / "series.csv", float_format="%.4f")
        draw_station(of_station).savefig(scratch / "series.png", dpi=130)
    return out


def draw_station(series: xr.Dataset) -> "Figure":
    """The filled series (time,) with its intervals, observed, filled and extended days told apart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axis = figure.subplots()
    for number, origin in enumerate(ORIGINS[:3]):
        part = series.where(series.origin == number)
        if not part.soil_moisture_filled.notnull().any():
            continue
        if origin != "observed":
            ends = part.soil_moisture_filled_low, part.soil_moisture_filled_high
            axis.fill_between(part.time, *ends, color=_COLOURS[origin], alpha=0.25, linewidth=0)
        axis.plot(part.time, part.soil_moisture_filled, color=_COLOURS[origin], linewidth=0.8, label=origin)
    axis.set_title(f"{series.attrs['station']}: soil moisture with intervals of {100 * series.attrs['level']:.3g} %")
    axis.set_ylabel("soil moisture [m³ m⁻³]")
    axis.set_ylim(0, None)
    axis.legend(loc="upper right", ncols=3, fontsize=8)
    axis.grid(alpha=0.3)
    return figure


def _learnt_by(network: Mapping[str, Any], station: str, learnt_until: str | None) -> str:
    """What a checkpoint has learnt of a station, in words; refused where that reaches beyond the day declared."""
    first, last = network.get("stations", {}).get(station, (None, None))
    if last is not None and (learnt_until is None or learnt_until < last):
        found = f"declared up to {learnt_until}" if learnt_until else "not declared"
        raise VadoseError(
            f"station {station}: the model has learnt from it on {first} .. {last} ({found}), so that errors in gaps "
            f"withheld there say little; give --learnt-until {last}, another model, or none, to train one"
        )
    if learnt_until is not None:
        return f"from this station up to {learnt_until}; gaps are withheld after it"
    return "not from this station" if "stations" in network else "from stations that the model does not name"


def _may_withhold(table: xr.Dataset, learnt_until: str | None) -> Mask:
    days: NDArray[np.datetime64] = table.time.values
    return np.ones(len(days), bool) if learnt_until is None else days > np.datetime64(learnt_until)


def _withheld_gaps(observed: Mask, may: Mask, share: float, seed: int, level: float, station: str) -> NDArray[np.int64]:
    """Number of the gap that withholds a day (time,), -1 for none: at random places that do not touch."""
    gaps = np.full(len(observed), -1)
    allowed = observed & may
    starts = np.random.default_rng(seed).permutation(np.flatnonzero(allowed))
    number = 0
    for start in starts:
        length = GAPS[number % len(GAPS)]
        end = start + length
        if (gaps >= 0).sum() >= share * allowed.sum():
            break
        if end <= len(gaps) and may[start:end].all() and (gaps[max(start - APART, 0) : end + APART] < 0).all():
            gaps[start:end] = np.where(observed[start:end], number, -1)
            number += 1
    needed = int(np.ceil(level / (1 - level) - 1e-9)) if 0 < level < 1 else 0
    if number < needed:
        raise VadoseError(
            f"station {station}: {int(allowed.sum())} observed days hold {number} gaps to withhold, intervals of "
            f"{level} need {needed}; ask for a lower level"
        )
    return gaps


def _estimated(checkpoint: dict[str, Any], days: StationDays, here: int, running: Running) -> Array:
    """What the network estimates of a station (time,), NaN where it is told too little of the weather."""
    span = min(RECENT, days.features.days)
    known = np.isfinite(days.series[here, : days.before + days.shape[1] - days.features.ends]).mean(axis=1)
    total = np.concatenate([[0.0], known.cumsum()])
    told = (total[span:] - total[:-span])[-days.shape[1] :] / span
    where = np.zeros(days.shape, bool)
    where[here] = True
    return np.where(told >= KNOWN, estimate(checkpoint, days, where, running=running)[0][here], np.nan)


def _joined(
    observed: Array,
    predicted: Array,
    gaps: NDArray[np.int64],
    days: NDArray[np.int64],
    level: float,
    mode: Mode,
    station: str,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The series and its origin, and what the withheld gaps told."""
    departure = observed - predicted
    hidden = (gaps >= 0) & np.isfinite(departure)
    if not (np.isfinite(departure) & ~hidden).any():
        raise VadoseError(f"station {station}: the network can estimate no observed day; give it the weather")
    errors, half = {"predicted": -departure[hidden]}, {}
    rest = _series(np.where(hidden, np.nan, departure), days)
    filler = ClimatologyAR1().fit(rest)
    modes: dict[str, Mode] = {"filled": mode, "extended": "causal"}
    for kind, how in modes.items():
        mean, std = (values[:, 0, 0] for values in filler.predict(rest, how))
        errors[kind] = (mean - departure)[hidden]
        try:
            half[kind] = fit_calibration(errors[kind], std[hidden], gaps[hidden], (level,))
        except VadoseError as problem:
            raise VadoseError(f"station {station}, with the gaps withheld for stations: {problem}") from None
    whole = _series(departure, days)
    mean, std = (values[:, 0, 0] for values in filler.fit(whole).predict(whole, mode))
    origin = _origin(observed, predicted)
    estimated = np.maximum(predicted + mean, 0.0)
    series = {"soil_moisture": observed, FILLED: np.where(origin == 0, observed, estimated)}
    for kind, calibration in half.items():
        ends = interval(estimated, std, calibration, level)
        for name, end in zip((f"{FILLED}_low", f"{FILLED}_high"), ends, strict=True):
            before = series.get(name, series[FILLED])
            series[name] = np.where(origin == ORIGINS.index(kind), end, before)
    told: dict[str, Any] = {
        f"rmse_{kind}_withheld": float(np.sqrt(np.mean(error**2))) for kind, error in errors.items()
    }
    told |= {"level": level, "gaps_withheld": int(gaps.max()) + 1}
    return series | {"predicted": predicted, "origin": origin}, told


def _series(values: Array, days: NDArray[np.int64]) -> Series:
    return series_of(values[:, None], days=days.astype(float))


def _origin(observed: Array, predicted: Array) -> NDArray[np.int8]:
    known = np.flatnonzero(np.isfinite(observed))
    day = np.arange(len(observed))
    inside = (day > known[0]) & (day < known[-1])
    origin = np.select([np.isfinite(observed), np.isnan(predicted), inside], [0, 3, 1], 2)
    return origin.astype(np.int8)


def _dataset(
    table: xr.Dataset, here: int, series: Mapping[str, Array], level: float, told: Mapping[str, Any]
) -> xr.Dataset:
    dims = ("station", "layer", "time")
    station = table.isel(station=[here])
    of_station = {name for name, values in station.variables.items() if values.dims == ("station",)}
    about = {"layer": "0-10 cm", **{key: table.attrs[key] for key in ABOUT if key in table.attrs}}
    coords: dict[str, Any] = {
        "station": station.station.values.astype(object),
        "layer": np.array([about["layer"]], object),
        "time": table.time.values,
        **{name: station[name].variable for name in ("network", "lat", "lon", "elevation") if name in of_station},
    }
    values = {name: (dims, of_time[None, None]) for name, of_time in series.items()}
    dataset = describe(xr.Dataset(values, coords))
    for end, what in (("low", "lower"), ("high", "upper")):
        dataset[f"{FILLED}_{end}"].attrs["long_name"] = (
            f"volumetric soil moisture, {what} end of the {100 * level:g} % interval"
        )
    dataset.predicted.attrs = {"long_name": "volumetric soil moisture by the network alone", "units": "m3 m-3"}
    dataset.origin.attrs = {
        "long_name": "where the value comes from",
        "flag_values": list(range(len(ORIGINS))),
        "flag_meanings": " ".join(ORIGINS),
    }
    dataset.attrs = {"station": str(coords["station"][0]), **about, **told}
    return dataset


def _csv(series: xr.Dataset) -> pd.DataFrame:
    frame = series.drop_vars({*series.coords, "soil_moisture"} - {"time"}).to_dataframe()
    frame = frame.rename(columns=lambda name: name.replace(FILLED, "soil_moisture"))
    frame["origin"] = [ORIGINS[number] for number in frame.origin]
    return frame.rename_axis("date")
