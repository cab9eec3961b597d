r"""Covariances of several data sets, and what follows from them: figures of pairs, triple and extended collocation.

Of data sets :math:`x_i = \alpha_i + \beta_i \theta + \varepsilon_i` with errors independent of each other and of the
truth, triple collocation (Gruber et al. 2016, doi:10.1016/j.jag.2015.09.002) gives

.. math::
    \sigma_{\varepsilon_x}^2 = \sigma_x^2 - \frac{\sigma_{xy} \sigma_{xz}}{\sigma_{yz}}, \quad
    \beta_y = \frac{\sigma_{xz}}{\sigma_{yz}}, \quad
    \mathrm{SNR}_x = -10 \log_{10} \left( \frac{\sigma_x^2 \sigma_{yz}}{\sigma_{xy} \sigma_{xz}} - 1 \right)

with ``err_std`` :math:`= \beta \sigma_\varepsilon`, on the scale of the first data set, and ``snr`` in dB. Extended
collocation (doi:10.1002/2015JD024027) solves all such equations of four or more data sets by least squares, and
estimates the covariance of errors of pairs that are said to be correlated; each data set needs a triple without such a
pair.

Figures equal those of ``pytesmo.metrics``, but for what sampling makes impossible: where a covariance that is used is
not positive nothing is known, and where an error variance is negative it and the SNR are missing (pytesmo takes
absolute values).
"""

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from vadose.errors import VadoseError

Array = NDArray[np.floating]
Figures = dict[str, Array]
Pair = tuple[int, int]


def moments(series: Array) -> Array:
    """Count, values and products of each day, 0 where any is missing: (n, ...) to (..., 1 + n + n (n + 1) / 2)."""
    known = np.asarray(np.isfinite(series).all(axis=0))
    values = np.where(known, series, 0.0)
    one, other = np.triu_indices(len(series))
    return np.moveaxis(np.concatenate([known[None].astype(float), values, values[one] * values[other]]), 0, -1)


