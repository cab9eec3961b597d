"""Simulated MODIS tiles: MOD09GA, MYD09GA, MOD11A1, MYD11A1 and MCD12Q1 in HDF-EOS2 (HDF4).

Tiles have their full size unless a subset is asked for; fields hold fill where the truth does not reach. A cloud
hides the ground: reflectance is that of a bright cloud, with its bits set in the state, and no land-surface
temperature is there at all.
"""

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
BANDS = ("red", "nir", "blue", "green", "nir2", "swir1", "swir2")
# Reflectance of a thick cloud in the order of the bands.
CLOUD = (0.62, 0.64, 0.6, 0.61, 0.55, 0.4, 0.3)
SNOWY = 10.0  # kg m-2 that cover the ground
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


def write_mod09ga(truth: xr.Dataset, folder: Path, satellite: str = "terra", subset: bool = False) -> list[Path]:
    """Write a MOD09GA (Terra) or MYD09GA (Aqua) granule for each day and tile the truth touches.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with daily reflectance of seven bands, ``cloud`` and
        ``snow_water_equivalent``, and ``water_fraction``.
    folder
        Where the files go.
    satellite
        ``'terra'`` or ``'aqua'``.
    subset
        Only the rows and columns the truth reaches, as subset services cut them: a hundredth of the work.

    Returns
    -------
    list of Path
        The files.
    """
    prefix, _ = SATELLITES[satellite]
    grids = {"MODIS_Grid_1km_2D": CELLS_1KM, "MODIS_Grid_500m_2D": CELLS_500M}
    paths = []
    for coarse in _tiles(truth):
        fine = _tile(truth, coarse.h, coarse.v, CELLS_500M)
        if subset:
            coarse, fine = _cropped(coarse, fine)
        for day in truth.time.values:
            today = truth.sel(time=day)
            fields = _state(today, coarse) | _reflectance(today, fine, coarse)
            paths.append(_write(folder, f"{prefix}09GA", satellite, pd.Timestamp(day), fine, grids, fields))
    return paths


def write_mod11a1(truth: xr.Dataset, folder: Path, satellite: str = "terra") -> list[Path]:
    """Write a MOD11A1 (Terra) or MYD11A1 (Aqua) granule for each day and tile the truth touches.

    The surface is warmer by day and colder by night than its daily mean by half the daily range of the air
    temperature for Aqua, and 0.7 times that for Terra, which passes three hours earlier.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with daily ``surface_temperature``, ``air_temperature_max``,
        ``air_temperature_min``, ``cloud`` and ``snow_water_equivalent``, and ``land_cover``.
    folder
        Where the files go.
    satellite
        ``'terra'`` or ``'aqua'``.

    Returns
    -------
    list of Path
        The files.
    """
    prefix, _ = SATELLITES[satellite]
    grid = "MODIS_Grid_Daily_1km_LST"
    paths = []
    for tile in _tiles(truth):
        for day in truth.time.values:
            fields = _temperature(truth.sel(time=day), tile, satellite, grid)
            paths.append(_write(folder, f"{prefix}11A1", satellite, pd.Timestamp(day), tile, {grid: CELLS_1KM}, fields))
    return paths


def write_mcd12q1(truth: xr.Dataset, folder: Path) -> list[Path]:
    """Write the MCD12Q1 granule of the truth's first year for each tile the truth touches.

    Classes of the other four classifications follow from that of the IGBP; the LCCS layers are fill.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with ``land_cover`` (IGBP 1..17).
    folder
        Where the files go.

    Returns
    -------
    list of Path
        The files.
    """
    day = pd.Timestamp(year=int(truth.time.dt.year[0]), month=1, day=1)
    paths = []
    for coarse in _tiles(truth):
        tile = _tile(truth, coarse.h, coarse.v, CELLS_500M)
        grids = {"MCD12Q1": CELLS_500M}
        paths.append(_write(folder, "MCD12Q1", "terra", day, tile, grids, _land_cover(truth, tile)))
    return paths


