"""Harmonized Landsat Sentinel-2 (HLS) v2.0: reflectance of one tile at 30 m.

Published by NASA: doi:10.5067/HLS/HLSL30.002 (from Landsat 8/9), 10.5067/HLS/HLSS30.002 (from Sentinel-2):
``HLS.L30.T14TML.2020209T155956.v2.0.B04.tif`` on the tiles of Sentinel-2, squares of 109.8 km in UTM that overlap.

Pitfalls: B05..B07 mean other colours in S30 than in L30; the thermal bands are brightness temperatures at the top of
the atmosphere and are not read.
"""

import re
from pathlib import Path

import numpy as np
import xarray as xr
from pyproj import CRS

from vadose.errors import VadoseError
from vadose.grid import mgrs_square
from vadose.products.containers import BBox, choose, container_of
from vadose.products.dates import moment
from vadose.products.product import AtStations, Product, Twin
from vadose.products.rasters import lattice_of, open_raster
from vadose.products.scenes import Packing, unpack
from vadose.variables import describe

_COLOURS = ("blue", "green", "red", "nir", "swir1", "swir2")
FILE_NAME = re.compile(
    r"(?P<tile>HLS\.(?P<product>[LS]30)\.T(?P<mgrs>\w{5})\.(?P<day>\d{7})(?P<clock>T\d{6})\.v(?P<version>\d+\.\d+))"
    r"(?:\.(?P<band>B\w\w|Fmask|S[ZA]A|V[ZA]A)\.tif|\.\w+(?:\.xml)?)?"
)
BANDS = {
    "L30": dict(zip(("B02", "B03", "B04", "B05", "B06", "B07"), _COLOURS, strict=True)),
    # Near infrared of S30 is the narrow band, whose response is that of Landsat.
    "S30": dict(zip(("B02", "B03", "B04", "B8A", "B11", "B12"), _COLOURS, strict=True)),
}
"""Band of each kind of granule -> its colour."""


# HLS gives no range: reflectance up to 0 is taken as invalid, as in NASA's vegetation indices of it, and above 1.6 no
# reflectance is retrieved.
_HLS = Packing("int16", -9999, 0.0001, 0.0, (1, 16000))
_SQUARE = 1e5
"""Metres along a side of the squares that tiles are named by."""

# Fmask: 1 cloud, 2 beside cloud or shadow, 3 cloud shadow, 4 snow; 255 is fill.
_QUALITY = {
    "clear": (0b11110, "Fmask bits 1-4 unset (no cloud, its surroundings, shadow or snow), counts in the valid range"),
    "no_cloud": (0b01110, "Fmask bits 1-3 unset (no cloud, its surroundings or shadow), counts in the valid range"),
    "all": (0, "none applied: only fill is masked"),
}


