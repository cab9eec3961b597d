"""Classes of stations - texture, elevation, land cover, precipitation - from a table of their features."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from vadose.evaluation.strata import Labels
from vadose.features.classes import NLCD_GROUPS, TEXTURE_GROUPS, texture_group, usda_texture_class

ELEVATIONS = (500.0, 1000.0, 1500.0)
"""Borders [m] between classes of elevation."""
PRECIPITATIONS = (300.0, 600.0, 900.0)
"""Borders [mm a-1] between classes of annual precipitation."""


def class_order() -> dict[str, list[str]]:
    """Classes of each kind that has an order, as they are drawn."""
    return {
        "texture": list(TEXTURE_GROUPS),
        "elevation": _class_names(ELEVATIONS, "m"),
        "land_cover": list(NLCD_GROUPS["mmnet"]),
        "precipitation": _class_names(PRECIPITATIONS, "mm"),
    }


def strata_of_table(table: xr.Dataset, stations: ArrayLike) -> dict[str, Labels]:
    """Classes of stations from a table of features, each kind where the table has what it needs.

    Kinds: ``network``; ``texture``, coarse, medium or fine of the USDA triangle, silt being what sand and clay leave;
    ``elevation`` (`ELEVATIONS`); ``land_cover``, from the indicators ``land_cover_forest`` and the like, the largest;
    ``precipitation``, mean of all days known, at least a year of them, a year (`PRECIPITATIONS`).

    Parameters
    ----------
    table
        (station, time) and (station,) features.
    stations
        Names of the stations asked for; one that is not in the table is of no class.

    Returns
    -------
    dict
        Kind -> label of each station asked for, '' where there is none.

    Examples
    --------
    >>> table = xr.Dataset(coords={"station": ["a", "b"], "elevation": ("station", [120.0, 1500.0])})
    >>> strata_of_table(table, ["b", "a", "c"])["elevation"].tolist()
    ['>= 1500 m', '< 500 m', '']
    """
    at = pd.Index(table.station.values.astype(object)).get_indexer(pd.Index(np.asarray(stations).astype(object)))
    found: dict[str, Labels] = {}
    if "network" in table.variables:
        found["network"] = table.network.values.astype(object)
    if {"sand_fraction", "clay_fraction"} <= set(table.variables):
        found["texture"] = _textures(table.sand_fraction, table.clay_fraction)
    if "elevation" in table.variables:
        found["elevation"] = _binned(table.elevation.values, ELEVATIONS, "m")
    covers = [name for name in NLCD_GROUPS["mmnet"] if f"land_cover_{name}" in table.variables]
    if covers:
        shares = np.stack([table[f"land_cover_{name}"].values for name in covers], axis=-1)
        largest = np.array(covers, object)[np.nan_to_num(shares).argmax(axis=-1)]
        found["land_cover"] = np.where(np.nan_to_num(shares).max(axis=-1) > 0, largest, "")
    if "precipitation" in table.variables:
        daily = table.precipitation.transpose("station", "time")
        annual = 365.25 * daily.mean("time").where(daily.notnull().sum("time") >= 365)
        found["precipitation"] = _binned(annual.values, PRECIPITATIONS, "mm")
    return {kind: np.where(at >= 0, labels[at], "").astype(object) for kind, labels in found.items()}


def _textures(sand: xr.DataArray, clay: xr.DataArray) -> Labels:
    sand, clay = sand.astype(float), clay.astype(float)
    sound = (sand >= 0) & (clay >= 0) & (sand + clay <= 1.05)  # mapped one by one, they may add up to a little more
    silt = (1 - sand - clay).clip(min=0.0)
    groups = texture_group(usda_texture_class(*(part.where(sound) for part in (sand, silt, clay))))
    names = np.array(["", *str(groups.attrs["flag_meanings"]).split()], object)
    labels: Labels = names[np.nan_to_num(groups.values).astype(int)]
    return labels


def _binned(values: NDArray[np.floating], borders: Sequence[float], unit: str) -> Labels:
    """Name of the class of each value, '' where it is unknown; a border belongs to the class above it."""
    names = np.array(_class_names(borders, unit), object)
    return np.where(
        np.isfinite(values), names[np.searchsorted(borders, values, side="right").clip(max=len(borders))], ""
    )


def _class_names(borders: Sequence[float], unit: str) -> list[str]:
    """Names such as '< 500 m', '500-1000 m', '>= 1500 m'."""
    inner = [f"{low:g}-{high:g} {unit}" for low, high in pairwise(borders)]
    return [f"< {borders[0]:g} {unit}", *inner, f">= {borders[-1]:g} {unit}"]
