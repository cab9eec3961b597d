import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.gapfill import ClimatologyAR1, Filler, Interpolation, Series, fill, series_of, withhold
from vadose.gapfill.climatology import _TRIED, _harmonics, _likelihoods
from vadose.products import PRODUCTS

RNG = np.random.default_rng(0)


def moisture(times: int = 200, cells: int = 6, variables: int = 1) -> np.ndarray:
    """Series that wander around 0.25, a third observed."""
    steps = RNG.normal(0, 0.02, (times, cells, variables))
    values = np.empty_like(steps)
    values[0] = 0.25
    for t in range(1, times):
        values[t] = 0.25 + 0.9 * (values[t - 1] - 0.25) + steps[t]
    return np.where(RNG.random(values.shape) < 0.35, values, np.nan)


def every() -> list[Filler]:
    return [*(Interpolation(m) for m in ("last_value", "linear", "dct_pls")), ClimatologyAR1()]


EVERY = pytest.mark.parametrize("filler", every(), ids=lambda f: f.name)


def test_known_answers_of_line_and_last_value() -> None:
    series = series_of(
        np.array([[np.nan, 0.1, np.nan, np.nan, 0.4, np.nan]]).T, days=np.array([0.0, 1.0, 2.0, 5.0, 7.0, 9.0])
    )
    line, _ = Interpolation("linear").fit(series).predict(series, "smoothed")
    assert line[:, 0, 0] == pytest.approx([0.1, 0.1, 0.15, 0.3, 0.4, 0.4])
    last, _ = Interpolation("last_value").fit(series).predict(series, "causal")
    assert last[:, 0, 0] == pytest.approx([0.25, 0.1, 0.1, 0.1, 0.4, 0.4])


def test_deviations_grow_with_the_distance_as_the_errors_do() -> None:
    """A random walk: the last value errs by the square root of its age."""
    walk = np.cumsum(np.random.default_rng(1).normal(0, 1, (3000, 20)), axis=0)
    walk[np.random.default_rng(2).random(walk.shape) < 0.3] = np.nan
    series = series_of(walk)
    filler = Interpolation("last_value").fit(series)
    gap = np.full((40, 1), np.nan)
    gap[0] = 5.0
    _, std = filler.predict(series_of(gap), "causal")
    assert std[1, 0, 0] == pytest.approx(1.0, rel=0.15)
    assert std[7, 0, 0] == pytest.approx(np.sqrt(6.5), rel=0.2)
    assert (np.diff(std[:, 0, 0]) >= 0).all()


@pytest.mark.filterwarnings("ignore:.*bound for smooth")
def test_cosines_are_those_of_pytesmo() -> None:
    dctpls = pytest.importorskip("pytesmo.interpolate.dctpls")
    series = series_of(moisture())
    mean, _ = Interpolation("dct_pls").fit(series).predict(series, "smoothed")
    theirs = dctpls.smoothn(series.values[:, 2, 0].copy(), isrobust=False)[0]
    np.testing.assert_allclose(mean[:, 2, 0], theirs)


@pytest.mark.parametrize("mode", ["causal", "smoothed"])
def test_the_kalman_filter_and_smoother_equal_gaussian_conditioning(mode: str) -> None:
    times = np.cumsum(RNG.exponential(1.0, (80, 2)), axis=0)
    series = series_of(moisture(80, 2), days=times)
    filler = ClimatologyAR1().fit(series)
    mean, std = filler.predict(series, mode)
    for cell in range(2):
        days, values = times[:, cell], series.values[:, cell, 0]
        level = filler.mean[0] + filler.scale[0] * (_harmonics(days[:, None])[:, 0] @ filler.coefficients[cell, 0])
        variance = filler.variance[cell, 0] * filler.scale[0] ** 2
        noise = filler.noise[cell, 0]
        covariance = variance * (1 - noise) * np.exp(-np.abs(days[:, None] - days) / filler.memory[cell, 0])
        for t in range(80):
            seen = np.flatnonzero(np.isfinite(values) & ((np.arange(80) <= t) | (mode == "smoothed")))
            own = covariance[np.ix_(seen, seen)] + variance * noise * np.eye(len(seen))
            solved = np.linalg.solve(own, covariance[seen, t]) if len(seen) else np.zeros(0)
            assert mean[t, cell, 0] == pytest.approx(level[t] + solved @ (values[seen] - level[seen]), abs=1e-10)
            left = variance - solved @ covariance[seen, t]
            assert std[t, cell, 0] == pytest.approx(np.sqrt(left), abs=1e-10)


