"""Tiles of MODIS in HDF-EOS2 (HDF4): which of their cells the truth reaches, and how a file of them is written."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyhdf.SD import SD, SDC

from vadose.grid import grid_of

RADIUS = 6371007.181
EDGE = np.pi * RADIUS / 18
LEFT, TOP = -np.pi * RADIUS, np.pi * RADIUS / 2
CELLS_1KM, CELLS_500M = 1200, 2400
SATELLITES = {"terra": ("MOD", "Terra"), "aqua": ("MYD", "Aqua")}
SIMULATED = "true: no value in this file was measured"
HDF_TYPES = {
    "int8": SDC.INT8,
    "uint8": SDC.UINT8,
    "int16": SDC.INT16,
    "uint16": SDC.UINT16,
    "int32": SDC.INT32,
    "uint32": SDC.UINT32,
    "float64": SDC.FLOAT64,
}


@dataclass(frozen=True)
class Tile:
    """The block of a tile's cells that the truth reaches, and which of the truth's cells holds each of them.

    ``part`` are the rows and columns of the whole tile that are written, ``block`` those of the part.
    """

    h: int
    v: int
    cells: int
    part: tuple[slice, slice]
    block: tuple[slice, slice]
    held_by: NDArray[np.int32]
    inside: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the part."""
        return self.part[0].stop - self.part[0].start, self.part[1].stop - self.part[1].start

    def cropped(self, part: tuple[slice, slice]) -> "Tile":
        """Only a part that holds the block."""
        rows, columns = (
            slice(b.start + p.start - q.start, b.stop + p.start - q.start)
            for b, p, q in zip(self.block, self.part, part, strict=True)
        )
        return replace(self, part=part, block=(rows, columns))

    def spread(self, values: NDArray[Any], fill: float) -> NDArray[Any]:
        """Values of the truth's cells, in their stored type, on the part; fill outside."""
        whole = np.full(self.shape, fill, values.dtype)
        whole[self.block] = np.where(self.inside, values.ravel()[self.held_by], values.dtype.type(fill))
        return whole


@dataclass(frozen=True)
class Field:
    """A field of a file: its values, its grid and attributes (name -> value and HDF type)."""

    values: NDArray[Any]
    grid: str
    attributes: dict[str, Any]


