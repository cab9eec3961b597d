"""MCD12Q1: land cover of a year from Terra and Aqua at 500 m, in five classifications.

Published by LP DAAC, doi:10.5067/MODIS/MCD12Q1.061, as ``MCD12Q1.AYYYY001.hHHvVV.061.YYYYDDDHHMMSS.hdf``, one tile
and year each. Pitfalls: water is 17 in the IGBP classification of this product, 0 in its other four and in the IGBP
classes of SMAP; years are not to be compared cell by cell, the labels carry too much uncertainty; unclassified cells
and those outside the globe hold 255.
"""

import re
from pathlib import Path

import numpy as np
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.containers import BBox, choose
from vadose.products.modis import VERSION, file_name, is_tile, open_tile, window_of
from vadose.products.product import Product, Twin
from vadose.variables import describe

FILE_NAME = file_name("MCD12Q1")
FILL = 255
# Classification -> field, our name and its classes from the lowest number on.
SCHEMES = {
    "igbp": (
        "LC_Type1",
        "land_cover",
        1,
        "evergreen_needleleaf_forest evergreen_broadleaf_forest deciduous_needleleaf_forest "
        "deciduous_broadleaf_forest mixed_forest closed_shrubland open_shrubland woody_savanna savanna grassland "
        "permanent_wetland cropland urban cropland_natural_vegetation_mosaic permanent_snow_and_ice barren water",
    ),
    "umd": (
        "LC_Type2",
        "land_cover_umd",
        0,
        "water evergreen_needleleaf_forest evergreen_broadleaf_forest deciduous_needleleaf_forest "
        "deciduous_broadleaf_forest mixed_forest closed_shrubland open_shrubland woody_savanna savanna grassland "
        "permanent_wetland cropland urban cropland_natural_vegetation_mosaic barren",
    ),
    "lai": (
        "LC_Type3",
        "land_cover_lai",
        0,
        "water grassland shrubland broadleaf_cropland savanna evergreen_broadleaf_forest deciduous_broadleaf_forest "
        "evergreen_needleleaf_forest deciduous_needleleaf_forest unvegetated urban",
    ),
    "bgc": (
        "LC_Type4",
        "land_cover_bgc",
        0,
        "water evergreen_needleleaf_vegetation evergreen_broadleaf_vegetation deciduous_needleleaf_vegetation "
        "deciduous_broadleaf_vegetation annual_broadleaf_vegetation annual_grass_vegetation unvegetated urban",
    ),
    "pft": (
        "LC_Type5",
        "land_cover_pft",
        0,
        "water evergreen_needleleaf_tree evergreen_broadleaf_tree deciduous_needleleaf_tree "
        "deciduous_broadleaf_tree shrub grass cereal_crop broadleaf_crop urban permanent_snow_and_ice barren",
    ),
}


def read_mcd12q1(path: Path, *, bbox: BBox | None = None, scheme: str = "igbp") -> xr.Dataset:
    """Read the land cover of a year and tile.

    The product's QC layer tells how a label came about, not whether to use it; nothing is screened by it.

    Parameters
    ----------
    path
        A granule.
    bbox
        West, south, east, north [degree]; the smallest rectangle of the sinusoidal grid that holds all cells
        whose centres lie within. None: the whole tile.
    scheme
        Classification: ``'igbp'`` (1..17), ``'umd'`` (University of Maryland, 0..15), ``'lai'`` (of the leaf
        area product, 0..10), ``'bgc'`` (Biome-BGC, 0..8) or ``'pft'`` (plant functional types, 0..11).

    Returns
    -------
    xarray.Dataset
        (y, x) ``land_cover`` (IGBP) or ``land_cover_SCHEME``, float32, NaN where unclassified; the classes are
        in ``flag_values`` and ``flag_meanings``, the year is an attribute.

    Raises
    ------
    VadoseError
        When the file is damaged, of another product, misplaced or misdated, holds no class or one the scheme
        does not know, or the box lies outside.

    References
    ----------
    Friedl and Sulla-Menashe (2022), doi:10.5067/MODIS/MCD12Q1.061; Sulla-Menashe et al. (2019),
    doi:10.1016/j.rse.2018.12.013.
    """
    choose(scheme, SCHEMES, "scheme", path)
    field, name, lowest, meanings = SCHEMES[scheme]
    classes = np.arange(lowest, lowest + len(meanings.split()))
    with open_tile(path, "MCD12Q1") as tile:
        window = window_of(tile, field, bbox)
        values, attributes = tile.read(field, window.rows, window.columns)
        if attributes.get("_FillValue", FILL) != FILL:
            raise VadoseError(f"{path}: {field} has fill {attributes['_FillValue']}, published is {FILL}")
        if strange := sorted(set(np.unique(values).tolist()) - {FILL, *classes.tolist()}):
            raise VadoseError(f"{path}: {field} holds classes {strange}, {scheme} has {lowest} to {classes[-1]}")
        if (values == FILL).all():
            raise VadoseError(f"{path}: every cell of {field} asked for is fill; choose another tile or box")
        dataset = window.coordinates
        dataset[name] = ("y", "x"), np.where(values == FILL, np.nan, values).astype(np.float32)
        dataset.attrs = tile.attributes(
            quality="none applied: the QC layer tells how a label came about, not whether to use it",
            scheme=scheme,
            tile=window.tile,
            year=f"{tile.day.year}",
        )
    dataset = describe(dataset)
    dataset[name].attrs |= {"flag_values": classes.tolist(), "flag_meanings": meanings}
    return dataset


def is_mcd12q1(path: Path) -> bool:
    """Whether a file holds the yearly MODIS land cover of a tile."""
    return is_tile(path, {"LC_Type1", "LC_Type2", "LC_Prop1"})


PRODUCT = Product(
    "MODIS land cover, yearly, 500 m",
    "grid",
    "10.5067/MODIS/MCD12Q1.061",
    read_mcd12q1,
    is_mcd12q1,
    FILE_NAME,
    "a year or more",
    fixed=True,
    version=VERSION,
    year=re.compile(r"\.A(\d{4})\d{3}\."),
    sources=("MCD12Q1",),
    twin=Twin("modis.write_mcd12q1", "once"),
)
