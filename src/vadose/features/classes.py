"""Classes of soil texture and groups of land cover."""

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.features.checks import flags, on_one_grid, one_of, within

# The order is that of the triangle from coarse to fine, numbers from 1.
USDA_TEXTURE = (
    "sand",
    "loamy sand",
    "sandy loam",
    "loam",
    "silt loam",
    "silt",
    "sandy clay loam",
    "clay loam",
    "silty clay loam",
    "sandy clay",
    "silty clay",
    "clay",
)
TEXTURE_GROUPS = {
    "coarse": ("sand", "loamy sand", "sandy loam"),
    "medium": ("loam", "silt loam", "silt", "sandy clay loam", "clay loam", "silty clay loam"),
    "fine": ("sandy clay", "silty clay", "clay"),
}
IGBP_GROUPS = {
    "grassland": (10,),
    "cropland": (12, 14),
    "permanent wetland": (11,),
    "savanna": (8, 9),
    "shrubland": (6, 7),
    "forest": (1, 2, 3, 4, 5),
}
NLCD_GROUPS = {
    "level1": {
        "water": (11, 12),
        "developed": (21, 22, 23, 24),
        "barren": (31,),
        "forest": (41, 42, 43),
        "shrubland": (51, 52),
        "herbaceous": (71, 72, 73, 74),
        "planted or cultivated": (81, 82),
        "wetlands": (90, 95),
    },
    "mmnet": {
        "barren": (31,),
        "crop": (82,),
        "developed": (21, 22, 23, 24),
        "forest": (41, 42, 43),
        "grassland": (71, 72, 73, 74),
        "pasture": (81,),
        "shrub": (51, 52),
        "wetland": (90, 95),
    },
}
_IGBP_NO_GROUP = (0, 13, 15, 16, 17)
_NLCD_NO_DATA = (0, 127, 250, 255)


def usda_texture_class(sand: xr.DataArray, silt: xr.DataArray, clay: xr.DataArray) -> xr.DataArray:
    """Texture class of the USDA triangle: sand below 2 mm, silt below 0.05 mm, clay below 0.002 mm.

    Fractions that were mapped one by one do not add up to 1; they are divided by their sum first.

    Parameters
    ----------
    sand, silt, clay
        Fraction of fine-earth mass, 0 .. 1.

    Returns
    -------
    xarray.DataArray
        Number of the class in `USDA_TEXTURE`, from 1 (sand) to 12 (clay), float32; NaN where a fraction is
        missing or all are zero. The names are in the attributes, as CF flags.

    Raises
    ------
    VadoseError
        When a fraction is outside 0 .. 1 (percent), a sum outside 0.5 .. 1.5, or the three lie on different
        grids.

    References
    ----------
    Soil Science Division Staff (2017), Soil Survey Manual, USDA Handbook 18, chapter 3.

    Examples
    --------
    >>> fractions = [xr.DataArray([value]) for value in (0.4, 0.4, 0.2)]
    >>> USDA_TEXTURE[int(usda_texture_class(*fractions)[0]) - 1]
    'loam'
    """
    parts = {"sand": sand, "silt": silt, "clay": clay}
    hint = "fractions of 1 are asked for; divide percent by 100"
    checked = [within(part, f"{name} fraction", 0, 1, hint) for name, part in parts.items()]
    sand, silt, clay = on_one_grid(checked, parts)
    total = (sand + silt + clay).astype(np.float64)
    total = total.where(total > 0)
    total = within(total, "sum of sand, silt and clay", 0.5, 1.5, "are the three of one soil, layer and unit?")
    number = xr.apply_ufunc(
        _texture_number, 100 * silt / total, 100 * clay / total, dask="parallelized", output_dtypes=[np.float32]
    )
    return flags(number, "texture_class", "USDA soil texture class", USDA_TEXTURE)


def _texture_number(silt: NDArray[np.float64], clay: NDArray[np.float64]) -> NDArray[np.float32]:
    rules = _texture_rules(silt, clay)
    return np.select(rules, list(range(1, 13)), default=np.nan).astype(np.float32)


