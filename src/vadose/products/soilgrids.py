"""SoilGrids 2.0: soil properties of the world at 250 m in six layers, with quantiles.

Poggio et al. (2021), doi:10.5194/soil-7-217-2021; https://soilgrids.org, CC BY 4.0. A raster is one property,
layer and statistic, ``clay_0-5cm_mean``, on the Homolosine projection; ``vadose fetch`` asks the coverage service
for tiles of 5 degrees in degrees, named after their south-west corner: ``clay_0-5cm_mean_n45e005.tif``. Files
hold whole numbers: g kg-1 of clay, sand and silt, cg cm-3 of bulk density, pH times ten and so on. Missing is what
the file declares, -32768, or 0, which the coverage service gives for water without saying so.
"""

import re
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError, nothing_here
from vadose.products.containers import BBox, as_float, container_of, simulated_mark
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import within
from vadose.products.rasters import RASTERS, expect_place, lattice_of, open_raster
from vadose.products.tiles import read_tiles
from vadose.variables import VARIABLES, describe

# Property -> our name, factor from what is stored to our unit.
PROPERTIES = {
    "clay": ("clay_fraction", 1e-3),
    "sand": ("sand_fraction", 1e-3),
    "silt": ("silt_fraction", 1e-3),
    "bdod": ("bulk_density", 1e-2),
    "soc": ("organic_carbon", 1e-2),  # dg kg-1 -> percent
    "phh2o": ("ph", 1e-1),
    "cec": ("cation_exchange_capacity", 1e-1),
    "cfvo": ("rock_fragment_fraction", 1e-3),
}
DEPTHS = ("0-5cm", "5-15cm", "15-30cm", "30-60cm", "60-100cm", "100-200cm")
TILE = 5
"""Degrees of a tile as it is fetched."""
_ENDS = {"mean": "", "Q0.05": "_p5", "Q0.5": "_p50", "Q0.95": "_p95"}
FILE_NAME = re.compile(
    rf"(?P<property>{'|'.join(PROPERTIES)})_(?P<depth>{'|'.join(DEPTHS)})_"
    rf"(?P<statistic>{'|'.join(map(re.escape, _ENDS))})"
    r"(?:_(?P<ns>[ns])(?P<lat>\d{2})(?P<ew>[ew])(?P<lon>\d{3}))?\.(?:tif|vrt)"
)
_FILL = -32768
_TEXTURE = ("clay_fraction", "sand_fraction", "silt_fraction")
_SUM = (0.9, 1.1)
"""Of clay, sand and silt, in the middle of all pixels: they are predicted one by one and do not add up to one."""


