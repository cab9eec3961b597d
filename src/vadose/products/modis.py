"""Tiles of the MODIS sinusoidal grid in HDF-EOS2 (HDF4), as the land products are published by LP DAAC.

A granule is one tile of 1111.95 km, ``PRODUCT.AYYYYDDD.hHHvVV.VVV.YYYYDDDHHMMSS.hdf``: day of acquisition by
day of year, column and row of the tile, version, time of production. HDF4 knows no projection; the place of a
field is said by the text attribute ``StructMetadata.0``, product, version and day by ``CoreMetadata.0``. The
grid is on a sphere and has no authority code; degrees are those of WGS 84 latitude taken as spherical.

References: Wolfe et al. (1998), doi:10.1109/36.701082.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import OutsideError, VadoseError
from vadose.grid import raster_coordinates, raster_window
from vadose.products.containers import BBox, container_of, open_hdf4, simulated_mark
from vadose.products.dates import moment
from vadose.products.stored import check_size

RADIUS = 6371007.181
CRS = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={RADIUS} +units=m +no_defs"
LEFT, TOP = -np.pi * RADIUS, np.pi * RADIUS / 2
TILE = np.pi * RADIUS / 18
CELLS = (TILE / 1200, TILE / 2400, TILE / 4800)
DAY_BOUNDARY = "UTC date of overpasses near 10:30 (Terra) or 13:30 (Aqua) local solar time, and 12 h later at night"
VERSION = re.compile(r"\.(?P<a>\d{3})\.(?P<b>\d{13})\..*")
SATELLITE = re.compile("M[OY]D")
"""Terra (MOD) or Aqua (MYD)."""
_STAMP = r"\.A(?P<day>\d{7})\.h(?P<h>\d{2})v(?P<v>\d{2})\.(?P<version>\d{3})\.\d{13}\.hdf"


def file_name(*products: str) -> "re.Pattern[str]":
    """Pattern of the published names of products.

    Examples
    --------
    >>> file_name("MOD09GA", "MYD09GA").fullmatch("MOD09GA.A2008296.h14v17.006.2015181011753.hdf")["day"]
    '2008296'
    """
    return re.compile(f"(?P<product>{'|'.join(products)}){_STAMP}")


def tiles_of(bbox: BBox) -> list[str]:
    """Tiles that hold a part of a box (west, south, east, north) [degree].

    Examples
    --------
    >>> tiles_of((-105.0, 39.0, -103.0, 41.0))
    ['h09v04', 'h10v04', 'h09v05', 'h10v05']
    """
    west, south, east, north = bbox
    found = []
    for v in range(18):
        low, high = max(south, 80 - 10 * v), min(north, 90 - 10 * v)
        if low < high:
            # The cosine is monotonic within a row of tiles: the box's corners are its outermost points.
            x = np.outer(np.radians([west, east]), np.cos(np.radians([low, high]))) * RADIUS
            first, last = (int(np.clip((edge - LEFT) // TILE, 0, 35)) for edge in (x.min(), x.max()))
            found += [f"h{h:02d}v{v:02d}" for h in range(first, last + 1)]
    return found


@dataclass(frozen=True)
class Tile:
    """An open granule and what its metadata say of it."""

    path: Path
    file: Any
    structure: str
    product: str
    version: str
    day: pd.Timestamp

    def attributes(self, **more: str) -> dict[str, str]:
        """What every dataset read from the granule says of its origin."""
        return {
            "product": self.product,
            "version": self.version,
            "granule": self.path.name,
            "simulated": simulated_mark(self.file.attributes()),
            **more,
        }

    def read(self, name: str, rows: slice, columns: slice) -> tuple[NDArray[Any], dict[str, Any]]:
        """Raw values of a part of a field, and the field's attributes."""
        found = self.file.datasets()
        if name not in found:
            held = ", ".join(list(found)[:6])
            raise VadoseError(f"{self.path}: no field {name!r} (found: {held} ...); is it a whole {self.product}?")
        check_size(self.path, name, (rows.stop - rows.start, columns.stop - columns.start))
        field = self.file.select(name)
        try:
            count = (rows.stop - rows.start, columns.stop - columns.start)
            values = np.asarray(field.get(start=(rows.start, columns.start), count=count)).reshape(count)
            return values, field.attributes()
        finally:
            field.endaccess()


@dataclass(frozen=True)
class Window:
    """Rows and columns of a field that hold a box, and where they lie.

    ``transform`` (left, top, dx, dy) is that of the whole field.
    """

    transform: tuple[float, float, float, float]
    rows: slice
    columns: slice
    coordinates: xr.Dataset
    tile: str
    whole: bool