def _texture_rules(silt: NDArray[np.float64], clay: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """Of each class of `USDA_TEXTURE`, whether it holds the point [percent]."""
    # Borders belong to one side: 7 percent of clay has to be 7 also after 0.07 was stored as float32.
    z, c = np.round(silt, 4), np.round(clay, 4)
    s = np.round(100 - z - c, 4)
    return [
        z + 1.5 * c < 15,
        (z + 1.5 * c >= 15) & (z + 2 * c < 30),
        (z + 2 * c >= 30) & (((c >= 7) & (c < 20) & (s > 52)) | ((c < 7) & (z < 50))),
        (c >= 7) & (c < 27) & (z >= 28) & (z < 50) & (s <= 52),
        ((z >= 50) & (c >= 12) & (c < 27)) | ((z >= 50) & (z < 80) & (c < 12)),
        (z >= 80) & (c < 12),
        (c >= 20) & (c < 35) & (z < 28) & (s > 45),
        (c >= 27) & (c < 40) & (s > 20) & (s <= 45),
        (c >= 27) & (c < 40) & (s <= 20),
        (c >= 35) & (s > 45),
        (c >= 40) & (z >= 40),
        (c >= 40) & (s <= 45) & (z < 40),
    ]


def texture_group(texture_class: xr.DataArray) -> xr.DataArray:
    """Coarse (1), medium (2) or fine (3) texture of the classes of `usda_texture_class`.

    The groups are those of Rabiei, Babaeian and Grunwald (2025), doi:10.3390/rs17183219, Table 4; other authors
    split differently. Here sandy clay loam, clay loam and silty clay loam are medium.

    Returns
    -------
    xarray.DataArray
        Number in `TEXTURE_GROUPS`, float32; NaN where missing.

    Raises
    ------
    VadoseError
        When a value is no class number.

    Examples
    --------
    >>> texture_group(xr.DataArray([1.0, 4.0, 12.0, np.nan])).values.tolist()
    [1.0, 2.0, 3.0, nan]
    """
    numbers = {group: [USDA_TEXTURE.index(name) + 1 for name in names] for group, names in TEXTURE_GROUPS.items()}
    return _recode(texture_class, numbers, (), "texture_group", "soil texture group")


def igbp_group(land_cover: xr.DataArray) -> xr.DataArray:
    """Group of IGBP land-cover classes by which forecasts are scored.

    The groups are those of Rabiei, Babaeian and Grunwald (2025), doi:10.3390/rs17183219, Table A1: grassland
    (G), cropland (C), permanent wetland (PW), savanna (S), shrubland (Sh), forest (F). A figure there spells PW
    as permanent water; stations stand in wetland, class 11. The mosaic of cropland and natural vegetation (14),
    on which the paper is silent, is counted as cropland; urban (13), snow and ice (15), barren (16) and water
    (17, in other legends 0) are in no group.

    Parameters
    ----------
    land_cover
        IGBP class, 0 .. 17, 255 where missing.

    Returns
    -------
    xarray.DataArray
        Number in `IGBP_GROUPS`, from 1, float32; NaN where missing or in no group. The names are in the
        attributes, as CF flags.

    Raises
    ------
    VadoseError
        When a value is no IGBP class, such as a mean of classes.

    References
    ----------
    MCD12Q1: doi:10.5067/MODIS/MCD12Q1.061.

    Examples
    --------
    >>> igbp_group(xr.DataArray([10, 12, 4, 17])).values.tolist()
    [1.0, 2.0, 6.0, nan]
    """
    return _recode(land_cover, IGBP_GROUPS, (*_IGBP_NO_GROUP, 255), "igbp_group", "group of IGBP land cover")


def nlcd_group(land_cover: xr.DataArray, legend: str = "level1") -> xr.DataArray:
    """Group of NLCD land-cover classes.

    Parameters
    ----------
    land_cover
        NLCD class, 11 .. 95; 0, 127, 250 and 255 where missing.
    legend
        ``'level1'``: the eight groups of the NLCD legend. ``'mmnet'``: the eight of MMNet (Xu et al. 2025),
        which sets pasture apart from crops and leaves out water, NaN.

    Returns
    -------
    xarray.DataArray
        Number in ``NLCD_GROUPS[legend]``, from 1, float32; NaN where missing. The names are in the
        attributes, as CF flags.

    Raises
    ------
    VadoseError
        When a value is no NLCD class, such as a mean of classes, or the legend is unknown.

    References
    ----------
    Annual NLCD: doi:10.5066/P94UXNTS; Xu et al. (2025), doi:10.1029/2025JH000639.

    Examples
    --------
    >>> nlcd_group(xr.DataArray([41, 81, 82])).values.tolist()
    [4.0, 7.0, 7.0]
    >>> nlcd_group(xr.DataArray([41, 81, 82]), legend="mmnet").values.tolist()
    [4.0, 6.0, 2.0]
    """
    one_of(legend, NLCD_GROUPS, "legend")
    no_group = (*_NLCD_NO_DATA, 11, 12) if legend == "mmnet" else _NLCD_NO_DATA
    return _recode(land_cover, NLCD_GROUPS[legend], no_group, "nlcd_group", f"group of NLCD land cover ({legend})")


def _recode(
    codes: xr.DataArray, groups: Mapping[str, Iterable[int]], no_group: Iterable[int], name: str, long_name: str
) -> xr.DataArray:
    table = {code: float(number) for number, members in enumerate(groups.values(), 1) for code in members}
    table |= dict.fromkeys(no_group, np.nan)
    known = np.array(sorted(table), float)
    numbers = np.array([table[code] for code in sorted(table)], np.float32)

    def recode(block: NDArray[np.floating]) -> NDArray[np.float32]:
        missing = np.isnan(block)
        if (strange := ~(missing | np.isin(block, known))).any():
            raise VadoseError(
                f"{name}: found {np.unique(block[strange])[:5].tolist()}; the classes are "
                f"{known.astype(int).tolist()}. Another legend, or classes averaged over cells (take the majority)?"
            )
        place = np.searchsorted(known, np.where(missing, known[0], block))
        return np.where(missing, np.float32(np.nan), numbers[place])

    number = xr.apply_ufunc(recode, codes, dask="parallelized", output_dtypes=[np.float32])
    return flags(number, name, long_name, groups)