def tiles_of(truth: xr.Dataset) -> Iterator[Tile]:
    """Tiles of 1 km cells that share a cell with the truth."""
    grid = grid_of(truth)
    rows, columns = np.array([-0.5, grid.shape[0] - 0.5]), np.array([-0.5, grid.shape[1] - 0.5])
    north, south = grid.latlon(rows, 0)[0]
    lon = grid.latlon(0, columns)[1]
    for v in range(int((90 - north) // 10), int((90 - south) // 10) + 1):
        lat = np.array([min(north, 90 - 10 * v), max(south, 80 - 10 * v)])
        h = (np.outer(np.radians(lon), np.cos(np.radians(lat))) * RADIUS - LEFT) // EDGE
        for tile in (tile_of(truth, column, v, CELLS_1KM) for column in range(int(h.min()), int(h.max()) + 1)):
            if tile.inside.any():
                yield tile


def tile_of(truth: xr.Dataset, h: int, v: int, cells: int) -> Tile:
    """A tile of so many cells a side, and which of them the truth reaches."""
    grid = grid_of(truth)
    size = EDGE / cells
    lat = np.degrees((TOP - v * EDGE - size * (np.arange(cells) + 0.5)) / RADIUS)
    x = LEFT + h * EDGE + size * (np.arange(cells) + 0.5)
    lon_of_columns = grid.latlon(0, np.arange(grid.shape[1]))[1]
    row, _ = grid.rowcol(lat, np.full(cells, lon_of_columns[0]))
    rows = np.flatnonzero(row >= 0)
    # On the cylindrical EASE-2 grid columns are meridians at equal distance.
    step = float(np.diff(lon_of_columns).mean())
    lon = np.degrees(np.outer(1 / np.cos(np.radians(lat[rows])), x) / RADIUS)
    column = np.floor((lon - lon_of_columns[0]) / step + 0.5).astype(np.int32)
    inside = (column >= 0) & (column < grid.shape[1])
    columns = np.flatnonzero(inside.any(axis=0))
    whole = (slice(0, cells), slice(0, cells))
    if not len(columns):
        nothing = np.zeros((0, 0), np.int32)
        return Tile(h, v, cells, whole, (slice(0, 0), slice(0, 0)), nothing, nothing.astype(bool))
    block = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside, column = inside[:, block[1]], column[:, block[1]]
    held_by = np.where(inside, row[rows][:, None] * grid.shape[1] + column, 0).astype(np.int32)
    return Tile(h, v, cells, whole, block, held_by, inside)


def cropped(coarse: Tile, fine: Tile) -> tuple[Tile, Tile]:
    """The 1 km cells that hold both blocks, and the 500 m cells of these."""
    rows, columns = (
        slice(min(c.start, f.start // 2), max(c.stop, (f.stop + 1) // 2))
        for c, f in zip(coarse.block, fine.block, strict=True)
    )
    twice = tuple(slice(2 * part.start, 2 * part.stop) for part in (rows, columns))
    return coarse.cropped((rows, columns)), fine.cropped((twice[0], twice[1]))


def described(
    dtype: str, fill: int, valid: tuple[int, int], long_name: str, units: str = "", scale: float = 0, offset: float = 0
) -> dict[str, Any]:
    """Attributes every field has, and those of a scaled one."""
    attributes: dict[str, Any] = {"long_name": long_name}
    if units:
        attributes["units"] = units
    attributes |= {"valid_range": np.array(valid, dtype), "_FillValue": np.array(fill, dtype)[()]}
    if scale:
        attributes["scale_factor"] = np.float64(scale)
    if offset:
        attributes["add_offset"] = np.float64(offset)
    return attributes


def constant(tile: Tile, grid: str, value: int, said: dict[str, Any]) -> Field:
    """A field of one value where the truth reaches."""
    fill = said["_FillValue"]
    values = np.full(tile.shape, fill, fill.dtype)
    values[tile.block][tile.inside] = value
    return Field(values, grid, said)


def write_tile(
    folder: Path,
    product: str,
    satellite: str,
    day: pd.Timestamp,
    tile: Tile,
    grids: dict[str, int],
    fields: dict[str, Field],
) -> Path:
    """Write the fields of a tile and day, on grids of some cells a side, with the metadata of HDF-EOS."""
    made = day + pd.Timedelta(days=2, hours=3)
    path = folder / f"{product}.A{day:%Y%j}.h{tile.h:02d}v{tile.v:02d}.061.{made:%Y%j%H%M%S}.hdf"
    folder.mkdir(parents=True, exist_ok=True)
    file = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    structure = _structure(tile, grids, fields)
    whole = tile.shape == (tile.cells, tile.cells)
    texts = {
        "HDFEOSVersion": "HDFEOS_V2.19",
        "StructMetadata.0": structure.ljust(32000, "\0") if whole else structure,
        "CoreMetadata.0": _core(path.name, product, satellite, day, made, tile),
        "ArchiveMetadata.0": _archive(tile),
        "identifier_product_doi": f"10.5067/MODIS/{product}.061",
        "identifier_product_doi_authority": "http://dx.doi.org",
        "simulated": SIMULATED,
    }
    for name, text in texts.items():
        file.attr(name).set(SDC.CHAR8, text)
    for name, field in fields.items():
        data = file.create(name, HDF_TYPES[field.values.dtype.name], field.values.shape)
        for axis, dimension in enumerate(("YDim", "XDim")):
            data.dim(axis).setname(f"{dimension}:{field.grid}")
        for key, value in field.attributes.items():
            if isinstance(value, str):
                data.attr(key).set(SDC.CHAR8, value)
            else:
                numbers = np.atleast_1d(value).tolist()
                data.attr(key).set(HDF_TYPES[value.dtype.name], numbers if len(numbers) > 1 else numbers[0])
        data.setcompress(SDC.COMP_DEFLATE, 4 if whole else 1)
        data[:] = field.values
        data.endaccess()
    file.end()
    return path


def _structure(tile: Tile, grids: dict[str, int], fields: dict[str, Field]) -> str:
    """Grids, corners and fields as HDF-EOS writes them."""
    lines = ["GROUP=SwathStructure", "END_GROUP=SwathStructure", "GROUP=GridStructure"]
    for k, (grid, cells) in enumerate(grids.items(), 1):
        (top, bottom), (left, right) = ((p.start / tile.cells, p.stop / tile.cells) for p in tile.part)
        x0, x1 = (LEFT + (tile.h + part) * EDGE for part in (left, right))
        y0, y1 = (TOP - (tile.v + part) * EDGE for part in (top, bottom))
        lines += [
            f"\tGROUP=GRID_{k}",
            f'\t\tGridName="{grid}"',
            f"\t\tXDim={round((right - left) * cells)}",
            f"\t\tYDim={round((bottom - top) * cells)}",
            f"\t\tUpperLeftPointMtrs=({x0:.6f},{y0:.6f})",
            f"\t\tLowerRightMtrs=({x1:.6f},{y1:.6f})",
            "\t\tProjection=GCTP_SNSOID",
            "\t\tProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)",
            "\t\tSphereCode=-1",
            "\t\tGridOrigin=HDFE_GD_UL",
            "\t\tGROUP=Dimension",
            "\t\tEND_GROUP=Dimension",
            "\t\tGROUP=DataField",
        ]
        held = [name for name, field in fields.items() if field.grid == grid]
        for number, name in enumerate(held, 1):
            lines += [
                f"\t\t\tOBJECT=DataField_{number}",
                f'\t\t\t\tDataFieldName="{name}"',
                f"\t\t\t\tDataType=DFNT_{fields[name].values.dtype.name.upper()}",
                '\t\t\t\tDimList=("YDim","XDim")',
                f"\t\t\tEND_OBJECT=DataField_{number}",
            ]
        lines += ["\t\tEND_GROUP=DataField", "\t\tGROUP=MergedFields", "\t\tEND_GROUP=MergedFields"]
        lines += [f"\tEND_GROUP=GRID_{k}"]
    lines += ["END_GROUP=GridStructure", "GROUP=PointStructure", "END_GROUP=PointStructure", "END", ""]
    return "\n".join(lines)


def _core(name: str, product: str, satellite: str, day: pd.Timestamp, made: pd.Timestamp, tile: Tile) -> str:
    last = day + {"MCD12Q1": pd.DateOffset(years=1, days=-1), "MCD15A3H": pd.DateOffset(days=3)}.get(
        product, pd.DateOffset(days=0)
    )
    tree = {
        "ECSDATAGRANULE": {
            "LOCALGRANULEID": f'"{name}"',
            "PRODUCTIONDATETIME": f'"{made:%Y-%m-%dT%H:%M:%S.000Z}"',
            "LOCALVERSIONID": '"simulated"',
        },
        "COLLECTIONDESCRIPTIONCLASS": {"VERSIONID": "61", "SHORTNAME": f'"{product}"'},
        "RANGEDATETIME": {
            "RANGEENDINGDATE": f'"{last:%Y-%m-%d}"',
            "RANGEENDINGTIME": '"23:59:59"',
            "RANGEBEGINNINGDATE": f'"{day:%Y-%m-%d}"',
            "RANGEBEGINNINGTIME": '"00:00:00"',
        },
        "ASSOCIATEDPLATFORMINSTRUMENTSENSOR": {
            "ASSOCIATEDPLATFORMSHORTNAME": f'"{SATELLITES[satellite][1]}"',
            "ASSOCIATEDSENSORSHORTNAME": '"MODIS"',
        },
        "ADDITIONALATTRIBUTES": {"HORIZONTALTILENUMBER": f'"{tile.h}"', "VERTICALTILENUMBER": f'"{tile.v:02d}"'},
    }
    return _odl("INVENTORYMETADATA", tree)


def _archive(tile: Tile) -> str:
    north, south = 90 - 10 * tile.v, 80 - 10 * tile.v
    x = np.array([LEFT + tile.h * EDGE, LEFT + (tile.h + 1) * EDGE])
    # A corner on a pole or beyond the globe is put on its edge.
    cosine = np.cos(np.radians([north, south])).clip(1e-6)
    lon = np.degrees(np.outer(x, 1 / cosine) / RADIUS).clip(-180, 180)
    edges = {"NORTH": north, "SOUTH": south, "EAST": lon.max(), "WEST": lon.min()}
    box = {f"{side}BOUNDINGCOORDINATE": f"{value:.12f}" for side, value in edges.items()}
    return _odl("ARCHIVEDMETADATA", {"BOUNDINGRECTANGLE": box})


def _odl(name: str, groups: dict[str, dict[str, str]]) -> str:
    """ECS metadata: groups of objects of one value each."""
    lines = ["", f"GROUP                  = {name}", "  GROUPTYPE            = MASTERGROUP", ""]
    for group, objects in groups.items():
        lines += [f"  GROUP                  = {group}", ""]
        for key, value in objects.items():
            lines += [
                f"    OBJECT                 = {key}",
                "      NUM_VAL              = 1",
                f"      VALUE                = {value}",
                f"    END_OBJECT             = {key}",
                "",
            ]
        lines += [f"  END_GROUP              = {group}", ""]
    return "\n".join([*lines, f"END_GROUP              = {name}", "", "END", ""])
