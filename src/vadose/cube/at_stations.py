"""Features at stations, read from the files of many products."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose import features
from vadose.artefact import provenance
from vadose.cube.points import SPECKLE, Found, Source, despeckle, read_points
from vadose.errors import VadoseError
from vadose.gapfill.overpasses import MODES, fill_days
from vadose.grid import ease_grid
from vadose.products import PRODUCTS
from vadose.variables import describe

RUN_UP = 64
"""Days before the first one, in ``'paper'`` mode also after the last, whose overpasses are read to fill gaps."""

Floats = NDArray[np.floating]
Progress = Callable[[str, float], None]
Compute = Callable[..., xr.DataArray]


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
    - Sentinel-1, after a Gaussian filter of linear power (`despeckle`): ``cross_ratio``, ``dpsvim``,
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
    absent = {name: f"no folder '{_products_of(name)}'" for source in _SOURCES for name in source.features}
    granules: dict[str, dict[str, str]] = {}
    unread: dict[str, str] = {}
    for source in _SOURCES:
        if source.product not in folders or set(source.features) <= set(table.data_vars):
            continue
        span = days
        if source.overpasses:
            after = pd.Timedelta(days=RUN_UP if mode == "paper" else 0)
            span = pd.date_range(days[0] - pd.Timedelta(days=RUN_UP), days[-1] + after)
        found = read_points(source, folders[source.product], lat, lon, span, progress)
        made = _features(source, found, span)
        for name in source.features:
            if name not in made or made[name].isnull().all():
                absent[name] = f"{source.product}: {_why_nothing(source, name, found)}"
                continue
            filled = fill_days(made[name], mode).sel(time=days) if source.overpasses else made[[name]]
            # Elevation is a coordinate of many stores, which gives way to that of the cell.
            table = table.drop_vars(name, errors="ignore").assign(filled.data_vars)
            table[name].attrs |= found.attributes
            del absent[name]
        granules[source.product] = found.granules
        unread |= {f"{source.product}/{name}": reason for name, reason in found.unread.items()}
    if not table.data_vars:
        raise VadoseError(f"no feature at any station: {'; '.join(sorted(set(absent.values())))}")
    return _described(table, stations, mode, absent, unread, granules)


def _filtered(dataset: xr.Dataset) -> xr.Dataset:
    """Filtered VV and VH, under these names whether sigma0 or gamma0."""
    held = {str(name): str(name)[-2:] for name in dataset.data_vars if str(name).endswith(("_vv", "_vh"))}
    return dataset[list(held)].rename(held).map(despeckle, keep_attrs=True).assign_attrs(dataset.attrs)


def _terrain(dataset: xr.Dataset) -> xr.Dataset:
    z = dataset.elevation
    made = dataset.assign(slope=features.slope(z), aspect=features.aspect(z))
    return made.assign(features.aspect_components(z).data_vars)


def _is_group(number: int, codes: xr.DataArray) -> xr.DataArray:
    """1 where NLCD codes are of a group of MMNet's legend, else 0; water is of none."""
    group = features.nlcd_group(codes, legend="mmnet")
    return (group == number).astype(np.float32).where(codes.notnull())


_Formulas = dict[str, tuple[tuple[str, ...], Compute | None]]
_LAND_COVERS: _Formulas = {
    f"land_cover_{name}": (("land_cover_nlcd",), partial(_is_group, number))
    for number, name in enumerate(features.NLCD_GROUPS["mmnet"], 1)
}
_OPTICAL: _Formulas = {
    "ndvi": (("reflectance_red", "reflectance_nir"), features.ndvi),
    "evi": (("reflectance_blue", "reflectance_red", "reflectance_nir"), features.evi),
    "ndwi": (("reflectance_green", "reflectance_nir"), features.ndwi),
    "lswi": (("reflectance_nir", "reflectance_swir1"), features.lswi),
}
_RADAR: _Formulas = {
    "cross_ratio": (("vv", "vh"), features.cross_ratio),
    "dpsvim": (("vv", "vh"), features.dpsvim),
    "polarization": (("vv", "vh"), features.polarization),
}
_WEATHER = (
    "precipitation",
    "shortwave_radiation",
    "specific_humidity",
    "vapor_pressure_deficit",
    "wind_speed",
    "reference_evapotranspiration",
    "reference_evapotranspiration_alfalfa",
)
_TERRAIN = ("elevation", "slope", "aspect", "aspect_cosine", "aspect_sine")