def test_climatology_finds_the_parameters_of_a_simulated_series() -> None:
    generator = np.random.default_rng(5)
    days = np.arange(1500.0)
    season = 0.25 + 0.1 * np.cos(2 * np.pi * days / 365.2425)
    x = np.zeros((1500, 8))
    for t in range(1, 1500):
        x[t] = np.exp(-1 / 10) * x[t - 1] + 0.05 * np.sqrt(1 - np.exp(-2 / 10)) * generator.normal(size=8)
    values = season[:, None] + x + generator.normal(0, 0.016, x.shape)
    filler = ClimatologyAR1().fit(series_of(np.where(generator.random(x.shape) < 0.5, values, np.nan), days=days))
    assert np.median(filler.memory) == pytest.approx(10.0, abs=5.0)
    assert np.median(filler.noise) == pytest.approx(0.1, abs=0.1)
    assert np.median(filler.coefficients[:, 0, 1] * filler.scale) == pytest.approx(0.1, abs=0.02)


@EVERY
def test_odd_series_stay_finite_and_sensible(filler: Filler) -> None:
    """Nothing observed, one value, a constant, duplicate times, a gap of 300 days."""
    days = np.sort(np.concatenate([np.arange(395.0), np.arange(5.0)]))
    values = np.full((400, 5, 1), np.nan)
    values[::3, 0] = moisture(134, 1)[:, 0]
    values[50, 1] = 0.3
    values[::4, 2] = 0.2
    values[:50, 3] = values[350:, 3] = 0.3 + 0.01 * RNG.normal(size=(50, 1))
    series = series_of(values, days=days)
    filler.fit(series)
    for mode in filler.modes:
        mean, std = filler.predict(series, mode)
        assert np.isfinite(mean).all()
        assert np.isfinite(std).all()
        assert ((mean > 0.05) & (mean < 0.5)).all()
        assert (std >= 0).all()
        assert np.allclose(mean[10:, 2], 0.2, atol=0.02)
        assert np.abs(mean[:, 1] - 0.3).max() < 0.1


@EVERY
def test_causal_is_untouched_by_the_future(filler: Filler) -> None:
    values = moisture()
    filler.fit(series_of(values))
    changed = values.copy()
    changed[100:] = 0.9
    for mode in filler.modes:
        before, after = (filler.predict(series_of(v), mode) for v in (values, changed))
        same = all(np.array_equal(b[:100], a[:100]) for b, a in zip(before, after, strict=True))
        assert same == (mode == "causal")


@EVERY
def test_several_variables_are_each_by_themselves(filler: Filler) -> None:
    values = moisture(variables=2)
    values[..., 1] *= 100
    both = filler.fit(series_of(values)).predict(series_of(values), filler.modes[0])
    if filler.name == "climatology_ar1":
        second = series_of(values[..., 1:])
        alone = filler.fit(second).predict(second, filler.modes[0])
        np.testing.assert_allclose(both[0][..., 1:], alone[0])
    assert both[0].shape == values.shape
    assert both[0][..., 1].mean() == pytest.approx(25, abs=2)
    assert 10 < both[1][..., 1].mean() / both[1][..., 0].mean() < 1000


