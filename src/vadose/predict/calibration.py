"""Intervals that hold at a station never seen: split-conformal calibration, a station counting as one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
LEVELS = (0.5, 0.9)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Ends of the intervals of `LEVELS`, and the middle."""
HELD_OUT = ("off-site", "cross-region", "blocked", "network")
"""Scenarios whose folds are tested at stations not learnt from."""
WHOLE = "all"
REPLICATES = 1000
COVERED = ["coverage", "low", "high", "coverage_q10", "width", "interval_score", "n_stations", "n_pairs"]
COLUMNS = ["scenario", "fold", "model", "level", "intervals", *COVERED]


@dataclass(frozen=True)
class Calibration:
    """Half widths of central intervals, in predicted standard deviations.

    Attributes
    ----------
    levels, factors
        Probability of each interval, and its half width.
    stations
        Stations the factors are of.
    basis
        What their errors are of, such as 'off-site'.
    """

    levels: tuple[float, ...]
    factors: tuple[float, ...]
    stations: int
    basis: str = ""

    def __str__(self) -> str:
        widths = " and ".join(
            f"{level:.0%} within {of:.3g} standard deviations"
            for level, of in zip(self.levels, self.factors, strict=True)
        )
        return f"{widths}, by the errors at {self.stations} stations ({self.basis})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Calibration":
        """What `to_dict` gave."""
        levels, factors = (tuple(map(float, kept[name])) for name in ("levels", "factors"))
        return cls(levels, factors, int(kept["stations"]), str(kept["basis"]))

    def factor(self, level: float) -> float:
        """Half width of one of the levels."""
        if level not in self.levels:
            raise VadoseError(f"no interval of {level}: the calibration has {list(self.levels)}; calibrate this level")
        return self.factors[self.levels.index(level)]


def fit_calibration(error: Array, std: Array, stations: NDArray[Any], levels: Sequence[float] = LEVELS) -> Calibration:
    r"""Calibrate predicted deviations on stations that were not learnt from.

    With the scores :math:`s_{ki} = |e_{ki}| / \sigma_{ki}` of :math:`n_k` days of each of K stations, the half
    width at level :math:`1 - \alpha` is the smallest q with

    .. math:: \sum_{k=1}^{K} \frac{1}{(K + 1)\, n_k} \#\{i : s_{ki} \le q\} \ge 1 - \alpha .

    Days of one station are alike, so it is stations, not days, that a new station can be exchanged with: each
    has the same weight however long its record (pooling of the distributions, Dunn et al. 2023), and the new
    one has a weight too, as if all its scores were infinite. A day of a new station is then inside with
    probability :math:`1 - \alpha` at least, over the draw of the stations (Lee et al. 2023, theorem 1),
    whatever the errors' distribution. It says nothing of one given station: some are covered less, some more.

    Parameters
    ----------
    error
        Predicted minus observed [m3 m-3], of any shape; NaN where not known.
    std
        Predicted standard deviation [m3 m-3], of the same shape.
    stations
        Number or name of each value's station, of a shape that broadcasts to that of ``error``: with
        errors (station, time), ``np.arange(n)[:, None]``.
    levels
        Probabilities of the intervals.

    Raises
    ------
    VadoseError
        When shapes differ, a deviation is unknown or not positive where the error is known, a level is not
        between 0 and 1, or there are too few stations for it: fewer than :math:`(1 - \alpha) / \alpha`.

    References
    ----------
    Dunn, Wasserman and Ramdas (2023), doi:10.1080/01621459.2022.2060112; Lee, Barber and Willett (2023),
    arXiv:2306.06342.

    Examples
    --------
    >>> stations = np.arange(9)[:, None]
    >>> fit_calibration(0.01 * (1.0 + stations) * np.ones(5), np.full((9, 5), 0.02), stations, (0.5, 0.9)).factors
    (2.5, 4.5)
    """
    if np.shape(error) != np.shape(std):
        raise VadoseError(f"calibration: errors of shape {np.shape(error)}, deviations of {np.shape(std)}; give equal")
    known = np.isfinite(error)
    station, days = np.unique(np.broadcast_to(stations, known.shape)[known], return_inverse=True, return_counts=True)[
        1:
    ]
    if bad := int((~(std[known] > 0)).sum()):
        raise VadoseError(
            f"calibration: {bad} of {int(known.sum())} errors have no positive deviation beside them; calibrate a "
            "model that gives one (gaussian, or an ensemble)"
        )
    n = len(days)
    for level in levels:
        if not 0 < level < 1:
            raise VadoseError(f"calibration: level {level}; expected a probability between 0 and 1, such as 0.9")
        if level * (n + 1) > n + 1e-9:
            needed = int(np.ceil(level / (1 - level) - 1e-9))
            raise VadoseError(
                f"calibration: {n} stations are too few for intervals of {level}, which need {needed}; hold out more "
                "stations or ask for a lower level"
            )
    score = np.abs(error[known]) / std[known]
    order = np.argsort(score)
    weight = np.cumsum(1.0 / ((n + 1) * days[station[order]]))
    at = np.minimum(np.searchsorted(weight, np.asarray(levels) - 1e-9), len(order) - 1)
    return Calibration(tuple(map(float, levels)), tuple(map(float, score[order][at].round(6))), n)


