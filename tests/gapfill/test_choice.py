"""The choice of a filler by withheld observations."""

import numpy as np
import pytest

from vadose.errors import VadoseError
from vadose.gapfill import ClimatologyAR1, Interpolation, Series, choose, series_of
from vadose.gapfill.choice import gap_lengths
from vadose.gapfill.series import Array, Mode


class Constant:
    """Fills with what it is told, and keeps what it was fitted to."""

    name = "constant"
    modes: tuple[Mode, ...] = ("causal",)

    def __init__(self, values: Array) -> None:
        self.values = values

    def fit(self, series: Series) -> "Constant":
        self.seen = series.values
        return self

    def predict(self, series: Series, mode: Mode) -> tuple[Array, Array]:
        np.testing.assert_array_equal(series.values, self.seen)
        mean = np.broadcast_to(self.values, series.values.shape)
        return mean, mean


def record(days: int = 600, cells: int = 4) -> Array:
    """Two variables, 0.1 and 0.3, seen on three days of eleven."""
    values = np.broadcast_to([0.1, 0.3], (days, cells, 2)).copy()
    values[np.arange(days) % 11 > 2] = np.nan
    return values


def test_each_variable_gets_the_filler_that_restores_what_none_has_seen() -> None:
    values = record()
    fillers = {"low": Constant(np.array([0.1, 0.2])), "high": Constant(np.array([0.2, 0.3]))}
    choice = choose(series_of(values), fillers, "causal")
    assert choice.methods == ("low", "high")
    np.testing.assert_allclose([choice.rmse["low"], choice.rmse["high"]], [[0, 0.1], [0.1, 0]], atol=1e-12)
    # All variables of a day are withheld together, as an overpass lacks them together, a fifth of the days.
    known = np.isfinite(fillers["low"].seen)
    np.testing.assert_array_equal(known[..., 0], known[..., 1])
    hidden = np.isfinite(values).sum() - known.sum()
    assert hidden == sum(choice.withheld)
    assert hidden == pytest.approx(0.18 * np.isfinite(values).sum(), rel=0.3)
    assert choice.lengths == [8.0] * 5


def test_gaps_count_by_their_days() -> None:
    values = np.ones((60, 1))
    values[[3, 5, 7, 9]] = np.nan
    values[20:32] = np.nan
    assert gap_lengths(series_of(values)).tolist() == [1.0, 12.0, 12.0, 12.0, 12.0]


def test_what_decays_to_its_mean_is_not_filled_by_the_last_value() -> None:
    noise = np.random.default_rng(0).normal(0.25, 0.05, (900, 3))
    noise[np.random.default_rng(1).random(noise.shape) < 0.5] = np.nan
    fillers = {"last_value": Interpolation("last_value"), "climatology_ar1": ClimatologyAR1()}
    choice = choose(series_of(noise), fillers, "causal")
    assert choice.methods == ("climatology_ar1",)
    assert choice.rmse["last_value"][0] / choice.rmse["climatology_ar1"][0] == pytest.approx(np.sqrt(2), rel=0.1)


def test_a_choice_from_few_observations_is_refused() -> None:
    values = record()
    values[..., 1] = np.nan
    with pytest.raises(VadoseError, match=r"0 observations of a variable can be withheld .* expected at least 30"):
        choose(series_of(values), {"a": Constant(np.zeros(2))}, "causal")
