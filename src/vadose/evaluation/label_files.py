"""Classes of stations or cells read from files: maps of classes, such as climates, and tables of stations."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from rasterio.errors import RasterioError
from rasterio.warp import transform

from vadose.errors import VadoseError
from vadose.evaluation.collocate import is_station_store
from vadose.evaluation.strata import Labels

_MIDDLE = "sa sb sc sd wa wb wc wd fa fb fc fd"
KOEPPEN = (
    *("Af", "Am", "Aw", "BWh", "BWk", "BSh", "BSk"),
    *(f"C{kind}" for kind in _MIDDLE.split() if kind[1] != "d"),
    *(f"D{kind}" for kind in _MIDDLE.split()),
    *("ET", "EF"),
)
"""Classes 1 to 30 of the maps of Beck et al. (2023), doi:10.1038/s41597-023-02549-6."""
Given = str | PathLike[str] | Sequence[str]


def read_labels(given: Mapping[str, Given], observed: xr.Dataset) -> dict[str, Sequence[str] | Labels]:
    """Kind -> label of each station or cell of the observations, '' where there is none.

    Parameters
    ----------
    given
        Kind -> the labels themselves, or a file: a GeoTIFF of class numbers, read at each site (of the kind ``koeppen``
        the numbers are those of `KOEPPEN`, 0 and the file's missing value are no class), or, for a station store, a CSV
        table with the columns ``station`` and the kind.

    Raises
    ------
    VadoseError
        When a file cannot be read, or holds no class of any site.
    """
    found: dict[str, Sequence[str] | Labels] = {}
    for kind, source in given.items():
        if not isinstance(source, str | PathLike):
            found[kind] = source
            continue
        path = fspath(source)
        labels = _of_table(path, kind, observed) if path.lower().endswith(".csv") else _of_map(path, kind, observed)
        if not (labels != "").any():
            raise VadoseError(f"{path}: holds no class {kind!r} of any of the {len(labels)} sites observed")
        found[kind] = labels
    return found


def _of_table(path: str, kind: str, observed: xr.Dataset) -> Labels:
    if not is_station_store(observed):
        raise VadoseError(f"{path}: a table of stations, but the observations are a cube; give a GeoTIFF")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise VadoseError(f"{path}: {error}") from error
    if lacking := {"station", kind} - set(table):
        raise VadoseError(f"{path}: has no column {', '.join(sorted(lacking))}; found {', '.join(map(str, table))}")
    if double := table.station[table.station.duplicated()].tolist():
        raise VadoseError(f"{path}: names the station {double[0]} twice; keep one row of each")
    of_station = table.set_index("station")[kind]
    return of_station.reindex([str(name) for name in observed.station.values]).fillna("").to_numpy(object)


def _of_map(path: str, kind: str, observed: xr.Dataset) -> Labels:
    dims = ("station",) if is_station_store(observed) else ("y", "x")
    like = xr.DataArray(np.zeros([observed.sizes[name] for name in dims]), dims=dims)
    lat, lon = (observed[name].broadcast_like(like).transpose(*dims).values.ravel() for name in ("lat", "lon"))
    try:
        with rasterio.open(path) as raster:
            if raster.crs is None:
                raise VadoseError(f"{path}: says no projection; expected a GeoTIFF with one")
            points: Any = zip(*transform("EPSG:4326", raster.crs, lon, lat), strict=True)
            values = np.ma.stack(list(raster.sample(points, indexes=1, masked=True)))[:, 0]
    except RasterioError as error:
        raise VadoseError(f"{path}: {error}; expected a GeoTIFF of classes, or a table .csv of stations") from error
    classes = np.round(np.ma.filled(values.astype(float), 0)).astype(int)
    if kind != "koeppen":
        return np.where(classes == 0, "", classes.astype(str)).astype(object)
    if (wrong := classes[(classes < 0) | (classes > len(KOEPPEN))]).size:
        raise VadoseError(f"{path}: class {wrong[0]} found; expected 1 to {len(KOEPPEN)}, as of Beck et al. (2023)")
    labels: Labels = np.array(["", *KOEPPEN], object)[classes]
    return labels
