"""The one form of all stores of predictions: (init_time, lead_time, y, x), with what the CF conventions ask for."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning

from vadose.grid import grid_of
from vadose.variables import variable

CONVENTIONS = "CF-1.11"
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
    path: Path, store: xr.Dataset, title: str, *, chunks: Mapping[str, int], empty: bool = False, more: bool = False
) -> None:
    """Write predictions as a Zarr store that says in CF attributes what it holds, where it lies and what made it.

    Parameters
    ----------
    store
        Variables (init_time, lead_time, ..., y, x), a map of a day at lead 0; cells that are stations have their names
        in a coordinate ``station`` along y. Attributes of the data set are kept; those of `vadose.artefact.provenance`
        become ``history`` and ``source`` too.
    title
        What it is, in a line.
    chunks
        Sizes of chunks by dimension, the whole length where none is given.
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
        pieces = store.chunk(chunks).assign_coords(store.coords)
        values = pieces.to_zarr(path, mode="w", zarr_format=3, consolidated=True, compute=False)
        if not empty:
            values.compute()


def as_stored(store: xr.Dataset) -> xr.Dataset:
    """A store as it was before JSON took the types of its attributes, and so that it can be written as NetCDF."""
    for array in store.data_vars.values():
        # CF wants them of the array's type, JSON knows none.
        for name in array.attrs.keys() & {"valid_range", "flag_values"}:
            array.attrs[name] = np.array(array.attrs[name], array.dtype)
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


def _described(store: xr.Dataset) -> xr.Dataset:
    store = store.copy()
    located = "station" not in store.coords and all(store.attrs.get(name) for name in GRID)
    if located:
        corner = grid_of(store).part(slice(0, 1), slice(0, 1)).coordinates()
        store = store.assign_coords(crs=corner.crs)
        for axis in ("y", "x"):
            store[axis].attrs |= corner[axis].attrs
    for name, attributes in _AXES.items():
        if name in store.coords:
            store[name].attrs |= attributes
    for name in map(str, store.data_vars):
        known = variable(name)
        store[name].attrs = (known.attributes() if known else {}) | store[name].attrs
        if located:
            # The projection is no coordinate of a variable, but one of the store, also where it is opened as it is.
            beside = [c for c, of in store.coords.items() if of.dims and c not in store.dims]
            of_cells = [str(c) for c in beside if set(store[c].dims) <= set(store[name].dims)]
            store[name].encoding |= {"coordinates": " ".join(of_cells) or None}
            if {"y", "x"} <= set(store[name].dims):
                store[name].encoding.pop("grid_mapping", None)
                store[name].attrs["grid_mapping"] = "crs"
    if "init_time" in store.coords:
        store.init_time.encoding = {"units": "days since 1970-01-01", "dtype": "int64"}
    return store


def _told(attributes: Mapping[str, object], title: str) -> dict[str, str]:
    """Attributes that CF recommends of a data set."""
    version, created = attributes.get("vadose_version", ""), attributes.get("created", "")
    model = attributes.get("model")
    return {
        "Conventions": CONVENTIONS,
        "title": title,
        "source": f"vadose {version}".strip() + (f", model {model}" if model else ""),
        "history": f"{created} made by vadose {version}".strip(),
    }
