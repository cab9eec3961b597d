import numpy as np
import pytest

from vadose.evaluate.intervals import Resampling, draw, draw_among, median_interval, resample, site_interval
from vadose.evaluate.metrics import bias, moments


def test_block_sums_equal_a_loop_over_the_drawn_blocks() -> None:
    rng = np.random.default_rng(0)
    daily = rng.normal(size=(40, 3, 6))
    drawn = draw(40, 3, block=7, replicates=4, seed=1)
    found = resample(daily, drawn)
    for replicate, counts in enumerate(drawn.counts):
        expected = sum(n * daily[start : start + 7].sum(0) for start, n in enumerate(counts) if n)
        np.testing.assert_allclose(found[replicate], expected)
    assert (drawn.counts.sum(1) == 6).all()


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """The mean of an AR(1) error: blocks keep its memory, single days would not."""
    rng = np.random.default_rng(2)
    days, sites, coefficient = 720, 300, 0.7
    error = np.zeros((days, sites))
    for t in range(1, days):
        error[t] = coefficient * error[t - 1] + rng.normal(size=sites)
    daily = moments(error, np.zeros_like(error))
    covered = {}
    for block in (1, 30):
        drawn = draw(days, sites, block=block, replicates=400, seed=3)
        lower, upper = site_interval(bias(resample(daily, drawn)), error.mean(axis=0))
        covered[block] = float(np.mean((lower <= 0) & (upper >= 0)))
    assert covered[30] == pytest.approx(0.93, abs=0.05)
    assert covered[1] < 0.7


def test_the_median_interval_grows_with_the_spread_of_sites() -> None:
    rng = np.random.default_rng(0)
    drawn = Resampling(np.empty((0, 0)), rng.integers(0, 50, (300, 50)), 1)
    narrow, wide = (np.tile(s * rng.normal(size=50), (300, 1)) for s in (0.1, 1.0))
    widths = [np.subtract(*median_interval(v, drawn.sites, 0.0)[::-1]) for v in (narrow, wide)]
    assert 0 < widths[0] < widths[1]


def test_unknown_sites_do_not_count_in_the_median() -> None:
    drawn = Resampling(np.empty((0, 0)), np.tile(np.arange(3), (5, 1)), 1)
    values = np.tile([0.2, np.nan, 0.4], (5, 1))
    assert median_interval(values, drawn.sites, 0.3) == pytest.approx((0.3, 0.3))
    assert np.isnan(median_interval(np.full((5, 3), np.nan), drawn.sites, np.nan)).all()


def test_a_short_record_takes_shorter_blocks() -> None:
    assert draw(40, 2, block=30, replicates=2, seed=0).block == 20


def test_an_interval_holds_its_own_estimate_where_replicates_are_biased() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.01, (400, 4))
    drawn = Resampling(np.empty((0, 0)), np.tile(np.arange(4), (400, 1)), 1)
    lower, upper = median_interval(values, drawn.sites, 0.44)
    assert lower < 0.44 < upper
    assert upper - lower == pytest.approx(2 * 1.96 * 0.0055, rel=0.2)


def test_sites_of_a_class_are_drawn_among_it_alone() -> None:
    drawn = draw_among(np.array([2, 5, 9]), 200, seed=0)
    assert drawn.shape == (200, 3)
    assert set(np.unique(drawn)) == {2, 5, 9}
