import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import stdtrit

from vadose.evaluation import intervals
from vadose.evaluation.metrics import moments, sums_along
from vadose.evaluation.paired import Scored, score

SITES, ERROR, BIAS = 200, 0.04, 0.01
R, UBRMSE = 0.054 / np.hypot(0.054, ERROR), np.hypot(0.006, ERROR)
TRUE = {"pearson_r": R, "bias": BIAS, "rmse": np.hypot(UBRMSE, BIAS), "ubrmse": UBRMSE}


def autoregression(rng: np.random.Generator, days: int, sites: int, phi: float) -> np.ndarray:
    return lfilter([1], [1, -phi], np.sqrt(1 - phi**2) * rng.normal(size=(days + 200, sites)), axis=0)[200:]


def world(days: int, phi: float, *, sites: int = SITES, gaps: bool = False, seed: int = 0) -> Scored:
    """Two runs of errors with memory; the scores of the first are `TRUE`."""
    rng = np.random.default_rng(seed)
    observed = 0.06 * autoregression(rng, days, sites, phi)
    errors = [scale * ERROR * autoregression(rng, days, sites, phi) for scale in (1.0, 1.3)]
    predicted = np.stack([0.9 * observed + BIAS + errors[0], 0.9 * observed + errors[1]])
    if gaps:
        observed[rng.random(observed.shape) < 0.45] = np.nan
    return of(predicted, observed)


def of(predicted: np.ndarray, observed: np.ndarray) -> Scored:
    runs, _, sites = predicted.shape
    return score(
        predicted,
        observed,
        [None] * runs,
        references={"skill": [1, None]} if runs == 2 else {},
        counts=np.ones(sites, bool),
    )


