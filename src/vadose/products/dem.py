"""Elevation: SRTM v4.1 of CGIAR (3 arc seconds), 3DEP of the USGS (1 and 1/3 arc second), Copernicus GLO-30.

SRTM v4.1, Jarvis et al. (2008), https://srtm.csi.cgiar.org, comes in tiles of 5 degrees, ``srtm_XX_YY.tif``:
16-bit metres above EGM96, WGS84. Two editions share the names: 6000 pixels a side with the tile's edges at
whole multiples of 5 degrees, and 6001 pixels whose centres lie there, so that neighbours share a line. Sea is
missing, -32768, but 255 in 25 tiles of low islands, which say so in their nodata tag. NASA's tiles of a degree,
``N40W106.hgt`` after their south-west corner, are nothing but 16-bit metres; they are read as SRTM too.

3DEP, doi:10.5066/F7DF6PQS, comes in tiles of 1 degree named after their north-west corner,
``USGS_1_n41w106.tif`` (1 arc second) or ``USGS_13_n41w106.tif`` (a third), each with 6 pixels more on every
side: float32 metres above NAVD88, NAD83, missing -999999. Libraries serve it warped to other projections
(EPSG:5070); such a file is read as it lies.

Copernicus GLO-30, doi:10.5270/ESA-c5d3d65, comes in tiles of 1 degree named after their south-west corner,
``Copernicus_DSM_COG_10_N45_00_E005_00_DEM.tif``: float32 metres above EGM2008, WGS84, centres of pixels on whole
degrees, 1 arc second from south to north, and from west to east up to 50 degrees of latitude; beyond pixels grow
wider, and tiles of different widths do not fit each other. It is of the surface: roofs and crowns of trees are in it.
"""

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio import DatasetReader
from xarray import Dataset

from vadose.errors import VadoseError, nothing_here
from vadose.products.containers import BBox, as_float, container_of, simulated_mark
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import within
from vadose.products.rasters import RASTERS, Lattice, expect_lattice, expect_place, lattice_of, open_raster
from vadose.products.tiles import Decode, read_tiles
from vadose.variables import describe

SRTM_FILE_NAME = re.compile(
    r"srtm_(?P<xx>\d{2})_(?P<yy>\d{2})\.(?:tif|zip)|(?P<corner>[ns]\d{2}[ew]\d{3})\.hgt", re.IGNORECASE
)
USGS_3DEP_FILE_NAME = re.compile(
    r"USGS_(?P<resolution>1|13)_(?P<corner>[ns]\d{2}[ew]\d{3})(?:_(?P<date>\d{8}))?\.tif", re.IGNORECASE
)
GLO30_FILE_NAME = re.compile(
    r"Copernicus_DSM(?:_COG)?_10_(?P<ns>[NS])(?P<lat>\d{2})_00_(?P<ew>[EW])(?P<lon>\d{3})_00_DEM\.tif"
)
GLO30_EXAMPLE = "Copernicus_DSM_COG_10_NLL_00_ELLL_00_DEM.tif"
_SRTM_STEP = 1 / 1200
_3DEP_STEPS = {"1 arc second": 1 / 3600, "1/3 arc second": 1 / 10800}
# Where edges of pixels lie [pixel] from multiples of the step: SRTM, and NASA's arc second, have two editions.
_EDGES = {_SRTM_STEP: (0.0, 0.5), 1 / 3600: (0.0, 0.5), 1 / 10800: (0.0,)}
_SRTM_FILL, _SRTM_ISLAND_FILL, _3DEP_FILL = -32768, 255, -999999.0
# What tools put where nothing is, and often do not declare; no height is.
_UNDECLARED = (-32768.0, -32767.0, -9999.0, -99999.0, -999999.0)
_BEYOND = 1e30  # the lowest and highest float32
_HGT_SIDES = (1201, 3601)
# A raster under the name of other data, SMAP....h5, is told as what it is not.
_SUFFIXES = (".tif", ".tiff", ".img", ".vrt", ".hgt")