def labelled() -> xr.DataArray:
    values = moisture(120, 6)[..., 0].reshape(120, 2, 3).astype(np.float32)
    time = pd.date_range("2020-01-01", periods=120)
    return xr.DataArray(values, dims=("time", "y", "x"), coords={"time": time}, name="soil_moisture")


def test_fill_keeps_observations_and_says_how_it_filled() -> None:
    observed = labelled()
    filler = ClimatologyAR1().fit(series_of(observed))
    mean, std = fill(observed, filler, "causal")
    known = observed.notnull()
    xr.testing.assert_equal(mean.where(known), observed)
    assert (std.where(known, 0) == 0).all()
    assert (std.where(~known, 1) > 0).all()
    assert mean.dims == observed.dims
    assert mean.dtype == np.float32
    assert mean.attrs["fill_method"] == "climatology_ar1"
    assert mean.attrs["causal"] == "true"
    assert mean.attrs["filled_share"] == pytest.approx(float((~known).mean()), abs=1e-4)
    assert fill(observed, filler, "smoothed")[0].attrs["causal"] == "false"


def test_fill_takes_labels_datasets_and_plain_arrays_alike() -> None:
    observed = labelled()
    filler = Interpolation("linear").fit(series_of(observed))
    mean, _ = fill(observed, filler, "smoothed")
    turned, _ = fill(observed.transpose("x", "time", "y"), filler, "smoothed")
    xr.testing.assert_equal(turned.transpose(*mean.dims), mean)
    plain, _ = fill(observed.values.reshape(120, 6), filler, "smoothed")
    np.testing.assert_array_equal(plain, mean.values.reshape(120, 6))
    two = xr.Dataset({"a": observed, "b": 2 * observed})
    of_both, spread = fill(two, Interpolation("linear").fit(series_of(two)), "smoothed")
    np.testing.assert_allclose(of_both["b"], 2 * of_both["a"], rtol=1e-5)
    assert list(spread) == ["a", "b"]
    assert float(spread["b"].mean() / spread["a"].mean()) == pytest.approx(2.0, rel=0.2)


def test_cells_beyond_the_coast_stay_missing() -> None:
    observed = labelled()
    rain = xr.ones_like(observed)
    rain[:, 0, 0] = np.nan
    covariates = xr.Dataset({"rain": rain})
    filler = Interpolation("linear").fit(series_of(observed, covariates=covariates))
    mean, std = fill(observed, filler, "smoothed", covariates=covariates)
    assert mean[:, 0, 0].isnull().equals(observed[:, 0, 0].isnull())
    assert mean[:, 0, 1:].notnull().all()
    assert std[:, 1].notnull().all()


