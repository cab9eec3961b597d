"""What formulas ask of their inputs, and how their results are named."""

from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError


def within(
    values: xr.DataArray, name: str, low: float, high: float, hint: str, some_negative: bool = False
) -> xr.DataArray:
    """The values, refused where outside the range (at once, or when computed)."""

    def check(block: NDArray[np.floating]) -> NDArray[np.floating]:
        if (outside := (block < low) | (block > high)).any():
            raise VadoseError(
                f"{name}: {int(outside.sum())} of {block.size} values lie outside {low:g} .. {high:g} (found "
                f"{np.nanmin(block):g} .. {np.nanmax(block):g}); {hint}"
            )
        if some_negative and (known := ~np.isnan(block)).any() and (block[known] > 0).all():
            raise VadoseError(f"{name}: all values are positive (found up to {np.nanmax(block):g}); {hint}")
        return block

    checked: xr.DataArray = xr.apply_ufunc(
        check, values, dask="parallelized", output_dtypes=[values.dtype], keep_attrs=True
    )
    return checked


def on_one_grid(arrays: list[xr.DataArray], names: Iterable[str]) -> tuple[xr.DataArray, ...]:
    """Refuse arrays that do not lie on one grid."""
    try:
        return xr.align(*arrays, join="exact", copy=False)
    except ValueError as error:
        raise VadoseError(f"{', '.join(names)}: their cells or times differ; bring them to one grid first") from error


def one_of(value: str, choices: Iterable[str], what: str) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise VadoseError(f"{what}: found {value!r}; choose from {list(choices)}")


def named(values: xr.DataArray, name: Hashable, long_name: str, units: str = "1") -> xr.DataArray:
    """Name a result, with its description and units."""
    values = values.rename(name)
    values.attrs = {"long_name": long_name, "units": units}
    return values


def flags(values: xr.DataArray, name: str, long_name: str, meanings: Iterable[str]) -> xr.DataArray:
    """Name classes and say in CF attributes what their numbers mean."""
    values = named(values, name, long_name)
    words = [meaning.replace(" ", "_") for meaning in meanings]
    values.attrs |= {"flag_values": list(range(1, len(words) + 1)), "flag_meanings": " ".join(words)}
    return values