@contextmanager
def open_tile(path: Path, *products: str) -> Iterator[Tile]:
    """Open a granule of one of some products; errors inside the block are told as those of `open_hdf4`.

    Product, version and day are those of the metadata; where a name as published says otherwise, the file is
    refused. Files without such metadata are known by their name.

    Raises
    ------
    VadoseError
        When the file is not HDF4, damaged, of another product, or not to be dated or placed.
    """
    with open_hdf4(path) as file:
        attributes = file.attributes()
        structure, core = (_text(attributes, name) for name in ("StructMetadata", "CoreMetadata"))
        if not structure:
            raise VadoseError(f"{path}: no attribute 'StructMetadata.0'; without it nothing says where the tile lies")
        said = {name: value_of(core, name) for name in ("SHORTNAME", "VERSIONID", "RANGEBEGINNINGDATE")}
        name = file_name(r"\w+").fullmatch(path.name)
        product = said["SHORTNAME"] or (name["product"] if name else "")
        version = said["VERSIONID"].zfill(3) if said["VERSIONID"] else (name["version"] if name else "unknown")
        # Collections 6 and 6.1 are published as 006 and 061 and told as 6 and 61.
        day = said["RANGEBEGINNINGDATE"] or (_day(name) if name else "")
        if not product or not day:
            raise VadoseError(
                f"{path}: neither CoreMetadata.0 nor the name says product and day; give it its published name again"
            )
        if product not in products:
            raise VadoseError(f"{path}: holds {product}, not {' or '.join(products)}; give it to that product's reader")
        if name and (name["product"], _day(name)) != (product, day):
            raise VadoseError(
                f"{path}: the name says {name['product']} of {_day(name)}, the file {product} of {day}; "
                "it was renamed or mixed up, fetch it again"
            )
        yield Tile(path, file, structure, product, version, moment(day, "%Y-%m-%d", path, "its day"))


def is_tile(path: Path, fields: set[str]) -> bool:
    """Whether a file is HDF4 and holds all fields."""
    try:
        if container_of(path) != "hdf4":
            return False
        with open_hdf4(path) as file:
            return fields <= set(file.datasets())
    except VadoseError:
        return False


