"""Indices of radar backscatter, in the form of the literature and in that of published code.

All take backscatter as `cross_ratio` does, and raise what it raises.
"""

from functools import partial

import numpy as np
import xarray as xr

from vadose.features.checks import named, on_one_grid, one_of, within
from vadose.grid import METRES_A_DEGREE

_LINEAR_POWER = (0.0, 1e4)
_DECIBEL = (-100.0, 100.0)
FORMS = ("literature", "mmnet_code")
SPECKLE = 50.0
"""Standard deviation [m] of the Gaussian over backscatter, half a cell of 100 m: the paper does not say its own."""


def from_decibel(decibel: xr.DataArray) -> xr.DataArray:
    r"""Linear power of decibels, :math:`10^{d / 10}`; means and ratios are taken of linear power.

    Raises
    ------
    VadoseError
        When a value is outside -100 .. 100 dB.

    Examples
    --------
    >>> from_decibel(xr.DataArray([-10.0, 0.0])).values.tolist()
    [0.1, 1.0]
    """
    decibel = within(decibel, "backscatter [dB]", *_DECIBEL, "mask the fill value first")
    return named(10 ** (decibel / 10), decibel.name, "linear power")


def to_decibel(linear: xr.DataArray) -> xr.DataArray:
    r"""Decibels of linear power, :math:`10 \log_{10} \sigma`; NaN where it is zero.

    Raises
    ------
    VadoseError
        When a value is negative: it is in decibel already.

    Examples
    --------
    >>> to_decibel(xr.DataArray([0.1, 1.0, 0.0])).values.tolist()
    [-10.0, 0.0, nan]
    """
    linear = within(linear, "backscatter", *_LINEAR_POWER, "linear power is asked for; is it in decibel already?")
    return named(10 * xr.ufuncs.log10(linear.where(linear > 0)), linear.name, "backscatter in decibel", "dB")


def cross_ratio(vv: xr.DataArray, vh: xr.DataArray, form: str = "literature") -> xr.DataArray:
    r"""Cross ratio, :math:`CR = \sigma_{VH} / \sigma_{VV}`, of vegetation.

    Parameters
    ----------
    vv, vh
        Backscatter, linear power [1] for ``'literature'``, in decibel for ``'mmnet_code'``.
    form
        ``'literature'``: as above. ``'mmnet_code'``: what the published code of MMNet computes,
        :math:`VV / VH` of decibels, after VV outside -20 .. -5 dB and VH outside -30 .. -10 dB is masked.

    Returns
    -------
    xarray.DataArray
        Ratio [1], NaN where a backscatter is zero or missing.

    Raises
    ------
    VadoseError
        When linear power is negative (decibels), decibels are all positive (linear power), the two lie on
        different grids, or the form is unknown.

    References
    ----------
    Vreugdenhil et al. (2018), doi:10.3390/rs10091396.

    Examples
    --------
    >>> vv, vh = xr.DataArray([0.1]), xr.DataArray([0.02])
    >>> cross_ratio(vv, vh).values.round(3).tolist()
    [0.2]
    >>> cross_ratio(to_decibel(vv), to_decibel(vh), form="mmnet_code").values.round(3).tolist()
    [0.589]
    """
    vv, vh = _backscatter(form, vv, vh)
    ratio = vh / vv if form == "literature" else vv / vh
    return named(ratio, "cross_ratio", f"cross ratio ({form})")


def dpsvim(vv: xr.DataArray, vh: xr.DataArray, form: str = "literature") -> xr.DataArray:
    r"""Modified dual-polarisation SAR vegetation index, :math:`(VV^2 + VV \cdot VH) / \sqrt{2}`.

    Parameters
    ----------
    vv, vh
        As in `cross_ratio`.
    form
        ``'literature'``: as above. ``'mmnet_code'``: :math:`(VV^2 + VH^2) / 2^5` of decibels, masked as in
        `cross_ratio`.

    Returns
    -------
    xarray.DataArray
        Index [1], NaN where a backscatter is zero or missing.

    References
    ----------
    dos Santos et al. (2021), doi:10.1080/01431161.2021.1959955.

    Examples
    --------
    >>> dpsvim(xr.DataArray([0.1]), xr.DataArray([0.02])).values.round(5).tolist()
    [0.00849]
    """
    vv, vh = _backscatter(form, vv, vh)
    index = (vv**2 + vv * vh) / 2**0.5 if form == "literature" else (vv**2 + vh**2) / 2**5
    return named(index, "dpsvim", f"modified dual-polarisation SAR vegetation index ({form})")


