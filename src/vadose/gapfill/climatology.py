"""Climatology with autoregressive departures: a Kalman filter and smoother for every series at once."""

from itertools import product
from typing import Self

import numpy as np

from vadose.compiled import compiled
from vadose.errors import VadoseError
from vadose.gapfill.series import Array, Mode, Series, check_mode

HARMONICS = 2
YEAR = 365.2425
MEMORIES = np.array([1.0, 2.0, 3.0, 4.5, 7.0, 10.0, 15.0, 25.0, 40.0, 80.0])
"""Decay times [day] tried."""
NOISES = np.array([0.01, 0.05, 0.1, 0.2, 0.4, 0.7])
"""Shares of the departures' variance tried for the observations' error."""
_TRIED = tuple(product(MEMORIES, NOISES))
PRIOR_OBSERVATIONS = 4.0
"""Observations that the prior weighs, which draws the climatology to the mean of all cells."""


class ClimatologyAR1:
    r"""Harmonics of the year, and departures that decay, observed with error.

    .. math:: y(t) = c + \sum_{k=1}^{2} a_k \cos 2\pi k t + b_k \sin 2\pi k t + x(t) + \epsilon,
              \quad dx = -x / \tau\, dt + dW

    Each cell and variable has its own parameters: harmonics by ridge regression, :math:`\tau` and the
    share of :math:`\epsilon` by likelihood on a grid. Causal is the Kalman filter of :math:`x`,
    smoothed the Rauch-Tung-Striebel smoother. The deviation is that of an observation.

    References
    ----------
    Rauch, Tung and Striebel (1965), doi:10.2514/3.3166.

    Examples
    --------
    >>> from vadose.gapfill import series_of
    >>> values = np.sin(np.arange(730.0) / 58.1)[:, None] + np.random.default_rng(0).normal(0, 0.1, (730, 1))
    >>> values[100:130] = np.nan
    >>> series = series_of(values)
    >>> mean, _ = ClimatologyAR1().fit(series).predict(series, "smoothed")
    >>> bool(np.abs(mean[100:130, 0, 0] - np.sin(np.arange(100, 130) / 58.1)).max() < 0.1)
    True
    """

    name = "climatology_ar1"
    modes: tuple[Mode, ...] = ("causal", "smoothed")

    def fit(self, series: Series) -> Self:
        """Learn each cell's parameters; `predict` then takes the same cells."""
        known = np.isfinite(series.values)
        if not known.any(axis=(0, 1)).all():
            raise VadoseError(f"filler {self.name!r}: a variable is never observed; it cannot be fitted")
        self.mean = np.nanmean(series.values, axis=(0, 1))
        self.scale = np.maximum(np.nanstd(series.values, axis=(0, 1)), np.finfo(np.float32).tiny)
        standard = np.where(known, (series.values - self.mean) / self.scale, 0.0)
        of_year = np.broadcast_to(_harmonics(series.days), (*standard.shape[:2], 1 + 2 * HARMONICS))
        gram = np.einsum("tbi,tbj,tbv->bvij", of_year, of_year, known.astype(float))
        gram += PRIOR_OBSERVATIONS * np.eye(gram.shape[-1])
        moment = np.einsum("tbi,tbv->bvi", of_year, standard)
        self.coefficients = np.linalg.solve(gram, moment[..., None])[..., 0]
        departures = np.where(known, standard - self._climatology(series), np.nan)

        scores, variances = _likelihoods(departures, series.days)
        best = scores.argmin(axis=0)
        self.memory, self.noise = (np.array(values)[best] for values in zip(*_TRIED, strict=True))
        self.variance = np.take_along_axis(variances, best[None], axis=0)[0]
        return self

    def predict(self, series: Series, mode: Mode) -> tuple[Array, Array]:
        """Mean and standard deviation (times, cells, variables)."""
        check_mode(self, mode)
        if series.values.shape[1:] != self.memory.shape:
            raise VadoseError(
                f"filler {self.name!r}: was fitted to {self.memory.shape} cells and variables, found "
                f"{series.values.shape[1:]}; its parameters belong to single cells, fit it to these"
            )
        climatology = self._climatology(series)
        departures = (series.values - self.mean) / self.scale - climatology
        decay = _decay(series.days, self.memory)
        before, after = _filter(departures, decay, self.noise)
        mean, variance = after if mode == "causal" else _smooth(before, after, decay)
        std = np.sqrt(self.variance * (variance + self.noise))
        return self.mean + self.scale * (climatology + mean), self.scale * std

    def _climatology(self, series: Series) -> Array:
        shape = (*series.values.shape[:2], self.coefficients.shape[-1])
        of_year = np.broadcast_to(_harmonics(series.days), shape)
        climatology: Array = np.einsum("tbi,bvi->tbv", of_year, self.coefficients)
        return climatology


