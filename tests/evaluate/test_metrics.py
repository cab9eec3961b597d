import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vadose.evaluate.metrics import METRICS, bias, moments, pearson_r, rmse, skill, ubrmse


def pair(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    observed = 0.25 + 0.08 * rng.normal(size=n)
    return observed + 0.02 + 0.05 * rng.normal(size=n), observed


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
