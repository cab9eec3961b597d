"""POLARIS v1.0: soil properties of CONUS at 1 arc second in six layers, with their distribution.

Chaney et al. (2019), doi:10.1029/2018WR022797. A file is one property, statistic, layer and tile of 1 degree,
and its own name tells the tile only: ``clay/mean/0_5/lat4142_lon-88-87.tif``. Files hold float32; missing is
-9999, as a rule without a nodata tag. Hydraulic conductivity, organic matter, bubbling pressure and alpha are
stored as decimal logarithms.
"""

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import NeedsError, VadoseError, nothing_here
from vadose.products.containers import BBox, as_float, choose, container_of, simulated_mark
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import within
from vadose.products.rasters import RASTERS, expect_lattice, expect_place, lattice_of, open_raster
from vadose.products.tiles import read_tiles
from vadose.variables import describe

# Property -> our name, factor from the published unit to ours, whether stored as a decimal logarithm, and the range of
# what is stored. POLARIS is made of SSURGO, whose highest conductivity is 705 um/s, 10^2.4 cm/h: above lie values that
# are no logarithms any more.
PROPERTIES = {
    "clay": ("clay_fraction", 0.01, False, (0.0, 100.0)),
    "sand": ("sand_fraction", 0.01, False, (0.0, 100.0)),
    "silt": ("silt_fraction", 0.01, False, (0.0, 100.0)),
    "bd": ("bulk_density", 1.0, False, (0.0, 2.65)),
    "theta_s": ("porosity", 1.0, False, (0.0, 1.0)),
    "theta_r": ("residual_water_content", 1.0, False, (0.0, 1.0)),
    "ph": ("ph", 1.0, False, (1.5, 12.0)),
    "om": ("organic_matter", 1.0, True, (-6.0, 2.0)),
    "ksat": ("saturated_hydraulic_conductivity", 0.01 / 3600, True, (-6.0, 2.6)),  # cm h-1 -> m s-1
    "hb": ("bubbling_pressure", 1.0, True, (-4.0, 3.0)),
    "alpha": ("van_genuchten_alpha", 1.0, True, (-6.0, 2.0)),
    "lambda": ("pore_size_index", 1.0, False, (0.0, 10.0)),
    "n": ("van_genuchten_n", 1.0, False, (1.0, 20.0)),
}
STATISTICS = ("mean", "mode", "p5", "p50", "p95")
DEPTHS = ("0_5", "5_15", "15_30", "30_60", "60_100", "100_200")
FILE_NAME = re.compile(r"lat(?P<south>\d{2})(?P<north>\d{2})_lon(?P<west>-\d{2,3})(?P<east>-\d{2,3})\.tif")
_FILL = -9999.0
_STEP = 1 / 3600
_BEYOND = 1e30  # the lowest and highest float32
_UNKNOWN = "unknown"
# As folders, clay/mean/0_5/..., or in one name as the published mosaics have it, clay_mean_0_5.
_TOLD = re.compile(
    rf"(?:^|[/_])({'|'.join(PROPERTIES)})[/_]({'|'.join(STATISTICS)})[/_]({'|'.join(reversed(DEPTHS))})(?=[/_.])"
)
# The same three words in a file's own name in any order, clay_0_5_mean or p50_clay_0-5cm, as tools have it.
_WORDS = (
    re.compile(rf"(?<![a-z0-9])({'|'.join(PROPERTIES)})(?![a-z0-9])"),
    re.compile(rf"(?<![a-z0-9])({'|'.join(STATISTICS)})(?![a-z0-9])"),
    re.compile(rf"(?<![0-9])({'|'.join(d.replace('_', '[_-]') for d in reversed(DEPTHS))})(?:cm)?(?![a-z0-9])"),
)


class _Part(NamedTuple):
    property: str
    statistic: str
    depth: str


