"""Open files of every container the data centres use, with one clear error for whatever is wrong with one."""

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio.windows import Window

from vadose.errors import VadoseError
from vadose.grid import raster_coordinates, raster_window

BBox = tuple[float, float, float, float]
"""West, south, east, north [degree]."""

_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"\x0e\x03\x13\x01": "hdf4",
    b"CDF\x01": "netcdf3",
    b"CDF\x02": "netcdf3",
    b"CDF\x05": "netcdf3",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"II+\x00": "tiff",
    b"MM\x00+": "tiff",
    b"GRIB": "grib",
    b"PK\x03\x04": "zip",
    b"EHFA_HEADER_TAG": "img",
}
RASTERS = ("tiff", "img", "vrt")
"""Containers `open_raster` reads: GeoTIFF, Erdas Imagine, and GDAL's virtual rasters."""


def container_of(path: Path) -> str:
    """The container a file is in, by its first bytes and not by its name.

    Returns
    -------
    str
        ``'hdf5'`` (netCDF-4 is that too), ``'hdf4'``, ``'netcdf3'``, ``'tiff'``, ``'img'``, ``'vrt'``,
        ``'grib'``, ``'zip'``, ``'text'`` or ``'folder'``.

    Raises
    ------
    VadoseError
        When there is no such file, it is empty, a web page (a login page saved as data), or of no
        known kind.
    """
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise VadoseError(f"{path}: no such file or folder")
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise VadoseError(f"{path}: cannot be read ({error.strerror})") from error
    if not head:
        raise VadoseError(f"{path}: the file is empty (0 bytes); a download failed, fetch it again")
    for magic, container in _MAGIC.items():
        if head.startswith(magic):
            return container
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        raise VadoseError(f"{path}: a web page, not data; the login failed. Check the credentials and fetch it again")
    if start.startswith(b"<vrtdataset"):
        return "vrt"
    if b"GRIB" in head[:512]:  # some centres put a header of their own before the first message
        return "grib"
    if not any(head[:64]):
        raise VadoseError(f"{path}: the file begins with nothing but zeros; it is damaged, fetch it again")
    if _is_text(head):
        return "text"
    raise VadoseError(f"{path}: no known container (the first bytes are {head[:8]!r}); is the file damaged?")


def _is_text(head: bytes) -> bool:
    # A NUL now and then is known from station files; other control characters are not text.
    control = sum(byte < 9 or 13 < byte < 32 for byte in head.replace(b"\x00", b""))
    return head.count(b"\x00") < 0.05 * len(head) and control < 0.01 * len(head)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; whatever fails inside the block is told as one error."""
    _expect(path, ("hdf5",), "HDF5")
    with _told(path), h5py.File(path, "r") as file:
        yield file


@contextmanager
def open_hdf4(path: Path) -> Iterator[Any]:
    """Open an HDF4 file to read (`pyhdf.SD.SD`); whatever fails inside the block is told as one error."""
    # Loaded where it is needed: the library is wanted for MODIS alone.
    from pyhdf.SD import SD, SDC

    _expect(path, ("hdf4",), "HDF4")
    with _told(path):
        file = SD(str(path), SDC.READ)
        try:
            yield file
        finally:
            file.end()


@contextmanager
def open_netcdf(path: Path) -> Iterator[xr.Dataset]:
    """Open a netCDF-3 or netCDF-4 file as it is stored: nothing scaled, masked or decoded."""
    _expect(path, ("hdf5", "netcdf3"), "netCDF")
    with _told(path):
        raw = xr.open_dataset(
            path, engine="netcdf4", mask_and_scale=False, decode_times=False, decode_timedelta=False,
            decode_coords=False, cache=False,
        )  # fmt: skip
        with raw as dataset:
            yield dataset


@contextmanager
def open_raster(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF, Erdas Imagine file or virtual raster; what fails inside the block is told as one error."""
    _expect(path, RASTERS, "GeoTIFF")
    with _told(path), rasterio.open(path) as dataset:
        yield dataset


def read_raster(
    path: Path, bbox: BBox | None = None, band: int = 1
) -> tuple[NDArray[Any], xr.Dataset, float | int | None]:
    """Read one band of a raster as it is stored.

    Returns
    -------
    tuple
        Values (row, column), not scaled and not masked; their coordinates, north up; the nodata value
        the file declares, or None.

    Raises
    ------
    VadoseError
        When the file has no projection, or the box lies outside it.
    """
    with open_raster(path) as dataset:
        if dataset.crs is None:
            raise VadoseError(f"{path}: the file names no projection; it cannot be placed")
        affine = dataset.transform
        if affine.b or affine.d or affine.a <= 0 or affine.e >= 0:
            raise VadoseError(f"{path}: the raster is not north up (transform {tuple(affine)[:6]}); warp it first")
        transform = (affine.c, affine.f, affine.a, -affine.e)
        rows, columns = raster_window(dataset.crs, transform, dataset.shape, bbox, path)
        values = dataset.read(band, window=Window.from_slices(rows, columns))
        left, top, dx, dy = transform
        moved = (left + columns.start * dx, top - rows.start * dy, dx, dy)
        return values, raster_coordinates(dataset.crs, moved, values.shape), dataset.nodatavals[band - 1]


def simulated_mark(attributes: Any) -> str:
    """'true' when a container's attributes or tags say that its values were simulated, else 'false'."""
    value = attributes.get("simulated", "") if hasattr(attributes, "get") else ""
    text = value.decode() if isinstance(value, bytes) else str(value)
    return "true" if text.lower().startswith("true") else "false"


def choose(value: str, choices: Iterable[str], what: str, path: Path) -> None:
    """Refuse a value that is not among the choices."""
    if value not in (known := list(choices)):
        raise VadoseError(f"{path}: {what} {value!r} unknown; choose from {known}")


def _expect(path: Path, containers: tuple[str, ...], title: str) -> str:
    container = container_of(path)
    if container not in containers:
        raise VadoseError(f"{path}: found a {container} file where {title} is published; is it another file renamed?")
    return container


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what a library raises over a damaged file into one line."""
    try:
        yield
    except VadoseError:
        raise
    except KeyError as error:
        raise VadoseError(f"{path}: {str(error.args[0]) if error.args else error}; is the file complete?") from error
    except Exception as error:
        # HDF5, HDF4, GDAL and netCDF each have errors of their own for a file cut short.
        reason = " ".join(str(error).split())[:200]
        raise VadoseError(f"{path}: cut short or damaged ({reason}); fetch it again") from error


def is_zip(path: Path) -> bool:
    """Whether a path is a zip archive."""
    return path.is_file() and zipfile.is_zipfile(path)


def as_float(values: NDArray[Any], *fills: float | int | None) -> NDArray[np.float32]:
    """Values as float32, NaN where they equal a fill value (or are NaN already).

    Examples
    --------
    >>> as_float(np.array([1, -9999], np.int16), -9999).tolist()
    [1.0, nan]
    """
    result = values.astype(np.float32)
    for fill in fills:
        if fill is not None and not np.isnan(fill) and _fits(fill, values.dtype):
            result[values == values.dtype.type(fill)] = np.nan
    return result


def _fits(fill: float | int, dtype: np.dtype[Any]) -> bool:
    """Whether a type can hold a fill value: tools leave -9999 declared on bytes, which none of them equals."""
    return dtype.kind not in "iu" or bool(np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max)