def _as_read(names: Mapping[str, str]) -> _Formulas:
    return {ours: ((theirs,), None) for ours, theirs in names.items()}


_SOURCES = (
    Source("landsat", _OPTICAL, reach=100, overpasses=True),
    Source("hls", _OPTICAL, reach=100, overpasses=True),
    Source("sentinel1", _RADAR, reach=4 * SPECKLE, overpasses=True, prepare=_filtered),
    Source("mod11a1", _as_read({"surface_temperature": "surface_temperature_day"}), overpasses=True),
    Source("gridmet", _as_read({name: name for name in _WEATHER}), reach=10_000),
    Source("smap_l4", _as_read({"soil_moisture_smap_l4": "soil_moisture"})),
    Source("smap_hydroblocks", _as_read({"soil_moisture_smap_hydroblocks": "soil_moisture"}), reach=500),
    Source("nlcd", _LAND_COVERS, reach=100),
    Source(
        "polaris",
        _as_read({name: f"{name}_0_5cm" for name in ("clay_fraction", "sand_fraction", "bulk_density")}),
        reach=100,
    ),
    Source("3dep", _as_read({name: name for name in _TERRAIN}), reach=500, prepare=_terrain),
    Source("srtm", _as_read({name: name for name in _TERRAIN}), reach=500, prepare=_terrain),
)


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
    known = [source.product for source in _SOURCES]
    if isinstance(data, Path):
        return {name: data / name for name in known if (data / name).is_dir()}
    for name, folder in data.items():
        if name not in known:
            raise VadoseError(f"features at stations: no feature is made of {name!r}; choose from {known}")
        if not folder.is_dir():
            raise VadoseError(f"{folder}: no such folder; the granules of {name} belong there")
    return dict(data)


def _products_of(feature: str) -> str:
    return "' or '".join(source.product for source in _SOURCES if feature in source.features)


def _cells(stations: xr.Dataset) -> tuple[Floats, Floats]:
    """Centres of the 100 m cells that hold the stations."""
    grid = ease_grid("100m")
    row, column = grid.rowcol(stations.lat.values, stations.lon.values)
    if (row < 0).any():
        raise VadoseError(
            f"station {stations.station.values[row < 0][0]}: lies outside the EASE-Grid 2.0; check its place"
        )
    return grid.latlon(row, column)


def _features(source: Source, found: Found, days: pd.DatetimeIndex) -> xr.Dataset:
    """Features of each day, or fixed ones, of the observations found."""
    made = xr.Dataset()
    for name, (needed, formula) in source.features.items():
        if any(of not in found.values for of in needed):
            continue
        seen = sorted(set.union(*(set(found.values[of]) for of in needed)), key=str)
        nothing = np.full_like(next(iter(found.values[needed[0]].values())), np.nan)
        raw = [np.stack([found.values[of].get(key, nothing) for key in seen]) for of in needed]
        fields = [xr.DataArray(values, dims=("pass", "station")) for values in raw]
        feature = (formula(*fields) if formula else fields[0]).values.astype(np.float32)
        if PRODUCTS[source.product].fixed:
            made[name] = "station", feature[0]
            continue
        observed = pd.DataFrame(feature, index=pd.DatetimeIndex([time for time, _ in seen]).normalize())
        daily = observed.groupby(level=0).mean().reindex(days)
        made[name] = ("station", "time"), daily.values.T.astype(np.float32)
    return made.assign_coords(time=days)


def _why_nothing(source: Source, name: str, found: Found) -> str:
    lacking = [of for of in source.features[name][0] if of not in found.values]
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
