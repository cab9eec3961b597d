"""SOLUS100: soil properties of CONUS at 100 m and at seven depths, with 95 % prediction intervals.

Nauman et al. (2024), doi:10.15482/USDA.ADC/25033856. A file is one property, depth and statistic,
``claytotal_5_cm_p.tif``; ``anylithicdpt_cm_p.tif`` and ``resdept_all_cm_p.tif`` have no depth. A depth is a
point, not a layer. The statistic is ``p`` (prediction), ``l`` and ``h`` (ends of the interval) or ``rpi``
(relative prediction interval). Files hold whole numbers, to be divided by a scalar that only the published
layer table tells. Grid: EPSG:5070, 100 m. Missing is 255 in files of 8 bits; others have to declare theirs.
"""

import re
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError, nothing_here
from vadose.products.containers import BBox, as_float, container_of, simulated_mark
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import within
from vadose.products.rasters import RASTERS, expect_lattice, lattice_of, open_raster, read_raster
from vadose.variables import VARIABLES, describe, variable

# Property -> our name, scalar of the layer table, factor from the table's unit to ours.
PROPERTIES = {
    "claytotal": ("clay_fraction", 1, 0.01),
    "silttotal": ("silt_fraction", 1, 0.01),
    "sandtotal": ("sand_fraction", 1, 0.01),
    "sandvc": ("very_coarse_sand_fraction", 1, 0.01),
    "sandco": ("coarse_sand_fraction", 1, 0.01),
    "sandmed": ("medium_sand_fraction", 1, 0.01),
    "sandfine": ("fine_sand_fraction", 1, 0.01),
    "sandvf": ("very_fine_sand_fraction", 1, 0.01),
    "fragvol": ("rock_fragment_fraction", 1, 0.01),
    "dbovendry": ("bulk_density", 100, 1.0),
    "soc": ("organic_carbon", 1000, 1.0),
    "ph1to1h2o": ("ph", 100, 1.0),
    "cec7": ("cation_exchange_capacity", 10, 1.0),
    "ecec": ("effective_cation_exchange_capacity", 10, 1.0),
    "caco3": ("calcium_carbonate", 1, 1.0),
    "gypsum": ("gypsum", 10, 1.0),
    "ec": ("electrical_conductivity", 10, 1.0),
    "sar": ("sodium_adsorption_ratio", 1, 1.0),
    "anylithicdpt": ("lithic_contact_depth", 1, 1.0),
    "resdept_all": ("restriction_depth", 1, 1.0),
}
DEPTHS = ("0", "5", "15", "30", "60", "100", "150")
WITHOUT_DEPTH = ("anylithicdpt", "resdept_all")
_SUFFIX = {"p": "", "l": "_low", "h": "_high", "rpi": "_relative_interval"}
FILE_NAME = re.compile(
    rf"(?P<property>[a-z0-9]+(?:_all)?)_(?:(?P<depth>{'|'.join(DEPTHS)})_)?cm_(?P<statistic>p|l|h|rpi)\.tif"
)
_BYTE_FILL = 255
_EPSG, _STEP = 5070, 100.0