def covariances(m: Array, sets: int) -> tuple[Array, Array, Array]:
    """Count (...), means (..., data set) and covariances (..., data set, data set) with n - 1, of sums of `moments`."""
    n = m[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = m[..., 1 : 1 + sets] / n[..., None]
        one, other = np.triu_indices(sets)
        found = np.empty((*n.shape, sets, sets))
        products = m[..., 1 + sets :]
        apart = products - mean[..., one] * mean[..., other] * n[..., None]
        # What rounding leaves of a series that does not vary is nothing.
        apart = np.where((one == other) & (apart <= 1e-13 * np.abs(products)), 0.0, apart) / (n[..., None] - 1)
    found[..., one, other] = apart
    found[..., other, one] = apart
    return n, mean, found


def pair_figures(m: Array, sets: int, i: int, j: int) -> Figures:
    """``R``, ``RMSD``, ``BIAS`` (first minus second), ``urmsd``, ``mse`` and its parts, and ``RSS`` of a pair."""
    n, mean, cov = covariances(m, sets)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_n = ((n - 1) / n)[..., None, None] * cov
        one, other, both = np.sqrt(of_n[..., i, i]), np.sqrt(of_n[..., j, j]), of_n[..., i, j]
        r = np.where(one * other > 0, both / (one * other), np.nan)
        bias = mean[..., i] - mean[..., j]
        parts = {
            "mse_corr": np.maximum(2 * one * other - 2 * both, 0),
            "mse_bias": bias**2,
            "mse_var": (one - other) ** 2,
        }
        mse = sum(parts.values(), np.zeros_like(n))
        unbiased = np.sqrt(parts["mse_corr"] + parts["mse_var"])
    return {"R": r, "RMSD": np.sqrt(mse), "BIAS": bias, "urmsd": unbiased, "mse": mse, **parts, "RSS": mse * n}


def triple_figures(m: Array, sets: int, of: Sequence[int]) -> Figures:
    """``snr``, ``err_std`` and ``beta`` of three data sets (..., 3), the first the reference."""
    _, _, cov = covariances(m, sets)
    cov = cov[..., of, :][..., of]
    positive = np.asarray((cov[..., (0, 0, 1), (1, 2, 2)] > 0).all(axis=-1))
    signal, beta = np.empty((2, *cov.shape[:-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, (j, k) in enumerate(((1, 2), (0, 2), (0, 1))):
            signal[..., i] = cov[..., i, j] * cov[..., i, k] / cov[..., j, k]
            beta[..., i] = 1.0 if i == 0 else cov[..., 0, 3 - i] / cov[..., i, 3 - i]
        signal, beta = (np.where(positive[..., None], part, np.nan) for part in (signal, beta))
        error = np.diagonal(cov, axis1=-2, axis2=-1) - signal
        error = np.where(error > 0, error, np.nan)
        return {"snr": 10 * np.log10(signal / error), "err_std": np.sqrt(error) * beta, "beta": beta}


class Extended:
    """Extended collocation of data sets by their names.

    Parameters
    ----------
    names
        Of the data sets, at least four.
    correlated
        Pairs of names whose errors are correlated.

    Raises
    ------
    VadoseError
        When a name is unknown, or too many pairs are correlated for an estimate.
    """

    def __init__(self, names: Sequence[str], correlated: Sequence[tuple[str, str]] = ()) -> None:
        if unknown := {name for pair in correlated for name in pair} - set(names):
            raise VadoseError(f"correlated: {sorted(unknown)} unknown; choose from {list(names)}")
        if len(names) < 4:
            raise VadoseError(f"extended collocation of {list(names)}: expected four data sets or more")
        self.names, self.pairs = list(names), [(names.index(a), names.index(b)) for a, b in correlated]
        sets, extra = len(names), len(self.pairs)
        both = np.eye(sets + extra)
        rows, self._ratios = [*np.hstack([both, both])], []
        for number, (p, q) in enumerate([*((i, i) for i in range(sets)), *self.pairs]):
            others = [i for i in range(sets) if i not in (p, q)]
            for a, b in combinations(others, 2) if p == q else permutations(others, 2):
                if not self._related((p, a), (q, b), (a, b)):
                    rows.append(np.eye(2 * (sets + extra))[number])
                    self._ratios.append((p, q, a, b))
        design = np.array(rows)
        if np.linalg.matrix_rank(design) < design.shape[1]:
            raise VadoseError(
                f"correlated: {', '.join(f'{a}+{b}' for a, b in correlated)} leave no triple of independent errors for "
                f"some of {self.names}; give fewer pairs, or more data sets"
            )
        self._solve = np.linalg.pinv(design)

    def _related(self, *pairs: Pair) -> bool:
        return any(set(pair) == set(other) for pair in pairs for other in self.pairs)

    def figures(self, m: Array) -> Figures:
        """``sig_NAME`` and ``err_NAME``, variances; ``snr_NAME`` in dB; ``err_cov_A_B`` and ``err_corr_A_B``."""
        sets, extra = len(self.names), len(self.pairs)
        _, _, cov = covariances(m, sets)
        p, q, a, b = np.array(self._ratios).T
        used = np.stack([cov[..., p, a], cov[..., q, b], cov[..., a, b]])
        with np.errstate(divide="ignore", invalid="ignore"):
            known = [np.diagonal(cov, axis1=-2, axis2=-1), *(cov[..., i, j][..., None] for i, j in self.pairs)]
            found = np.concatenate([*known, used[0] * used[1] / used[2]], axis=-1) @ self._solve.T
            positive = np.asarray((used > 0).all(axis=(0, -1)))
            found = np.where(positive[..., None], found, np.nan)
            signal, error = found[..., :sets], found[..., sets + extra : 2 * sets + extra]
            signal, error = (np.where(part > 0, part, np.nan) for part in (signal, error))
            figures: Figures = {}
            for name, part in (("sig", signal), ("err", error), ("snr", 10 * np.log10(signal / error))):
                figures |= {f"{name}_{of}": part[..., i] for i, of in enumerate(self.names)}
            for k, (i, j) in enumerate(self.pairs):
                label, shared = f"{self.names[i]}_{self.names[j]}", found[..., 2 * sets + extra + k]
                figures |= {f"err_cov_{label}": shared}
                figures |= {f"err_corr_{label}": shared / np.sqrt(error[..., i] * error[..., j])}
        return figures