def _tiles(truth: xr.Dataset) -> Iterator[Tile]:
    """Tiles of 1 km cells that share a cell with the truth."""
    grid = grid_of(truth)
    rows, columns = np.array([-0.5, grid.shape[0] - 0.5]), np.array([-0.5, grid.shape[1] - 0.5])
    north, south = grid.latlon(rows, 0)[0]
    lon = grid.latlon(0, columns)[1]
    for v in range(int((90 - north) // 10), int((90 - south) // 10) + 1):
        lat = np.array([min(north, 90 - 10 * v), max(south, 80 - 10 * v)])
        h = (np.outer(np.radians(lon), np.cos(np.radians(lat))) * RADIUS - LEFT) // EDGE
        for tile in (_tile(truth, column, v, CELLS_1KM) for column in range(int(h.min()), int(h.max()) + 1)):
            if tile.inside.any():
                yield tile


def _tile(truth: xr.Dataset, h: int, v: int, cells: int) -> Tile:
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


def _cropped(coarse: Tile, fine: Tile) -> tuple[Tile, Tile]:
    """The 1 km cells that hold both blocks, and the 500 m cells of these."""
    rows, columns = (
        slice(min(c.start, f.start // 2), max(c.stop, (f.stop + 1) // 2))
        for c, f in zip(coarse.block, fine.block, strict=True)
    )
    twice = tuple(slice(2 * part.start, 2 * part.stop) for part in (rows, columns))
    return coarse.cropped((rows, columns)), fine.cropped((twice[0], twice[1]))


def _packed(values: xr.DataArray | NDArray[Any], scale: float, dtype: str, fill: int) -> NDArray[Any]:
    """Stored numbers of values in units, fill where not a number."""
    numbers = np.asarray(values, float) * scale
    return np.where(np.isfinite(numbers), np.rint(numbers), fill).astype(dtype)


def _snow(today: xr.Dataset) -> NDArray[np.bool_]:
    snowy: NDArray[np.bool_] = today.snow_water_equivalent.values > SNOWY
    return snowy


def _reflectance(today: xr.Dataset, tile: Tile, coarse: Tile) -> dict[str, Field]:
    grid = "MODIS_Grid_500m_2D"
    # Clouds end where the 1 km state says so.
    cloudy = coarse.spread(today.cloud.values > 0.5, False).repeat(2, axis=0).repeat(2, axis=1)
    fields = {
        "num_observations_500m": _constant(tile, grid, "int8", 1, -1, (0, 127), "Number of Observations", units="none")
    }
    for number, (band, bright) in enumerate(zip(BANDS, CLOUD, strict=True), 1):
        values = tile.spread(_packed(today[f"reflectance_{band}"].values, 1e4, "int16", -28672), -28672)
        values[cloudy & (values != -28672)] = round(bright * 1e4)
        fields[f"sur_refl_b{number:02d}_1"] = Field(
            values,
            grid,
            {
                "long_name": f"500m Surface Reflectance Band {number} - first layer",
                "units": "reflectance",
                "valid_range": np.array([-100, 16000], "int16"),
                "_FillValue": np.int16(-28672),
                "add_offset": np.float64(0),
                "add_offset_err": np.float64(0),
                "calibrated_nt": np.int32(5),
                "scale_factor": np.float64(10000),
                "scale_factor_err": np.float64(0),
                "Nadir Data Resolution": "500m",
            },
        )
    # Every band of highest quality, atmospheric correction performed.
    fields["QC_500m_1"] = _constant(
        tile,
        grid,
        "uint32",
        1 << 30,
        787410671,
        (0, 4294966019),
        "500m Reflectance Band Quality - first layer",
        units="bit field",
    )
    fields["obscov_500m_1"] = _constant(
        tile, grid, "int8", 100, -1, (0, 100), "Observation coverage - first layer", units="percent", scale=0.01
    )
    fields["iobs_res_1"] = _constant(
        tile, grid, "uint8", 0, 255, (0, 254), "observation number in coarser grid - first layer", units="none"
    )
    return fields


def _state(today: xr.Dataset, tile: Tile) -> dict[str, Field]:
    grid = "MODIS_Grid_1km_2D"
    cloudy, snow = today.cloud.values > 0.5, _snow(today)
    land = np.where(today.water_fraction.values > 0.5, 0b011, 0b001) << 3
    low_aerosol = 0b01 << 6
    state = land | low_aerosol | cloudy * (0b01 | 1 << 10) | snow * (1 << 12 | 1 << 15)
    layer = "first layer"
    fields = {
        "num_observations_1km": _constant(tile, grid, "int8", 1, -1, (0, 127), "Number of Observations", units="none"),
        "state_1km_1": Field(
            tile.spread(state.astype("uint16"), 65535),
            grid,
            {
                "long_name": f"1km Reflectance Data State QA - {layer}",
                "units": "bit field",
                "valid_range": np.array([0, 57335], "uint16"),
                "_FillValue": np.uint16(65535),
                "Nadir Data Resolution": "1km",
            },
        ),
    }
    for name, long_name, raw, low in (
        ("SensorZenith_1", "Sensor zenith", 1500, 0),
        ("SensorAzimuth_1", "Sensor azimuth", 9800, -18000),
        ("SolarZenith_1", "Solar zenith", 3500, 0),
        ("SolarAzimuth_1", "Solar azimuth", 14500, -18000),
    ):
        fields[name] = _constant(
            tile, grid, "int16", raw, -32767, (low, 18000), f"{long_name} - {layer}", units="degree", scale=0.01
        )
    fields["Range_1"] = _constant(
        tile, grid, "uint16", 29000, 0, (27000, 65535), f"Range (pixel to sensor) - {layer}", units="meters", scale=25.0
    )
    fields["gflags_1"] = _constant(
        tile, grid, "uint8", 0, 255, (0, 248), f"Geolocation flags - {layer}", units="bit field"
    )
    fields["orbit_pnt_1"] = _constant(tile, grid, "int8", 0, -1, (0, 15), f"Orbit pointer - {layer}", units="none")
    fields["granule_pnt_1"] = _constant(
        tile, grid, "uint8", 0, 255, (0, 254), f"Granule Pointer - {layer}", units="none"
    )
    return fields


def _temperature(today: xr.Dataset, tile: Tile, satellite: str, grid: str) -> dict[str, Field]:
    amplitude = (today.air_temperature_max - today.air_temperature_min).values / 2
    amplitude = amplitude * {"terra": 0.7, "aqua": 1.0}[satellite]
    mean, cloudy = today.surface_temperature.values, today.cloud.values > 0.5
    # Emissivity of shrubland and bare ground is less sure, and snow worse than that.
    flags = np.where(np.isin(today.land_cover.values, (7, 16)), 0b01000001, 0)
    flags = np.where(_snow(today), 0b10000001, flags)
    flags = np.where(cloudy | ~np.isfinite(mean), 0b10, flags).astype("uint8")
    observed = replace(tile, inside=tile.inside & ~cloudy.ravel()[tile.held_by])
    hours = {"terra": (10.5, 22.5), "aqua": (13.5, 1.5)}[satellite]
    fields = {}
    for half, daytime, sign, hour in zip(("Day", "Night"), ("daytime", "nighttime"), (1, -1), hours, strict=True):
        fields[f"LST_{half}_1km"] = Field(
            observed.spread(_packed(mean + sign * amplitude, 50.0, "uint16", 0), 0),
            grid,
            {
                "long_name": f"Daily {daytime} 1km grid Land-surface Temperature",
                "units": "K",
                "Number_Type": "uint16",
                "valid_range": np.array([7500, 65535], "uint16"),
                "_FillValue": np.uint16(0),
                "LST": "LST data * scale_factor",
                "scale_factor": np.float64(0.02),
                "scale_factor_err": np.float64(0),
                "add_offset_err": np.float64(0),
                "calibrated_nt": np.int32(5),
            },
        )
        fields[f"QC_{half}"] = Field(
            # Outside the truth nothing was produced for reasons other than cloud.
            tile.spread(flags, 0b11),
            grid,
            {
                "long_name": f"Quality control for {daytime} LST and emissivity",
                "Number_Type": "uint8",
                "valid_range": np.array([0, 255], "uint8"),
                "_FillValue": "NA",
            },
        )
        fields[f"{half}_view_time"] = _constant(
            observed,
            grid,
            "uint8",
            round(hour * 10),
            255,
            (0, 240),
            f"Time of {daytime} Land-surface Temperature observation",
            units="hrs",
            scale=0.1,
        )
        fields[f"{half}_view_angl"] = _constant(
            observed,
            grid,
            "uint8",
            65,
            255,
            (0, 130),
            f"View zenith angle of {daytime} Land-surface Temperature",
            units="deg",
            scale=1.0,
            offset=-65.0,
        )
    for band, raw in ((31, 245), (32, 247)):
        fields[f"Emis_{band}"] = _constant(
            observed, grid, "uint8", raw, 0, (1, 255), f"Band {band} emissivity", scale=0.002, offset=0.49
        )
    for half in ("day", "night"):
        fields[f"Clear_{half}_cov"] = _constant(
            observed, grid, "uint16", 2000, 0, (1, 65535), f"{half} clear-sky coverage", scale=0.0005
        )
    return fields


# Class of each classification for the IGBP classes 1..17.
LAND_COVER = {
    "LC_Type1": ("Land_Cover_Type_1", (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17), (1, 17)),
    "LC_Type2": ("Land_Cover_Type_2", (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 0), (0, 15)),
    "LC_Type3": ("Land_Cover_Type_3", (7, 5, 8, 6, 6, 2, 2, 4, 4, 1, 1, 3, 10, 3, 9, 9, 0), (0, 10)),
    "LC_Type4": ("Land_Cover_Type_4", (1, 2, 3, 4, 4, 2, 2, 6, 6, 6, 6, 5, 8, 5, 7, 7, 0), (0, 8)),
    "LC_Type5": ("Land_Cover_Type_5", (1, 2, 3, 4, 4, 5, 5, 4, 6, 6, 6, 7, 9, 7, 10, 11, 0), (0, 11)),
}


def _land_cover(truth: xr.Dataset, tile: Tile) -> dict[str, Field]:
    grid = "MCD12Q1"
    igbp = truth.land_cover.values
    known = np.isfinite(igbp)
    index = np.where(known, igbp, 1).astype(int) - 1
    fields = {}
    for name, (long_name, classes, valid) in LAND_COVER.items():
        values = np.where(known, np.array(classes)[index], 255).astype("uint8")
        fields[name] = Field(tile.spread(values, 255), grid, _described("uint8", 255, valid, long_name))
    for k in (1, 2, 3):
        long_name = f"Land_Cover_Property_{k}"
        highest = (43, 40, 51)[k - 1]
        fields[f"LC_Prop{k}_Assessment"] = _constant(tile, grid, "uint8", 255, 255, (0, 100), f"{long_name}_Assessment")
        fields[f"LC_Prop{k}"] = _constant(tile, grid, "uint8", 255, 255, (1, highest), long_name)
    land = np.where(igbp == 17, 1, 2).astype("uint8")
    fields["QC"] = Field(
        tile.spread(np.where(igbp == 17, 3, 1).astype("uint8"), 10),
        grid,
        _described("uint8", 255, (0, 10), "Quality_Flags"),
    )
    fields["LW"] = Field(tile.spread(land, 255), grid, _described("uint8", 255, (1, 2), "Land_Water_Mask"))
    return fields


def _described(
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


def _constant(
    tile: Tile,
    grid: str,
    dtype: str,
    value: int,
    fill: int,
    valid: tuple[int, int],
    long_name: str,
    units: str = "",
    scale: float = 0,
    offset: float = 0,
) -> Field:
    """A field of one value where the truth reaches."""
    values = np.full(tile.shape, fill, dtype)
    values[tile.block][tile.inside] = value
    return Field(values, grid, _described(dtype, fill, valid, long_name, units, scale, offset))


def _write(
    folder: Path,
    product: str,
    satellite: str,
    day: pd.Timestamp,
    tile: Tile,
    grids: dict[str, int],
    fields: dict[str, Field],
) -> Path:
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
    last = day + pd.DateOffset(years=1, days=-1) if product == "MCD12Q1" else day
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