def read_solus(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read one SOLUS100 file, or all of a folder, in our names and units.

    Parameters
    ----------
    path
        File named as published (words before and behind the name do no harm), or a folder of them.
    bbox
        West, south, east, north [degree].

    Returns
    -------
    xarray.Dataset
        (y, x), NaN where missing: ``clay_fraction_5cm`` [1], ``bulk_density_30cm`` [g cm-3],
        ``organic_carbon_5cm`` [percent], ``ph_5cm``, ``restriction_depth`` [cm] (censored at 201 cm) and so
        on; with ``_low`` and ``_high`` the ends of the 95 % interval, with ``_relative_interval`` its width
        as a share [1]. Texture does not sum up to exactly one.

    Raises
    ------
    VadoseError
        When a name tells no property, a file does not tell its missing value, states a scale of its own,
        was scaled already, holds many values outside the property's range, or files of a folder lie on different grids.

    References
    ----------
    Nauman et al. (2024), doi:10.1002/saj2.20769.
    """
    paths = _files(path)
    parts: dict[str, xr.DataArray] = {}
    simulated = set()
    for file in paths:
        name, values, mark = _read(file, bbox)
        if name in parts:
            raise VadoseError(f"{file}: the folder holds {name} twice; keep one file of it")
        parts[name] = values
        simulated.add(mark)
    try:
        dataset = describe(xr.merge([v.rename(n) for n, v in parts.items()], join="exact", compat="equals"))
    except ValueError as error:
        raise VadoseError(f"{path}: the files lie on different grids; keep cuts of one region in a folder") from error
    for name in map(str, dataset.data_vars):
        if name.endswith("_relative_interval"):
            about = name.removesuffix("_relative_interval")
            known = variable(about)
            text = known.long_name if known else about
            dataset[name].attrs |= {"long_name": f"relative prediction interval of {text}", "units": "1"}
    dataset.attrs = {
        "product": "SOLUS100",
        "version": "unknown",
        "granule": ", ".join(p.name for p in paths),
        "quality": "none: the product carries no quality flag; files l, h and rpi tell the uncertainty",
        "depth": "names tell a depth below the surface, not a layer",
        "simulated": "true" if "true" in simulated else "false",
    }
    return dataset


def is_solus(path: Path) -> bool:
    """Whether a file is of SOLUS100; only its name can tell, as nothing in it does."""
    if path.is_dir():
        files = sorted(path.glob("*.tif"))
        return bool(files) and all(is_solus(f) for f in files)
    try:
        return _told(path) is not None and container_of(path) in RASTERS
    except VadoseError:
        return False


def _told(path: Path) -> tuple[str, str | None, str] | None:
    """Property, depth and statistic that a name tells, if it is one of SOLUS100."""
    name = path.name.lower()
    known = "|".join(sorted(PROPERTIES, key=len, reverse=True))
    found = re.search(
        rf"(?:^|[^a-z0-9])({known})_(?:(0|5|15|30|60|100|150)_)?cm_(p|l|h|rpi)(?![a-z0-9]).*\.(?:tiff?|vrt)$", name
    )
    if not found or (found[2] is None) != (found[1] in WITHOUT_DEPTH):
        return None
    return found[1], found[2], found[3]


def _files(path: Path) -> list[Path]:
    if container_of(path) != "folder":
        return [path]
    found = sorted(p for p in path.iterdir() if p.is_file() and _told(p))
    if not found:
        raise VadoseError(f"{path}: no file named as claytotal_5_cm_p.tif in the folder; keep names as published")
    return found


def _read(path: Path, bbox: BBox | None) -> tuple[str, xr.DataArray, str]:
    """Our name, the values in our units on their grid, and the simulated mark of one file."""
    told = _told(path)
    if told is None:
        raise VadoseError(
            f"{path}: not the name of a SOLUS100 file, {{property}}_{{depth}}_cm_{{p|l|h|rpi}}.tif with a property "
            f"of {sorted(PROPERTIES)}; only the name says what a file holds, keep it as published"
        )
    prop, depth, statistic = told
    ours, scalar, factor = PROPERTIES[prop]
    name = ours + (f"_{depth}cm" if depth else "") + _SUFFIX[statistic]
    with open_raster(path) as file:
        if file.scales[0] != 1 or file.offsets[0] != 0:
            raise VadoseError(
                f"{path}: the file states scale {file.scales[0]:g}, offset {file.offsets[0]:g}; published files "
                "state none. Was it rescaled? Fetch it again"
            )
        mark, lattice = simulated_mark(file.tags()), lattice_of(file, path)
    if lattice.crs.to_epsg() == _EPSG:
        expect_lattice(path, lattice, _STEP)
    stored, coordinates, nodata = read_raster(path, bbox)
    values = _missing(path, stored, nodata)
    if statistic == "rpi":
        # The layer table has 1000 for the thicknesses and 100 for all others.
        scalar, factor, valid = (1000 if prop in WITHOUT_DEPTH else 100), 1.0, (0.0, np.inf)
    else:
        valid = VARIABLES[ours].valid_range
    if stored.dtype.kind == "f" and scalar > 1:
        _expect_counts(path, values, valid[1] / factor)
    values *= np.float32(factor / scalar)
    values, counted = within(values, name, path, valid)
    if np.isnan(values).all():
        raise nothing_here(bbox)(f"{path}: no value of {name} at all, all is missing; another box or a damaged file?")
    dims = ("y", "x") if "y" in coordinates.coords else ("lat", "lon")
    field = coordinates.assign(value=(dims, values))["value"]
    return name, field.assign_attrs(source=path.name, **counted), mark


def _missing(path: Path, stored: NDArray[np.number], nodata: float | int | None) -> NDArray[np.float32]:
    if nodata is None and stored.dtype != np.uint8:
        raise VadoseError(
            f"{path}: {stored.dtype} values and no missing value declared; only that of uint8 files is known "
            f"({_BYTE_FILL}). Declare it (gdal_edit.py -a_nodata VALUE) after a look at the sea"
        )
    return as_float(stored, _BYTE_FILL if nodata is None else nodata)


def _expect_counts(path: Path, values: NDArray[np.float32], highest: float) -> None:
    """Raise if floats may have been divided by the scalar already, or are no whole numbers as the published ones are.

    Counts are told from values in units by most of them lying above the highest that values can be.
    """
    present = values[~np.isnan(values)]
    if present.size and not ((present == np.rint(present)).all() and np.median(present) > highest):
        raise VadoseError(
            f"{path}: found floats {present.min():g} .. {present.max():g}, expected whole numbers to be divided by a "
            "scalar; they seem to be divided already. Take the file as published"
        )


PRODUCT = Product(
    "SOLUS100 soil properties",
    "grid",
    "10.15482/USDA.ADC/25033856",
    read_solus,
    is_solus,
    FILE_NAME,
    fixed=True,
    sources=("solus",),
    stations=AtStations(reach=200),
    published={
        ours + (f"_{depth}cm" if depth else ""): name + (f"_{depth}" if depth else "")
        for name, (ours, *_) in PROPERTIES.items()
        for depth in (("",) if name in WITHOUT_DEPTH else DEPTHS)
    },
    twin=Twin("soils.write_solus", "once"),
)
