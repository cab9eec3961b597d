"""Open files of every container the data centres use, with one clear error for whatever is wrong with one."""

import codecs
import errno
import mmap
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.errors import CRSError

from vadose.errors import VadoseError
from vadose.grid import proj_hint
from vadose.products.stored import check_size

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
_HEAP = b"GCOL\x01\0\0\0"
_UNPACK = "unpack it and give what is in it"
_OTHER = "no product comes in such files"
_NO_DATA = {
    b"\x1f\x8b": ("gzip", _UNPACK),
    b"BZh": ("bzip2", _UNPACK),
    b"\xfd7zXZ": ("xz", _UNPACK),
    b"(\xb5/\xfd": ("Zstandard", _UNPACK),
    b"7z\xbc\xaf": ("7-Zip", _UNPACK),
    b"Rar!": ("RAR", _UNPACK),
    b"PAR1": ("Parquet", _OTHER),
    b"SQLite format 3": ("SQLite", _OTHER),
    b"\x93NUMPY": ("NumPy", _OTHER),
    b"%PDF": ("PDF", _OTHER),
    b"\x89PNG": ("PNG", "a picture, not data"),
    b"\xff\xd8\xff": ("JPEG", "a picture, not data"),
    b"\x00\x00\x00\x0cjP  ": ("JPEG 2000", _OTHER),
    b"\x00\x05\x16\x07": ("AppleDouble", "macOS keeps in it what it knows of another file; delete it"),
}


def container_of(path: Path) -> str:
    """The container a file is in, by its first bytes and not by its name (but for ``.hgt``, which has no mark).

    Returns
    -------
    str
        ``'hdf5'`` (netCDF-4 is that too), ``'hdf4'``, ``'netcdf3'``, ``'tiff'``, ``'img'``, ``'vrt'``, ``'hgt'``,
        ``'grib'``, ``'zip'``, ``'text'`` or ``'folder'``.

    Raises
    ------
    VadoseError
        When there is no such file, it cannot be read, is no plain file, empty, a web page (a login page saved as
        data), or of a kind no product comes in.
    """
    if not str(path).isprintable():
        raise VadoseError(f"{str(path)!r}: the path holds characters that cannot be printed; rename it")
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode):
            raise VadoseError(f"{path}: a pipe, device or socket, expected a file or folder")
        with path.open("rb") as stream:
            head = stream.read(4096)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VadoseError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise VadoseError(f"{path}: cannot be read ({error.strerror})") from error
    if not head:
        raise VadoseError(f"{path}: the file is empty (0 bytes); a download failed, fetch it again")
    for magic, container in _MAGIC.items():
        if head.startswith(magic):
            return container
    for magic, (kind, advice) in _NO_DATA.items():
        if head.startswith(magic):
            raise VadoseError(f"{path}: a {kind} file; {advice}")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        raise VadoseError(f"{path}: a web page, not data; the login failed. Check the credentials and fetch it again")
    if start.startswith(b"<vrtdataset"):
        return "vrt"
    if path.suffix.lower() == ".hgt":
        return "hgt"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "text"
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
    expect(path, ("hdf5",), "HDF5")
    _check_heaps(path, path.stat().st_mtime_ns)
    with naming(path), h5py.File(path, "r") as file:
        yield file


@lru_cache(maxsize=64)
def _check_heaps(path: Path, _changed: int) -> None:
    """Raise where a heap of texts holds free space of no size, as zeroed bytes do: HDF5 would walk it for ever.

    A heap is ``GCOL``, version, size (8 bytes); its objects are number (2 bytes, 0 is free space), 6 bytes, size (8).
    A file is searched once for as long as it stays unchanged.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_HEAP)
        while 0 <= start <= len(content) - 16:
            at, end = start + 16, min(start + struct.unpack_from("<Q", content, start + 8)[0], len(content))
            while at + 16 <= end:
                number, size = struct.unpack_from("<H6xQ", content, at)
                if number == size == 0:
                    raise VadoseError(f"{path}: damaged (zeros among its texts, from byte {at} on); fetch it again")
                at += 16 + -(-size // 8) * 8 if number else size
            start = content.find(_HEAP, start + 16)


@contextmanager
def open_hdf4(path: Path) -> Iterator[Any]:
    """Open an HDF4 file to read (`pyhdf.SD.SD`); whatever fails inside the block is told as one error."""
    # Loaded where it is needed: the library is wanted for MODIS alone.
    from pyhdf.SD import SD, SDC

    expect(path, ("hdf4",), "HDF4")
    with naming(path):
        file = SD(str(path), SDC.READ)
        try:
            yield file
        finally:
            file.end()


@contextmanager
def open_netcdf(path: Path) -> Iterator[xr.Dataset]:
    """Open a netCDF-3 or netCDF-4 file as it is stored: nothing scaled, masked or decoded."""
    if expect(path, ("hdf5", "netcdf3"), "netCDF") == "hdf5":
        _check_heaps(path, path.stat().st_mtime_ns)
    with naming(path):
        raw = xr.open_dataset(
            path,
            engine="netcdf4",
            mask_and_scale=False,
            decode_times=False,
            decode_timedelta=False,
            decode_coords=False,
            cache=False,
        )
        with raw as dataset:
            for name, variable in dataset.variables.items():
                if variable.ndim <= 1:
                    check_size(path, str(name), variable.shape, "is the file as published?")
            yield dataset


def simulated_mark(attributes: object) -> str:
    """'true' when a container's attributes or tags say that its values were simulated, else 'false'."""
    value = attributes.get("simulated", "") if hasattr(attributes, "get") else ""
    text = value.decode() if isinstance(value, bytes) else str(value)
    return "true" if text.lower().startswith("true") else "false"


def choose(value: str, choices: Iterable[str], what: str, path: Path) -> None:
    """Refuse a value that is not among the choices."""
    if value not in (known := list(choices)):
        raise VadoseError(f"{path}: {what} {value!r} unknown; choose from {known}")


def expect(path: Path, containers: tuple[str, ...], title: str) -> str:
    """The container of a file; raise if it is none of these. ``title`` is what people call the expected ones."""
    container = container_of(path)
    if container not in containers:
        raise VadoseError(f"{path}: found a {container} file where {title} is published; is it another file renamed?")
    return container


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise whatever goes wrong in the block as one line that names the file and says no more than was found."""
    try:
        yield
    except VadoseError:
        raise
    except KeyError as error:
        raise VadoseError(f"{path}: {str(error.args[0]) if error.args else error}; is the file complete?") from error
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # GDAL's own words
            cause = cause.__cause__
        reason = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise VadoseError(f"{path}: {_what_failed(error, reason)}") from error


def _what_failed(error: Exception, reason: str) -> str:
    number = getattr(error, "errno", None) or 0
    if (
        isinstance(error, MemoryError)
        or number == errno.ENOMEM
        or re.search("(?i)out of memory|cannot allocate", reason)
    ):
        return f"reading it takes more memory than is free ({reason}); give an area with --bbox or bbox="
    if isinstance(error, CRSError | ProjError):
        return f"its projection cannot be worked out ({reason}){proj_hint()}"
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return f"cannot be read ({reason})"
    if number in (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT):
        return f"cannot be read ({os.strerror(number)})"
    # HDF5, HDF4, GDAL and netCDF each have errors of their own for a file cut short.
    if isinstance(error, OSError | RuntimeError | EOFError) or type(error).__name__ == "HDF4Error":
        return f"cut short or damaged ({reason}); fetch it again"
    return f"cannot be read ({type(error).__name__}: {reason}); is it as published?"


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
