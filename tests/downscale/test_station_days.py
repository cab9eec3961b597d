"""Station-days, scenarios, fitting and the table, on a handful of made-up stations."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.errors import VadoseError
from vadose.features import derive
from vadose.models.mmnet import Features
from vadose.samples.folds import blocked, cross_region, network, off_site, on_site, rows, station_years
from vadose.samples.station_days import DEVIATION, NORMAL, StationDays
from vadose.training.station_days import DownscalingNetwork, Fitting, estimate, fit
from vadose.training.trees import estimate_trees, fit_trees

N, DAYS = 12, 800
FEATURES = Features(("elevation", "latitude", "season_sine", "day_of_year"), ("precipitation",), days=5)


@pytest.fixture
def table() -> xr.Dataset:
    """Twelve stations from 120 W to 76 W over 800 days; moisture is the rain of the five days before."""
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 10, (N, DAYS)).astype(np.float32)
    moisture = np.full((N, DAYS), np.nan, np.float32)
    for day in range(5, DAYS):
        moisture[:, day] = 0.1 + 0.002 * rain[:, day - 5 : day].sum(axis=1)
    moisture[:, 100:110] = np.nan
    return xr.Dataset(
        {
            "soil_moisture": (("station", "time"), moisture),
            "precipitation": (("station", "time"), rain),
            "elevation": ("station", rng.uniform(0, 2000, N).astype(np.float32)),
        },
        coords={
            "station": [f"N:{k}" for k in range(N)],
            "time": pd.date_range("2018-06-01", periods=DAYS),
            "network": ("station", ["N"] * N),
            "lat": ("station", np.linspace(31, 48, N)),
            "lon": ("station", np.linspace(-120, -76, N)),
        },
    )


def everywhere(table: xr.Dataset) -> np.ndarray:
    return np.ones((N, DAYS), bool)


def test_a_series_ends_before_the_day(table: xr.Dataset) -> None:
    days = StationDays(table, FEATURES)
    fine = days.fine(np.array([[3, 50], [4, 2]]))
    np.testing.assert_array_equal(fine.series[0, :, 0], table.precipitation[3, 45:50])
    np.testing.assert_array_equal(fine.series[1, :, 0], [np.nan, np.nan, np.nan, *table.precipitation.values[4, :2]])
    elevation, latitude, sine, day = fine.snapshot[0].tolist()
    assert elevation == pytest.approx(float(table.elevation[3]))
    assert latitude == pytest.approx(float(table.lat[3]))
    assert day == table.time.dt.dayofyear.values[50]
    assert -1 <= sine <= 1
    of_day = StationDays(table, Features(FEATURES.snapshot, FEATURES.series, 5, ends=0)).fine(np.array([[3, 50]]))
    np.testing.assert_array_equal(of_day.series[0, :, 0], table.precipitation[3, 46:51])


@pytest.mark.parametrize("ends", [0, 1])
def test_a_sequence_holds_the_series_of_each_of_its_days(table: xr.Dataset, ends: int) -> None:
    days = StationDays(table, Features(FEATURES.snapshot, FEATURES.series, 5, ends))
    fine = days.sequence(np.array([2]), np.array([60]), 7)
    for d in range(7):
        alone = days.fine(np.array([[2, 54 + d]]))
        assert torch.equal(fine.series[:, d : d + 5], alone.series)
        assert torch.equal(fine.snapshot[:, d], alone.snapshot)


def test_sequences_give_every_observation_once(table: xr.Dataset) -> None:
    days = StationDays(table, FEATURES)
    of = everywhere(table)
    of[5:] = False
    observed = torch.cat([moisture for _, moisture in days.sequences(of, size=3, days=90)])
    found = np.sort(observed[torch.isfinite(observed)].numpy())
    np.testing.assert_array_equal(found, np.sort(days.observed[:5][np.isfinite(days.observed[:5])]))
    drawn = list(days.sequences(of, size=3, days=90, limit=4, generator=np.random.default_rng(0)))
    assert sum(len(moisture) for _, moisture in drawn) == 4
    # What chooses the epoch is gone through whole.
    assert len(list(days.sequences(of, size=3, days=90, limit=4))) == len(list(days.sequences(of, size=3, days=90)))


def test_a_normal_is_of_the_days_learnt_from(table: xr.Dataset) -> None:
    features = Features(("elevation", NORMAL, DEVIATION), ("precipitation",), days=5)
    learnt = everywhere(table)
    learnt[:, 400:] = False
    learnt[0] = False
    days = StationDays(table, features, learnt)
    changed = table.copy(deep=True)
    changed["soil_moisture"][:, 400:] = 0.9
    np.testing.assert_array_equal(StationDays(changed, features, learnt).snapshot, days.snapshot)
    assert np.isnan(days.snapshot[0, :, 1:]).all()
    normal, deviation = days.snapshot[1, 5:100, 1], days.snapshot[1, 0, 2]
    known = days.observed[1, :400]
    assert normal.mean() == pytest.approx(np.nanmean(known), abs=0.02)
    assert deviation == pytest.approx(np.nanstd(known - days.snapshot[1, :400, 1]), rel=0.05)


def test_bad_tables_are_refused(table: xr.Dataset) -> None:
    with pytest.raises(VadoseError, match=r"no feature \['ndvi'\]"):
        StationDays(table, Features(("ndvi",), ("precipitation",), days=5))
    with pytest.raises(VadoseError, match="do not follow each other"):
        StationDays(table.isel(time=slice(None, None, 2)), FEATURES)
    with pytest.raises(VadoseError, match="no observation"):
        next(StationDays(table, FEATURES).batches(np.zeros((N, DAYS), bool), size=4))


def test_folds_share_nothing_and_hold_out_what_they_say(table: xr.Dataset) -> None:
    learnt = np.ones(N, bool)
    year, observed = table.time.dt.year.values, np.isfinite(table.soil_moisture.values)
    (fold,) = on_site(table, learnt, [2020, 2021], training_years=2)
    assert fold.name == "2020"
    assert fold.training[:, year == 2020].sum() == 0 == fold.test[:, year != 2020].sum()
    for folds in (off_site(table, learnt, 4), cross_region(table, learnt), blocked(table, learnt, 3)):
        tested = np.zeros((N, DAYS), int)
        for fold in folds:
            assert not (fold.training & fold.test).any()
            assert not (fold.training.any(axis=1) & fold.test.any(axis=1)).any()
            tested += fold.test
        np.testing.assert_array_equal(tested, observed)
    west, _, east = cross_region(table, learnt, (-104.0, -90.0))
    assert (table.lon.values[west.test.any(axis=1)] < -104).all()
    assert (table.lon.values[east.test.any(axis=1)] >= -90).all()


def test_blocks_hold_neighbours_out_together(table: xr.Dataset) -> None:
    table = table.assign_coords(
        lat=("station", np.repeat([32.5, 40.5], 6)), lon=("station", np.repeat([-97.5, -77], 6))
    )
    folds = [set(np.flatnonzero(fold.test.any(axis=1))) for fold in blocked(table, np.ones(N, bool), 2, size=4.0)]
    assert sorted(map(sorted, folds)) == [list(range(6)), list(range(6, 12))]


def test_stations_not_to_learn_from_are_new(table: xr.Dataset) -> None:
    learnt = np.arange(N) < 9
    folds = {fold.name: fold for fold in off_site(table, learnt, 3)}
    assert list(folds) == ["1", "2", "3", "new"]
    assert not any(fold.training[9:].any() for fold in folds.values())
    assert folds["new"].test.any(axis=1).tolist() == (~learnt).tolist()
    assert folds["new"].training.any(axis=1).tolist() == learnt.tolist()
    (year,) = on_site(table, learnt, [2020], 2)
    assert not year.test[9:].any()


def test_a_network_is_held_out(table: xr.Dataset) -> None:
    table = table.assign_coords(network=("station", ["A"] * 5 + ["B"] * 7))
    (fold,) = network(table, np.ones(N, bool), ["A"])
    assert fold.name == "A"
    assert fold.test.any(axis=1).tolist() == [True] * 5 + [False] * 7
    assert fold.training.any(axis=1).tolist() == [False] * 5 + [True] * 7
    with pytest.raises(VadoseError, match="fold C: no observation to test"):
        next(network(table, np.ones(N, bool), ["C"]))


def test_validation_takes_whole_station_years_or_rows(table: xr.Dataset) -> None:
    mask = np.isfinite(table.soil_moisture.values)
    year = table.time.dt.year.values
    learnt, held = station_years(mask, table, 0.2, seed=1)
    assert not (learnt & held).any()
    np.testing.assert_array_equal(learnt | held, mask)
    for station in range(N):
        for of_year in np.unique(year):
            part = held[station, (year == of_year) & mask[station]]
            assert part.all() or not part.any()
    learnt, held = rows(mask, 0.1, seed=1)
    assert held.sum() == round(0.1 * mask.sum())
    assert not (learnt & held).any()


@pytest.mark.parametrize(
    ("model", "hyper"),
    [
        ("mmnet", {}),
        ("long_mmnet", {"hidden": 16, "width": 16, "gaussian": True, "aggregates": (1, 5), "dropout": 0.0}),
    ],
)
def test_networks_learn_a_rule(table: xr.Dataset, model: str, hyper: dict[str, object]) -> None:
    days = StationDays(table, FEATURES)
    fold = next(iter(off_site(table, np.ones(N, bool), 4)))
    form = "crps" if model == "long_mmnet" else "mse"
    how = Fitting(
        epochs=12,
        batch_size=64 if form == "mse" else 2,
        learning_rate=5e-3,
        form=form,
        sequence=100,
        rows_per_epoch=None if form == "crps" else 1500,
    )
    checkpoint, log = fit(days, table, fold.training, DownscalingNetwork(model, hyper, how))
    assert list(checkpoint["stations"]) == [
        str(name) for name, some in zip(table.station.values, fold.training.any(axis=1), strict=True) if some
    ]
    mean, std = estimate(checkpoint, days, fold.test)
    where = fold.test & (np.arange(DAYS) > 10)
    np.testing.assert_array_equal(np.isfinite(mean), fold.test)
    error = np.sqrt(np.mean((mean - days.observed)[where] ** 2))
    assert error < 0.5 * days.observed[where].std()
    assert np.isfinite(std[fold.test]).all() == (form == "crps")
    assert [entry["epoch"] for entry in log] == list(range(1, 13))


def test_moisture_tested_is_never_seen(table: xr.Dataset) -> None:
    fold = next(iter(off_site(table, np.ones(N, bool), 4)))
    changed = table.copy(deep=True)
    changed["soil_moisture"] = changed.soil_moisture.where(~fold.test, 0.9)
    how = Fitting(epochs=1, batch_size=256)
    found = [
        estimate(fit(days, t, fold.training, DownscalingNetwork("mlp", {}, how))[0], days, fold.test)[0]
        for t in (table, changed)
        for days in [StationDays(t, FEATURES, fold.training)]
    ]
    np.testing.assert_array_equal(*found)


def test_seeds_and_passes_spread(table: xr.Dataset) -> None:
    days = StationDays(table, FEATURES)
    fold = next(iter(off_site(table, np.ones(N, bool), 4)))
    how = Fitting(epochs=1, batch_size=256, seeds=(0, 1))
    checkpoint, _ = fit(days, table, fold.training, DownscalingNetwork("mlp", {"dropout": 0.3}, how))
    mean, std = estimate(checkpoint, days, fold.test)
    assert checkpoint["name"] == "blend"
    assert (std[fold.test] > 0).all()
    assert checkpoint["domain"]["scale"] > 0
    one = checkpoint["members"][0]
    assert np.isnan(estimate(one, days, fold.test)[1]).all()
    assert (estimate(one, days, fold.test, passes=5)[1][fold.test] > 0).all()
    np.testing.assert_allclose(
        mean, np.mean([estimate(m, days, fold.test)[0] for m in checkpoint["members"]], axis=0), rtol=1e-6
    )


def test_a_loss_that_is_no_number_stops(table: xr.Dataset) -> None:
    days = StationDays(table, FEATURES)
    how = Fitting(epochs=3, batch_size=64, learning_rate=1e30)
    with pytest.raises(VadoseError, match="lower the learning rate"):
        fit(days, table, everywhere(table), DownscalingNetwork("mlp", {}, how))


def test_trees_learn_from_means_of_the_series(table: xr.Dataset) -> None:
    days = StationDays(table, FEATURES)
    fold = next(iter(off_site(table, np.ones(N, bool), 4)))
    trees = fit_trees(days, fold.training, windows=(1, 5), iterations=60)
    assert trees.predictors.shape == (N, DAYS, 6)
    np.testing.assert_allclose(trees.predictors[2, 50, -1], table.precipitation[2, 45:50].mean(), rtol=1e-5)
    mean, std = estimate_trees(trees, fold.test)
    assert np.isnan(std).all()
    where = fold.test & (np.arange(DAYS) > 10)
    assert np.sqrt(np.mean((mean - days.observed)[where] ** 2)) < 0.3 * days.observed[where].std()
    assert np.isnan(mean[~fold.test]).all()


def test_trees_learn_how_wrong_they_are_at_stations_held_out(table: xr.Dataset) -> None:
    rng = np.random.default_rng(0)
    # Days after rain, the latest that the trees are told of, are known worse.
    rain = np.roll(table.precipitation.values, 1, axis=1)
    noise = np.where(rain > np.median(rain), 0.05, 0.005) * rng.normal(size=(N, DAYS))
    days = StationDays(table.assign(soil_moisture=table.soil_moisture + noise), FEATURES)
    fold = next(iter(off_site(table, np.ones(N, bool), 4)))
    mean, std = estimate_trees(
        fit_trees(days, fold.training, windows=(1, 5), iterations=60, samples_per_leaf=20, gaussian=True), fold.test
    )
    known = fold.test & np.isfinite(days.observed)
    wet = known & (rain > np.median(rain))
    assert np.median(std[wet]) > 2 * np.median(std[known & ~wet])
    assert 0.8 < np.mean(np.abs(mean - days.observed)[known] < 1.645 * std[known]) < 0.98
    few = fold.training.copy()
    few[4:] = False
    with pytest.raises(VadoseError, match="expected 5 stations or more to learn from, found"):
        fit_trees(days, few, gaussian=True)


def test_buckets_are_filled_by_the_rain_of_the_table(table: xr.Dataset) -> None:
    features = Features(("elevation",), ("precipitation", "bucket_25mm"), days=5)
    with pytest.raises(VadoseError, match="buckets want 'air_temperature_max'"):
        StationDays(table, features)
    warm = np.full((N, DAYS), 290.0)
    table = table.assign(air_temperature_max=(("station", "time"), warm), air_temperature_min=table.elevation * 0 + 280)
    table["air_temperature_min"] = table.air_temperature_min.expand_dims(time=table.time).transpose("station", "time")
    days = StationDays(table, features)
    expected = derive(table, ["bucket_25mm"], ("days",)).bucket_25mm.transpose("station", "time")
    np.testing.assert_array_equal(days.series[:, days.before :, 1], expected)
