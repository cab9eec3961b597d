"""Intervals: known factors, coverage at stations never seen, the table of coverage, bad input."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from vadose.artefact.checkpoint import save
from vadose.errors import VadoseError
from vadose.experiments.studies.for_maps import calibrate_networks, join_ensembles
from vadose.models import to_checkpoint
from vadose.models.mmnet import Features, MMNet
from vadose.predict.calibration import Calibration, calibrate_fold, coverage_table, fit_calibration, interval
from vadose.samples.folds import whole_stations
from vadose.training.station_days import load


def test_with_a_day_a_station_it_is_the_split_conformal_quantile() -> None:
    """The ceil((n + 1) (1 - alpha))-th smallest score, Vovk et al. (2005)."""
    rng = np.random.default_rng(0)
    for n, level in ((19, 0.9), (40, 0.5), (200, 0.95), (9, 0.9)):
        error, std = rng.normal(0, 0.05, n), rng.uniform(0.01, 0.1, n)
        expected = np.sort(np.abs(error) / std)[int(np.ceil((n + 1) * level - 1e-9)) - 1]
        found = fit_calibration(error, std, np.arange(n), (level,))
        assert found.factor(level) == pytest.approx(expected, rel=1e-5)
        assert found.stations == n


def test_a_station_weighs_the_same_however_long_its_record() -> None:
    """Nine stations of a score of 1 and ten days, one of a score of 5 and ten thousand."""
    station = np.repeat(np.arange(10), [10] * 9 + [10_000])
    error = np.where(station == 9, 0.05, 0.01)
    assert fit_calibration(error, np.full(len(error), 0.01), station, (0.8,)).factor(0.8) == pytest.approx(1.0)
    assert np.quantile(error / 0.01, 0.8) == pytest.approx(5.0)


def test_days_of_new_stations_are_covered_where_pooled_days_are_not() -> None:
    """Stations with errors of their own, a bias and a spread, and records of very different length."""
    rng = np.random.default_rng(1)
    covered, pooled = [], []
    for _ in range(300):
        bias, spread = rng.normal(0, 0.04, 31), rng.gamma(2, 0.015, 31)
        length = np.where(spread < 0.02, 500, 20)
        station = np.repeat(np.arange(30), length[:30])
        error = rng.normal(bias[station], spread[station])
        new = rng.normal(bias[30], spread[30], 400)
        factor = fit_calibration(error, np.full(len(error), 0.03), station, (0.8,)).factor(0.8)
        covered.append((np.abs(new) <= 0.03 * factor).mean())
        pooled.append((np.abs(new) <= np.quantile(np.abs(error), 0.8)).mean())
    assert 0.78 < np.mean(covered) < 0.87
    assert np.mean(pooled) < np.mean(covered) - 0.02


def test_unknown_errors_are_left_out_and_stations_broadcast() -> None:
    rng = np.random.default_rng(2)
    error, std = rng.normal(0, 1, (25, 40)), rng.uniform(0.5, 2, (25, 40))
    error[rng.random(error.shape) < 0.3] = np.nan
    std[np.isnan(error)] = np.nan
    known = np.isfinite(error)
    names = np.array([f"S{k}" for k in range(25)], object)[:, None]
    flat = fit_calibration(error[known], std[known], np.broadcast_to(names, error.shape)[known])
    assert fit_calibration(error, std, names) == flat


def test_the_interval_ends_at_zero() -> None:
    lower, upper = interval(np.array([0.02, np.nan]), np.array([0.02, 0.02]), Calibration((0.9,), (2.0,), 30), 0.9)
    np.testing.assert_allclose(lower, [0.0, np.nan])
    np.testing.assert_allclose(upper, [0.06, np.nan])


def test_whole_stations_shares_no_station_and_no_unobserved_day() -> None:
    mask = np.random.default_rng(0).random((20, 50)) < 0.5
    mask[3] = False
    learnt, held = whole_stations(mask, 0.25, seed=1)
    np.testing.assert_array_equal(learnt | held, mask)
    assert not (learnt.any(axis=1) & held.any(axis=1)).any()
    assert held.any(axis=1).sum() == round(0.25 * 19)


def predictions(spread: float, seed: int = 0, folds: int = 4, stations: int = 240, days: int = 80) -> xr.Dataset:
    """Errors of a deviation of 0.04, of which the model says ``spread``; a second model without any."""
    rng = np.random.default_rng(seed)
    observed = rng.uniform(0.2, 0.4, (stations, days))
    error = rng.normal(0, 0.04, observed.shape)
    fold = np.broadcast_to((np.arange(stations) % folds)[:, None], observed.shape).astype(np.int16).copy()
    fold[:, :10] = -1
    observed[:, 30:35] = np.nan
    of, both = ("model", "station", "time"), ("station", "time")
    std = np.stack([np.full(observed.shape, spread), np.full(observed.shape, np.nan)])
    return xr.Dataset(
        {
            "predicted": (of, np.stack([observed + error, observed + error])),
            "predicted_std": (of, std),
            "observed": (both, observed),
            "fold": (both, fold),
        },
        {"model": ["mmnet", "trees"], "station": np.arange(stations), "time": np.arange(days)},
        {"folds": json.dumps([str(k + 1) for k in range(folds)])},
    )


def test_table_of_a_deviation_twice_too_small() -> None:
    table = coverage_table({"off-site": predictions(0.02)}, (0.5, 0.9))
    assert set(table.model) == {"mmnet"}
    assert set(table.fold) == {"all", "1", "2", "3", "4"}
    assert len(table) == 5 * 2 * 2
    rows = table[table.fold == "all"].set_index(["level", "intervals"])
    assert rows.coverage[0.9, "gaussian"] == pytest.approx(2 * norm.cdf(1.645 / 2) - 1, abs=0.01)
    assert rows.coverage[0.9, "conformal"] == pytest.approx(0.9, abs=0.015)
    assert rows.coverage[0.5, "conformal"] == pytest.approx(0.5, abs=0.02)
    assert rows.width[0.9, "gaussian"] == pytest.approx(2 * 1.645 * 0.02, rel=1e-3)
    assert rows.width[0.9, "conformal"] == pytest.approx(2 * 1.645 * 0.04, rel=0.05)
    assert rows.interval_score[0.9, "conformal"] < rows.interval_score[0.9, "gaussian"]
    # Gneiting and Raftery: the expected score of the true Gaussian interval is 2 sigma phi(z) / (alpha / 2).
    assert rows.interval_score[0.9, "conformal"] == pytest.approx(2 * 0.04 * norm.pdf(1.645) / 0.05, rel=0.03)
    assert rows.n_pairs[0.9, "conformal"] == 240 * 65
    assert ((table.low <= table.coverage) & (table.coverage <= table.high)).all()
    assert (table.coverage_q10 < table.coverage).all()


def test_a_fold_is_not_calibrated_on_itself() -> None:
    """One fold has errors ten times as large: the others know nothing of that."""
    store = predictions(0.04)
    store.predicted[0] = np.where(
        store.fold == 2, store.observed + 10 * (store.predicted[0] - store.observed), store.predicted[0]
    )
    rows = coverage_table({"cross-region": store}, (0.5,)).set_index(["fold", "intervals"])
    assert rows.coverage["3", "conformal"] < 0.12
    assert rows.coverage["1", "conformal"] > 0.6


def test_a_network_is_calibrated_for_places_it_has_not_learnt_from() -> None:
    """A fold by the others, a scenario of one fold or at stations learnt from by 'off-site', never by its own test."""
    off_site, narrow = predictions(0.04), predictions(0.04)
    narrow.predicted[0] = narrow.observed + 0.01
    inside = narrow.assign(fold=xr.where(narrow.station < 60, off_site.fold * 0, -1).T.transpose("station", "time"))
    inside.attrs["folds"] = '["INSIDE"]'
    given = {"off-site": off_site, "network": inside, "on-site": narrow}
    found = calibrate_fold(given, "off-site", 2, "mmnet")
    mean, std, observed = (off_site[name].values for name in ("predicted", "predicted_std", "observed"))
    others = np.where((off_site.fold.values >= 0) & (off_site.fold.values != 2), mean[0] - observed, np.nan)
    assert found == replace(fit_calibration(others, std[0], np.arange(240)[:, None]), basis="off-site")
    assert found.stations == 180
    of_network = calibrate_fold(given, "network", 0, "mmnet")
    assert (of_network.stations, of_network.basis) == (180, "off-site")
    assert calibrate_fold(given, "on-site", 0, "mmnet").factor(0.9) == pytest.approx(found.factor(0.9), rel=0.1)
    alone = calibrate_fold({"on-site": narrow}, "on-site", 0, "mmnet")
    assert "too narrow at other places" in alone.basis
    assert alone.factor(0.9) < 0.5
    assert Calibration.from_dict(found.to_dict()) == found
    with pytest.raises(VadoseError, match="tested by no other fold"):
        calibrate_fold({"network": inside}, "network", 0, "mmnet")
    with pytest.raises(VadoseError, match="lstm is tested by no other fold"):
        calibrate_fold(given, "off-site", 0, "lstm")


def test_a_study_notes_calibrations_in_its_checkpoints(tmp_path: Path) -> None:
    store = predictions(0.04)
    features = Features(("ndvi",), ("precipitation",), days=5)
    plain = to_checkpoint("mmnet", {"gaussian": True}, MMNet(features, gaussian=True))
    runs = tmp_path / "runs" / "off-site"
    files = [runs / name / "mmnet" / "model.pt" for name in ("1", "2", "3")]
    for file in files:
        file.parent.mkdir(parents=True)
        save(plain, file)
        (file.parent / "estimates.npz").write_bytes(b"")
    told: list[str] = []
    passes = {"mmnet": 4, "trees": None}
    join_ensembles({"twice": ("mmnet", "mmnet"), "with": ("mmnet", "trees")}, {"off-site": store}, tmp_path)
    joined = runs / "2" / "twice" / "model.pt"
    assert [member["name"] for member in load(joined)["members"]] == ["mmnet", "mmnet"]
    assert load(joined)["draws"] is False
    assert sorted(path.name for path in (runs / "2").iterdir()) == ["mmnet", "twice"]
    calibrate_networks(passes, {"off-site": store}, tmp_path, lambda what, share: told.append(what))
    for fold, file in enumerate(files):
        expected = calibrate_fold({"off-site": store}, "off-site", fold, "mmnet")
        assert Calibration.from_dict(load(file)["calibration"]) == expected
        assert load(file)["state"].keys() == plain["state"].keys()
        assert load(file)["dropout_passes"] == 4
    before = [file.stat().st_mtime_ns for file in files]
    calibrate_networks(passes, {"off-site": store}, tmp_path, lambda what, share: told.append(what))
    assert [file.stat().st_mtime_ns for file in files] == before
    assert not told
    few = store.isel(station=slice(8))
    calibrate_networks(passes, {"off-site": few}, tmp_path, lambda what, share: told.append(what))
    (line,) = told
    assert line.startswith("off-site, no calibrated maps of mmnet, fold 3, calibration: 6 stations are too few")
    assert [file.stat().st_mtime_ns for file in files] == before


def test_says_what_is_wrong() -> None:
    error, std, station = np.ones((12, 3)), np.ones((12, 3)), np.arange(12)[:, None]
    with pytest.raises(VadoseError, match=r"12 stations are too few for intervals of 0\.95, which need 19"):
        fit_calibration(error, std, station, (0.5, 0.95))
    with pytest.raises(VadoseError, match="level 90"):
        fit_calibration(error, std, station, (90,))
    with pytest.raises(VadoseError, match="shape"):
        fit_calibration(error, std[0], station)
    for bad in (np.nan, 0.0, -1.0):
        wrong = std.copy()
        wrong[4, 1] = bad
        with pytest.raises(VadoseError, match="1 of 36 errors have no positive deviation"):
            fit_calibration(error, wrong, station)
    with pytest.raises(VadoseError, match="0 stations are too few"):
        fit_calibration(np.full((2, 2), np.nan), np.ones((2, 2)), np.arange(2)[:, None])
    with pytest.raises(VadoseError, match=r"no interval of 0\.8: .*\[0.9\]"):
        interval(error, std, Calibration((0.9,), (2.0,), 30), 0.8)
    store = predictions(0.04)
    only: Any = store.isel(model=[1])
    with pytest.raises(VadoseError, match="off-site: no model predicts a standard deviation"):
        coverage_table({"off-site": only})
    with pytest.raises(VadoseError, match=r"on-site, mmnet, fold 1, calibrated on the other folds: .* too few"):
        coverage_table({"on-site": predictions(0.04, stations=8)}, (0.95,))
