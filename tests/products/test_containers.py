"""What is no data is told as what it is, and what goes wrong as what went wrong."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import pytest
from rasterio.errors import CRSError, RasterioIOError

from vadose.errors import VadoseError
from vadose.products.containers import container_of, naming, open_hdf5, open_netcdf


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1" + bytes(90), "a Parquet file; no product comes in such files"),
        (b"\x1f\x8b\x08" + bytes(90), "a gzip file; unpack it"),
        (b"\x00\x05\x16\x07" + bytes(90), "macOS keeps in it"),
        (b"\x89PNG\r\n\x1a\n", "a PNG file; a picture, not data"),
        (b"", "is empty"),
        (bytes(90), "nothing but zeros"),
        (b"\x01\x02\x03\x04" * 20, "no known container"),
    ],
)
def test_what_is_no_data_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "srtm_16_04.tif"
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=message):
        container_of(path)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    for name, message in (
        ("pipe.tif", "a pipe, device or socket"),
        ("loop.tif", "symbolic links"),
        ("gone.tif", "no such file or folder"),
        ("gone.tif/x.tif", "no such file or folder"),
        ("x" * 300, "File name too long"),
        ("two\nlines.tif", r"two\\nlines.tif': the path holds characters"),
    ):
        with pytest.raises(VadoseError, match=message) as told:
            container_of(tmp_path / name)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("Unable to allocate 15.6 GiB"), "takes more memory than is free"),
        (RasterioIOError("TIFFOpen: out of memory"), "takes more memory than is free"),
        (CRSError("The EPSG code is unknown"), "its projection cannot be worked out"),
        (OSError(errno.EIO, "Input/output error"), "cannot be read"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be read"),
        (RasterioIOError("Read failed"), "cut short or damaged .Read failed.; fetch it again"),
        (ValueError("not a number"), "cannot be read .ValueError: not a number.; is it as published"),
        (KeyError("lat"), "lat; is the file complete"),
    ],
)
def test_only_what_was_found_is_said(error: Exception, message: str) -> None:
    with pytest.raises(VadoseError, match=f"^here: .*{message}"), naming(Path("here")):
        raise error


@pytest.mark.parametrize("opened", [open_hdf5, open_netcdf])
@pytest.mark.parametrize("zeroed", [0, 32, 48])
def test_zeros_among_the_texts_of_a_file_end_its_reading(tmp_path: Path, opened: Any, zeroed: int) -> None:
    path = tmp_path / "day.nc4"
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "a text of some length"
    content = path.read_bytes()
    start = content.find(b"GCOL") + 16
    path.write_bytes(content[:start] + bytes(zeroed) + content[start + zeroed :])
    with pytest.raises(VadoseError, match="damaged") if zeroed else nullcontext(), opened(path) as found:
        assert found.attrs["title"] == "a text of some length"
