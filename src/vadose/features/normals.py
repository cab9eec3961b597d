"""The normal of a day of the year: each cell's mean and first harmonic, from the training days alone."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.door.days import daily
from vadose.door.values import checked
from vadose.errors import VadoseError

YEAR = 365.2425
PRIOR = 30.0
"""Weight of the prior that holds the harmonic at nothing, in observations."""
HARMONIC = "_harmonic"


def with_normals(cube: xr.Dataset, names: tuple[str, ...], first: str, last: str) -> xr.Dataset:
    r"""Add each variable's harmonic, ``NAME_harmonic`` (coefficient, y, x), to a cube.

    .. math:: c(d) = a + b \sin(2 \pi d / 365.2425) + c \cos(2 \pi d / 365.2425)

    fitted by ridge regression to the days ``first`` .. ``last``, as by `vadose.models.baselines.Climatology` with
    a stronger prior. NaN at a cell without an observation on these days.

    Raises
    ------
    VadoseError
        When the cube lacks a variable, or its days are not whole (`vadose.door.days.daily`).

    Examples
    --------
    >>> days = np.arange("2019-01-01", "2021-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> wave = 0.2 + 0.1 * np.sin(2 * np.pi * days.astype("datetime64[D]").astype(float) / YEAR)
    >>> cube = xr.Dataset({"soil_moisture": (("time", "y", "x"), wave[:, None, None])}, {"time": days})
    >>> found = with_normals(cube, ("soil_moisture",), "2019-01-01", "2020-12-31").soil_moisture_harmonic
    >>> [f"{value:.1f}" for value in found.values.ravel()]
    ['0.2', '0.1', '-0.0']
    """
    cube = daily(cube)
    for name in names:
        if name not in cube:
            raise VadoseError(f"{cube.encoding.get('source', 'the cube')}: no variable {name!r} to take normals of")
        observed = cube[name].sel(time=slice(first, last)).transpose("time", "y", "x")
        days = observed.time.values.astype("datetime64[D]").astype(np.int64)
        # Those taken as missing are counted where samples are made of the cube.
        values, _ = checked(observed.values, name, str(cube.encoding.get("source", "the cube")))
        coefficients = fit_harmonic(values, days)
        cube = cube.assign({name + HARMONIC: (("coefficient", "y", "x"), coefficients)})
    return cube


def fit_harmonic(observed: NDArray[np.float32], days: NDArray[np.int64]) -> NDArray[np.float32]:
    """Coefficients (3, ...) of daily series (T, ...) on days since 1970-01-01."""
    basis = _basis(days)
    series = observed.reshape(len(observed), -1)
    found = np.full((series.shape[1], 3), np.nan)
    ridge = np.diag([0.0, PRIOR, PRIOR])
    for start in range(0, series.shape[1], 4096):
        part = series[:, start : start + 4096]
        known = np.isfinite(part)
        normal = np.einsum("tc,ti,tj->cij", known.astype(float), basis, basis, optimize=True)
        right = np.einsum("tc,ti->ci", np.where(known, part, 0.0).astype(float), basis, optimize=True)
        some = known.any(axis=0)
        found[start : start + 4096][some] = np.linalg.solve(normal[some] + ridge, right[some][..., None])[..., 0]
    return found.T.reshape(3, *observed.shape[1:]).astype(np.float32)


def normal_of(coefficients: NDArray[np.float32], days: NDArray[np.int64]) -> NDArray[np.float32]:
    """Normals (T, ...) on days since 1970-01-01 of coefficients (3, ...)."""
    return np.tensordot(_basis(days).astype(np.float32), coefficients, axes=1)


def _basis(days: NDArray[np.int64]) -> NDArray[np.float64]:
    angle = 2 * np.pi * days / YEAR
    return np.stack([np.ones_like(angle), np.sin(angle), np.cos(angle)], axis=1)