def read_polaris(
    path: Path,
    *,
    bbox: BBox | None = None,
    property: str | None = None,
    statistic: str | None = None,
    depth: str | None = None,
) -> xr.Dataset:
    """Read a tile, or all tiles below a folder put together, in our names and units and never as logarithms.

    What a file holds is told by its folders, ``clay/mean/0_5/``, or its name, ``clay_mean_0_5.tif``. Where it is
    told, ``property``, ``statistic`` and ``depth`` select; where not (a file moved away), they tell it. With
    property ``'unknown'`` a single file that nothing tells is read as it is stored.

    Parameters
    ----------
    path
        File, or a folder with tiles at any level below.
    bbox
        West, south, east, north [degree].
    property, statistic, depth
        In the words of POLARIS, such as ``'ksat'``, ``'mean'``, ``'0_5'``.

    Returns
    -------
    xarray.Dataset
        (lat, lon), NaN where missing: ``clay_fraction_0_5cm`` [1], ``bulk_density_0_5cm`` [g cm-3],
        ``porosity_0_5cm`` [m3 m-3], ``saturated_hydraulic_conductivity_0_5cm`` [m s-1],
        ``bubbling_pressure_0_5cm`` [kPa] and so on, for each layer found; statistics but the mean have their
        name behind: ``clay_fraction_0_5cm_p95``. A mean of a logarithm is read as 10 to its power, that is a
        geometric mean. ``unknown_property``, as stored and without a unit, may be a logarithm.

    Raises
    ------
    VadoseError
        When nothing tells what a file holds, nothing is selected, tiles do not fit each other or lie elsewhere than
        their names say, many values lie outside the property's range, or the box lies outside the tiles.

    References
    ----------
    Chaney et al. (2019), doi:10.1029/2018WR022797.
    """
    for value, choices, what in (
        (property, PROPERTIES, "property"),
        (statistic, STATISTICS, "statistic"),
        (depth, DEPTHS, "depth"),
    ):
        if value is not None and value != _UNKNOWN:
            choose(value, choices, what, path)
    if property == _UNKNOWN:
        return _as_stored(path, bbox)
    tiles = _tiles(path, (property, statistic, depth))
    fields: dict[str, xr.DataArray] = {}
    for part, files in tiles.items():
        outside = Counter[str]()
        values, coordinates = read_tiles(files, bbox, partial(_decode, part=part, outside=outside))
        if np.isnan(values).all():
            raise nothing_here(bbox)(f"{files[0]}: no value of {part.property} at all, all is missing; another box?")
        dims = ("lat", "lon") if "lat" in coordinates.coords else ("y", "x")
        fields[_name(part)] = coordinates.assign(value=(dims, values))["value"].assign_attrs(outside)
    try:
        dataset = xr.merge([v.rename(n) for n, v in fields.items()], join="exact", compat="equals")
    except ValueError as error:
        raise VadoseError(f"{path}: properties or layers have different tiles; fetch the same tiles of each") from error
    everything = [file for files in tiles.values() for file in files]
    dataset.attrs = {
        "product": "POLARIS",
        "version": "1.0" if "v1.0" in path.absolute().as_posix() else "unknown",
        "granule": ", ".join(sorted({file.name for file in everything})),
        "quality": "none: the product carries no quality flag; statistics p5 and p95 tell the uncertainty",
        "simulated": "true" if any(_simulated(file) for file in everything) else "false",
    }
    return describe(dataset)


def _as_stored(path: Path, bbox: BBox | None) -> xr.Dataset:
    """One file whose property nothing tells, neither scaled nor taken out of its logarithm, and named so."""
    if container_of(path) == "folder" or _told(path):
        raise VadoseError(f"{path}: property 'unknown' is for a single file that nothing tells; leave it away")
    values, dataset = read_tiles([path], bbox, lambda _, stored, nodata: as_float(stored, nodata, _FILL))
    dims = ("lat", "lon") if "lat" in dataset.coords else ("y", "x")
    text = "soil property not told by folders or name, as stored, perhaps a decimal logarithm"
    dataset["unknown_property"] = dims, values, {"long_name": text, "units": "unknown"}
    dataset.attrs |= {
        "product": "POLARIS",
        "version": "unknown",
        "granule": path.name,
        "quality": "none: the product carries no quality flag",
        "simulated": "true" if _simulated(path) else "false",
    }
    return dataset