def read_srtm(path: Path, *, bbox: BBox | None = None) -> Dataset:
    """Read a tile of SRTM v4.1, or all tiles of a folder as one.

    A tile that declares 255 as missing is believed as long as it has no land above that: so are the island
    tiles. Otherwise 255 m is a height like others.

    Parameters
    ----------
    path
        File, or folder of ``srtm_XX_YY.tif`` of one edition or of ``.hgt`` of one resolution.
    bbox
        West, south, east, north [degree].

    Returns
    -------
    xarray.Dataset
        ``elevation`` [m above EGM96] (lat, lon), or (y, x) where it was warped, NaN in the sea.

    Raises
    ------
    VadoseError
        When a file is damaged, lies outside the tile of its name, is not of numbers that can be metres, or
        misses the box.

    References
    ----------
    Jarvis et al. (2008), https://srtm.csi.cgiar.org; Reuter et al. (2007), doi:10.1080/13658810601169899.
    """
    paths = _files(path, SRTM_FILE_NAME, "srtm_XX_YY.tif")
    notes: dict[str, str] = {}
    dataset = _read(paths, bbox, partial(_srtm_metres, notes=notes), _srtm_tile)
    with open_raster(paths[0]) as file:
        edition = _edition(lattice_of(file, paths[0]))
    dataset.attrs |= {"product": "SRTM", "version": "unknown", "edition": edition, "vertical_datum": "EGM96"} | notes
    return dataset


def is_srtm(path: Path) -> bool:
    """Whether a file, or each raster of a folder, is of SRTM.

    By its name, or by whole metres of 16 bits on the lattice of 3 arc seconds in degrees of WGS84; a relative of
    SRTM on the same lattice, as HydroSHEDS, is told from it by its name alone.
    """
    return _each_is(path, "srtm", _is_srtm_lattice)


def read_3dep(path: Path, *, bbox: BBox | None = None) -> Dataset:
    """Read a tile of the seamless 3DEP elevation, or all tiles of a folder as one.

    Parameters
    ----------
    path
        File, or folder of ``USGS_1_nNNwWWW.tif`` (or ``USGS_13_...``) of one resolution.
    bbox
        West, south, east, north [degree].

    Returns
    -------
    xarray.Dataset
        ``elevation`` [m above NAVD88] (lat, lon), or (y, x) where it was warped, NaN where missing; the datum of
        the coordinates is NAD83.

    Raises
    ------
    VadoseError
        When a file is damaged, lies outside the tile of its name, is not of numbers that can be metres, or
        misses the box.

    References
    ----------
    U.S. Geological Survey, 3D Elevation Program, doi:10.5066/F7DF6PQS.
    """
    paths = _files(path, USGS_3DEP_FILE_NAME, "USGS_1_nNNwWWW.tif")
    dataset = _read(paths, bbox, _3dep_metres, _3dep_tile)
    with open_raster(paths[0]) as file:
        lattice = lattice_of(file, paths[0])
    step, unit = lattice.transform[2], "degree" if lattice.is_geographic else f"m ({lattice.crs})"
    near = (name for name, known in _3DEP_STEPS.items() if abs(step - known) < 1e-3 * known)
    dates = {m["date"] for p in paths if (m := USGS_3DEP_FILE_NAME.fullmatch(p.name)) and m["date"]}
    dataset.attrs |= {
        "product": "3DEP",
        "version": ", ".join(sorted(dates)) or "unknown",
        "resolution": next(near, f"{step:.6g} {unit}, not as published"),
        "vertical_datum": "NAVD88",
    }
    return dataset


def read_glo30(path: Path, *, bbox: BBox | None = None) -> Dataset:
    """Read a tile of the Copernicus surface model, or all tiles of a folder as one.

    Parameters
    ----------
    path
        File, or folder of ``Copernicus_DSM_COG_10_NLL_00_ELLL_00_DEM.tif`` of one width of pixels.
    bbox
        West, south, east, north [degree].

    Returns
    -------
    xarray.Dataset
        ``elevation`` [m above EGM2008] (lat, lon) of the surface, NaN where missing.

    Raises
    ------
    VadoseError
        When a file is damaged, lies outside the tile of its name, is not of numbers that can be metres, tiles do not
        fit each other, or the box lies outside them.

    References
    ----------
    European Space Agency, Copernicus DEM, doi:10.5270/ESA-c5d3d65.
    """
    dataset = _read(
        _files(path, GLO30_FILE_NAME, GLO30_EXAMPLE), bbox, lambda _, *stored: as_float(*stored), _glo30_tile
    )
    dataset.attrs |= {"product": "GLO-30", "version": "unknown", "vertical_datum": "EGM2008"}
    return dataset


def is_glo30(path: Path) -> bool:
    """Whether a file, or each raster of a folder, is of Copernicus GLO-30, by its name."""
    return _each_is(path, "copernicus_dsm", lambda *_: False)


