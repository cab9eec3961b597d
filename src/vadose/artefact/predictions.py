"""The one form of all stores with a map: what the CF conventions, GDAL and xarray ask for, and how they are written."""

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning

from vadose.grid import grid_of, raster_coordinates
from vadose.variables import variable

CONVENTIONS = "CF-1.11"
VALUES_A_CHUNK, DAYS_A_CHUNK, LEADS_A_CHUNK = 1 << 19, 8, 5
"""Values (2 MiB), days of issue and leads in a chunk: it serves the map of a day as it does the series of a cell."""
INSTITUTION = "VADOSE_INSTITUTION"
"""Variable of the environment: who makes the stores, their attribute ``institution``."""
GRID = ("cell_size", "grid_step", "grid_crs")
DIMS = ("init_time", "lead_time", "y", "x")
_AXES: dict[str, dict[str, str]] = {
    "init_time": {
        "standard_name": "forecast_reference_time",
        "long_name": "last day known to the forecast",
        "axis": "T",
    },
    "lead_time": {"standard_name": "forecast_period", "long_name": "days from the last day known to the valid day"},
    "lat": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
    "quantile": {"long_name": "probability that the value is not exceeded", "units": "1"},
    "station": {"long_name": "name of the station"},
    "channel": {"long_name": "predictor"},
    "feature": {"long_name": "predictor"},
}


