import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from vadose.evaluation.metrics import (
    DISTRIBUTION_METRICS,
    METRICS,
    bias,
    distribution_moments,
    gaussian_crps,
    moments,
    pearson_r,
    rmse,
    skill,
    sums,
    ubrmse,
)


def pair(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    observed = 0.25 + 0.08 * rng.normal(size=n)
    return observed + 0.02 + 0.05 * rng.normal(size=n), observed


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(50, 3, 2), (7,), (1, 1), (0, 2), (4, 0)])
def test_sums_in_one_pass_are_sums_of_moments(shape, dtype) -> None:
    rng = np.random.default_rng(0)
    o = rng.normal(0.25, 0.06, shape)
    p = (o + rng.normal(0.01, 0.03, shape)).astype(dtype)
    o[rng.random(shape) < 0.3], p[rng.random(shape) < 0.2] = np.nan, np.inf
    centre = rng.random(shape[1:])
    found, expected = sums(p, o, centre), moments(p.astype(float) - centre, o - centre).sum(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    p, o = np.moveaxis(p, 0, -1), np.moveaxis(o, 0, -1)
    expected = moments(p - 0.25, o - 0.25).sum(axis=0, dtype=float)
    np.testing.assert_allclose(sums(p, o, 0.25), expected, rtol=1e-10 if dtype == np.float64 else 1e-5, atol=1e-6)


@given(st.integers(0, 1000))
def test_metrics_equal_pytesmo(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytesmo import metrics as oracle
    p, o = pair(seed)
    m = moments(p, o).sum(0)
    assert pearson_r(m) == pytest.approx(oracle.pearson_r(p, o), abs=1e-10)
    assert bias(m) == pytest.approx(oracle.bias(p, o), abs=1e-10)
    assert rmse(m) == pytest.approx(oracle.rmsd(p, o), abs=1e-10)
    assert ubrmse(m) == pytest.approx(oracle.ubrmsd(p, o), abs=1e-10)


@given(st.integers(0, 1000))
def test_rmse_is_made_of_bias_and_ubrmse(seed: int) -> None:
    m = moments(*pair(seed)).sum(0)
    assert rmse(m) ** 2 == pytest.approx(bias(m) ** 2 + ubrmse(m) ** 2)


@pytest.mark.parametrize(("name", "ideal"), [("pearson_r", 1.0), ("rmse", 0.0), ("bias", 0.0), ("ubrmse", 0.0)])
def test_a_perfect_prediction_has_the_ideal_score(name: str, ideal: float) -> None:
    _, o = pair(0)
    assert METRICS[name](moments(o, o).sum(0)) == pytest.approx(ideal, abs=1e-7)


def test_every_metric_has_a_known_ideal() -> None:
    assert set(METRICS) == {"pearson_r", "rmse", "bias", "ubrmse"}


def test_scores_by_hand() -> None:
    p, o = np.array([0.2, 0.4, 0.3, np.nan, 0.9]), np.array([0.1, 0.3, 0.5, 0.2, np.nan])
    m = moments(p, o).sum(0)
    # Three pairs, errors +0.1, +0.1, -0.2.
    assert m[0] == 3
    assert bias(m) == pytest.approx(0.0)
    assert rmse(m) == pytest.approx(np.sqrt(0.02))
    assert pearson_r(m) == pytest.approx(0.5)


def test_skill_is_zero_for_the_reference_and_one_for_perfection() -> None:
    p, o = pair(3)
    m, perfect = moments(p, o).sum(0), moments(o, o).sum(0)
    assert skill(m, m) == pytest.approx(0.0)
    assert skill(perfect, m) == pytest.approx(1.0)


def test_a_series_that_does_not_vary_has_no_correlation() -> None:
    _, o = pair(1)
    assert np.isnan(pearson_r(moments(np.full_like(o, 0.3), o).sum(0)))
    assert np.isnan(rmse(moments(np.full(3, np.nan), np.ones(3)).sum(0)))


def test_an_error_of_rounding_alone_is_none() -> None:
    """Sums of squares leave 1e-18 where forecast and observation are equal; a skill against it would be huge."""
    _, o = pair(2)
    same = moments(o, o).sum(0)
    same[4] += 1e-15
    assert rmse(same) == 0
    assert np.isnan(skill(moments(*pair(2)).sum(0), same))


@given(st.floats(-0.3, 0.3), st.floats(1e-3, 0.3))
def test_crps_is_the_integral_it_stands_for(error: float, spread: float) -> None:
    """The squared distance of the forecast's distribution function from the step at the observation."""
    ends = min(0.0, error) - 9 * spread, max(0.0, error) + 9 * spread
    below = integrate.quad(lambda v: stats.norm.cdf(v, 0, spread) ** 2, ends[0], error, limit=200)[0]
    above = integrate.quad(lambda v: stats.norm.sf(v, 0, spread) ** 2, error, ends[1], limit=200)[0]
    found = gaussian_crps(np.array(error), np.array(spread))
    assert float(found) == pytest.approx(below + above, rel=1e-5, abs=1e-9)


def test_coverage_of_a_right_forecast_is_nominal_and_of_a_proud_one_less() -> None:
    rng = np.random.default_rng(0)
    centre = 0.2 + 0.05 * rng.normal(size=20_000)
    observed = centre + 0.03 * rng.normal(size=20_000)
    for claimed, expected in ((0.03, (0.5, 0.9)), (0.01, (0.178, 0.417))):
        m = np.concatenate(
            [moments(centre, observed), distribution_moments(centre, observed, np.full(20_000, claimed))], axis=-1
        ).sum(0)
        found = [float(DISTRIBUTION_METRICS[f"coverage_{share}"](m)) for share in (50, 90)]
        assert found == pytest.approx(expected, abs=0.012)
    # The mean CRPS of the right forecast is sigma / sqrt(pi).
    m = np.concatenate([moments(centre, observed), distribution_moments(centre, observed, np.full(20_000, 0.03))], -1)
    assert float(DISTRIBUTION_METRICS["crps"](m.sum(0))) == pytest.approx(0.03 / np.sqrt(np.pi), rel=0.02)


def test_a_single_value_scores_its_absolute_error_and_covers_nothing() -> None:
    p, o = np.array([0.2, 0.4, np.nan]), np.array([0.1, 0.5, 0.3])
    m = np.concatenate([moments(p, o), distribution_moments(p, o, None)], axis=-1).sum(0)
    assert float(DISTRIBUTION_METRICS["crps"](m)) == pytest.approx(0.1)
    assert np.isnan(DISTRIBUTION_METRICS["coverage_90"](m))
    with_spread = np.array([0.02, 0.02, 0.02])
    m = np.concatenate([moments(p, o), distribution_moments(p, o, with_spread)], axis=-1).sum(0)
    assert m[0] == 2
    assert np.isfinite(m).all()
