"""NLCD land cover of the United States, 30 m: the Annual NLCD (Collection 1) and the legacy epochs 2001 to 2021.

Annual: doi:10.5066/P94UXNTS, ``Annual_NLCD_LndCov_2019_CU_C1V1.tif``, background 250. Legacy:
doi:10.5066/P9JZ7AO3, ``nlcd_2019_land_cover_l48_20210604``, background 0 (127 after some tools). Both lie on an
Albers projection of the datum WGS84: EPSG:5070 has NAD83 and is another one, so the file's own is kept. The legacy
epochs were published as Erdas Imagine (``.img``); cuts made of either come as other types of numbers too.
"""

import re
from pathlib import Path

import numpy as np
import xarray as xr

from vadose.errors import VadoseError, nothing_here
from vadose.products.containers import BBox, as_float, container_of, simulated_mark
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import COUNTED, MOST_OUTSIDE
from vadose.products.rasters import RASTERS, expect_place, lattice_of, open_raster, read_raster
from vadose.variables import describe

CLASSES = {
    11: "open water",
    12: "perennial ice or snow",
    21: "developed, open space",
    22: "developed, low intensity",
    23: "developed, medium intensity",
    24: "developed, high intensity",
    31: "barren",
    41: "deciduous forest",
    42: "evergreen forest",
    43: "mixed forest",
    45: "shrub forest",
    46: "herbaceous forest",
    51: "dwarf scrub",
    52: "shrub or scrub",
    71: "grassland",
    72: "sedge",
    73: "lichens",
    74: "moss",
    81: "pasture or hay",
    82: "cultivated crops",
    90: "woody wetlands",
    95: "emergent herbaceous wetlands",
}
BACKGROUND = (0, 127, 250)
FILE_NAME = re.compile(
    r"Annual_NLCD_LndCov_(?P<annual>\d{4})_(?P<region>CU|AK|HI|PR)_C(?P<collection>\d+)V(?P<version>\d+)\.(?:tiff?|img|vrt)"
    r"|nlcd_(?P<epoch>\d{4})_land_cover_(?P<area>l48|ak|hi|pr)_(?P<release>\d{8})\.(?:tiff?|img|vrt)",
    re.IGNORECASE,
)
# West, south, east, north of what the names call so.
_REGIONS = {
    "cu": (-131.0, 21.0, -63.0, 54.0),
    "l48": (-131.0, 21.0, -63.0, 54.0),
    "ak": (-180.0, 50.0, -128.0, 73.0),
    "hi": (-162.0, 18.0, -153.0, 24.0),
    "pr": (-69.0, 17.0, -64.0, 20.0),
}
_YEAR = re.compile(r"(?<!\d)(?:19[89]\d|20[0-4]\d)(?!\d)")


def read_nlcd(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read land cover on the file's own grid.

    Parameters
    ----------
    path
        GeoTIFF, Erdas Imagine or virtual raster, whole or a cut of one, in any projection.
    bbox
        West, south, east, north [degree].

    Returns
    -------
    xarray.Dataset
        ``land_cover_nlcd`` (y, x): the published codes 11 to 95 as float32, NaN for background. The attribute
        ``year`` is there when the name tells it.

    Raises
    ------
    VadoseError
        When the file holds many codes that NLCD land cover does not have (impervious surface, another map), lies
        elsewhere than its name says, or the box lies outside it.

    References
    ----------
    U.S. Geological Survey (2024), Annual NLCD, doi:10.5066/P94UXNTS; Dewitz (2023), doi:10.5066/P9JZ7AO3.
    """
    with open_raster(path) as file:
        kind, mark = np.dtype(file.dtypes[0]), simulated_mark(file.tags())
        if file.count != 1 or kind.kind not in "iuf":
            raise VadoseError(f"{path}: found {file.count} bands of {kind}, not one of land-cover codes; a picture?")
        lattice = lattice_of(file, path)
    if named := FILE_NAME.fullmatch(path.name):
        expect_place(path, lattice.box(), _REGIONS[(named["region"] or named["area"]).lower()])
    stored, dataset, nodata = read_raster(path, bbox)
    codes = as_float(stored, nodata, *BACKGROUND)
    present = ~np.isnan(codes)
    unknown = present & ~np.isin(codes, list(CLASSES))
    count, most = int(unknown.sum()), MOST_OUTSIDE * present.sum()
    if count > max(most, 1):
        strange = ", ".join(f"{code:g}" for code in np.unique(codes[unknown])[:8])
        raise VadoseError(f"{path}: codes {strange} are none of NLCD land cover; another layer or map?")
    codes[unknown] = np.nan
    if np.isnan(codes).all():
        raise nothing_here(bbox)(f"{path}: no land cover at all, all is background; another box or a damaged file?")
    dims = ("y", "x") if "y" in dataset.coords else ("lat", "lon")
    dataset["land_cover_nlcd"] = dims, codes, {COUNTED: count} if count else {}
    dataset.attrs |= _named(path) | {
        "granule": path.name,
        "quality": "none: the product carries no quality flag",
        "simulated": mark,
    }
    dataset = describe(dataset)
    dataset["land_cover_nlcd"].attrs |= {
        "flag_values": list(CLASSES),
        "flag_meanings": " ".join(re.sub(r"\W+", "_", text) for text in CLASSES.values()),
    }
    return dataset


def is_nlcd(path: Path) -> bool:
    """Whether a file is NLCD land cover: by its name as published, or by NLCD codes alone.

    The codes have to come with a name that says NLCD, or with bytes in pixels of 30 m.
    """
    try:
        if container_of(path) not in RASTERS:
            return False
        if FILE_NAME.fullmatch(path.name):
            return True
        with open_raster(path) as file:
            if file.count != 1 or file.crs is None:
                return False
            # The middle of the raster, where a map cut to a region has something to show.
            row, column = max(file.height // 2 - 128, 0), max(file.width // 2 - 128, 0)
            window = ((row, min(row + 256, file.height)), (column, min(column + 256, file.width)))
            stored = file.read(1, window=window)
            codes = set(np.unique(stored[stored == stored]).tolist()) - {*BACKGROUND, file.nodata}
            thirty_metres = file.dtypes[0] == "uint8" and file.crs.is_projected and 25 < file.transform.a < 35
    except VadoseError:
        return False
    if not codes <= set(CLASSES):
        return False
    return "nlcd" in path.name.lower() or (thirty_metres and len(codes) >= 3)


def _named(path: Path) -> dict[str, str | int]:
    """Product, version and year as far as the name tells them."""
    named = FILE_NAME.fullmatch(path.name)
    if named and named["annual"]:
        version = f"Collection {named['collection']} Version {named['version']}"
        return {"product": "Annual NLCD", "version": version, "year": int(named["annual"])}
    if named:
        return {"product": "NLCD", "version": f"released {named['release']}", "year": int(named["epoch"])}
    years = _YEAR.findall(path.stem)
    return {"product": "NLCD", "version": "unknown"} | ({"year": int(years[0])} if len(years) == 1 else {})


PRODUCT = Product(
    "NLCD land cover",
    "grid",
    "10.5066/P94UXNTS",
    read_nlcd,
    is_nlcd,
    FILE_NAME,
    fixed=True,
    version=re.compile(r"_(?P<a>\d{8})(?=\.)|_C(?P<b>\d+)V(?P<c>\d+)"),
    year=re.compile(r"_(\d{4})_"),
    sources=("nlcd",),
    stations=AtStations(inputs=("land_cover_nlcd",), reach=100),
    twin=Twin("terrain.write_nlcd", "county"),
)
