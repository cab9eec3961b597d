"""Features at stations, read from the files of many products."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import provenance
from vadose.cube.points import Found, features_of, read_points, taken
from vadose.errors import VadoseError
from vadose.features.derived import derive, made_of
from vadose.gapfill.overpasses import MODES, fill_days
from vadose.grid import ease_grid
from vadose.parallel.progress import Progress
from vadose.products import PRODUCTS
from vadose.variables import describe

RUN_UP = 64
"""Days before the first one, in ``'paper'`` mode also after the last, whose overpasses are read to fill gaps."""

Floats = NDArray[np.floating]


def extract(
    data: Path | Mapping[str, Path],
    stations: xr.Dataset,
    days: pd.DatetimeIndex,
    *,
    mode: str = "causal",
    progress: Progress = lambda what, share: None,
) -> xr.Dataset:
    """Read the features of the 100 m cell of each station, on each day.

    A product's value is that of the pixel which holds the centre of the station's cell of the 100 m EASE-Grid 2.0:
    the nearest neighbour, as in the maps of that grid. Only a small window around each station is read. Several
    overpasses of a day, such as of Terra and Aqua, are averaged. Taken are, as far as their files are there:

    - Landsat, or else HLS, without cloud, shadow and snow: ``ndvi``, ``evi``, ``ndwi`` (McFeeters), ``lswi``;
    - Sentinel-1, after a Gaussian filter of linear power (`vadose.features.despeckle`): ``cross_ratio``, ``dpsvim``,
      ``polarization``;
    - MOD11A1 and MYD11A1: ``surface_temperature``, that by day;
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
        overpasses on both sides, which looks into the future.

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
    folders = _folders(data)
    lat, lon = _cells(stations)
    own = stations.drop_dims([dim for dim in stations.dims if dim != "station"])
    table = own.set_coords(["lat", "lon"]).coords.to_dataset().assign_coords(time=days)
    table = table.assign_coords(cell_lat=("station", lat), cell_lon=("station", lon))
    gives = _features_by_product()
    absent = {name: f"no folder '{_products_of(name)}'" for features in gives.values() for name in features}
    granules: dict[str, dict[str, str]] = {}
    unread: dict[str, str] = {}
    for product, features in gives.items():
        if product not in folders or set(features) <= set(table.data_vars):
            continue
        span, overpasses = days, taken(product).overpasses
        if overpasses:
            after = pd.Timedelta(days=RUN_UP if mode == "paper" else 0)
            span = pd.date_range(days[0] - pd.Timedelta(days=RUN_UP), days[-1] + after)
        found = read_points(product, folders[product], lat, lon, span, progress)
        made = _features(product, found, span)
        for name in features:
            if name not in made or made[name].isnull().all():
                absent[name] = f"{product}: {_why_nothing(features[name], found)}"
                continue
            filled = fill_days(made[name], mode).sel(time=days) if overpasses else made[[name]]
            # Elevation is a coordinate of many stores, which gives way to that of the cell.
            table = table.drop_vars(name, errors="ignore").assign(filled.data_vars)
            table[name].attrs |= found.attributes
            del absent[name]
        granules[product] = found.granules
        unread |= {f"{product}/{name}": reason for name, reason in found.unread.items()}
    if not table.data_vars:
        raise VadoseError(f"no feature at any station: {'; '.join(sorted(set(absent.values())))}")
    return _described(table, stations, mode, absent, unread, granules)


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


def _folders(data: Path | Mapping[str, Path]) -> dict[str, Path]:
    """Folder of each product that is there."""
    known = list(_features_by_product())
    if isinstance(data, Path):
        return {name: data / name for name in known if (data / name).is_dir()}
    for name, folder in data.items():
        if name not in known:
            raise VadoseError(f"features at stations: no feature is made of {name!r}; choose from {known}")
        if not folder.is_dir():
            raise VadoseError(f"{folder}: no such folder; the granules of {name} belong there")
    return dict(data)


def _features_by_product() -> dict[str, dict[str, str]]:
    """Features of stations by the products that give them; of several products the first counts."""
    return {name: features for name in PRODUCTS if (features := features_of(name))}


def _products_of(feature: str) -> str:
    return "' or '".join(product for product, features in _features_by_product().items() if feature in features)


def _cells(stations: xr.Dataset) -> tuple[Floats, Floats]:
    """Centres of the 100 m cells that hold the stations."""
    grid = ease_grid("100m")
    row, column = grid.rowcol(stations.lat.values, stations.lon.values)
    if (row < 0).any():
        raise VadoseError(
            f"station {stations.station.values[row < 0][0]}: lies outside the EASE-Grid 2.0; check its place"
        )
    return grid.latlon(row, column)


def _features(product: str, found: Found, days: pd.DatetimeIndex) -> xr.Dataset:
    """Features of each day, or fixed ones, of the observations found."""
    made = xr.Dataset()
    for name, theirs in features_of(product).items():
        needed = made_of(theirs, ("pixel",))
        if any(of not in found.values for of in needed):
            continue
        seen = sorted(set.union(*(set(found.values[of]) for of in needed)), key=str)
        nothing = np.full_like(next(iter(found.values[needed[0]].values())), np.nan)
        raw = {of: np.stack([found.values[of].get(key, nothing) for key in seen]) for of in needed}
        fields = xr.Dataset({of: (("pass", "station"), values) for of, values in raw.items()})
        feature = derive(fields, [theirs], ("pixel",))[theirs].values.astype(np.float32)
        if PRODUCTS[product].fixed:
            made[name] = "station", feature[0]
            continue
        observed = pd.DataFrame(feature, index=pd.DatetimeIndex([time for time, _ in seen]).normalize())
        daily = observed.groupby(level=0).mean().reindex(days)
        made[name] = ("station", "time"), daily.values.T.astype(np.float32)
    return made.assign_coords(time=days)


def _why_nothing(theirs: str, found: Found) -> str:
    lacking = [of for of in made_of(theirs, ("pixel",)) if of not in found.values]
    if not found.granules and not found.unread:
        return "no granule of these days covers a station"
    if found.granules and lacking:
        return f"no {' and no '.join(map(repr, lacking))} in its granules"
    reason = next(iter(found.unread.values()), "")
    return "no value at any station" + (f"; {len(found.unread)} granules unread, such as {reason}" if reason else "")


def _described(
    table: xr.Dataset,
    stations: xr.Dataset,
    mode: str,
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
        "place": "pixel that holds the centre of the station's cell of the 100 m EASE-Grid 2.0",
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
