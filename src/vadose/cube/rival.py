"""Soil moisture that a weather model forecasts, as a store: a rival to score beside our own forecasts."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, provenance, writing
from vadose.artefact.predictions import write_predictions
from vadose.cube.ahead import MARGIN, MEAN, PRODUCT
from vadose.cube.listing import list_granules
from vadose.errors import VadoseError
from vadose.products.weather_forecast import daily_weather_forecast
from vadose.products.weather_messages import run_of

LAYERS = ("0-10 cm", "10-40 cm", "40-100 cm", "100-200 cm")
"""Of the soil of GFS and GEFS."""
DAY = pd.Timedelta(days=1)
Array = NDArray[np.float32]


def write_rival(
    granules: Iterable[Path],
    cube: xr.Dataset,
    out: Path,
    *,
    layer: str | None = None,
    depth: str | None = None,
    observed: str = "soil_moisture",
    leads: tuple[int, ...] = (1, 3, 7, 14, 30),
    member: str | None = None,
    first: str | None = None,
    last: str | None = None,
    made_of: Mapping[str, object] | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Path:
    r"""Write the soil moisture of GEFS or GFS runs as a store of forecasts on the grid of a cube.

    A run that starts at 00 UTC of the day after :math:`t_0` is issued on :math:`t_0`; its day :math:`L`, the mean of
    the states in the 24 h up to its lead of :math:`24 L` h, is the day :math:`t_0 + L`. Runs of other hours are left
    out. Fields are interpolated bilinearly between the grid points on land; a cell with none beside it is NaN, and so
    are leads that a run does not reach.

    Nothing is corrected: it is the moisture of the weather model's own soil, whose porosity and texture differ from
    those at the observations, and of a layer of its own (attribute ``rival_note``). Its bias tells of that soil more
    than of the forecast; the correlation and the unbiased error tell of the forecast.

    Parameters
    ----------
    granules
        Files, or folders of them, of any number of runs; see `vadose.products.weather_forecast`.
    cube
        One grid of a cube, or stations as cells.
    out
        Zarr store of ``soil_moisture`` (init_time, lead_time, y, x), as `vadose.predict.forecast.forecast` writes it.
    layer
        Of the forecasts it is to stand beside, such as ``'0-10 cm'``; the cube's when left out.
    depth
        Layer of the weather model to take, one of `LAYERS`, where it has not the same.
    observed
        Variable of the cube that it is to be scored against.
    leads
        Lead times [day], those of the forecasts it is to stand beside.
    member
        Of an ensemble: one of its names, such as ``'c00'``, or ``'mean'`` of all.
    first, last
        Days of issue, a run of each of which has to be there; those there are when left out.

    Raises
    ------
    VadoseError
        When a run is missing or none starts at 00 UTC, the model has no such layer, or the granules do not cover the
        cells of the cube or lack leads; when it is not said which member to take.

    References
    ----------
    Zhou et al. (2022), GEFS version 12, doi:10.1175/WAF-D-21-0112.1.
    """
    paths = [path for given in granules for path in _files(given)]
    layer = layer or str(cube.attrs["layer"])
    taken = depth or layer
    if taken not in LAYERS:
        raise VadoseError(
            f"{out.name}: the weather model has no layer {taken!r}; say which of {list(LAYERS)} is to stand for it"
        )
    name = f"soil_moisture_{taken.replace(' ', '').replace('-', '_')}"
    inputs = {
        "granules": identity(*paths),
        "cells": identity(cube.lat, cube.lon),
        "layer": layer,
        "depth": depth,
        "observed": observed,
        "leads": leads,
        "member": member,
        "first": first,
        "last": last,
        **(made_of or {}),
    }
    if is_current(out, **inputs):
        return out
    runs = _runs(paths, first, last)
    store = _read(runs, cube, out, name, leads, member, progress)
    store.attrs |= {
        "layer": layer,
        "observed": observed,
        "rival_note": f"of the soil of {store.attrs['model']}, {taken}, another than the observed; not corrected",
        **provenance(**inputs),
    }
    with writing(out) as scratch:
        write_predictions(scratch, store, "a weather model's forecasts of soil moisture")
    progress(f"reading {out.stem}", 1.0)
    return out


def _read(
    runs: dict[pd.Timestamp, list[Path]],
    cube: xr.Dataset,
    out: Path,
    name: str,
    leads: tuple[int, ...],
    member: str | None,
    progress: Callable[[str, float], None],
) -> xr.Dataset:
    """A variable of the runs at the lead times on the cells of the cube."""
    maps = np.full((len(runs), len(leads), cube.sizes["y"], cube.sizes["x"]), np.nan, np.float32)
    product, simulated = None, cube.attrs["simulated"] == "true"
    for number, (issued, files) in enumerate(runs.items()):
        progress(f"reading {out.stem}", number / len(runs))
        run = daily_weather_forecast(files, bbox=_around(cube), names=[name])
        if product not in (None, run.attrs["product"]):
            raise VadoseError(
                f"{out.name}: the granules are of {product} and {run.attrs['product']}; give those of one"
            )
        product, simulated = str(run.attrs["product"]), simulated or run.attrs["simulated"] == "true"
        member = _member(run, member)
        field = _of_member(run[name].isel(init_time=0), member)
        reached = [k for k, lead in enumerate(leads) if lead <= field.sizes["lead_time"]]
        days = field.isel(lead_time=[leads[k] - 1 for k in reached])
        maps[number, reached] = _on_cells(days, cube, f"{out.name}, issued {issued:%Y-%m-%d}")
    return xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), maps)},
        coords={
            "init_time": pd.DatetimeIndex(runs).as_unit("ns"),
            "lead_time": pd.to_timedelta(leads, unit="D"),
            "lat": cube.lat,
            "lon": cube.lon,
            "y": cube.y,
            "x": cube.x,
        },
        attrs={key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset")}
        | {
            "weather": "forecast",
            "scenario": "all",
            "causal": "true",
            "model": str(product),
            "simulated": "true" if simulated else "false",
            "weather_run": f"{product} {member}, runs of 00 UTC",
        },
    )


def _files(path: Path) -> list[Path]:
    return [granule.path for granule in list_granules(path, PRODUCT).granules] if path.is_dir() else [path]


def _runs(paths: Iterable[Path], first: str | None, last: str | None) -> dict[pd.Timestamp, list[Path]]:
    """Granules of the runs of 00 UTC by their day of issue, the day before."""
    runs: dict[pd.Timestamp, list[Path]] = {}
    for path in paths:
        runs.setdefault(run_of(path), []).append(path)
    issued = {start - DAY: runs[start] for start in sorted(runs) if start == start.normalize()}
    if not issued:
        raise VadoseError(
            f"weather forecast: runs start on {', '.join(f'{start:%Y-%m-%d %H} UTC' for start in sorted(runs)[:4])}; "
            "forecasts are issued at the end of a day, fetch runs of 00 UTC"
        )
    wanted = pd.date_range(first or min(issued), last or max(issued))
    if (first or last) and (missing := [day for day in wanted if day not in issued]):
        raise VadoseError(
            f"weather forecast: no run of {', '.join(f'{day + DAY:%Y-%m-%d}' for day in missing[:4])} 00 UTC"
            f"{f' and {len(missing) - 4} more' if len(missing) > 4 else ''}; fetch them, or leave out the days of issue"
        )
    return {day: issued[day] for day in wanted if day in issued}


def _around(cube: xr.Dataset) -> tuple[float, float, float, float]:
    (south, north), (west, east) = ((float(cube[a].min()), float(cube[a].max())) for a in ("lat", "lon"))
    return west - MARGIN, south - MARGIN, east + MARGIN, north + MARGIN


def _member(run: xr.Dataset, member: str | None) -> str:
    members = [str(name) for name in np.atleast_1d(run.member.values)]
    choices = [*members, *([MEAN] if len(members) > 1 and MEAN not in members else [])]
    chosen = member or (members[0] if len(members) == 1 else None)
    if chosen not in choices:
        raise VadoseError(f"weather forecast: member is {member!r}; choose one of {choices}")
    return str(chosen)


def _of_member(field: xr.DataArray, member: str) -> xr.DataArray:
    if "member" not in field.dims:
        return field
    names = field.member.values.astype(str).tolist()
    return field.isel(member=names.index(member)) if member in names else field.mean("member")


def _on_cells(field: xr.DataArray, cube: xr.Dataset, what: str) -> Array:
    """Days of a field (lead, y, x) at the cells in the mask, between the grid points where it is known."""
    mask: NDArray[np.bool_] = cube.mask.transpose("y", "x").values.astype(bool)
    places = {axis: xr.DataArray(cube[axis].transpose("y", "x").values, dims=("y", "x")) for axis in ("lat", "lon")}
    known = field.notnull().astype(float).interp(places)
    if outside := int(known.isnull().any("lead_time").values[mask].sum()):
        raise VadoseError(
            f"{what}: {outside} of {mask.sum()} cells of the cube lie outside the granules, which cover "
            f"{field.lon.values.min():g} .. {field.lon.values.max():g} east, {field.lat.values.min():g} .. "
            f"{field.lat.values.max():g} north: fetch all of the cube's area"
        )
    values = field.fillna(0.0).interp(places) / known.where(known > 0)
    return values.where(mask).transpose("lead_time", "y", "x").values.astype(np.float32)
