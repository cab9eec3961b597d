"""The part of a GeoTIFF that lies within a box, read where it is, without the blocks outside."""

import logging
import re
from itertools import product
from pathlib import Path
from urllib.parse import quote

import rasterio
from rasterio import DatasetReader
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from vadose.download.client import AgainError, Client
from vadose.download.plan import BBox, RemoteFile, bare
from vadose.errors import VadoseError
from vadose.grid import raster_window
from vadose.products.rasters import lattice_of, read_part

ROWS_AT_A_TIME = 1024
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
    """Write the pixels of a remote GeoTIFF whose centres lie within ``file.crop``, on its own lattice.

    Raises
    ------
    VadoseError
        When the server gives no parts of files, the box lies outside, or reading fails time after time.
    """
    assert file.crop is not None
    box = file.crop

    def attempt() -> None:
        url = client.signed(file.url, file.name, file.login)
        # Asked first by ourselves, a missing file or a refused login is told clearly.
        with client.open(url, file.name, file.login, {"Range": "bytes=0-15"}) as response:
            if response.status_code != 206:
                raise VadoseError(
                    f"{file.name}: {file.host} does not serve parts of files; fetch the complete file, without a box"
                )
        connect, read = (str(int(seconds)) for seconds in client.timeout)
        try:
            source = f"/vsicurl?url={quote(url, safe='')}"
            # Whatever the file names besides, nothing but itself is asked for.
            only = {"CPL_VSIL_CURL_ALLOWED_FILENAME": source}
            with (
                rasterio.Env(**GDAL, **only, GDAL_HTTP_CONNECTTIMEOUT=connect, GDAL_HTTP_TIMEOUT=read),
                rasterio.open(source, driver="GTiff") as raster,
            ):
                crop_raster(raster, path, box, file.name, bare(file.url))
        except RasterioError:
            # The library's own text holds the whole address, which may be signed.
            raise AgainError(f"{file.host}: reading the raster failed") from None
        client.count(path.stat().st_size)

    client.persist(file.name, attempt)


def crop_raster(raster: DatasetReader, path: Path, box: BBox, name: str, origin: str = "") -> None:
    """Copy what lies within a box, north up: values, type, nodata, projection, band names and tags stay as they are."""
    lattice = lattice_of(raster, Path(name))
    rows, columns = raster_window(lattice.crs, lattice.transform, lattice.shape, box, name)
    left, top, dx, dy = lattice.transform
    height, width = rows.stop - rows.start, columns.stop - columns.start
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
        "transform": Affine(dx, 0.0, left + columns.start * dx, 0.0, -dy, top - rows.start * dy),
    }
    if height >= 256 and width >= 256:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", **profile) as target:
        for band, start in product(range(1, raster.count + 1), range(0, height, ROWS_AT_A_TIME)):
            part = slice(rows.start + start, min(rows.start + start + ROWS_AT_A_TIME, rows.stop))
            values = read_part(raster, Path(name), lattice, part, columns, band)
            target.write(values, band, window=Window(0, start, width, len(values)))
        target.update_tags(**raster.tags(), **({"source": origin} if origin else {}))
        for band, description in enumerate(raster.descriptions, 1):
            target.update_tags(band, **raster.tags(band))
            if description:
                target.set_band_description(band, description)