def _harmonics(days: Array) -> Array:
    """(times, 1 or cells, 1 + 2 HARMONICS)."""
    angle = 2 * np.pi * days[..., None] / YEAR * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.ones((*days.shape, 1)), np.cos(angle), np.sin(angle)], axis=-1)


def _decay(days: Array, memory: Array | float) -> Array:
    """What is left of a departure from one time to the next, (times, 1 or cells, 1 or variables)."""
    left: Array = np.exp(-np.diff(days, axis=0, prepend=days[:1])[..., None] / memory)
    return left


def _likelihoods(departures: Array, days: Array) -> tuple[Array, Array]:
    """Twice the negative logarithm of the likelihood of each pair tried, and the variance that makes it smallest."""
    squares, logs = np.zeros((2, *departures.shape[1:], len(_TRIED)))
    gaps = np.diff(days, axis=0, prepend=days[:1]).astype(float)
    memory, noise = np.array(_TRIED).T.copy()
    _try(np.ascontiguousarray(departures, float), gaps, memory, noise, squares, logs)
    squares, logs = (np.moveaxis(of, -1, 0) for of in (squares, logs))
    n = np.maximum(np.isfinite(departures).sum(axis=0), 1)
    scaled = np.maximum(squares / n, 1e-6)  # of series that are constant or never observed
    return n * np.log(scaled) + logs, scaled


@compiled
def _try(departures: Array, gaps: Array, memory: Array, noise: Array, squares: Array, logs: Array) -> None:
    """Filter each series with each pair: sums of squared departures over their variance, and of its logarithms."""
    times, cells, variables = departures.shape
    left = np.empty((times, len(memory)))
    mean, variance, product = np.empty(len(memory)), np.empty(len(memory)), np.empty(len(memory))
    for b in range(cells):
        for t in range(times if b == 0 or gaps.shape[1] > 1 else 0):
            for p in range(len(memory)):
                same = p > 0 and memory[p] == memory[p - 1]
                left[t, p] = left[t, p - 1] if same else np.exp(-gaps[t, b] / memory[p])
        for v in range(variables):
            for p in range(len(memory)):
                mean[p], variance[p], product[p] = 0.0, 1.0 - noise[p], 1.0
            seen = 0
            for t in range(times):
                y = departures[t, b, v]
                known = np.isfinite(y)
                for p in range(len(memory)):
                    variance[p] = 1.0 - noise[p] + left[t, p] ** 2 * (variance[p] - (1.0 - noise[p]))
                    mean[p] *= left[t, p]
                    if known:
                        total, apart = variance[p] + noise[p], y - mean[p]
                        squares[b, v, p] += apart**2 / total
                        product[p] *= total
                        mean[p] += variance[p] / total * apart
                        variance[p] *= 1.0 - variance[p] / total
                seen += known
                if t == times - 1 or (known and seen % 50 == 0):  # the logarithm of a product takes less than a sum's
                    for p in range(len(memory)):
                        logs[b, v, p] += np.log(product[p])
                        product[p] = 1.0


def _filter(departures: Array, decay: Array, noise: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Mean and variance before and after each observation, in units of the departures' variance."""
    found = np.empty((4, *departures.shape))
    given = (np.ascontiguousarray(of, float) for of in (departures, decay, noise))
    _go(*(of.reshape(*of.shape[:-2], -1) for of in (*given, found)))
    return (found[0], found[1]), (found[2], found[3])


@compiled
def _go(departures: Array, decay: Array, noise: Array, found: Array) -> None:
    mean, variance = np.zeros(len(noise)), 1.0 - noise
    for t in range(len(departures)):
        for s in range(len(noise)):
            mean[s] *= decay[t, s]
            variance[s] = 1.0 - noise[s] + decay[t, s] ** 2 * (variance[s] - (1.0 - noise[s]))
            found[0, t, s], found[1, t, s] = mean[s], variance[s]
            if np.isfinite(departures[t, s]):
                gain = variance[s] / (variance[s] + noise[s])
                mean[s] += gain * (departures[t, s] - mean[s])
                variance[s] *= 1.0 - gain
            found[2, t, s], found[3, t, s] = mean[s], variance[s]


@compiled
def _smooth(before: tuple[Array, Array], after: tuple[Array, Array], decay: Array) -> tuple[Array, Array]:
    """Rauch-Tung-Striebel: from the last time backward."""
    mean, variance = after[0].copy(), after[1].copy()
    for t in range(len(mean) - 2, -1, -1):
        for b in range(mean.shape[1]):
            for v in range(mean.shape[2]):
                gain = after[1][t, b, v] * decay[t + 1, b, v] / before[1][t + 1, b, v]
                mean[t, b, v] += gain * (mean[t + 1, b, v] - before[0][t + 1, b, v])
                variance[t, b, v] += gain**2 * (variance[t + 1, b, v] - before[1][t + 1, b, v])
    return mean, variance
