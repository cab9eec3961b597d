"""Open and read rasters: by a driver that is known, from this file alone, in windows that fit in memory.

GDAL follows whatever a file names: a virtual raster its sources, a GeoTIFF its overviews, and each of them may be an
address on the network or any file of this machine. Here it opens nothing but the file that was given, and of a
virtual raster the plain rasters in or below its own folder.
"""

import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio import DatasetReader
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from vadose.errors import NeedsError, VadoseError
from vadose.grid import raster_coordinates, raster_window, transformer_to
from vadose.parallel.memory import fits
from vadose.products.containers import BBox, container_of, expect, naming

_DRIVERS = {"tiff": "GTiff", "img": "HFA", "vrt": "VRT", "hgt": "SRTMHGT"}
RASTERS = tuple(_DRIVERS)
"""Containers `open_raster` reads: GeoTIFF, Erdas Imagine, GDAL's virtual rasters, tiles of SRTM by height."""

# What lies beside a file (.aux.xml, .tfw, .ovr) says nothing here, and no address is opened.
_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
}
# All that a mosaic of plain rasters is made of, in small letters as GDAL heeds no case.
_VRT_PARTS = {
    "vrtdataset",
    "srs",
    "geotransform",
    "metadata",
    "mdi",
    "blockxsize",
    "blockysize",
    "overviewlist",
    "vrtrasterband",
    "description",
    "unittype",
    "offset",
    "scale",
    "nodatavalue",
    "hidenodatavalue",
    "colorinterp",
    "colortable",
    "entry",
    "categorynames",
    "category",
    "histograms",
    "simplesource",
    "complexsource",
    "averagedsource",
    "sourcefilename",
    "sourceband",
    "sourceproperties",
    "srcrect",
    "dstrect",
    "nodata",
    "scaleoffset",
    "scaleratio",
    "usemaskband",
}
_VRT_WORDS = {
    "rasterxsize",
    "rasterysize",
    "dataaxistosrsaxismapping",
    "coordinateepoch",
    "domain",
    "key",
    "format",
    "datatype",
    "band",
    "blockxsize",
    "blockysize",
    "c1",
    "c2",
    "c3",
    "c4",
    "resampling",
    "relativetovrt",
    "shared",
    "xoff",
    "yoff",
    "xsize",
    "ysize",
}
_VRT_BYTES = 1 << 24
_SAMPLE = 512
"""Pixels along a side of what is looked at where a whole raster is too large."""
_SCRATCH = 9
"""Bytes a pixel takes beside its stored value while it is decoded: two float32 and a mask."""
_ROUNDING = 1e-6
"""Of a degree."""
_RIM = 0.1
"""Of a tile's width that its middle may lie outside its name's tile; of a pixel that it may lie off the lattice."""