def window_of(tile: Tile, name: str, bbox: BBox | None) -> Window:
    """The part of a field that holds the cells whose centres lie within a box.

    The part is a rectangle of the projection, so that its corners reach beyond the box.

    Raises
    ------
    VadoseError
        When the field's grid is missing, not the MODIS sinusoidal one or of another size than the field,
        or no cell lies within the box.
    """
    transform, shape = _grid(tile, name)
    left, top, dx, dy = transform
    # A cropped tile is as good as a whole one while its cells are those of the grid.
    offset = [(left - LEFT) / dx, (TOP - top) / dy] if dx > 0 and dy > 0 else [0.5]
    if (
        max(abs(n - round(n)) for n in offset) > 0.1
        or min(abs(dx / size - 1) + abs(dy / size - 1) for size in CELLS) > 1e-6
    ):
        raise VadoseError(
            f"{tile.path}: {name} has its corner at ({left:.0f}, {top:.0f}) m and cells of {dx:.2f} x {dy:.2f} m, "
            "which are not those of the MODIS grid; is the file damaged?"
        )
    h, v = int((left + dx * shape[1] / 2 - LEFT) // TILE), int((TOP - top + dy * shape[0] / 2) // TILE)
    tile_name = f"h{h:02d}v{v:02d}"
    if (named := re.search(r"\.(h\d{2}v\d{2})\.", tile.path.name)) and named[1] != tile_name:
        raise VadoseError(f"{tile.path}: the name says tile {named[1]}, the file {tile_name}; fetch it again")
    rows, columns = slice(0, shape[0]), slice(0, shape[1])
    if bbox is not None:
        if bbox[0] < bbox[2] and bbox[1] < bbox[3] and tile_name not in tiles_of(bbox):
            lat = np.array([80, 90]) - 10 * v
            with np.errstate(divide="ignore"):
                edges = LEFT + TILE * np.array([h, h + 1])
                lon = np.degrees(np.outer(edges, 1 / np.cos(np.radians(lat))) / RADIUS).clip(-180, 180)
            raise OutsideError(
                f"{tile.path}: box west {bbox[0]:g}, south {bbox[1]:g}, east {bbox[2]:g}, north {bbox[3]:g} lies in "
                f"{', '.join(tiles_of(bbox)) or 'no tile'}; the file is tile {tile_name} (west {lon.min():.4g}, "
                f"south {lat[0]}, east {lon.max():.4g}, north {lat[1]}); choose another file or box"
            )
        rows, columns = raster_window(CRS, transform, shape, bbox, tile.path)
        # The outline of the box may reach into a tile of which no cell lies within.
        y, x = top - dy * (np.arange(shape[0])[rows] + 0.5), left + dx * (np.arange(shape[1])[columns] + 0.5)
        lon = np.degrees(x / (RADIUS * np.cos(y / RADIUS)[:, None]))
        inside = (lon >= bbox[0]) & (lon <= bbox[2])
        if not inside.any():
            raise OutsideError(f"{tile.path}: no cell of tile {tile_name} lies within box {bbox}; take another file")
        held = np.flatnonzero(inside.any(axis=0))
        columns = slice(columns.start + int(held[0]), columns.start + int(held[-1]) + 1)
        held = np.flatnonzero(inside.any(axis=1))
        rows = slice(rows.start + int(held[0]), rows.start + int(held[-1]) + 1)
    part = (rows.stop - rows.start, columns.stop - columns.start)
    corner = (left + dx * columns.start, top - dy * rows.start, dx, dy)
    return Window(transform, rows, columns, raster_coordinates(CRS, corner, part), tile_name, part == shape)


def factor_of(path: Path, name: str, attributes: Mapping[str, Any], known: tuple[float, ...]) -> float:
    """The scale factor of a field, refused if it is none of the known ones or an offset comes with it."""
    factor, offset = attributes.get("scale_factor"), attributes.get("add_offset", 0.0)
    for value in known:
        if factor is not None and abs(factor / value - 1) < 1e-6 and offset == 0:
            return value
    raise VadoseError(
        f"{path}: {name} has scale_factor {factor} and add_offset {offset}, known are "
        f"{' or '.join(f'{value:g}' for value in known)} and 0; the values cannot be trusted"
    )


def _grid(tile: Tile, name: str) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Transform (left, top, dx, dy) and shape of the grid a field is on."""
    for grid in re.findall(r"GROUP=GRID_\d+\s(.*?)END_GROUP=GRID_\d+", tile.structure, re.S):
        if f'DataFieldName="{name}"' in grid:
            break
    else:
        raise VadoseError(f"{tile.path}: StructMetadata.0 has no grid with a field {name!r}; is the file complete?")
    number = r"[-+\d.eE]+"
    pair = rf"\(({number}),({number})\)"
    found = {
        key: re.search(rf"^\s*{key}={pattern}\s*$", grid, re.M)
        for key, pattern in {
            "XDim": r"(\d+)",
            "YDim": r"(\d+)",
            "UpperLeftPointMtrs": pair,
            "LowerRightMtrs": pair,
            "Projection": r"(\w+)",
            "ProjParams": rf"\(({number}),{number},{number},{number},({number}),.*\)",
        }.items()
    }
    text = {key: match.groups() for key, match in found.items() if match}
    if lacking := sorted(set(found) - set(text)):
        raise VadoseError(f"{tile.path}: StructMetadata.0 lacks {', '.join(lacking)} for {name}; it cannot be placed")
    radius, meridian = (float(value) for value in text["ProjParams"])
    upper = "GridOrigin=" not in grid or "GridOrigin=HDFE_GD_UL" in grid
    if text["Projection"][0] != "GCTP_SNSOID" or abs(radius - RADIUS) > 0.01 or meridian != 0 or not upper:
        raise VadoseError(
            f"{tile.path}: {name} is in {text['Projection'][0]} on a sphere of {radius:.3f} m, central meridian "
            f"{meridian:g}; the MODIS grid is GCTP_SNSOID on {RADIUS:.3f} m, central meridian 0, rows from the north"
        )
    shape = (int(text["YDim"][0]), int(text["XDim"][0]))
    held = tile.file.datasets().get(name, ((), shape))[1]
    if tuple(held) != shape:
        raise VadoseError(f"{tile.path}: {name} is {held}, its grid {shape}; cropped without its georeferencing?")
    (left, top), (right, bottom) = (map(float, text[key]) for key in ("UpperLeftPointMtrs", "LowerRightMtrs"))
    return (left, top, (right - left) / shape[1], (top - bottom) / shape[0]), shape


def _text(attributes: Mapping[str, object], name: str) -> str:
    """A text attribute, which HDF-EOS parts into NAME.0, NAME.1 ... where it is long."""
    parts = sorted(
        (key for key in attributes if re.fullmatch(rf"{name}\.\d+", key)), key=lambda k: int(k.split(".")[1])
    )
    return "".join(str(attributes[key]) for key in parts).rstrip("\0 ")


def value_of(core: str, name: str) -> str:
    """The value of an object of ECS metadata, empty if there is none."""
    found = re.search(rf'OBJECT\s*=\s*{name}\s.*?VALUE\s*=\s*"?([^"\n]*)"?\s*\n', core, re.S)
    return found[1].strip() if found else ""


def _day(name: "re.Match[str]") -> str:
    try:
        return f"{pd.to_datetime(name['day'], format='%Y%j'):%Y-%m-%d}"
    except ValueError:
        return name["day"]
