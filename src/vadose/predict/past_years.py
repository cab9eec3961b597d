"""Outlooks beyond the reach of weather forecasts: as many maps of a day as past years lend it their weather."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, provenance, remove, writing
from vadose.artefact.predictions import consolidate
from vadose.door import by_day
from vadose.errors import VadoseError
from vadose.features.derived import derived
from vadose.grid import grid_of
from vadose.models.mixture import mixture
from vadose.parallel.progress import Progress
from vadose.parallel.running import Running
from vadose.predict.map_files import create_maps, place_of
from vadose.predict.map_notes import inputs_of
from vadose.predict.maps import downscale_maps

MOISTURE, DEVIATION, OUTSIDE = "soil_moisture", "soil_moisture_std", "outside_training"


def outlook_of_past_years(
    checkpoint: Path,
    fine: xr.Dataset,
    coarse: Sequence[xr.Dataset],
    days: Iterable[Any],
    out: Path,
    *,
    years: Sequence[int],
    tile: int = 1024,
    passes: int | None = None,
    running: Running = Running(),
    made_of: dict[str, Any] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Map the valid days of a forecast once with the weather of each of several past years, and write their mixture.

    No weather forecast reaches 30 days. What the ground will be then is a matter of the weather to come, of which past
    years tell the range: extended streamflow prediction (Day 1985) for fields of 100 m. Mean and deviation are those of
    `vadose.models.mixture.mixture`, the years draws of one network.

    Parameters
    ----------
    checkpoint, fine, days, tile, passes, running, made_of, workers, scheduler
        As of `vadose.predict.maps.downscale_maps`.
    coarse
        A forecast of the coarse moisture with ``init_time`` in its attributes (`vadose.predict.coarse.as_coarse`),
        and daily fields that reach back over ``years``. The latter are kept up to the day of issue, those that say
        ``weather`` 'forecast' up to their last day; the days after are lent by the past years.
    out
        Zarr store of ``soil_moisture`` and ``soil_moisture_std`` (init_time, lead_time, y, x) [m3 m-3], and of
        ``outside_training``, the mean of the years, where the checkpoint knows the domain of its training. It says
        ``weather`` 'past years' and which.
    years
        Two or more; their weather has to be known on the day of issue.

    Raises
    ------
    VadoseError
        As `downscale_maps`; without a forecast in ``coarse``, with fewer than two years, or years without weather.

    References
    ----------
    Day (1985), Extended streamflow forecasting using NWSRFS, doi:10.1061/(ASCE)0733-9496(1985)111:2(157).
    """
    when = pd.DatetimeIndex(list(days))
    issued = [pd.Timestamp(data.attrs["init_time"]) for data in coarse if "init_time" in data.attrs]
    if not issued:
        raise VadoseError(
            "outlook: past years lend the weather after a day of issue, and no forecast of the coarse "
            "moisture is given; add the store of 'vadose forecast'"
        )
    if len(set(years)) < 2 or len(set(years)) < len(years):
        raise VadoseError(f"outlook: past years {list(years)}; give two or more, each once")
    inputs = {
        "checkpoint": identity(checkpoint),
        "days": [f"{day:%Y-%m-%d}" for day in when],
        "tile": tile,
        "precision": running.precision,
        **({} if passes is None else {"passes": passes}),
        "past_years": list(years),
        "fine": inputs_of(fine),
        "coarse": [inputs_of(data) for data in coarse],
        "data": None,
        **(made_of or {}),
    }
    inputs["data"] = inputs["data"] or identity(fine, *coarse)
    if is_current(out, **inputs):
        return out
    fields = [[_of_year(data, issued[0], year, when[-1]) for data in coarse] for year in years]
    begun = out.with_name(f".{out.name}.years")
    members = []
    with writing(out) as scratch:
        for number, (year, given) in enumerate(zip(years, fields, strict=True)):

            def tell(what: str, share: float, done: int = number) -> None:
                progress(f"mapping {out.stem}", (done + share) / len(years))

            of_year = {"past_year": year, "issued": f"{issued[0]:%Y-%m-%d}", "data": inputs["data"]}
            store = downscale_maps(
                checkpoint,
                fine,
                given,
                when,
                begun / f"{year}.zarr",
                tile=tile,
                passes=passes,
                running=running,
                workers=workers,
                scheduler=scheduler,
                made_of=of_year,
                progress=tell,
            )
            members.append(store)
        _write_mixture(scratch, members, fine, tile, inputs)
    remove(begun)
    return out