def interval(mean: Array, std: Array, calibration: Calibration, level: float) -> tuple[Array, Array]:
    """Lower and upper end [m3 m-3] of the central interval of a level; not below 0.

    Examples
    --------
    >>> lower, upper = interval(np.array([0.05, 0.30]), np.array([0.04, 0.04]), Calibration((0.9,), (2.0,), 20), 0.9)
    >>> lower.round(2).tolist(), upper.round(2).tolist()
    ([0.0, 0.22], [0.13, 0.38])
    """
    return _ends(mean, std, calibration.factor(level))


def quantiles(
    mean: Array, std: Array, calibration: Calibration, probabilities: Sequence[float] = QUANTILES
) -> NDArray[np.float32]:
    r"""Quantiles [m3 m-3] (quantile, ...) by the intervals of a calibration; not below 0.

    .. math:: q_p = \max(\mu + \operatorname{sign}(p - 1/2)\, f_{|2p - 1|}\, \sigma,\ 0)

    with the half width f of the central interval that ends at p, so that the middle is the mean.

    Raises
    ------
    VadoseError
        When an interval is not calibrated.

    Examples
    --------
    >>> calibration = Calibration((0.5, 0.9), (0.5, 2.0), 20)
    >>> quantiles(np.array([0.05, 0.30]), np.array([0.04, 0.04]), calibration).astype(float).round(2).T.tolist()
    [[0.0, 0.03, 0.05, 0.07, 0.13], [0.22, 0.28, 0.3, 0.32, 0.38]]
    """
    found = []
    for p in probabilities:
        level = round(abs(2 * p - 1), 6)
        found.append(interval(mean, std, calibration, level)[int(p > 0.5)] if level else np.maximum(mean, 0.0))
    return np.stack(found).astype(np.float32)


def calibrate_fold(
    predictions: Mapping[str, xr.Dataset],
    scenario: str,
    fold: int,
    model: str,
    levels: Sequence[float] = LEVELS,
) -> Calibration:
    """Calibrate a fold's network for places that it has not learnt from, such as the pixels of a map.

    By the errors of the same model at the station-days of the other folds, as in `coverage_table`; where the scenario
    has no other folds, or tests at stations that were learnt from (on-site), by those of 'off-site' without the
    station-days that the fold is tested on. On-site errors calibrate only where there is nothing else.

    Parameters
    ----------
    predictions
        Scenario -> store as of `coverage_table`, all over the same stations and days.
    fold, model
        Number of the fold in the scenario; name of the model.

    Raises
    ------
    VadoseError
        When the model gives no deviation, or too few stations are left for a level.
    """
    tested = predictions[scenario].fold.transpose("station", "time").values == fold
    own = (scenario, "off-site") if scenario in HELD_OUT else ("off-site", scenario)
    for name in dict.fromkeys(own):
        if name in predictions and model in predictions[name].model.values:
            mean, std, observed, folds = _of_model(predictions[name], model)
            error = np.where((folds >= 0) & ~tested, mean - observed, np.nan)
            if np.isfinite(error).any():
                found = fit_calibration(error, std, np.arange(len(error))[:, None], levels)
                learnt = "" if name in HELD_OUT else ", stations learnt from: too narrow at other places"
                return replace(found, basis=name + learnt)
    raise VadoseError(
        f"{scenario}: {model} is tested by no other fold, and not in the scenario 'off-site'; run that scenario too"
    )


