"""The part of a GeoTIFF that lies within a box, read where it is, without the blocks outside."""

import logging
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from urllib.parse import quote

import rasterio
from rasterio import DatasetReader
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from vadose.download.area import BBox
from vadose.download.client import AgainError, Client
from vadose.download.plan import RemoteFile, bare
from vadose.errors import OutsideError, VadoseError
from vadose.grid import raster_window
from vadose.products.rasters import Lattice, lattice_of, read_part

ROWS_AT_A_TIME = 1024
EDGE = 256
"""Rows and columns of a block of the files written."""
GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_NETRC": "NO",
    "GDAL_PAM_ENABLED": "NO",
    # A signature often holds for GET alone.
    "CPL_VSIL_CURL_USE_HEAD": "NO",
    # Else a second attempt would be answered from the memory of the first.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl",
}


def _without_query(record: logging.LogRecord) -> bool:
    """Signatures are in the query of an address, and GDAL logs addresses that fail."""
    record.msg, record.args = re.sub(r"\?\S+", "", record.getMessage()), ()
    return True


logging.getLogger("rasterio._env").addFilter(_without_query)


def read_window(client: Client, file: RemoteFile, path: Path) -> None:
    """Write the pixels of a remote GeoTIFF whose centres lie within the boxes of ``file.crop``, on its own lattice.

    Raises
    ------
    VadoseError
        When the server gives no parts of files, the box lies outside, or reading fails time after time.
    """

    def attempt() -> None:
        url = client.signed(file.url, file.name, file.login)
        # Asked first by ourselves, a missing file or a refused login is told clearly.
        with client.open(url, file.name, file.login, {"Range": "bytes=0-15"}) as response:
            if response.status_code != 206:
                raise VadoseError(
                    f"{file.name}: {file.host} does not serve parts of files; fetch the complete file, without a box"
                )
            if file.login == "earthdata":
                # The login ends at a signed address, which holds for the parts as well; GDAL never sees the login.
                url = response.url
        connect, read = (str(int(seconds)) for seconds in client.timeout)
        try:
            source = f"/vsicurl?url={quote(url, safe='')}"
            # Whatever the file names besides, nothing but itself is asked for.
            only = {"CPL_VSIL_CURL_ALLOWED_FILENAME": source}
            with (
                rasterio.Env(**GDAL, **only, GDAL_HTTP_CONNECTTIMEOUT=connect, GDAL_HTTP_TIMEOUT=read),
                rasterio.open(source, driver="GTiff") as raster,
            ):
                crop_raster(raster, path, file.crop, file.name, bare(file.url))
        except RasterioError:
            # The library's own text holds the whole address, which may be signed.
            raise AgainError(f"{file.host}: reading the raster failed") from None
        client.count(path.stat().st_size)

    client.persist(file.name, attempt)


def crop_raster(raster: DatasetReader, path: Path, boxes: Sequence[BBox], name: str, origin: str = "") -> None:
    """Copy what lies within boxes, north up: values, type, nodata, projection, band names and tags stay as they are.

    Of several boxes the file reaches around all; only blocks that hold a part of one are read and written, the others
    take no space and read as nodata (0 where the raster declares none).

    Raises
    ------
    OutsideError
        When every box lies outside the raster.
    """
    lattice = lattice_of(raster, Path(name))
    windows = _windows(raster, lattice, boxes, name)
    top, bottom = min(rows.start for rows, _ in windows), max(rows.stop for rows, _ in windows)
    west, east = min(columns.start for _, columns in windows), max(columns.stop for _, columns in windows)
    left, upper, dx, dy = lattice.transform
    height, width = bottom - top, east - west
    profile = {
        "driver": "GTiff",
        "dtype": raster.dtypes[0],
        "nodata": raster.nodata,
        "crs": raster.crs,
        "count": raster.count,
        "height": height,
        "width": width,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
        "SPARSE_OK": len(windows) > 1,
        "transform": Affine(dx, 0.0, left + west * dx, 0.0, -dy, upper - top * dy),
    }
    if height >= EDGE and width >= EDGE:
        profile |= {"tiled": True, "blockxsize": EDGE, "blockysize": EDGE}
    if len(windows) == 1:
        parts = [
            (slice(row, min(row + ROWS_AT_A_TIME, bottom)), windows[0][1]) for row in range(top, bottom, ROWS_AT_A_TIME)
        ]
    else:
        parts = _blocks(windows, slice(top, bottom), slice(west, east))
    with rasterio.open(path, "w", **profile) as target:
        for band, (rows, columns) in product(range(1, raster.count + 1), parts):
            values = read_part(raster, Path(name), lattice, rows, columns, band)
            place = Window(columns.start - west, rows.start - top, columns.stop - columns.start, len(values))
            target.write(values, band, window=place)
        target.update_tags(**raster.tags(), **({"source": origin} if origin else {}))
        for band, description in enumerate(raster.descriptions, 1):
            target.update_tags(band, **raster.tags(band))
            if description:
                target.set_band_description(band, description)


def _windows(raster: DatasetReader, lattice: Lattice, boxes: Sequence[BBox], name: str) -> list[tuple[slice, slice]]:
    """Rows and columns of each box that the raster holds a part of."""
    found, outside = [], None
    for box in boxes:
        try:
            found.append(raster_window(lattice.crs, lattice.transform, lattice.shape, box, name))
        except OutsideError as error:
            outside = error
    if not found and outside:
        raise outside
    return found


def _blocks(windows: Sequence[tuple[slice, slice]], rows: slice, columns: slice) -> list[tuple[slice, slice]]:
    """Blocks of the file to be written, each once, that hold a part of a window."""
    corners = {
        (row, column)
        for part in windows
        for row in range((part[0].start - rows.start) // EDGE, (part[0].stop - 1 - rows.start) // EDGE + 1)
        for column in range((part[1].start - columns.start) // EDGE, (part[1].stop - 1 - columns.start) // EDGE + 1)
    }

    def span(whole: slice, number: int) -> slice:
        start = whole.start + number * EDGE
        return slice(start, min(start + EDGE, whole.stop))

    return [(span(rows, row), span(columns, column)) for row, column in sorted(corners)]
