"""Values held against the range of their variable: single ones outside become missing, many refuse the file.

One pixel beyond its range is an artefact of a retrieval (the water correction of a coast, a spike); a share of
them is another unit, another scale factor or damage.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.variables import variable

MOST_OUTSIDE = 0.01
"""Largest share of the values present that may lie outside the range; one value always may."""
LEAST_HIGHEST = {"soil_moisture": 0.005, "relative_humidity": 1.0, "longwave_radiation": 30.0}
"""What some value of a file exceeds, in our units, if it has `FEWEST` or more: all lower are of another unit."""
FEWEST = 20
COUNTED = "outside_range"
"""Attribute of a variable: how many values of its file lay outside the range and were set missing."""
_ROUNDING = 1e-6

Counted = tuple[NDArray[np.float32], dict[str, int]]
"""Values of a variable, and the attributes that count what was set missing."""


def within(
    values: NDArray[np.float32],
    name: str,
    place: Path | str,
    valid_range: tuple[float, float] | None = None,
) -> Counted:
    """Set single values outside the valid range to NaN and count them; refuse the file if they are many.

    Values beyond a limit by no more than a millionth of the range, which is rounding, are set to the limit.

    Parameters
    ----------
    values
        Any shape, in the units of `vadose.variables`, NaN where missing; changed in place.
    name
        Of the variable.
    place
        File (and field) named in the error.
    valid_range
        Lowest and highest value of the product, where it differs from that of the vocabulary.

    Returns
    -------
    tuple
        The values, and the attributes to give to the variable: ``{'outside_range': n}``, empty if n is 0.

    Raises
    ------
    VadoseError
        When more than one value and more than `MOST_OUTSIDE` of those present lie outside, or all are too low to be
        of the unit (`LEAST_HIGHEST`): a fraction instead of percent, kg m-2 instead of a share of volume.

    Examples
    --------
    >>> tb = np.array([45.4, 250.0, np.nan, 400.0], np.float32)
    >>> within(tb, "tb_h", "day.h5")
    (array([ 45.4, 250. ,   nan,   nan], dtype=float32), {'outside_range': 1})
    """
    known = variable(name)
    low, high = valid_range or (known.valid_range if known else (-np.inf, np.inf))
    slack = _ROUNDING * (high - low) if np.isfinite(high - low) else 0.0
    outside = (values < low - slack) | (values > high + slack)
    count = int(np.count_nonzero(outside))
    if count > 1 and count > MOST_OUTSIDE * (present := int(np.count_nonzero(~np.isnan(values)))):
        units = f" {known.units}" if known and known.units != "1" else ""
        raise VadoseError(
            f"{place}: {count} of {present} values of {name} lie outside {low:g} .. {high:g}{units} (found "
            f"{np.nanmin(values):g} .. {np.nanmax(values):g}); expected at most {100 * MOST_OUTSIDE:g} %. "
            "Is it another unit or scale?"
        )
    values[outside] = np.nan
    _check_highest(values[~np.isnan(values)], name, place, known.units if known else "")
    return np.clip(values, low, high, out=values), {COUNTED: count} if count else {}


def _check_highest(present: NDArray[np.float32], name: str, place: Path | str, units: str) -> None:
    least = next((least for of, least in LEAST_HIGHEST.items() if name.startswith(of)), -np.inf)
    if present.size >= FEWEST and (highest := float(present.max())) <= least:
        raise VadoseError(
            f"{place}: the highest of {present.size} values of {name} is {highest:g} {units}; expected more than "
            f"{least:g}. Is it another unit or scale?"
        )


def outside_counts(parts: Iterable[xr.Dataset]) -> dict[str, int]:
    """How many values of each variable were set missing in all datasets together; variables without any left out.

    Examples
    --------
    >>> hour = xr.Dataset({"tb_h": ("x", [250.0], {"outside_range": 2}), "tb_v": ("x", [260.0])})
    >>> outside_counts([hour, hour])
    {'tb_h': 4}
    """
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update({str(name): field.attrs.get(COUNTED, 0) for name, field in part.data_vars.items()})
    return dict(+sums)


def sum_counts(day: xr.Dataset, parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """Give the variables of a day the counts of all the granules it is made of."""
    for name, count in outside_counts(parts).items():
        day[name].attrs[COUNTED] = count
    return day
