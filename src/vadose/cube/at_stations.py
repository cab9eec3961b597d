"""Features at stations, read from the files of many products."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import provenance
from vadose.cube.granules import of_any_pass
from vadose.cube.listing import product_folders
from vadose.cube.points import Found, features_of, read_points, source_of
from vadose.cube.recipe import Recipe, Source, margins
from vadose.errors import VadoseError
from vadose.features.derived import READ, derived, lacking
from vadose.gapfill.overpasses import MODES, fill_days
from vadose.grid import Grid, ease_grid
from vadose.parallel.progress import Progress
from vadose.products import PRODUCTS
from vadose.variables import describe

Floats = NDArray[np.floating]


def extract(
    data: Path | Mapping[str, Path],
    stations: xr.Dataset,
    days: pd.DatetimeIndex,
    *,
    mode: str = "causal",
    recipe: Recipe | None = None,
    progress: Progress = lambda what, share: None,
) -> xr.Dataset:
    """Read the features of the cell of each station, on each day.

    A value is that of the station's cell in a cube of the recipe: it is made by the same functions
    (`vadose.cube.points`). Filled values have the feature's own name here. Only a small window around each station is
    read.

    Without a recipe cells are those of the 100 m EASE-Grid 2.0, a product's value is that of the pixel which holds the
    cell's centre, and several overpasses of a day, such as of Terra and Aqua, are averaged, but of Sentinel-1 the last
    one counts. Taken are, as far as their files are there:

    - Landsat, or else HLS, without cloud, shadow and snow: ``ndvi``, ``evi``, ``ndwi`` (McFeeters), ``lswi``;
    - Sentinel-1, after a Gaussian filter of linear power (`vadose.features.despeckle`): ``cross_ratio``, ``dpsvim``,
      ``polarization``;
    - MOD11A1 and MYD11A1: ``surface_temperature``, that by day; MCD15A3H and its like: ``leaf_area_index``, ``fpar``;
    - gridMET: precipitation, radiation, humidity, vapour pressure deficit, wind, reference evapotranspiration;
    - ``soil_moisture_smap_l4``, the mean of a day's eight, and ``soil_moisture_smap_hydroblocks``;
    - NLCD: ``land_cover_forest`` and seven more, 1 for the group of the pixel and 0 for the others (all 0 on
      water); POLARIS, 0-5 cm: ``clay_fraction``, ``sand_fraction``, ``bulk_density``; 3DEP, or else SRTM:
      ``elevation``, ``slope``, ``aspect``, ``aspect_cosine``, ``aspect_sine``.

    Of Landsat, Sentinel-1 and MODIS the days between overpasses are filled (`vadose.gapfill.overpasses.fill_days`),
    from those of up to `RUN_UP` days before the first day, in ``'paper'`` mode also after the last. What is fixed
    takes the last file in order of name that has a value: of land cover that of the latest year.

    Parameters
    ----------
    data
        Folder that holds a folder a product, named as in `vadose.products.PRODUCTS`, or the folder of each product.
    stations
        (station) with ``lat``, ``lon`` [degree].
    days
        Each day of a period, UTC. A product's own day is told in the attribute ``day_boundary`` of its features.
    mode
        ``'causal'``: the last valid value and its age, ``NAME_age`` [day]. ``'paper'``: a straight line between the
        overpasses on both sides, which looks into the future. A recipe says it itself.
    recipe
        Products, variables, resampling, gaps and grid; its own box and days are not heeded.

    Returns
    -------
    xarray.Dataset
        Features (station, time) or (station), float32, NaN where unknown. Coordinates are those of the stations,
        and ``cell_lat``, ``cell_lon`` of the centres of their cells. Attributes, as JSON: ``absent``, the features
        that are not there and why; ``unread``, the granules that could not be read (at some station) and why. The
        granules used stand in ``inputs`` with an identity each.

    Raises
    ------
    VadoseError
        When stations have no place, days are not each day of a period, a folder is missing or empty, Sentinel-1
        scenes of sigma0 and gamma0 are mixed, or no file gives any feature.

    References
    ----------
    Xu et al. (2025), doi:10.1029/2025JH000639, section 2.
    """
    _check(stations, days, mode)
    sources, folders = _sources(data, mode, recipe)
    grid = ease_grid(recipe.resolution if recipe else "100m")
    cells, (lat, lon) = cells_at(stations, grid)
    own = stations.drop_dims([dim for dim in stations.dims if dim != "station"])
    table = own.set_coords(["lat", "lon"]).coords.to_dataset().assign_coords(time=days)
    table = table.assign_coords(cell_lat=("station", lat), cell_lon=("station", lon))
    absent = (
        {} if recipe else {name: f"no folder '{_products_of(name)}'" for of in _by_product().values() for name in of}
    )
    granules: dict[str, dict[str, str]] = {}
    unread: dict[str, str] = {}
    for source, folder in zip(sources, folders, strict=True):
        if set(source.variables.values()) <= set(table.data_vars):
            continue  # of several products that give a feature the first counts
        around = [*margins(source, days).values()]
        span = pd.DatetimeIndex(days.append(around).sort_values())
        found = read_points(source, folder, cells, span, progress)
        for theirs, name in source.variables.items():
            if name not in found.values or np.isnan(found.values[name]).all():
                absent[name] = f"{source.product}: {_why_nothing(theirs, found)}"
                continue
            values = found.values[name]
            made = xr.DataArray(values, dims=("station", "time")[: values.ndim], name=name)
            made = made.assign_coords(time=span) if values.ndim > 1 else made
            filled = made.to_dataset()
            if source.gaps != "missing":
                filled = fill_days(made, "causal" if source.gaps == "last_value" else "paper").sel(time=days)
            # Elevation is a coordinate of many stores, which gives way to that of the cell.
            table = table.drop_vars(name, errors="ignore").assign(filled.data_vars)
            table[name].attrs |= found.attributes
            absent.pop(name, None)
        granules[source.product] = found.granules
        unread |= {f"{source.product}/{name}": reason for name, reason in found.unread.items()}
    mode = "paper" if recipe and recipe.interpolated else mode
    if not table.data_vars:
        raise VadoseError(f"no feature at any station: {'; '.join(sorted(set(absent.values())))}")
    return _described(table, stations, mode, grid, absent, unread, granules)


def _check(stations: xr.Dataset, days: pd.DatetimeIndex, mode: str) -> None:
    if mode not in MODES:
        raise VadoseError(f"features at stations: mode {mode!r} unknown; choose from {list(MODES)}")
    if not stations.sizes.get("station"):
        raise VadoseError("features at stations: no station is given; read a station store first (vadose stations)")
    for name in ("lat", "lon"):
        if name not in stations.variables or stations[name].dims != ("station",):
            raise VadoseError(f"features at stations: stations have no {name!r} (station); give their places")
        if missing := stations.station.values[~np.isfinite(stations[name].values)].tolist():
            raise VadoseError(f"features at stations: no {name!r} is known of {missing[:5]}; leave them out")
    if not len(days) or not days.equals(pd.date_range(days[0].normalize(), periods=len(days))):
        raise VadoseError(f"features at stations: {len(days)} days that are not each day of a period; give every day")


def _sources(data: Path | Mapping[str, Path], mode: str, recipe: Recipe | None) -> tuple[list[Source], list[Path]]:
    """What is taken of each product, and its folder: those of a recipe, or all that are there."""
    if recipe is not None:
        if isinstance(data, Path):
            names = [source.product for source in recipe.sources if source.own is None]
            of_product = dict(zip(names, product_folders(data, names), strict=True))
            return list(recipe.sources), [of_product.get(source.product, data) for source in recipe.sources]
        return list(recipe.sources), [data[source.product] for source in recipe.sources]
    known = list(_by_product())
    there = {name: data / name for name in known} if isinstance(data, Path) else dict(data)
    for name, folder in there.items():
        if name not in known:
            raise VadoseError(f"features at stations: no feature is made of {name!r}; choose from {known}")
        if not isinstance(data, Path) and not folder.is_dir():
            raise VadoseError(f"{folder}: no such folder; the granules of {name} belong there")
    found = {name: there[name] for name in known if name in there and there[name].is_dir()}
    return [source_of(name, mode) for name in found], list(found.values())


def _by_product() -> dict[str, dict[str, str]]:
    """Features of stations by the products that give them; of several products the first counts."""
    return {name: features for name in PRODUCTS if (features := features_of(name))}


def _products_of(feature: str) -> str:
    return "' or '".join(product for product, features in _by_product().items() if feature in features)


def cells_at(stations: xr.Dataset, grid: Grid) -> tuple[list[Grid], tuple[Floats, Floats]]:
    """Cells of a grid that hold the stations, and their centres."""
    row, column = grid.rowcol(stations.lat.values, stations.lon.values)
    if (row < 0).any():
        raise VadoseError(
            f"station {stations.station.values[row < 0][0]}: lies outside the EASE-Grid 2.0; check its place"
        )
    cells = [grid.part(slice(r, r + 1), slice(c, c + 1)) for r, c in zip(row.tolist(), column.tolist(), strict=True)]
    return cells, grid.latlon(row, column)


def _why_nothing(theirs: str, found: Found) -> str:
    missing = lacking(of_any_pass(theirs), found.held, READ)
    if not found.held and not found.unread:
        return "no granule of these days covers a station"
    if derived(theirs, ("area",)):
        return "it is made of all pixels of an area; build a cube for it"
    if missing and found.held:
        return f"no {' and no '.join(missing)} in its granules"
    reason = next(iter(found.unread.values()), "")
    return "no value at any station" + (f"; {len(found.unread)} granules unread, such as {reason}" if reason else "")


def _described(
    table: xr.Dataset,
    stations: xr.Dataset,
    mode: str,
    grid: Grid,
    absent: dict[str, str],
    unread: dict[str, str],
    granules: dict[str, dict[str, str]],
) -> xr.Dataset:
    simulated = {of.attrs.get("simulated") for of in (stations, *table.data_vars.values())}
    days = table.indexes["time"]
    table.attrs = {
        "mode": mode,
        "simulated": "true" if "true" in simulated else "false",
        **{key: stations.attrs[key] for key in ("dataset", "day_boundary") if key in stations.attrs},
        "place": f"the station's cell of {grid.cell:.4g} m of the EASE-Grid 2.0",
        "absent": json.dumps(absent, sort_keys=True),
        "unread": json.dumps(unread, sort_keys=True),
        **provenance(
            stations=stations.attrs.get("inputs"),
            days=[f"{day:%Y-%m-%d}" for day in (days[0], days[-1])],
            mode=mode,
            granules=granules,
        ),
    }
    return describe(table)