def test_withheld_blocks_have_their_length_and_share() -> None:
    series = series_of(np.ones((1200, 50)))
    for length in (1, 5, 30):
        hidden = withhold(series, 0.2, length, np.random.default_rng(0))[..., 0]
        assert hidden.mean() == pytest.approx(0.2, abs=0.02)
        edges = np.diff(np.concatenate([np.zeros((1, 50)), hidden, np.zeros((1, 50))]), axis=0)
        inner = np.concatenate(
            [
                np.flatnonzero(e < 0) - np.flatnonzero(e > 0)
                for e in edges.T
                if not (hidden[0].any() or hidden[-1].any())
            ]
            or [np.array([length])]
        )
        assert (inner % length == 0).all()
    thin = series_of(np.where(RNG.random((300, 4)) < 0.4, 1.0, np.nan))
    hidden = withhold(thin, 0.5, 5, np.random.default_rng(0))
    assert not (hidden & np.isnan(thin.values)).any()
    assert hidden.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"days": np.arange(5.0)[::-1]}, "strictly increasing"),
        ({"days": np.arange(4.0)}, "found days of shape"),
        ({"covariates": np.ones((4, 2, 1))}, "expected the same times and cells"),
        ({"static": np.ones((3, 1))}, "expected the same times and cells"),
        ({"covariates": np.where(np.arange(10) == 3, np.nan, 1.0).reshape(5, 2, 1)}, "1 covariate values are missing"),
    ],
)
def test_wrong_series_are_refused(arguments: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        series_of(np.ones((5, 2)), **arguments)


def test_wrong_calls_are_refused() -> None:
    series = series_of(moisture())
    with pytest.raises(VadoseError, match="no mode 'causal'"):
        fill(series.values, Interpolation("linear").fit(series), "causal")
    with pytest.raises(VadoseError, match="choose from"):
        Interpolation("cubic")
    with pytest.raises(VadoseError, match="belong to single cells"):
        ClimatologyAR1().fit(series).predict(series.cells(slice(2)), "causal")
    with pytest.raises(VadoseError, match="infinite"):
        series_of(np.full((3, 1), np.inf))
    with pytest.raises(VadoseError, match="one has to be 'time'"):
        series_of(xr.DataArray([1.0], dims="day"))
    with pytest.raises(VadoseError, match="this series has"):
        series_of(labelled(), covariates=xr.Dataset({"rain": labelled().isel(x=0)}))
    empty: Series = series_of(np.full((5, 2), np.nan))
    for filler in every():
        with pytest.raises(VadoseError, match="never observed"):
            filler.fit(empty)


@EVERY
def test_a_mode_it_does_not_have_is_never_another_one(filler: Filler) -> None:
    series = series_of(moisture())
    filler.fit(series)
    for mode in {"causal", "smoothed", "hindcast"} - set(filler.modes):
        with pytest.raises(VadoseError, match="has no mode"):
            filler.predict(series, mode)  # type: ignore[arg-type]


def test_on_real_smap_the_smoother_errs_least_of_the_simple_fillers(real_data: Path) -> None:
    moisture = PRODUCTS["conusv4f1"].read(real_data / "conusv4f1").soil_moisture.isel(time=slice(0, 366))
    series = series_of(moisture.stack(cell=("y", "x")).transpose("time", "cell").values)
    series = series.cells(np.isfinite(series.values).any(axis=(0, 2)))
    hidden = withhold(series, 0.2, 5, np.random.default_rng(5))
    visible = series.without(hidden)
    error = {}
    for filler in (Interpolation("last_value"), Interpolation("linear"), ClimatologyAR1()):
        mean, std = filler.fit(visible).predict(visible, filler.modes[-1])
        error[filler.name] = np.sqrt(np.mean((mean - series.values)[hidden] ** 2))
        inside = (np.abs(mean - series.values) < 1.645 * std)[hidden]
        assert inside.mean() == pytest.approx(0.9, abs=0.03)
    assert error["climatology_ar1"] < error["linear"] < error["last_value"] < 0.065


def test_the_simple_fillers_need_no_torch() -> None:
    code = "import sys, vadose.gapfill; sys.exit('torch' in sys.modules or 'pytesmo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("pair", [0, 31, 59])
def test_the_likelihood_of_a_filtered_series_is_that_of_its_covariance(pair: int) -> None:
    rng = np.random.default_rng(0)
    days = np.cumsum(rng.integers(1, 4, (130, 1)), axis=0).astype(float)
    values = rng.standard_normal((130, 1, 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    memory, noise = _TRIED[pair]
    likelihoods, variances = _likelihoods(values, days)
    for variable in range(2):
        y, at = (of[np.isfinite(values[:, 0, variable])] for of in (values[:, 0, variable], days[:, 0]))
        covariance = (1 - noise) * np.exp(-np.abs(at[:, None] - at) / memory) + noise * np.eye(len(y))
        variance = y @ np.linalg.solve(covariance, y) / len(y)
        assert variances[pair, 0, variable] == pytest.approx(variance)
        expected = len(y) * np.log(variance) + np.linalg.slogdet(covariance)[1]
        assert likelihoods[pair, 0, variable] == pytest.approx(expected)