@dataclass(frozen=True)
class Lattice:
    """Where the pixels of a raster lie, seen north up: outer upper-left corner and pixel size, both positive."""

    crs: Any
    transform: tuple[float, float, float, float]
    shape: tuple[int, int]
    south_up: bool

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in the raster's own projection."""
        left, top, dx, dy = self.transform
        return left, top - dy * self.shape[0], left + dx * self.shape[1], top

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are degrees."""
        return bool(self.crs.is_geographic)

    def box(self, rows: slice | None = None, columns: slice | None = None) -> BBox:
        """West, south, east, north [degree] of the outline of all pixels, or of some."""
        left, top, dx, dy = self.transform
        rows, columns = rows or slice(0, self.shape[0]), columns or slice(0, self.shape[1])
        corners = left + dx * columns.start, top - dy * rows.stop, left + dx * columns.stop, top - dy * rows.start
        if self.is_geographic:
            return corners
        west, south, east, north = transformer_to(self.crs.to_wkt()).transform_bounds(
            *corners, densify_pts=21, direction="INVERSE"
        )
        return west, south, east, north


@contextmanager
def open_raster(path: Path) -> Iterator[DatasetReader]:
    """Open a raster of `RASTERS`; what fails inside the block is raised as one error that names the file.

    Raises
    ------
    VadoseError
        When the file is of another kind, damaged, or refers to a file outside its own folder.
    """
    container = expect(path, RASTERS, "GeoTIFF")
    source = _own_sources(path) if container == "vrt" else path.absolute()
    with naming(path), _warnings.kept(path), rasterio.Env(**_GDAL), _opened(path, source, _DRIVERS[container]) as file:
        folder = os.path.dirname(os.path.abspath(path))
        if outside := [name for name in file.files if not os.path.normpath(name).startswith(folder + os.sep)]:
            raise VadoseError(f"{path}: refers to {outside[0]}, outside its own folder; copy that file beside it")
        yield file


class _Warnings(logging.Filter):
    """Keeps GDAL's warnings of a thread from the terminal while it reads a raster, to be judged here."""

    def __init__(self) -> None:
        super().__init__()
        self._of = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record through where no raster is being read."""
        for heard in (kept := getattr(self._of, "kept", [])):
            heard.append(" ".join(record.getMessage().split()))
        return not kept

    @contextmanager
    def kept(self, path: Path) -> Iterator[None]:
        """Raise at the end if GDAL left out a part of the file as unreadable."""
        heard: list[str] = []
        self._of.kept = [*getattr(self._of, "kept", []), heard]
        try:
            yield
        finally:
            self._of.kept = self._of.kept[:-1]
        if lost := [text for text in heard if _LOST.search(text)]:
            raise VadoseError(f"{path}: cut short or damaged ({lost[0][:200]}); fetch it again")


_LOST = re.compile(r"tag ignored|IO error|ASCII value|Incorrect count")
_warnings = _Warnings()
logging.getLogger("rasterio._env").addFilter(_warnings)


def _opened(path: Path, source: Path | str, driver: str) -> DatasetReader:
    with warnings.catch_warnings(), _warnings.kept(path):
        # A raster without a place is refused with words of our own, where a place is needed.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(source, driver=driver)


def lattice_of(file: DatasetReader, path: Path) -> Lattice:
    """Where the pixels of an open raster lie.

    Raises
    ------
    VadoseError
        When the file names no projection, the transform is rotated or none, or places pixels beyond the poles.
    """
    if file.crs is None:
        raise VadoseError(f"{path}: the file names no projection; it cannot be placed")
    affine = file.transform
    left, top, dx, dy = affine.c, affine.f, affine.a, -affine.e
    if not all(map(math.isfinite, affine)) or affine.b or affine.d or dx <= 0 or dy == 0:
        raise VadoseError(
            f"{path}: the raster's transform is {tuple(affine)[:6]}, expected columns to the east and rows along "
            "parallels; warp it first (gdalwarp)"
        )
    south_up = dy < 0
    if south_up:
        top, dy = top - dy * file.height, -dy
    lattice = Lattice(file.crs, (left, top, dx, dy), file.shape, south_up)
    try:
        west, south, east, north = lattice.box()
    except VadoseError as error:
        raise VadoseError(f"{path}: {error}") from error
    # The outline of some published tiles lies half a pixel beyond.
    slack = (max(dx, dy) if lattice.is_geographic else 0) + _ROUNDING
    if not (-90 - slack <= south < north <= 90 + slack and -180 - slack <= west and east <= 180 + slack):
        raise VadoseError(
            f"{path}: its transform places it at west {west:g}, south {south:g}, east {east:g}, north {north:g}, "
            "which is nowhere on Earth (longitudes from -180 to 180); is transform or projection damaged?"
        )
    return lattice


def expect_place(path: Path, found: BBox, named: BBox | None) -> None:
    """Raise if a raster's middle lies outside the tile its name states; cuts, rims and warped outlines are allowed."""
    if named is None:
        return
    slack = _RIM * (named[2] - named[0])
    x, y = (found[0] + found[2]) / 2, (found[1] + found[3]) / 2
    if not (named[0] - slack <= x <= named[2] + slack and named[1] - slack <= y <= named[3] + slack):
        raise VadoseError(
            f"{path}: its transform places it at west {found[0]:.5g}, south {found[1]:.5g}, east {found[2]:.5g}, north "
            f"{found[3]:.5g}, its name at west {named[0]:.5g}, south {named[1]:.5g}, east {named[2]:.5g}, north "
            f"{named[3]:.5g}; one of them is wrong. Rename it if it is the name"
        )


def expect_lattice(path: Path, lattice: Lattice, step: float, shifts: tuple[float, ...] = (0.0,)) -> None:
    """Raise if pixels of the published size lie between the published ones; a resampled raster lies where it says.

    Parameters
    ----------
    path
        Named in the error.
    lattice
        Of the raster.
    step
        Published pixel size in the units of the projection.
    shifts
        Where published edges lie [pixel] from whole multiples of the step.
    """
    left, top, dx, dy = lattice.transform
    if max(abs(dx - step), abs(dy - step)) > _ROUNDING * step:
        return
    if not any(all(abs((edge / step - shift + 0.5) % 1 - 0.5) < _RIM for edge in (left, top)) for shift in shifts):
        raise VadoseError(
            f"{path}: its upper-left corner is {left:.8g}, {top:.8g}, {left / step % 1:.2g} and {top / step % 1:.2g} "
            f"pixels off the multiples of {step:.6g} where the product has its edges; was it shifted?"
        )