def coverage_table(predictions: Mapping[str, xr.Dataset], levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Coverage and sharpness of the intervals of every model that gives a deviation, by scenario and fold.

    A fold's intervals are calibrated on the test parts of the other folds, so on stations (on-site: years) that
    the networks behind them had not learnt from either. Across regions the folds are not exchangeable, and
    coverage may fail there: the table shows by how much.

    Parameters
    ----------
    predictions
        Scenario -> ``predicted`` and ``predicted_std`` (model, station, time), ``observed`` and ``fold``
        (station, time), the attribute ``folds``: see `vadose.evaluation.station_series`.

    Returns
    -------
    DataFrame
        A row for each scenario, fold ('all' for all of them), model, level and ``intervals``: 'gaussian' as the
        model gives them, 'conformal' after calibration. ``coverage``, the mean over stations of the share of days
        inside, with a 95 % interval (``low``, ``high``: stations resampled) and ``coverage_q10``, what nine of
        ten stations exceed; ``width`` [m3 m-3] and ``interval_score`` [m3 m-3], means over stations too:

        .. math:: u - l + \\frac{2}{\\alpha} \\max(l - y, 0) + \\frac{2}{\\alpha} \\max(y - u, 0) .

    Raises
    ------
    VadoseError
        When no model gives a deviation, or the other folds have too few stations to calibrate a level.

    References
    ----------
    Gneiting and Raftery (2007, equation 43), doi:10.1198/016214506000001437.
    """
    rows: list[dict[str, Any]] = []
    for scenario, store in predictions.items():
        for model in _with_deviation(scenario, store):
            rows += [
                {"scenario": scenario, "model": model} | row
                for row in _rows_of_model(*_of_model(store, model), _names(store), levels, f"{scenario}, {model}")
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _with_deviation(scenario: str, store: xr.Dataset) -> list[str]:
    if "predicted_std" not in store or not store.predicted_std.notnull().any():
        raise VadoseError(f"{scenario}: no model predicts a standard deviation (predicted_std); use a gaussian one")
    some = store.predicted_std.notnull().any(["station", "time"]).values
    return [str(name) for name in store.model.values[some]]


def _of_model(store: xr.Dataset, model: str) -> tuple[Array, Array, Array, NDArray[np.integer]]:
    """Mean, deviation, observation and fold (station, time), the latter -1 where nothing is known or tested."""
    of = store.sel(model=model).transpose("station", "time")
    mean, std, observed = (of[name].values for name in ("predicted", "predicted_std", "observed"))
    return mean, std, observed, np.where(np.isfinite(observed) & np.isfinite(mean), of.fold.values, -1)


def _names(store: xr.Dataset) -> list[str]:
    return [str(name) for name in json.loads(store.attrs["folds"])]


def _rows_of_model(
    mean: Array,
    std: Array,
    observed: Array,
    fold: NDArray[np.integer],
    names: Sequence[str],
    levels: Sequence[float],
    what: str,
) -> Iterator[dict[str, Any]]:
    from scipy.special import ndtri

    station = np.arange(len(mean))[:, None]
    numbers = [int(k) for k in np.unique(fold[fold >= 0])]
    error = np.where(fold >= 0, mean - observed, np.nan)
    factors = np.full((len(levels), *mean.shape), np.nan)
    for k in numbers:
        others = np.where((fold >= 0) & (fold != k), error, np.nan)
        try:
            calibration = fit_calibration(others, std, station, levels)
        except VadoseError as problem:
            raise VadoseError(f"{what}, fold {names[k]}, calibrated on the other folds: {problem}") from None
        factors[:, fold == k] = np.array(calibration.factors)[:, None]
    for level, factor in zip(levels, factors, strict=True):
        for kind, half in (("gaussian", ndtri(0.5 + level / 2)), ("conformal", factor)):
            lower, upper = _ends(mean, std, half)
            of_days = of_intervals(lower, upper, observed, level)
            for number in [None, *numbers]:
                inside = fold >= 0 if number is None else fold == number
                named = {"fold": WHOLE if number is None else names[number], "level": level, "intervals": kind}
                yield named | over_stations(of_days, inside)


def of_intervals(lower: Array, upper: Array, observed: Array, level: float) -> Array:
    """Whether intervals of a level hold the observation, their width and score, see `coverage_table`: (3, ...)."""
    outside = np.maximum(lower - observed, 0) + np.maximum(observed - upper, 0)
    return np.stack([outside <= 0, upper - lower, upper - lower + 2 / (1 - level) * outside])


def over_stations(of_days: Array, inside: Mask) -> dict[str, Any]:
    """Means over stations of the means over their days (station, day) of inside, width and score."""
    days = inside.sum(axis=1)
    some = days > 0
    by_station = np.where(inside, of_days, 0.0).sum(axis=2)[:, some] / days[some]
    coverage, width, score = by_station
    drawn = np.random.default_rng(0).integers(0, len(coverage), (REPLICATES, len(coverage)))
    low, high = np.percentile(coverage[drawn].mean(axis=1), [2.5, 97.5])
    return {
        "coverage": coverage.mean(),
        "low": low,
        "high": high,
        "coverage_q10": np.quantile(coverage, 0.1),
        "width": width.mean(),
        "interval_score": score.mean(),
        "n_stations": len(coverage),
        "n_pairs": int(days.sum()),
    }


def _ends(mean: Array, std: Array, half: Array | float) -> tuple[Array, Array]:
    return np.maximum(mean - half * std, 0.0), np.maximum(mean + half * std, 0.0)