@contextmanager
def beside_arrays() -> Iterator[None]:
    """Let Zarr be silent on files beside arrays, and on consolidated metadata, which its format 3 leaves open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        yield


def write_predictions(
    path: Path,
    store: xr.Dataset,
    title: str,
    *,
    chunks: Mapping[str, int] | None = None,
    empty: bool = False,
    more: bool = False,
) -> None:
    """Write predictions as a Zarr store that says in CF attributes what it holds, where it lies and what made it.

    Parameters
    ----------
    store
        Variables (init_time, lead_time, ..., y, x), or (..., lat, lon) in degrees, a map of a day at lead 0; cells that
        are stations have their names in a coordinate ``station`` along y. Attributes of the data set are kept; those
        of `vadose.artefact.provenance` become ``history`` and ``source`` too.
    title
        What it is, in a line.
    chunks
        Sizes of chunks by dimension, the whole length where none is given; of `chunks_of` when left out.
    empty
        Whether only metadata and coordinates are written, to be filled chunk by chunk; then `consolidate` it.
    more
        Whether these are further days of issue of the store, whose days so far fill whole chunks; then `consolidate`.
    """
    store = _described(store).assign_attrs(_told(store.attrs, title))
    if more:
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        for name, of in store.variables.items():
            if "init_time" in of.dims:
                group[str(name)].append(xr.conventions.encode_cf_variable(of).values)
        return
    with beside_arrays():
        # Names of stations cannot be cut into pieces.
        pieces = store.chunk(chunks_of(store) if chunks is None else chunks).assign_coords(store.coords)
        values = pieces.to_zarr(path, mode="w", zarr_format=3, consolidated=True, compute=False)
        if not empty:
            values.compute()


def chunks_of(store: xr.Dataset) -> dict[str, int]:
    """Sizes of chunks by dimension: equal parts of days, leads and cells, and one of all else along a map.

    Examples
    --------
    >>> maps = xr.Dataset({"soil_moisture": (("init_time", "lead_time", "y", "x"), np.zeros((30, 5, 276, 627)))})
    >>> chunks_of(maps)
    {'init_time': 8, 'lead_time': 5, 'y': 92, 'x': 105}
    """
    y, x = ("lat", "lon") if {"lat", "lon"} <= set(store.dims) else ("y", "x")
    maps = [of for of in store.data_vars.values() if {y, x} <= set(of.dims)]
    most = {"init_time": DAYS_A_CHUNK, "lead_time": LEADS_A_CHUNK}
    chunks = {str(d): _part(n, most.get(str(d), 1)) for of in maps for d, n in of.sizes.items() if d not in (y, x)}
    edge = math.isqrt(VALUES_A_CHUNK // math.prod(chunks.get(d, 1) for d in most))
    return chunks | {axis: _part(store.sizes[axis], edge) for axis in (y, x) if maps}


def _part(length: int, most: int) -> int:
    """The longest of equal parts of a length, none longer than ``most``."""
    return math.ceil(length / math.ceil(length / most)) if length else 1


def on_axes(data: xr.Dataset) -> xr.Dataset:
    """Latitudes and longitudes (y, x) as those of the rows and columns, where a row has one and a column one.

    So it is on cylindrical grids and those of degrees; GDAL then finds no raster among the coordinates.

    Examples
    --------
    >>> from vadose.grid import ease_grid
    >>> on_axes(ease_grid("36km").coordinates()).lat.dims
    ('y',)
    """
    for name, axis, other in (("lat", "y", "x"), ("lon", "x", "y")):
        if name in data.coords and set(data[name].dims) == {"y", "x"}:
            one = data[name].isel({other: 0}, drop=True)
            if bool((data[name] == one).all()):
                data = data.assign_coords({name: (axis, one.values, data[name].attrs)})
    return data


def on_cells(data: xr.Dataset) -> xr.Dataset:
    """The inverse of `on_axes`: latitudes and longitudes of each cell (y, x), as views that take no memory."""
    shape = tuple(data.sizes.get(axis, 0) for axis in ("y", "x"))
    for name, added in (("lat", 1), ("lon", 0)):
        if name in data.coords and data[name].dims == ("yx"[1 - added],):
            one = data[name].values.astype(data[name].dtype.newbyteorder("="))
            values = np.broadcast_to(np.expand_dims(one, added), shape)
            data = data.assign_coords({name: (("y", "x"), values, data[name].attrs)})
    return data


def as_stored(store: xr.Dataset) -> xr.Dataset:
    """A store as it was before JSON took the types of its attributes, and so that it can be written as NetCDF."""
    for array in store.data_vars.values():
        # CF wants them of the array's type, JSON knows none.
        for name in array.attrs.keys() & {"valid_range", "flag_values"}:
            array.attrs[name] = np.array(array.attrs[name], array.encoding.get("dtype", array.dtype))
    for name in {"y", "x", "lat", "lon", "quantile"} & set(store.variables):
        store[name].encoding["_FillValue"] = None
    return store


def consolidate(path: Path, attributes: Mapping[str, str] | None = None, *, without: str = "") -> None:
    """Note the metadata of all arrays at the root again, with further attributes and without an array."""
    with beside_arrays():
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        group.attrs.update(attributes or {})
        if without:
            del group[without]
        zarr.consolidate_metadata(path)


def consolidate_below(folder: Path) -> None:
    """`consolidate` each store of a folder, itself or below it: xarray then opens it without a word."""
    for parent, folders, names in os.walk(folder):
        if "zarr.json" in names:
            folders.clear()
            if json.loads(Path(parent, "zarr.json").read_text())["node_type"] == "group":
                consolidate(Path(parent))


def _described(store: xr.Dataset) -> xr.Dataset:
    store = store.copy()
    located = "station" not in store.coords and all(store.attrs.get(name) for name in GRID)
    if located:
        corner = grid_of(store).part(slice(0, 1), slice(0, 1)).coordinates()
        store = on_axes(store.assign_coords(crs=corner.crs))
        for axis in ("y", "x"):
            store[axis].attrs |= corner[axis].attrs
    in_degrees = {"lat", "lon"} <= set(store.dims)
    if in_degrees:
        store = store.assign_coords(crs=raster_coordinates("EPSG:4326", (0.0, 0.0, 1.0, 1.0), (1, 1)).crs)
    for name, attributes in _AXES.items():
        if name in store.coords:
            store[name].attrs |= attributes
    for name in map(str, store.data_vars):
        known = variable(name)
        store[name].attrs = (known.attributes() if known else {}) | store[name].attrs
        if store[name].dtype.kind in "iu" and (code := store[name].encoding.get("_FillValue")) is not None:
            store[name].encoding["fill_value"] = code  # GDAL takes this one for no value
        if located or in_degrees:
            # The projection is no coordinate of a variable, but one of the store, also where it is opened as it is.
            beside = [c for c, of in store.coords.items() if of.dims and c not in store.dims]
            of_cells = [str(c) for c in beside if set(store[c].dims) <= set(store[name].dims)]
            store[name].encoding |= {"coordinates": " ".join(of_cells) or None}
            if {"y", "x"} <= set(store[name].dims) or {"lat", "lon"} <= set(store[name].dims):
                store[name].encoding.pop("grid_mapping", None)
                store[name].attrs["grid_mapping"] = "crs"
    if "init_time" in store.coords:
        store.init_time.encoding = {"units": "days since 1970-01-01", "dtype": "int64"}
    return store


def _told(attributes: Mapping[str, object], title: str) -> dict[str, str]:
    """Attributes that CF recommends of a data set."""
    version, created = attributes.get("vadose_version", ""), attributes.get("created", "")
    model = attributes.get("model")
    return who() | {
        "Conventions": CONVENTIONS,
        "title": title,
        "source": f"vadose {version}".strip() + (f", model {model}" if model else ""),
        "history": f"{created} made by vadose {version}".strip(),
        "references": f"vadose {version}, docs/methods.md".replace(" ,", ","),
    }


def who() -> dict[str, str]:
    """The attribute ``institution`` that the environment names (`INSTITUTION`); {} without."""
    return {"institution": name} if (name := os.environ.get(INSTITUTION, "").strip()) else {}