def with_past_weather(weather: xr.Dataset, known: pd.Timestamp, year: int, last: pd.Timestamp) -> xr.Dataset:
    """Daily weather up to a day, continued by the weather of the same days of another year.

    What remembers more than its own day (antecedent sums, buckets) is left out, for it would bring the other year's
    past along; maps fill buckets anew from the precipitation.

    Parameters
    ----------
    weather
        (time, ...), daily.
    known
        Last day of its own.
    year
        Of the day that stands for ``known``; days after a turn of the year are of the next. 29 February is 28
        February where there is none.
    last
        Last day to continue to.

    Returns
    -------
    xarray.Dataset
        With ``weather`` 'past year YEAR' in its attributes.

    Raises
    ------
    VadoseError
        When the weather lacks a day, or one of the other year lies after ``known``: it was not known then.

    Examples
    --------
    >>> days = pd.date_range("2019-01-01", "2020-12-31")
    >>> weather = xr.Dataset({"precipitation": ("time", days.day_of_year.astype(float))}, {"time": days})
    >>> ahead = with_past_weather(weather, pd.Timestamp("2020-02-27"), 2019, pd.Timestamp("2020-03-02"))
    >>> ahead.precipitation[-5:].values.tolist()
    [58.0, 59.0, 59.0, 60.0, 61.0]
    """
    days = pd.DatetimeIndex(weather.time.values).normalize()
    ahead = pd.date_range(known + pd.Timedelta(days=1), last)
    lent = ahead.map(lambda day: day + pd.DateOffset(years=year - known.year))
    if known not in days:
        raise VadoseError(
            f"weather: {known:%Y-%m-%d} is not in it; it holds {days.min():%Y-%m-%d} .. "
            f"{days.max():%Y-%m-%d}: add the days up to the day of issue"
        )
    if len(lent) and (missing := lent[~lent.isin(days[days <= known])]).size:
        raise VadoseError(
            f"weather of {year}: {missing.size} of the days {lent[0]:%Y-%m-%d} .. {lent[-1]:%Y-%m-%d} "
            f"are not in what was known on {known:%Y-%m-%d}, from {days.min():%Y-%m-%d} on; take "
            "other years"
        )
    own = np.flatnonzero(days <= known)
    chosen = weather.isel(time=np.concatenate([own, days.get_indexer(lent)]))
    chosen = chosen.assign_coords(time=days[own].append(ahead))
    remembered = [name for name in map(str, weather.data_vars) if derived(name, ("days",))]
    return chosen.drop_vars(remembered).assign_attrs(weather.attrs | {"weather": f"past year {year}"})


def _of_year(data: xr.Dataset, issued: pd.Timestamp, year: int, last: pd.Timestamp) -> xr.Dataset:
    if "init_time" in data.attrs or "time" not in data.dims:
        return data
    foretold = data.attrs.get("weather") == "forecast"
    known = max(issued, pd.Timestamp(data.time.values[-1]).normalize()) if foretold else issued
    return with_past_weather(data, known, year, last)


def _distribution(maps: xr.Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean = maps[MOISTURE].values
    return mean, maps[DEVIATION].values if DEVIATION in maps else np.full_like(mean, np.nan)


def _write_mixture(path: Path, members: list[Path], fine: xr.Dataset, tile: int, made_of: dict[str, Any]) -> None:
    stores = [by_day(xr.open_zarr(member, consolidated=False, chunks=None)) for member in members]
    first = stores[0]
    shares = sum(store.missing_share for store in stores) / len(stores)
    attributes = first.attrs | {
        "weather": f"past years {', '.join(map(str, made_of['past_years']))}",
        **provenance(**made_of),
    }
    layers = (MOISTURE, DEVIATION) + ((OUTSIDE,) if OUTSIDE in first else ())
    days = pd.DatetimeIndex(first.time.values)
    beside = xr.Dataset(
        {"missing_share": shares.drop_vars("time").assign_attrs(first.missing_share.attrs)}, attrs=attributes
    )
    group = create_maps(path, grid_of(fine), days, layers, edge=tile, beside=beside)
    group[DEVIATION].attrs["comment"] = "standard deviation: mixture of past years"
    for day in range(len(days)):
        for row in range(0, first.sizes["y"], tile):
            band = {"time": day, "y": slice(row, row + tile)}
            parts = (_distribution(store.isel(band)) for store in stores)
            at = (*place_of(group[MOISTURE], day), band["y"])
            group[MOISTURE][at], group[DEVIATION][at] = mixture(parts, draws=True)
            if OUTSIDE in first:
                group[OUTSIDE][at] = np.mean([store[OUTSIDE].isel(band).values for store in stores], axis=0)
    consolidate(path)
