"""Values checked at the door: units of others converted, what lies outside the valid range counted or refused."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.variables import variable

MOST_OUTSIDE = 0.001
"""Share of values outside the valid range from which they are refused, not taken as missing."""
SINGLE = 3
"""So many are single values, whatever their share."""
FILLS = (-9999.0, -99999.0, -999999.0)
"""Codes of missing values that no variable takes, nor `HUGE` and more, whether its name is known or not."""
HUGE = 1e15
_RATE = re.compile(r"^W|[/ ](?:s|sec|h|hr|hour|d|day)(?:-1|\*\*-1|\^-1)?$")
MARGIN = 0.5
"""Part of the valid range that what was estimated, a forecast or a filled gap, may lie beyond either end."""
Array = NDArray[np.floating]
_QUANTITIES: tuple[dict[str, tuple[float, float]], ...] = (
    {"m3 m-3": (1, 0), "1": (1, 0), "percent": (0.01, 0)},
    {"kg kg-1": (1, 0), "1": (1, 0), "percent": (0.01, 0), "g kg-1": (0.001, 0)},  # of mass, which is not of volume
    {"K": (1, 0), "degC": (1, 273.15), "degF": (5 / 9, 459.67 * 5 / 9)},
    {
        "kg m-2": (1, 0),
        "cm water": (10, 0),
        "m water": (1000, 0),
        "in water": (25.4, 0),
        "kg m-2 s-1": (86400, 0),
        "mm h-1": (24, 0),
    },
    {"Pa": (1, 0), "hPa": (100, 0), "kPa": (1000, 0)},
    {"m s-1": (1, 0), "km h-1": (1 / 3.6, 0), "knot": (1852 / 3600, 0)},
    {"W m-2": (1, 0), "J m-2 d-1": (1 / 86400, 0), "MJ m-2 d-1": (1e6 / 86400, 0)},
    {"m": (1, 0), "cm": (0.01, 0), "mm": (0.001, 0), "km": (1000, 0), "ft": (0.3048, 0)},
    {"g cm-3": (1, 0), "kg m-3": (0.001, 0)},
    {"degree": (1, 0), "rad": (57.29577951308232, 0)},
)
"""Unit -> (factor, offset) to the first one of its quantity."""
_SPELLINGS = {
    "m3 m-3": "m3/m3 m3m-3 cm3 cm3/cm3 cm3cm-3 mm3/mm3 mm3mm-3 m3m3 vol/vol v/v",
    "1": "1 - dimensionless unitless fraction proportion ratio none m/m mm/mm",
    "kg kg-1": "kg/kg kgkg-1 g/g gg-1",
    "g kg-1": "g/kg gkg-1",
    "percent": "percent % pct vol% %vol vol.% volumepercent %(v/v) m3/m3*100 percentbyvolume",
    "K": "k kelvin degk deg_k degree_kelvin degrees_kelvin",
    "degC": "degc deg_c c °c celsius degreec degreesc degree_c degrees_c degree_celsius degrees_celsius degreescelsius",
    "degF": "degf deg_f f °f fahrenheit degree_fahrenheit degrees_fahrenheit",
    "kg m-2": "kg/m2 kgm-2 mm mm/d mm/day mmd-1 mmday-1 kgm-2d-1 kgm-2day-1 kg/m2/d kg/m2/day millimeter millimetre "
    "millimeters millimetres",
    "cm water": "cm cm/d cm/day",
    "m water": "m m/d m/day mofwaterequivalent",
    "in water": "in inch inches in/d in/day",
    "kg m-2 s-1": "kgm-2s-1 kg/m2/s kg/m2s mm/s mms-1",
    "mm h-1": "mmh-1 mm/h mm/hr mmhr-1",
    "Pa": "pa pascal",
    "hPa": "hpa mbar mb millibar",
    "kPa": "kpa",
    "m s-1": "m/s ms-1",
    "km h-1": "km/h kmh-1 kph",
    "knot": "knot knots kt",
    "W m-2": "w/m2 wm-2",
    "J m-2 d-1": "jm-2 j/m2 jm-2d-1 j/m2/d jm-2day-1 j/m2/day",
    "MJ m-2 d-1": "mjm-2 mj/m2 mjm-2d-1 mj/m2/d mjm-2day-1 mj/m2/day",
    "m": "m meter metre meters metres",
    "cm": "cm",
    "mm": "mm",
    "km": "km",
    "ft": "ft feet foot",
    "g cm-3": "g/cm3 gcm-3 g/cc",
    "kg m-3": "kg/m3 kgm-3",
    "degree": "degree degrees deg °",
    "rad": "rad radian radians",
}


Outside = Counter[tuple[str, int | None]]
"""Number of values outside the valid range by variable and day."""


def checked(values: Array, name: str, place: str, margin: float = 0.0) -> tuple[Array, int]:
    """Values with single ones outside the valid range of their variable as missing, and how many those were.

    The range is that of `vadose.variables.variable`, wider by ``margin`` of its width at either end, and by `MARGIN`
    where gaps are filled. Of a variable that is not of the vocabulary `FILLS`, and `HUGE` or more to either side,
    are no values.

    Raises
    ------
    VadoseError
        When more than `SINGLE` values and more than a share of `MOST_OUTSIDE` lie outside.

    Examples
    --------
    >>> checked(np.array([0.2, np.nan, -9999.0]), "soil_moisture", "mine.zarr")
    (array([0.2, nan, nan]), 1)
    """
    if values.dtype.kind not in "fiu" or not values.size:
        return values, 0
    known = variable(name)
    low, high = known.valid_range if known else (-HUGE, HUGE)
    room = max(margin, MARGIN if name.endswith("_filled") else 0.0) * (high - low) if known else 0.0
    # Ends are found in a fraction of the time that a copy takes; NaN in all comparisons is no value.
    lowest = low - room if known else np.nextafter(max(FILLS), 0)
    if not (np.fmin.reduce(values, axis=None) < lowest or np.fmax.reduce(values, axis=None) > high + room):
        return values, 0
    outside = (values < low - room) | (values > high + room)
    if not known:
        outside |= np.isin(values, FILLS)
    count = int(np.count_nonzero(outside))
    seen = int(np.count_nonzero(~np.isnan(values)))
    if count > max(SINGLE, MOST_OUTSIDE * seen):
        worst = values[outside]
        wrong = f"lie outside {low:g} .. {high:g} ({known.units})" if known else "are codes of missing values"
        units = "state their units in the attribute 'units', and " if known else "state "
        raise VadoseError(
            f"{place}: {count} of {seen} values of {name} {wrong}, from {worst.min():g} to {worst.max():g}; "
            f"{units}what stands for a missing value in '_FillValue'"
        )
    return np.where(outside, np.nan, values).astype(np.result_type(values, np.float32)), count


def checked_by_day(
    values: Array, name: str, place: str, days: Iterable[int | None], margin: float = 0.0
) -> tuple[Array, Outside]:
    """Values (day, ...) as of `checked`, and how many lay outside on each of the days; of estimates by their place."""
    found, count = checked(values, name, place, margin)
    if not count:
        return found, Outside()
    gone = (np.isnan(found) & ~np.isnan(values)).reshape(len(values), -1).sum(axis=1)
    said = place if margin else name
    return found, +Outside({(said, day): int(n) for day, n in zip(days, gone, strict=True)})


def by_variable(outside: Outside) -> dict[str, int]:
    """Number of values outside the valid range by variable, of all days.

    Examples
    --------
    >>> by_variable(Outside({("precipitation", 16801): 2, ("precipitation", 16802): 1, ("clay_fraction", None): 1}))
    {'clay_fraction': 1, 'precipitation': 3}
    """
    found = Counter[str]()
    for (name, _), count in outside.items():
        found[name] += count
    return dict(sorted(found.items()))


def in_units(data: xr.Dataset, place: str) -> xr.Dataset:
    """Variables of the vocabulary in its units, converted where their attribute ``units`` names others."""
    converted: dict[str, Any] = {}
    for name, array in data.data_vars.items():
        known, units = variable(str(name)), array.attrs.get("units")
        if known is None or units in (None, known.units) or array.dtype.kind not in "fiu":
            continue
        rule = conversion(str(units), known.units)
        if rule is None and known.units == "1":
            continue  # classes and indices are called by many names; their values are checked
        if rule is None:
            raise VadoseError(
                f"{place}: {name} is in {units!r}; expected {known.units!r}, or a unit that is known here"
            )
        factor, offset = rule
        if factor == 0.01 and str(name).startswith("soil_moisture"):
            _really_percent(array, place)
        if rule != (1.0, 0.0):
            array = (array * factor + offset).astype(array.dtype if array.dtype.kind == "f" else np.float32)
            array = array.assign_attrs(converted_from=str(units))
        converted[str(name)] = array.assign_attrs(data[name].attrs | array.attrs | known.attributes())
    return data.assign(converted)


def conversion(source: str, target: str) -> tuple[float, float] | None:
    """Factor and offset that bring values of one unit to another; None where no rule is known.

    Spaces, capitals, ``**`` and ``^`` do not matter. ``mm``, and ``mm`` or ``kg m-2`` of a day, are kg m-2 where that
    is wanted; a rate of a second or an hour is that of the whole day.

    Examples
    --------
    >>> conversion("vol %", "m3 m-3"), conversion("cm^3 cm^-3", "m3 m-3"), conversion("degC", "K")
    ((0.01, 0.0), (1.0, 0.0), (1.0, 273.15))
    >>> conversion("mm", "kg m-2"), conversion("mm", "K")
    ((1.0, 0.0), None)
    """
    if source.strip() == target:
        return 1.0, 0.0
    plain = "".join(source.split()).replace("**", "").replace("^", "").replace("·", "").lower()
    for quantity in _QUANTITIES:
        if target in quantity:
            for unit, (factor, offset) in quantity.items():
                if plain in _SPELLINGS[unit].split() or source.strip() == unit:
                    to, less = quantity[target]
                    return factor / to, (offset - less) / to
    return None


def is_rate(unit: str) -> bool:
    """Whether a unit is of a flux, whose hours are averaged, where those of an amount add up.

    Examples
    --------
    >>> is_rate("kg m-2 s-1"), is_rate("mm/day"), is_rate("W m-2"), is_rate("mm")
    (True, True, True, False)
    """
    return bool(_RATE.search(unit.strip()))


def _really_percent(array: xr.DataArray, place: str) -> None:
    """Refuse moisture that says percent and is a fraction: of some days, lest a long record is read twice."""
    axis = next((name for name in ("time", "init_time") if name in array.dims), None)
    some = array.isel({axis: np.unique(np.linspace(0, array.sizes[axis] - 1, 32).astype(int))}) if axis else array
    highest = float(np.nanmax(some.values, initial=-np.inf))
    if -np.inf < highest <= 1.0:
        raise VadoseError(
            f"{place}: {array.name} says 'units' {array.attrs['units']!r}, but its values are at most "
            f"{highest:.3g}; correct the attribute where they are m3 m-3"
        )