def polarization(vv: xr.DataArray, vh: xr.DataArray, form: str = "literature") -> xr.DataArray:
    r"""Normalised difference of the polarisations, :math:`Pol = (VV - VH) / (VV + VH)`.

    Some write it with the opposite sign; this one falls where vegetation depolarises the signal.

    Parameters
    ----------
    vv, vh
        As in `cross_ratio`.
    form
        ``'literature'``: as above. ``'mmnet_code'``: :math:`(VV + VH) / (VV - VH)` of decibels, masked as
        in `cross_ratio`, NaN where both are equal.

    Returns
    -------
    xarray.DataArray
        Index [1], -1 .. 1 for ``'literature'``; NaN where a backscatter is zero or missing.

    References
    ----------
    Mitchard et al. (2012), doi:10.5194/bg-9-179-2012, there of HH and HV.

    Examples
    --------
    >>> polarization(xr.DataArray([0.3]), xr.DataArray([0.1])).values.round(2).tolist()
    [0.5]
    """
    vv, vh = _backscatter(form, vv, vh)
    difference, total = vv - vh, vv + vh
    index = difference / total if form == "literature" else total / difference.where(difference != 0)
    return named(index, "polarization", f"normalised difference of the polarisations ({form})")


def despeckle(backscatter: xr.DataArray) -> xr.DataArray:
    r"""Gaussian mean of backscatter against speckle, with a standard deviation of `SPECKLE` metres.

    :math:`\bar\sigma = \sum_i w_i \sigma_i / \sum_i w_i`, :math:`w_i = e^{-d_i^2 / 2 s^2}` up to
    :math:`d = 3 s` along either axis, over the pixels that have a value; missing where they hold less than half of
    the weight.

    Parameters
    ----------
    backscatter
        (..., y, x) in metres or (..., lat, lon), linear power.

    Returns
    -------
    xarray.DataArray
        The same, filtered.

    Examples
    --------
    >>> metres = {"y": [200.0, 100.0, 0.0], "x": [0.0, 100.0, 200.0]}
    >>> echo = xr.DataArray(np.pad([[1.0]], 1), coords=metres, dims=("y", "x"))
    >>> round(float(despeckle(echo)[1, 1]), 3)
    0.619
    """
    from scipy.ndimage import gaussian_filter

    y, x = map(str, backscatter.dims[-2:])
    metres = np.array([_step(backscatter[y]), _step(backscatter[x])])
    if y == "lat":
        metres *= METRES_A_DEGREE * np.array([1.0, np.cos(np.radians(float(backscatter.lat.mean())))])
    width = [0.0] * (backscatter.ndim - 2) + list(SPECKLE / metres)
    smooth = partial(gaussian_filter, sigma=width, truncate=3.0, mode="constant")
    known = np.isfinite(backscatter.values)
    weight = smooth(known.astype(float))
    total = smooth(np.where(known, backscatter.values, 0.0).astype(float))
    enough = weight >= 0.5
    return backscatter.copy(data=np.where(enough, total / np.where(enough, weight, 1.0), np.nan).astype(np.float32))


def _step(axis: xr.DataArray) -> float:
    return abs(float(axis[-1]) - float(axis[0])) / max(len(axis) - 1, 1)


def _backscatter(form: str, vv: xr.DataArray, vh: xr.DataArray) -> list[xr.DataArray]:
    one_of(form, FORMS, "form")
    pair = {"vv": vv, "vh": vh}
    if form == "literature":
        hint = "linear power is asked for; convert decibels with from_decibel"
        checked = [within(band, f"backscatter {name}", *_LINEAR_POWER, hint) for name, band in pair.items()]
        return [band.where(band > 0) for band in on_one_grid(checked, pair)]
    hint = "decibels are asked for; convert linear power with to_decibel, mask the fill value"
    checked = [within(band, f"backscatter {name}", *_DECIBEL, hint, some_negative=True) for name, band in pair.items()]
    vv, vh = on_one_grid(checked, pair)
    return [vv.where((vv >= -20) & (vv <= -5)), vh.where((vh >= -30) & (vh <= -10))]