def read_raster(
    path: Path, bbox: BBox | None = None, band: int = 1
) -> tuple[NDArray[Any], xr.Dataset, float | int | None]:
    """Read one band of a raster as it is stored.

    Parameters
    ----------
    path
        File of one of the containers `RASTERS`.
    bbox
        West, south, east, north [degree]; only pixels with their centre inside are read.
    band
        Number of the band, from 1.

    Returns
    -------
    tuple
        Values (row, column), not scaled and not masked; their coordinates, north up; the nodata value the file
        declares, or None.

    Raises
    ------
    VadoseError
        When the file cannot be placed, or the box lies outside it; `vadose.errors.NeedsError` when the values do not
        fit in memory, with a box in its middle to look at instead.
    """
    with open_raster(path) as file:
        lattice = lattice_of(file, path)
        rows, columns = raster_window(lattice.crs, lattice.transform, lattice.shape, bbox, path)
        expect_room(path, lattice, rows, columns, np.dtype(file.dtypes[band - 1]).itemsize)
        values = read_part(file, path, lattice, rows, columns, band)
        left, top, dx, dy = lattice.transform
        moved = (left + columns.start * dx, top - rows.start * dy, dx, dy)
        return values, raster_coordinates(lattice.crs, moved, values.shape), file.nodatavals[band - 1]


def read_part(
    file: DatasetReader, path: Path, lattice: Lattice, rows: slice, columns: slice, band: int = 1
) -> NDArray[Any]:
    """Values of an open raster as stored, from north to south; ``rows`` and ``columns`` count on the lattice."""
    height, width = file.block_shapes[band - 1]
    block = height * width * np.dtype(file.dtypes[band - 1]).itemsize
    if not fits(block):
        raise VadoseError(
            f"{path}: stored in blocks of {height} x {width} pixels, of which one takes {block / 1e9:.3g} GB of "
            "memory; write it in tiles (gdal_translate -co TILED=YES)"
        )
    if lattice.south_up:
        rows = slice(lattice.shape[0] - rows.stop, lattice.shape[0] - rows.start)
    values: NDArray[Any] = file.read(band, window=Window.from_slices(rows, columns))
    return values[::-1] if lattice.south_up else values


def expect_room(path: Path, lattice: Lattice, rows: slice, columns: slice, itemsize: int) -> None:
    """Raise before memory is asked for if so many pixels do not fit in it, with what they take and what to do."""
    size = rows.stop - rows.start, columns.stop - columns.start
    need = size[0] * size[1] * (itemsize + _SCRATCH)
    if fits(need):
        return
    middle = (
        slice(part.start + length // 2 - _SAMPLE // 2, part.start + length // 2 + _SAMPLE // 2)
        if length > _SAMPLE
        else part
        for part, length in zip((rows, columns), size, strict=True)
    )
    raise NeedsError(
        f"{path}: {size[0]} x {size[1]} pixels take {need / 1e9:.3g} GB of memory, more than is free; give a "
        "(smaller) area with --bbox west,south,east,north or bbox=",
        instead={"bbox": lattice.box(*middle)},
    )


def _own_sources(path: Path) -> str:
    """The XML of a virtual raster, written anew with the full paths of its sources, which lie below its folder."""
    if (size := path.stat().st_size) > _VRT_BYTES:
        raise VadoseError(f"{path}: a virtual raster of {size} bytes, expected at most {_VRT_BYTES}; make a GeoTIFF")
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise VadoseError(f"{path}: a virtual raster that is not whole XML ({error})") from error
    folder = os.path.dirname(os.path.abspath(path))
    for element in root.iter():
        strange = {element.tag.lower()} - _VRT_PARTS or {word.lower() for word in element.attrib} - _VRT_WORDS
        if strange:
            raise VadoseError(
                f"{path}: a virtual raster with {sorted(strange)[0]!r}, expected a mosaic of plain rasters; make a "
                "GeoTIFF of it (gdal_translate)"
            )
        if element.tag.lower() != "sourcefilename":
            continue
        name = (element.text or "").strip()
        source = os.path.normpath(os.path.join(folder, name))
        if not source.startswith(folder + os.sep) or not os.path.isfile(source):
            raise VadoseError(
                f"{path}: the virtual raster's source {name!r} is no file in its own folder; keep sources beside it"
            )
        if (container := container_of(Path(source))) not in ("tiff", "img"):
            raise VadoseError(f"{path}: the virtual raster's source {name!r} is a {container}, expected a GeoTIFF")
        element.text = source
        element.attrib = {"relativeToVRT": "0"}
    return ElementTree.tostring(root, "unicode")