def read_soilgrids(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read one raster of SoilGrids, or all of a folder, tiles put together, in our names and units.

    Parameters
    ----------
    path
        File named as published, or a folder of them.
    bbox
        West, south, east, north [degree].

    Returns
    -------
    xarray.Dataset
        (lat, lon), or (y, x) of a part of the Homolosine raster, NaN where missing: ``clay_fraction_0_5cm`` [1],
        ``bulk_density_15_30cm`` [g cm-3], ``organic_carbon_0_5cm`` [percent], ``ph_0_5cm`` and so on; with ``_p5``,
        ``_p50``, ``_p95`` quantiles. Attribute ``zero_is_missing`` counts zeros taken as missing (all but those of
        rock fragments). Texture does not add up to exactly one.

    Raises
    ------
    VadoseError
        When a name tells no property, values are no whole numbers, many lie outside the property's range, clay, sand
        and silt are far from adding up to one, or tiles lie elsewhere than their names say or on different grids.

    References
    ----------
    Poggio et al. (2021), doi:10.5194/soil-7-217-2021.
    """
    rasters = defaultdict(list)
    for file in _files(path):
        rasters[_place(file)].append(file)
    fields: dict[str, xr.DataArray] = {}
    for (prop, depth, statistic), files in sorted(rasters.items()):
        name, factor = PROPERTIES[prop]
        counted = Counter[str]()
        values, coordinates = read_tiles(files, bbox, partial(_decode, prop=prop, counted=counted))
        values, outside = within(values * np.float32(factor), name, files[0], VARIABLES[name].valid_range)
        if np.isnan(values).all():
            raise nothing_here(bbox)(f"{files[0]}: no value of {name} at all, all is missing; is the box over water?")
        dims = ("lat", "lon") if "lat" in coordinates.coords else ("y", "x")
        field = coordinates.assign(value=(dims, values))["value"].assign_attrs(counted | outside)
        fields[f"{name}_{depth.replace('-', '_')}{_ENDS[statistic]}"] = field
    try:
        dataset = xr.merge([v.rename(n) for n, v in fields.items()], join="exact", compat="equals")
    except ValueError as error:
        raise VadoseError(
            f"{path}: properties or layers lie on different grids; fetch the same tiles of each"
        ) from error
    _expect_sum(path, dataset)
    dataset.attrs = {
        "product": "SoilGrids",
        "version": "2.0",
        "granule": ", ".join(sorted(file.name for files in rasters.values() for file in files)),
        "quality": "none: the product carries no quality flag; quantiles tell the uncertainty",
        "simulated": "true" if any(_simulated(file) for files in rasters.values() for file in files) else "false",
    }
    return describe(dataset)


def is_soilgrids(path: Path) -> bool:
    """Whether a file, or each raster of a folder, is of SoilGrids: by its name and its whole numbers."""
    if path.is_dir():
        files = sorted(path.glob("*.tif"))
        return bool(files) and all(is_soilgrids(file) for file in files)
    try:
        if not FILE_NAME.fullmatch(path.name) or container_of(path) not in RASTERS:
            return False
        with open_raster(path) as file:
            return bool(file.count == 1 and np.dtype(file.dtypes[0]).kind in "iu")
    except VadoseError:
        return False


def _files(path: Path) -> list[Path]:
    if container_of(path) != "folder":
        return [path]
    found = sorted(file for file in path.iterdir() if FILE_NAME.fullmatch(file.name))
    if not found:
        raise VadoseError(f"{path}: no file named as clay_0-5cm_mean.tif in the folder; keep names as published")
    return found


def _place(path: Path) -> tuple[str, str, str]:
    """Property, layer and statistic that a name tells, whose tile is where the raster lies."""
    if not (told := FILE_NAME.fullmatch(path.name)):
        raise VadoseError(
            f"{path}: not the name of a SoilGrids raster, PROPERTY_LAYER_STATISTIC.tif such as clay_0-5cm_mean.tif, "
            f"with a property of {sorted(PROPERTIES)}; only the name says what a file holds, keep it as published"
        )
    if told["lat"]:
        south, west = (float(told[k]) * (-1 if told[s] in "sw" else 1) for k, s in (("lat", "ns"), ("lon", "ew")))
        with open_raster(path) as file:
            expect_place(path, lattice_of(file, path).box(), (west, south, west + TILE, south + TILE))
    return told["property"], told["depth"], told["statistic"]


def _decode(
    path: Path, stored: NDArray[np.number], nodata: float | int | None, prop: str, counted: Counter[str]
) -> NDArray[np.float32]:
    if stored.dtype.kind not in "iu":
        raise VadoseError(
            f"{path}: found {stored.dtype} values, expected whole numbers as published; divided already? Fetch it again"
        )
    values = as_float(stored, nodata, _FILL)
    if prop != "cfvo":
        if zeros := int((values == 0).sum()):
            counted["zero_is_missing"] += zeros
        values[values == 0] = np.nan
    return values


def _expect_sum(path: Path, dataset: xr.Dataset) -> None:
    """Raise where clay, sand and silt of a layer are far from adding up to one: they are in another unit."""
    for depth in (depth.replace("-", "_") for depth in DEPTHS):
        names = [f"{name}_{depth}" for name in _TEXTURE]
        if not set(names) <= set(dataset):
            continue
        total = np.sum([dataset[name].values for name in names], axis=0)
        if np.isfinite(total).any() and not _SUM[0] <= (middle := float(np.nanmedian(total))) <= _SUM[1]:
            raise VadoseError(
                f"{path}: clay, sand and silt of {depth} add up to {middle:.2g}, expected about 1; are they in g kg-1?"
            )


def _simulated(path: Path) -> bool:
    with open_raster(path) as file:
        return simulated_mark(file.tags()) == "true"


PRODUCT = Product(
    "SoilGrids 2.0 soil properties",
    "grid",
    "10.5194/soil-7-217-2021",
    read_soilgrids,
    is_soilgrids,
    FILE_NAME,
    fixed=True,
    sources=("soilgrids",),
    stations=AtStations(reach=500),
    published={
        f"{ours}_{depth.replace('-', '_')}": f"{name}_{depth}"
        for name, (ours, _) in PROPERTIES.items()
        for depth in DEPTHS
    },
    twin=Twin("soils.write_soilgrids", "county"),
)