@pytest.mark.parametrize("days", [160, 161, 1, 0])
def test_folded_days_give_the_sums_along_waves_of_all_days(days: int) -> None:
    rng = np.random.default_rng(days)
    predicted, observed = rng.normal(0.25, 0.06, (2, days, 33))  # more than fit in one pass
    observed[rng.random(observed.shape) < 0.3] = np.nan
    known = np.isfinite(observed)
    centre = np.where(known, observed, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    daily = moments(predicted - centre, observed - centre)
    phase = np.arange(1, intervals.waves_of(days) + 1)[:, None] * (np.arange(days) + 0.5) / max(days, 1)
    change = np.tensordot(intervals.STEP * np.sqrt(2) * np.cos(np.pi * phase), daily, axes=1)
    expected = np.stack([daily.sum(axis=0) + change, daily.sum(axis=0) - change])
    np.testing.assert_allclose(intervals.reweigh(daily), expected, atol=1e-12)
    total, again = sums_along(intervals.cosines(days), predicted.astype(np.float32), observed)
    np.testing.assert_allclose(np.moveaxis(total, 0, -1), daily.sum(axis=0), atol=1e-6)
    total, again = sums_along(intervals.cosines(days), predicted, observed)
    np.testing.assert_allclose(np.moveaxis(total, 0, -1), daily.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.moveaxis(again, 2, -1), expected, atol=1e-12)


def test_the_quantile_of_students_t_is_interpolated_exactly() -> None:
    degrees = np.r_[np.linspace(1, 60, 1001), 1e6]
    np.testing.assert_allclose(intervals._student()(1 / degrees), stdtrit(degrees, 0.975), rtol=1e-12)


@pytest.mark.parametrize(("days", "phi", "gaps"), [(183, 0.9, False), (183, 0.5, True), (365, 0.95, True)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(days: int, phi: float, gaps: bool) -> None:
    scored = world(days, phi, gaps=gaps)
    for metric, true in (TRUE | {"skill": 1 - TRUE["rmse"] ** 2 / np.hypot(0.006, 1.3 * ERROR) ** 2}).items():
        m = scored.metrics.index(metric)
        held = np.mean((scored.lower[0, :, m] <= true) & (true <= scored.upper[0, :, m]))
        assert held >= 0.87, metric  # 0.95 less 4 standard errors and a little: ubRMSE
    assert held < 1, "some intervals must miss"


def test_days_without_memory_give_the_interval_of_the_textbook() -> None:
    rng = np.random.default_rng(1)
    error = rng.normal(size=(480, SITES))
    scored = of(error[None], np.zeros_like(error))
    m = scored.metrics.index("bias")
    textbook = stdtrit(479, 0.975) * error.std(axis=0, ddof=1) / np.sqrt(480)
    half = (scored.upper - scored.lower)[0, :, m] / 2
    assert np.median(half / textbook) == pytest.approx(1.07, abs=0.07)  # what not knowing the memory costs
    np.testing.assert_allclose(scored.value[0, :, m], (scored.upper + scored.lower)[0, :, m] / 2, atol=0.01)


def test_memory_makes_the_interval_longer_as_theory_says() -> None:
    phi = 0.9
    scored = world(1460, phi)
    m = scored.metrics.index("bias")
    variance = (0.006**2 + ERROR**2) / 1460 * (1 + phi) / (1 - phi)
    half = (scored.upper - scored.lower)[0, :, m] / 2
    assert np.median(half) == pytest.approx(1.99 * np.sqrt(variance), rel=0.1)


def test_short_records_and_few_pairs_have_no_interval() -> None:
    days = intervals.FEWEST_DAYS
    enough, short = world(days, 0.5, sites=3), world(days - 1, 0.5, sites=3)
    assert np.isfinite(enough.lower[0]).all()
    assert np.isnan(short.lower).all()
    assert np.isfinite(short.value[0]).all()
    for rows in (short.over_sites(np.arange(3)), (row[1:] for row in short.differences(np.arange(3)))):
        for _, row in rows:
            assert np.isnan([row["lower"], row["upper"]]).all()
    observed = np.random.default_rng(0).normal(size=(200, 2))
    observed[intervals.FEWEST_PAIRS - 1 : 150, 0] = np.nan
    observed[150:, 0] = np.nan
    few = of(observed[None] + 0.1 * np.random.default_rng(1).normal(size=(1, 200, 2)), observed)
    assert np.isnan(few.lower[0, 0]).all()
    assert np.isfinite(few.lower[0, 1]).all()


def test_perfect_constant_and_unknown_series() -> None:
    observed = autoregression(np.random.default_rng(0), 200, 3, 0.5)
    observed[:, 2] = np.nan
    predicted = np.stack([observed, observed + 0.25])
    scored = of(np.where(np.isfinite(predicted), predicted, 0.0), observed)
    row = {name: m for m, name in enumerate(scored.metrics)}
    assert scored.value[0, 0, row["pearson_r"]] == pytest.approx(1)
    assert scored.value[0, 0, row["rmse"]] == 0
    assert np.isnan(scored.lower[0, 0, row["rmse"]])
    for metric in ("bias", "rmse"):
        ends = scored.lower[1, 0, row[metric]], scored.upper[1, 0, row[metric]]
        assert ends == pytest.approx((0.25, 0.25), abs=1e-7)
    assert np.isnan(scored.value[:, 2]).all()
    assert np.isnan(scored.lower[:, 2]).all()
    medians = {row["metric"]: row for r, row in scored.over_sites(np.arange(3)) if r == 1}
    assert medians["bias"]["median"] == pytest.approx(0.25)
    assert all(np.isnan(r["median"]) for _, r in scored.over_sites(np.array([2])))


def test_the_median_over_one_site_is_its_score_and_order_does_not_matter() -> None:
    scored = world(200, 0.8, sites=7)
    for r, row in scored.over_sites(np.array([4])):
        m = scored.metrics.index(row["metric"])
        found = [row["median"], row["lower"], row["upper"]]
        np.testing.assert_allclose(found, [scored.value[r, 4, m], scored.lower[r, 4, m], scored.upper[r, 4, m]], 1e-4)
    one, other = (list(scored.over_sites(order)) for order in (np.arange(7), np.array([3, 1, 6, 0, 2, 5, 4])))
    for (_, a), (_, b) in zip(one, other, strict=True):
        np.testing.assert_allclose([*a.values()][1:], [*b.values()][1:], rtol=1e-5)


def test_differences_turn_their_sign_and_are_nothing_between_equal_runs() -> None:
    rng = np.random.default_rng(3)
    observed = autoregression(rng, 200, 5, 0.8)
    run = observed + 0.5 * autoregression(rng, 200, 5, 0.8)
    scored = of(np.stack([run, 1.5 * run, run]), observed)
    found = {(a, b, row["metric"]): row for a, b, row in scored.differences(np.arange(5))}
    for (a, b, metric), row in found.items():
        turned = found[b, a, metric]
        np.testing.assert_allclose(
            [row["median"], row["lower"], row["upper"]],
            [-turned["median"], -turned["upper"], -turned["lower"]],
            atol=1e-12,
        )
        assert row["lower"] <= row["median"] <= row["upper"]
    assert (found[0, 2, "rmse"]["lower"], found[0, 2, "rmse"]["upper"]) == (0, 0)
    assert found[0, 1, "rmse"]["upper"] < 0


def test_errors_that_sites_share_do_not_average_out() -> None:
    """Equal sites are one site; independent ones are many, however the sites were chosen."""
    days, sites = 365, 40
    one = autoregression(np.random.default_rng(4), days, 1, 0.8)
    many = autoregression(np.random.default_rng(5), days, sites, 0.8)
    width = {}
    for name, error in (("one", one), ("equal", np.repeat(one, sites, axis=1)), ("apart", many)):
        scored = of(error[None], np.zeros_like(error))
        m = scored.metrics.index("bias")
        row = [row for _, row in scored.over_sites(np.arange(error.shape[1]))][m]
        width[name] = row["upper"] - row["lower"]
    assert width["equal"] == pytest.approx(width["one"], rel=0.02)
    assert width["apart"] < width["one"] / 3


def test_the_error_of_the_sites_counts_only_where_they_are_a_sample() -> None:
    level = np.linspace(-1, 1, 41)
    error = level + 0.1 * autoregression(np.random.default_rng(6), 365, 41, 0.5)
    scored = of(error[None], np.zeros_like(error))
    width = {}
    for drawn in (True, False):
        row = next(row for _, row in scored.over_sites(np.arange(41), drawn=drawn) if row["metric"] == "bias")
        width[drawn] = row["upper"] - row["lower"]
    assert width[False] < 0.05
    assert width[True] == pytest.approx(2 * 2.02 * level.std() * np.sqrt(3 / 41), rel=0.3)  # uniform: 1 / (2 f sqrt n)


def test_the_median_difference_of_many_noisy_sites_is_held() -> None:
    """Errors of 100 independent sites pull the median towards theirs; the interval reaches the true median."""
    groups, sites, days = 12, 100, 183
    rng = np.random.default_rng(8)
    n = groups * sites
    observed, factor = 0.06 * autoregression(rng, days, n, 0.5), np.exp(0.3 * rng.normal(size=n))
    scale = (ERROR, 1.3 * ERROR)
    predicted = np.stack([0.9 * observed + e * factor * autoregression(rng, days, n, 0.5) for e in scale])
    scored = of(predicted, observed)
    true = np.subtract(*(0.054 / np.hypot(0.054, e) for e in scale))
    held = [
        row["lower"] <= true <= row["upper"]
        for places in np.split(np.arange(n), groups)
        for a, _, row in scored.differences(places)
        if a == 0 and row["metric"] == "pearson_r"
    ]
    assert np.mean(held) >= 0.9
