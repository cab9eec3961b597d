"""Stores and files opened lazily."""

import re
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import xarray as xr

from vadose.artefact import check_chunks
from vadose.artefact.predictions import as_stored, beside_arrays
from vadose.errors import VadoseError

_WAYS = {
    ".gr": "; GRIB is read by cfgrib (pip install 'vadose[grib]'), or write it as NetCDF (xarray: dataset.to_netcdf)",
    ".csv": "; make a store of a table: vadose stations --table",
}

REMOTE = re.compile(r"[a-z][a-z0-9+]+:/")
"""Beginning of an address."""
_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
"""Beginning of an address -> library by which fsspec reads it."""


def open_store(store: Path) -> xr.Dataset:
    """Open a Zarr store of one group, or a NetCDF file, lazily.

    Raises
    ------
    VadoseError
        When there is none, the file cannot be read as NetCDF, or a chunk of the store is missing.
    """
    if store.is_file():
        try:
            return xr.open_dataset(store, chunks={})
        except (OSError, ValueError, EOFError) as error:
            way = next((way for ends, way in _WAYS.items() if store.suffix.lower().startswith(ends)), "")
            said = f"{store}: cannot be read as NetCDF ({str(error).splitlines()[0][:120]}){way}"
            raise VadoseError(said) from error
    if not any((store / name).exists() for name in ("zarr.json", ".zgroup")):
        raise VadoseError(f"{store}: no Zarr store there; make one with 'vadose forecast' or 'vadose stations'")
    check_chunks(store)
    with beside_arrays():
        found = xr.open_zarr(store, consolidated=False, decode_coords="all")
    return _as_station_store(as_stored(found))


def open_any(address: str, keys: Mapping[str, object] | None = None) -> xr.Dataset:
    """Open what xarray reads, lazily: NetCDF, Zarr, GRIB (by cfgrib), references of kerchunk, here or at an address.

    Parameters
    ----------
    address
        Path, or an address that fsspec knows: ``s3://``, ``gs://``, ``https://``. Other files than Zarr stores are
        copied to a cache of this process first.
    keys
        Of messages of GRIB to be read, such as ``{'shortName': '2t'}``.

    Raises
    ------
    VadoseError
        When it cannot be opened, or a library that it needs is not installed.
    """
    options: dict[str, Any] = {"chunks": None, "decode_coords": "all", "decode_timedelta": False}
    remote, path = _remote(address), Path(address)
    store: dict[str, Any] = {"engine": "zarr", "backend_kwargs": {"consolidated": False}}
    try:
        if address.endswith(".json"):
            store["backend_kwargs"] |= {"storage_options": {"fo": address}}
            return xr.open_dataset("reference://", **store, **options)
        if address.rstrip("/").endswith(".zarr") or any((path / name).exists() for name in ("zarr.json", ".zgroup")):
            if not remote:
                check_chunks(path)
                return xr.open_dataset(address, **store, **options)
            with warnings.catch_warnings():  # a server that lists no folder needs the store's list of its own arrays
                warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata")
                return xr.open_dataset(address, engine="zarr", **options)
        path = local_copy(address)
        if is_grib(path):
            import cfgrib  # noqa: F401

            kept = {"indexpath": "", "filter_by_keys": dict(keys or {})}
            return xr.open_dataset(path, engine="cfgrib", backend_kwargs=kept, **options)
        return xr.open_dataset(path, **options)
    except ImportError as error:
        needed = error.name or str(error).splitlines()[0][:120]
        raise VadoseError(f"{address}: is read by {needed}, not installed; pip install {needed}") from error
    except Exception as error:  # libraries of addresses have errors of their own
        if not remote and not isinstance(error, OSError | ValueError | EOFError | KeyError | RuntimeError):
            raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        way = next((way for ends, way in _WAYS.items() if path.suffix.lower().startswith(ends)), "")
        raise VadoseError(f"{address}: cannot be read ({why}){way}") from error


def _remote(address: str) -> bool:
    """Whether an address is no path here; the libraries by which it is read are there then."""
    scheme = REMOTE.match(address)
    library = _LIBRARIES.get(address.split(":")[0], "fsspec")
    if scheme and (lacking := [name for name in ("fsspec", library) if find_spec(name) is None]):
        raise VadoseError(
            f"{address}: is read by {' and '.join(dict.fromkeys(lacking))}, not installed; pip install 'vadose[remote]'"
        )
    return bool(scheme)


def is_grib(path: Path) -> bool:
    """Whether a file is GRIB, by its name or, such as ``gfs.t00z.pgrb2.0p25.f024``, by its first bytes."""
    if path.suffix.lower().startswith((".grb", ".grib")):
        return True
    with path.open("rb") if path.is_file() else BytesIO() as file:
        return file.read(4) == b"GRIB"


def local_copy(address: str) -> Path:
    """The path of a file, of one at an address that of a copy in a cache of this process."""
    if not _remote(address):
        return Path(address)
    import fsspec

    return Path(fsspec.open_local(f"simplecache::{address}"))


def address_of(path: Path | str) -> str:
    """An address whose slashes a path has lost, or the path.

    Examples
    --------
    >>> address_of(Path("s3://bucket/mine.zarr")), address_of(Path("/data/mine.nc"))
    ('s3://bucket/mine.zarr', '/data/mine.nc')
    """
    return re.sub(r"^([a-z][a-z0-9+]+):/+", r"\1://", str(path))


def _as_station_store(series: xr.Dataset) -> xr.Dataset:
    """A filled station of an earlier version (time,) as a station store; other data sets as they are."""
    if "station" not in series.attrs or set(series.dims) != {"time"} or "origin" not in series:
        return series
    filled = {name: name.replace("soil_moisture", "soil_moisture_filled") for name in map(str, series.data_vars)}
    observed = series.soil_moisture.where(series.origin == 0)
    station = {"station": [series.attrs["station"]], "layer": ["0-10 cm"]}
    found = series.rename(filled).assign(soil_moisture=observed).expand_dims(station)
    return found.assign_coords({name: ("station", [float(found[name])]) for name in ("lat", "lon") if name in found})
