"""Days between the overpasses of a satellite: from the past alone, or as the paper fills them."""

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.gapfill.last_value import carry_forward

MODES = ("causal", "paper")


def fill_days(observed: xr.DataArray, mode: str) -> xr.Dataset:
    r"""Give a satellite's feature a value on every day.

    - ``'causal'``: the last valid value, whatever its age, and the age [day] as ``NAME_age``. A day knows nothing
      of later overpasses, so that a model may be run on the day itself.
    - ``'paper'``: a straight line in time between the valid overpasses on both sides, as Xu et al. (2025) fill
      them, :math:`x(t) = x_0 + (x_1 - x_0) (t - t_0) / (t_1 - t_0)`. It needs the next overpass, which is not known
      on the day.

    Days before the first valid overpass stay missing, and in ``'paper'`` mode those after the last one.

    Parameters
    ----------
    observed
        (..., time), named, of every day of a period; NaN where not observed.
    mode
        One of the two.

    Returns
    -------
    xarray.Dataset
        The feature under its own name, with the dimensions of ``observed``, and in ``'causal'`` mode its age.

    Raises
    ------
    VadoseError
        For another mode, or days that do not follow each other.

    References
    ----------
    Xu et al. (2025), doi:10.1029/2025JH000639.

    Examples
    --------
    >>> days = pd.date_range("2019-06-01", periods=5)
    >>> ndvi = xr.DataArray([np.nan, 0.2, np.nan, 0.4, np.nan], coords={"time": days}, name="ndvi")
    >>> filled = fill_days(ndvi, "causal")
    >>> filled.ndvi.values.tolist(), filled.ndvi_age.values.tolist()
    ([nan, 0.2, 0.2, 0.4, 0.4], [nan, 0.0, 1.0, 0.0, 1.0])
    >>> fill_days(ndvi, "paper").ndvi.values.round(2).tolist()
    [nan, 0.2, 0.3, 0.4, nan]
    """
    name, days = str(observed.name), observed.indexes["time"]
    if mode not in MODES:
        raise VadoseError(f"filling of {name}: mode {mode!r} unknown; choose from {list(MODES)}")
    if (np.diff(days) != pd.Timedelta(days=1)).any():
        raise VadoseError(f"filling of {name}: days {days[0]} .. {days[-1]} do not follow each other; give every day")
    if mode == "paper":
        filled = observed.interpolate_na("time", method="linear").astype(observed.dtype)
        return filled.rename(name).to_dataset()
    carried = carry_forward(observed)[[f"{name}_filled", f"{name}_age"]].rename({f"{name}_filled": name})
    for of in (name, f"{name}_age"):
        carried[of].attrs = dict(observed.attrs) if of == name else {}
    return carried.transpose(*observed.dims)
