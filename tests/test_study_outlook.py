"""The study behind the outlook: what is held out stays held out, and a run of it gives scores, card and weights."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.experiments.outlook import OutlookStudy
from vadose.experiments.section import load
from vadose.experiments.studies.outlook import _widening, study_outlook
from vadose.experiments.studies.outlook_rivals import STRETCHES, read_for, stacked, year_after
from vadose.experiments.studies.outlook_scores import Part, ahead, damped
from vadose.experiments.studies.outlook_training import Stations, from_neighbours, new, train
from vadose.models.land_surface import Blend
from vadose.predict.outlook.moisture import Networks, networks
from vadose.samples.land_surface import EVIDENCE
from vadose.training import stacking


@pytest.fixture(scope="module")
def store() -> xr.Dataset:
    random, days, places = np.random.default_rng(0), 500, 12
    time = pd.date_range("2018-01-01", periods=days)
    wave = np.cos(2 * np.pi * (np.arange(days) - 195) / 365.25)
    rain = random.exponential(6, (places, days)) * (random.random((places, days)) < 0.3)
    wet = pd.DataFrame(rain.T).ewm(span=15).mean().values.T
    moisture = 0.15 + 0.02 * wet[:, None] + random.normal(0, 0.005, (places, 3, days))
    level = {
        "precipitation": rain,
        "air_temperature_max": 290 + 12 * wave + random.normal(0, 3, (places, days)),
        "air_temperature_min": 279 + 10 * wave + random.normal(0, 3, (places, days)),
        "relative_humidity": 60 + random.normal(0, 10, (places, days)),
        "shortwave_radiation": 180 + 90 * wave + random.normal(0, 20, (places, days)),
    }
    soil = {
        name: (("station", "depth"), np.full((places, 3), v))
        for name, v in {"sand_fraction": 0.4, "clay_fraction": 0.2, "bulk_density": 1.4}.items()
    }
    return xr.Dataset(
        {name: (("station", "time"), values) for name, values in level.items()}
        | {"soil_moisture": (("station", "layer", "time"), moisture)}
        | soil,
        {
            "time": time,
            "depth": [5, 20, 50],
            "station": [f"S{k}" for k in range(places)],
            "network": ("station", ["A", "B"] * (places // 2)),
            "elevation": ("station", np.full(places, 100.0)),
            "lon": ("station", np.linspace(-115, -75, places)),
            "lat": ("station", np.full(places, 40.0)),
        },
    )


@pytest.fixture(scope="module")
def study(store: xr.Dataset) -> OutlookStudy:
    named = load("outlook", [OutlookStudy]).quick().model_copy(update={"learn_from": tuple(store.station.values)})
    return named.model_copy(update={"folds": 3, "leads": (1, 7), "every": 60, "past_years": 1})


def test_a_part_is_tested_by_what_has_not_learnt_from_it(store: xr.Dataset, study: OutlookStudy) -> None:
    parts = Stations(store).parts(study)
    for of in parts.values():
        tested = np.concatenate(list(of.values()))
        assert sorted(tested) == list(range(12))
    assert list(parts["cross-region"]) == ["west", "middle", "east"]


def test_a_study_gives_scores_card_and_weights_and_trains_nothing_twice(
    store: xr.Dataset, study: OutlookStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking, "STEPS", 3)
    weights = study_outlook(store, study, tmp_path, progress=lambda *_: None)
    card = networks(weights).card
    assert card["headline"].startswith("off-site R ")
    assert card["stations"] == 12
    assert f"ubRMSE {card['scores']['0-10 cm']['ubrmse']:.3f} / " in card["headline"]
    scores = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    assert set(scores.scheme) == {"off-site", "cross-region"}
    assert {"known weather, sensor", "damped persistence", "networks"} <= set(scores.model)
    assert {"trees", "networks and trees"} <= set(scores.model[scores.of == "rivals"])
    assert set(scores.model[scores.of == "year after"]) <= set(STRETCHES)
    card_text = (tmp_path / "model_card.md").read_text()
    assert all(
        f"## {of}" in card_text for of in ("Where not to use them", "Beside rivals", "A sensor read for some weeks")
    )
    trained = {file: file.stat().st_mtime_ns for file in tmp_path.glob("runs/**/model.pt")}
    assert len(trained) == 1 + 3 + 3
    train(Stations(store), study, tmp_path, progress=lambda *_: None)
    assert trained == {file: file.stat().st_mtime_ns for file in tmp_path.glob("runs/**/model.pt")}


def test_no_weather_after_the_issue_reaches_a_forecast_without_weather(store: xr.Dataset, study: OutlookStudy) -> None:
    issue = 420
    changed = store.copy(deep=True)
    changed.precipitation[:, issue:] += 20
    changed.soil_moisture[..., issue:] += 0.1
    found = []
    for of in (store, changed):
        stations, rows = Stations(of), np.arange(3)
        object.__setattr__(stations, "climate", Stations(store).climate)
        torch.manual_seed(0)
        networks_ = Networks((new(stations, study, 0).eval(),), Blend(len(EVIDENCE)).eval())
        mean, std = (np.full((3, 500, 3), v, np.float32) for v in (0.2, 0.05))
        found.append(ahead(Part(rows, networks_, mean, std, stations.observed[rows]), stations, study))
    for run, (first, _) in found[0].items():
        day = issue + run[1] - 1
        assert np.isfinite(first[:, day]).all()
        np.testing.assert_array_equal(first[:, day], found[1][run][0][:, day])
        assert np.isnan(first[:, day + 1]).all()


def test_intervals_are_widened_so_that_they_hold_what_they_say() -> None:
    z = np.abs(np.random.default_rng(0).normal(0, 1.5, (40, 2, 300, 3))).astype(np.float32)
    z[:20, :, 100:] = np.nan
    np.testing.assert_allclose(_widening(z), 1.5, rtol=0.03)


def test_damped_persistence_knows_the_days_before_alone() -> None:
    random = np.random.default_rng(0)
    observed = (0.2 + 0.1 * random.random((4, 120, 3))).astype(np.float32)
    changed = observed.copy()
    changed[0, 80:] += 0.2
    first, second = (damped(of, observed[1:], 7) for of in (observed, changed))
    np.testing.assert_array_equal(first[0][:, :87], second[0][:, :87])
    assert (first[0][0, 87] != second[0][0, 87]).all()
    assert np.isnan(first[0][:, :36]).all()


def test_a_gap_in_the_weather_holds_what_stations_near_by_measure(store: xr.Dataset) -> None:
    # Two stations 86 km apart, and the others 290 km and more.
    near = store.assign_coords(lon=store.lon.where(store.station != "S1", store.lon[0] + 1))
    gappy = near.copy(deep=True)
    gappy.precipitation[0, 100:110] = np.nan
    gappy.precipitation[5, 100:110] = np.nan
    gappy.shortwave_radiation[0, 100:110] = np.nan
    found = from_neighbours(gappy)
    ratio = float(gappy.precipitation[0].mean() / gappy.precipitation[1].mean())
    np.testing.assert_allclose(found.precipitation[0, 100:110], ratio * near.precipitation[1, 100:110], rtol=0.1)
    assert np.isfinite(found.shortwave_radiation[0]).all()
    assert np.isnan(found.precipitation[5, 100:110]).all()
    xr.testing.assert_equal(found.isel(station=[1, 2]), gappy[list(found.data_vars)].isel(station=[1, 2]))


def test_a_sensor_of_some_days_is_read_on_those_alone() -> None:
    torch.manual_seed(0)
    networks_ = Networks((), Blend(len(EVIDENCE)).eval())
    observed = np.full((2, 900, 3), np.nan, np.float32)
    observed[:, 20:] = 0.3 + 0.02 * np.random.default_rng(0).random((2, 880, 3))
    later = observed.copy()
    later[:, 20 + 28 :] += 0.1
    mean, std = (np.full((2, 900, 3), v, np.float32) for v in (0.2, 0.05))
    first, second = (read_for(28, Part(np.arange(2), networks_, mean, std, of))[0] for of in (observed, later))
    np.testing.assert_array_equal(first, second)
    assert np.flatnonzero(np.isfinite(year_after(observed)[0, :, 0])).tolist() == list(range(385, 750))


def test_a_useless_rival_gets_no_weight() -> None:
    random = np.random.default_rng(0)
    observed = (0.2 + 0.05 * random.random((4, 200, 3))).astype(np.float32)
    good = observed + random.normal(0, 0.01, observed.shape).astype(np.float32), np.full_like(observed, 0.01)
    poor = np.full_like(observed, 0.5), np.full_like(observed, 0.01)
    joined = stacked(good, poor, observed, [np.array([0, 1]), np.array([2, 3])])
    assert np.abs(joined[0] - good[0]).max() < 0.02