def is_3dep(path: Path) -> bool:
    """Whether a file, or each raster of a folder, is a 3DEP tile: by its name, or by datum, type and pixel size."""
    return _each_is(path, "usgs_1", _is_3dep_lattice) or _each_is(path, "3dep", _is_3dep_lattice)


def _files(path: Path, name: re.Pattern[str], example: str) -> list[Path]:
    container = container_of(path)
    if container == "zip":
        raise VadoseError(f"{path}: a zip archive, as tiles of SRTM are served; unpack it and give the .tif in it")
    if container != "folder":
        return [path]
    found = sorted(p for p in path.iterdir() if name.fullmatch(p.name) and p.suffix.lower() != ".zip")
    if not found:
        raise VadoseError(f"{path}: no file named {example} in the folder; give a tile, or a folder of them")
    return found


def _read(paths: list[Path], bbox: BBox | None, metres: Decode, tile: Callable[[str], BBox | None]) -> Dataset:
    """Elevation of all tiles, checked for its place and range, with the attributes both products share."""
    simulated, fills = set(), Counter[str]()
    for path in paths:
        sizes = {2 * side**2: f"{side} x {side}" for side in _HGT_SIDES}
        if path.suffix.lower() == ".hgt" and (size := path.stat().st_size) not in sizes:
            expected = " or ".join(f"{known} ({what} heights)" for known, what in sizes.items())
            raise VadoseError(f"{path}: {size} bytes, expected {expected}; fetch it again")
        with open_raster(path) as file:
            if file.count != 1 or np.dtype(file.dtypes[0]).itemsize < 2 or np.dtype(file.dtypes[0]).kind not in "iuf":
                raise VadoseError(f"{path}: found {file.count} bands of {file.dtypes[0]}, not metres; a picture?")
            simulated.add(simulated_mark(file.tags()))
            lattice = lattice_of(file, path)
            expect_place(path, lattice.box(), tile(path.name))
            if lattice.is_geographic:
                for step, shifts in _EDGES.items():
                    expect_lattice(path, lattice, step, shifts)

    def known(path: Path, stored: NDArray[np.number], nodata: float | int | None) -> NDArray[np.float32]:
        values = metres(path, stored, nodata)
        strange = np.isin(values, _UNDECLARED) | (np.abs(values) > _BEYOND)
        fills.update(f"{value:g}" for value in values[strange].tolist())
        values[strange] = np.nan
        return values

    values, dataset = read_tiles(paths, bbox, known)
    values, counted = within(values, "elevation", paths[0] if len(paths) == 1 else paths[0].parent)
    if np.isnan(values).all():
        raise nothing_here(bbox)(f"{paths[0]}: no height at all, all is missing; another box or a damaged file?")
    dataset["elevation"] = ("lat", "lon") if "lat" in dataset.coords else ("y", "x"), values, counted
    dataset.attrs |= {
        "granule": ", ".join(p.name for p in paths),
        "quality": "none: the product carries no quality flag",
        "simulated": "true" if "true" in simulated else "false",
    }
    if fills:
        found = ", ".join(f"{count} of {value}" for value, count in fills.items())
        dataset.attrs["undeclared_fill"] = f"taken as missing, though not declared so: {found}"
    return describe(dataset)


def _srtm_tile(name: str) -> BBox | None:
    """West, south, east, north of the tile that a file's name states."""
    found = SRTM_FILE_NAME.fullmatch(name)
    if found and found["xx"]:
        west, north = -180.0 + 5 * (int(found["xx"]) - 1), 60.0 - 5 * (int(found["yy"]) - 1)
        return west, north - 5, west + 5, north
    if found:
        south, west = _corner(found["corner"])
        return west, south, west + 1, south + 1
    return None


def _3dep_tile(name: str) -> BBox | None:
    if not (found := USGS_3DEP_FILE_NAME.fullmatch(name)):
        return None
    north, west = _corner(found["corner"])
    return west, north - 1, west + 1, north


def _glo30_tile(name: str) -> BBox | None:
    if not (found := GLO30_FILE_NAME.fullmatch(name)):
        return None
    south, west = _corner(f"{found['ns']}{found['lat']}{found['ew']}{found['lon']}")
    return west, south, west + 1, south + 1


def _corner(text: str) -> tuple[float, float]:
    """Latitude and longitude of such as n41w106."""
    lat, lon = float(text[1:3]), float(text[4:])
    return -lat if text[0] in "sS" else lat, -lon if text[3] in "wW" else lon