def read_hls(path: Path, *, bbox: BBox | None = None, quality: str = "clear") -> xr.Dataset:
    """Read reflectance of an HLS v2.0 tile, L30 or S30, with ``Fmask`` for quality.

    Parameters
    ----------
    path
        Folder of one granule, or any file of it.
    bbox
        West, south, east, north [degree]; only this part is read.
    quality
        ``'clear'``, ``'no_cloud'`` (keeps snow): pixels beside cloud or shadow are masked too, and
        reflectance up to 0 or above 1.6; ``'all'``: only fill is masked.

    Returns
    -------
    xarray.Dataset
        (time, y, x) ``reflectance_blue`` .. ``reflectance_swir2`` [1], adjusted to nadir view, as far as
        the granule holds them; float32, NaN where missing; time is that in the granule's name.

    Raises
    ------
    VadoseError
        When the granule cannot be told, lies elsewhere than the tile of its name, ``Fmask`` is missing, or a band is
        damaged or not as published.

    References
    ----------
    Claverie et al. (2018), doi:10.1016/j.rse.2018.09.002; doi:10.5067/HLS/HLSL30.002, HLSS30.002.
    """
    choose(quality, _QUALITY, "quality", path)
    if not path.exists():
        raise VadoseError(f"{path}: no such file or folder")
    folder = path if path.is_dir() else path.parent
    wanted = None if path.is_dir() else FILE_NAME.fullmatch(path.name)
    named = [m for p in sorted(folder.iterdir()) if (m := FILE_NAME.fullmatch(p.name)) and m["band"]]
    tiles = sorted({m["tile"] for m in named if wanted is None or m["tile"] == wanted["tile"]})
    if len(tiles) != 1 or (path.is_file() and wanted is None):
        raise VadoseError(
            f"{path}: found {tiles or 'no file'} named as HLS v2.0 is (HLS.L30.T14TML.2020209T155956.v2.0.B04.tif), "
            "expected one granule; give its folder, or one file of it"
        )
    files = {m["band"]: folder / m.string for m in named if m["tile"] == tiles[0]}
    found = next(m for m in named if m["tile"] == tiles[0])
    names = BANDS[found["product"]]
    packed = {f"reflectance_{colour}": (files[band], _HLS) for band, colour in names.items() if band in files}
    if not packed:
        raise VadoseError(f"{path}: {tiles[0]} holds none of the bands {list(names)} (found: {sorted(files)})")
    _expect_tile(next(iter(packed.values()))[0], found["mgrs"])
    bits, words = _QUALITY[quality]
    dataset = unpack(packed, files.get("Fmask"), "uint8", bits, bbox, path)
    time = moment(found["day"] + found["clock"], "%Y%jT%H%M%S", path, "the time in its name")
    dataset = dataset.assign_coords(time=[time.to_datetime64()])
    dataset.attrs |= {
        "product": f"HLS{found['product']}",
        "version": found["version"],
        "granule": tiles[0],
        "quality": f"{quality}: {words}",
        "day_boundary": "overpass, about 10:30 local solar time; days are UTC",
        "scale_source": "constants of HLS v2.0",
    }
    return describe(dataset)


def is_hls(path: Path) -> bool:
    """Whether a folder or file belongs to an HLS granule, by its name as published."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        named = [p for p in files if (m := FILE_NAME.fullmatch(p.name)) and m["band"]]
        return bool(named) and container_of(named[0]) == "tiff"
    except VadoseError:
        return False


def _expect_tile(path: Path, tile: str) -> None:
    """Raise if the middle of a raster lies outside the tile that its name states, such as 14TML."""
    with open_raster(path) as raster:
        lattice = lattice_of(raster, path)
    operation = CRS.from_wkt(lattice.crs.to_wkt()).coordinate_operation
    known = {parameter.name: parameter.value for parameter in operation.params} if operation else {}
    zone = (known.get("Longitude of natural origin", np.nan) + 183) / 6
    if zone != int(tile[:2]):
        raise VadoseError(f"{path}: in {lattice.crs}, expected UTM zone {tile[:2]} as its name tells (T{tile})")
    left, bottom, right, top = lattice.bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    # Tiles overlap, and a mosaic may bear the name of one of them: neighbours are let pass.
    near = (-_SQUARE, 0.0, _SQUARE)
    squares = {mgrs_square(int(zone), x + dx, y + dy) for dx in near for dy in near}
    if tile[3:] not in squares:
        raise VadoseError(
            f"{path}: its transform places it at x {left:.0f} to {right:.0f}, y {bottom:.0f} to {top:.0f}, in square "
            f"{mgrs_square(int(zone), x, y)}, its name in {tile[3:]} (T{tile}); one of them is wrong"
        )


PRODUCT = Product(
    "Harmonized Landsat Sentinel-2 reflectance v2.0, 30 m",
    "grid",
    "10.5067/HLS/HLSL30.002",
    read_hls,
    is_hls,
    FILE_NAME,
    "2 to 4 days",
    version=re.compile(r"\.v(?P<a>\d+)\.(?P<b>\d+)"),
    scene=(FILE_NAME,),
    sources=("HLSL30", "HLSS30"),
    together=2,
    published={f"reflectance_{colour}": colour for colour in _COLOURS},
    stations=AtStations(inputs=tuple(f"reflectance_{colour}" for colour in _COLOURS), reach=100, overpasses=True),
    twin=Twin("landsat.write_hls", "county"),
)