def is_polaris(path: Path) -> bool:
    """Whether a file, or each raster below a folder, is of POLARIS: by its folders or name and its type."""
    if path.is_dir():
        files = sorted(path.rglob("*.tif"))
        return bool(files) and all(is_polaris(file) for file in files)
    try:
        if container_of(path) not in RASTERS or not (_told(path) or FILE_NAME.fullmatch(path.name)):
            return False
        with open_raster(path) as file:
            return bool(file.count == 1 and file.dtypes[0] in ("float32", "float64") and file.crs)
    except VadoseError:
        return False


def _tiles(path: Path, given: tuple[str | None, str | None, str | None]) -> dict[_Part, list[Path]]:
    """Files of each property, statistic and layer that was asked for."""
    files = [path]
    if container_of(path) == "folder":
        files = sorted(p for p in path.rglob("*.tif") if FILE_NAME.fullmatch(p.name) or _told(p))
        if not files:
            raise VadoseError(
                f"{path}: no tile named as lat4142_lon-88-87.tif below the folder; keep names as published"
            )
    tiles: dict[_Part, list[Path]] = {}
    found = set()
    for file in files:
        if named := FILE_NAME.fullmatch(file.name):
            west, south, east, north = (float(named[side]) for side in ("west", "south", "east", "north"))
            with open_raster(file) as raster:
                lattice = lattice_of(raster, file)
            expect_place(file, lattice.box(), (west, south, east, north))
            expect_lattice(file, lattice, _STEP)
        part = _told(file)
        if part is None:
            if None in given:
                text = (
                    f"{file}: neither folders (clay/mean/0_5/) nor name tell what the file holds; give property, "
                    f"statistic and depth (found {given}), or name it clay_mean_0_5.tif or the like"
                )
                raise NeedsError(text, instead={"property": _UNKNOWN}) if file == path else VadoseError(text)
            part = _Part(*map(str, given))
        found.add(part)
        if all(asked in (None, told) for asked, told in zip(given, part, strict=True)):
            tiles.setdefault(part, []).append(file)
    if not tiles:
        raise VadoseError(
            f"{path}: nothing of {given}; found {sorted('/'.join(p) for p in found)}. Fetch it, or ask for those"
        )
    return tiles


def _told(path: Path) -> _Part | None:
    # The nearest folders count: a folder further up may be called 'sand' for reasons of its own.
    found = _TOLD.findall("/".join(path.absolute().parts[-4:]).lower())
    if found:
        return _Part(*found[-1])
    words = [pattern.findall(path.stem.lower()) for pattern in _WORDS]
    if any(len(set(known)) != 1 for known in words):
        return None
    return _Part(words[0][0], words[1][0], words[2][0].replace("-", "_"))


def _name(part: _Part) -> str:
    end = "" if part.statistic == "mean" else f"_{part.statistic}"
    return f"{PROPERTIES[part.property][0]}_{part.depth}cm{end}"


def _decode(
    path: Path, stored: NDArray[np.number], nodata: float | int | None, part: _Part, outside: Counter[str]
) -> NDArray[np.float32]:
    if stored.dtype.kind != "f":
        raise VadoseError(f"{path}: found {stored.dtype} values where POLARIS has float32; was the file converted?")
    _, factor, logarithm, valid = PROPERTIES[part.property]
    values = as_float(stored, nodata, _FILL)
    values[np.abs(values) > _BEYOND] = np.nan
    what = f"{'log10 of ' * logarithm}{part.property} as stored"
    values, counted = within(values, what, path, valid)
    outside.update(counted)
    return np.asarray((10.0**values if logarithm else values) * np.float32(factor), np.float32)


def _simulated(path: Path) -> bool:
    with open_raster(path) as file:
        return simulated_mark(file.tags()) == "true"


PRODUCT = Product(
    "POLARIS soil properties",
    "grid",
    "10.1029/2018WR022797",
    read_polaris,
    is_polaris,
    FILE_NAME,
    fixed=True,
    sources=("polaris",),
    published={f"{ours}_{depth}cm": f"{name}_{depth}" for name, (ours, *_) in PROPERTIES.items() for depth in DEPTHS},
    stations=AtStations(
        {name: f"{name}_0_5cm" for name in ("clay_fraction", "sand_fraction", "bulk_density")}, reach=100
    ),
    twin=Twin("soils.write_polaris", "county"),
)