def _srtm_metres(
    path: Path, stored: NDArray[np.number], nodata: float | int | None, notes: dict[str, str]
) -> NDArray[np.float32]:
    values = as_float(stored, nodata if nodata != _SRTM_ISLAND_FILL else None)
    values[stored == _SRTM_FILL] = np.nan
    if nodata == _SRTM_ISLAND_FILL:
        # The 25 tiles hold low islands only: land above 255 m means that the tag is a mistake of some tool.
        if believed := not (values > _SRTM_ISLAND_FILL).any():
            values[stored == _SRTM_ISLAND_FILL] = np.nan
        notes["nodata_255"] = f"{path.name}: 255 is declared missing, and " + (
            "taken so (tile of low islands)" if believed else "kept as a height, as land above it shows"
        )
    return values


def _3dep_metres(path: Path, stored: NDArray[np.number], nodata: float | int | None) -> NDArray[np.float32]:
    values = as_float(stored, nodata)
    values[stored == _3DEP_FILL] = np.nan
    return values


def _edition(lattice: Lattice) -> str:
    """Which edition an SRTM raster comes from: its edges, or its centres, lie on multiples of the step."""
    left, _, step, _ = lattice.transform
    if not lattice.is_geographic:
        return f"unknown: warped to {lattice.crs}"
    if abs(step - _SRTM_STEP) > 1e-3 * _SRTM_STEP:
        return f"unknown: pixels of {step:.6g} degree; resampled, or SRTM of another centre"
    place = (left / _SRTM_STEP) % 1
    if min(place, 1 - place) < 0.1:
        return "6000 pixels a tile: edges on multiples of 3 arc seconds"
    return "6001 pixels a tile: centres on multiples of 3 arc seconds" if abs(place - 0.5) < 0.1 else "unknown: shifted"


def _each_is(path: Path, word: str, lattice: Callable[[DatasetReader, Path], bool]) -> bool:
    """Whether each raster has one band of metres in degrees, and the word in its name or the product's lattice."""
    if path.is_dir():
        files = sorted(path.glob("*.tif")) or sorted(path.glob("*.hgt"))
        return bool(files) and all(_each_is(f, word, lattice) for f in files)
    try:
        if (container := container_of(path)) not in RASTERS:
            return False
        if container == "hgt":  # says nothing but heights, its size is judged where it is read
            return word == "srtm"
        with open_raster(path) as file:
            metres = file.count == 1 and np.dtype(file.dtypes[0]).itemsize >= 2
            named = word in path.name.lower()
            return metres and (named or (path.suffix.lower() in _SUFFIXES and lattice(file, path)))
    except VadoseError:
        return False


def _is_srtm_lattice(file: DatasetReader, path: Path) -> bool:
    whole = file.dtypes[0] in ("int16", "uint16") and file.crs is not None and file.crs.to_epsg() == 4326
    return whole and not _edition(lattice_of(file, path)).startswith("unknown")


def _is_3dep_lattice(file: DatasetReader, path: Path) -> bool:
    metres = file.dtypes[0] == "float32" and file.crs is not None and file.crs.to_epsg() == 4269
    return metres and any(abs(file.transform.a - step) < 1e-3 * step for step in _3DEP_STEPS.values())


_AT_STATIONS = AtStations({"elevation": "elevation"}, ("elevation",), reach=500)

PRODUCT_SRTM = Product(
    "SRTM v4.1 elevation of CGIAR",
    "grid",
    "10.1080/13658810601169899",
    read_srtm,
    is_srtm,
    SRTM_FILE_NAME,
    fixed=True,
    sources=("srtm",),
    stations=_AT_STATIONS,
    twin=Twin("terrain.write_srtm", "once"),
)
PRODUCT_3DEP = Product(
    "USGS 3DEP elevation",
    "grid",
    "10.5066/F7DF6PQS",
    read_3dep,
    is_3dep,
    USGS_3DEP_FILE_NAME,
    fixed=True,
    version=re.compile(r"_(?P<z>\d{8})(?=\.tif$)"),
    sources=("3dep_1", "3dep_13"),
    stations=_AT_STATIONS,
    twin=Twin("terrain.write_3dep", "county"),
)
PRODUCT_GLO30 = Product(
    "Copernicus GLO-30 elevation of the surface",
    "grid",
    "10.5270/ESA-c5d3d65",
    read_glo30,
    is_glo30,
    GLO30_FILE_NAME,
    fixed=True,
    sources=("glo30",),
    stations=_AT_STATIONS,
    twin=Twin("terrain.write_glo30", "county"),
)
