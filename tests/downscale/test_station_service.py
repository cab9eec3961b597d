"""A station filled and extended: what is kept, what the intervals hold, what is withheld, bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact import made_from
from vadose.door import as_stations, open_store
from vadose.errors import VadoseError
from vadose.models.mmnet import Features
from vadose.predict import fill_station as module
from vadose.predict.fill_station import ORIGINS, _withheld_gaps, fill_station
from vadose.samples.station_days import StationDays
from vadose.training.station_days import DownscalingNetwork, Fitting, fit

FEATURES = Features(("clay_fraction", "season_sine", "season_cosine"), ("precipitation",), days=10)
DAYS = 1500
FILLED = ("soil_moisture_filled", "soil_moisture_filled_low", "soil_moisture_filled_high")
NETWORK: dict[str, Any] = {"name": "mlp", "inputs": FEATURES.to_dict()}
GONE = np.zeros(DAYS, bool)
GONE[:100] = GONE[1300:] = True
for begin in range(150, 1250, 110):
    GONE[begin : begin + 20] = True


def table_of(stations: int = 4, seed: int = 0) -> xr.Dataset:
    """Moisture of a bucket; the network's estimate, and what each station departs from it for weeks."""
    rng = np.random.default_rng(seed)
    both, shape = ("station", "time"), (stations, DAYS)
    rain = rng.gamma(0.3, 10, shape)
    wet, apart = np.zeros((2, *shape))
    for t in range(1, DAYS):
        wet[:, t] = 0.9 * wet[:, t - 1] + 0.002 * rain[:, t - 1]
        apart[:, t] = np.exp(-1 / 20) * apart[:, t - 1] + rng.normal(0, 0.03 * np.sqrt(1 - np.exp(-0.1)), stations)
    truth = 0.15 + wet + 0.04 + apart + rng.normal(0, 0.005, shape)
    observed = truth.copy()
    observed[1, GONE] = np.nan
    table = xr.Dataset(
        {
            "soil_moisture": (both, observed.astype(np.float32)),
            "truth": (both, truth.astype(np.float32)),
            "soil_moisture_causal": (both, observed.astype(np.float32)),
            "network": (both, (0.15 + wet).astype(np.float32)),
            "precipitation": (both, rain.astype(np.float32)),
            "clay_fraction": ("station", rng.uniform(0.1, 0.5, stations)),
        },
        {
            "station": np.array([f"SCAN:{k}" for k in range(stations)], object),
            "time": pd.date_range("2016-01-01", periods=DAYS),
            "lat": ("station", np.full(stations, 40.0)),
            "lon": ("station", np.full(stations, -100.0)),
        },
        {"dataset": "made up", "simulated": "true"},
    )
    table.precipitation[:, 1450:] = np.nan
    return table


def stand_in(patch: pytest.MonkeyPatch) -> xr.Dataset:
    """A table whose variable ``network`` is what any network estimates."""
    table = table_of()
    estimates = table.network.values
    patch.setattr(module, "estimate", lambda checkpoint, days, where, **_: (np.where(where, estimates, np.nan), None))
    return table


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    return stand_in(monkeypatch)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    with pytest.MonkeyPatch.context() as patch:
        out = tmp_path_factory.mktemp("filled") / "S"
        return series_of(fill_station(stand_in(patch), "SCAN:1", out, network=NETWORK, level=0.9))


def series_of(out: Path) -> xr.Dataset:
    return open_store(out / "series.zarr").load().isel(station=0, layer=0)


def test_observations_are_kept_and_every_other_day_says_where_it_comes_from(
    table: xr.Dataset, found: xr.Dataset
) -> None:
    known = np.isfinite(table.soil_moisture.values[1])
    for name in ("soil_moisture", *FILLED):
        np.testing.assert_array_equal(found[name].values[known], table.soil_moisture.values[1, known].astype(float))
    expected = np.where(
        known, "observed", np.where((np.arange(DAYS) < 100) | (np.arange(DAYS) >= 1300), "extended", "filled")
    )
    expected[:5] = expected[1456:] = "unknown"  # fewer than half of the ten days of weather before them
    origin = np.array(ORIGINS)[found.origin.values]
    np.testing.assert_array_equal(origin, expected)
    estimated = np.isin(origin, ("filled", "extended"))
    assert np.isnan(found.soil_moisture_filled.values[origin == "unknown"]).all()
    assert (found.soil_moisture_filled_low < found.soil_moisture_filled).values[estimated].all()
    assert (found.soil_moisture_filled_high > found.soil_moisture_filled).values[estimated].all()
    assert found.attrs["station"] == "SCAN:1"
    assert (
        found.soil_moisture_filled_low.attrs["long_name"] == "volumetric soil moisture, lower end of the 90 % interval"
    )
    assert found.origin.attrs["flag_meanings"] == "observed filled extended unknown"


def test_gaps_are_filled_better_than_by_the_network_and_intervals_hold(table: xr.Dataset, found: xr.Dataset) -> None:
    truth = table.truth.values[1]
    rmse, inside, width = {}, {}, {}
    for number, origin in enumerate(ORIGINS[1:3], 1):
        here = found.origin.values == number
        error = (found.soil_moisture_filled.values - truth)[here]
        rmse[origin] = np.sqrt(np.mean(error**2))
        ends = found.soil_moisture_filled_low.values[here], found.soil_moisture_filled_high.values[here]
        inside[origin] = np.mean((ends[0] <= truth[here]) & (truth[here] <= ends[1]))
        width[origin] = np.mean(ends[1] - ends[0])
    alone = np.sqrt(np.mean((table.network.values[1] - truth)[GONE] ** 2))
    assert rmse["filled"] < 0.5 * alone
    assert rmse["extended"] < 0.8 * alone  # of 0.04 that are bias and 0.03 that vary
    assert inside["filled"] > 0.8
    assert inside["extended"] > 0.8
    assert width["filled"] < width["extended"]
    assert width["filled"] < 0.15
    told = found.attrs
    assert told["rmse_filled_withheld"] < told["rmse_extended_withheld"] < told["rmse_predicted_withheld"]
    assert told["rmse_predicted_withheld"] == pytest.approx(0.05, abs=0.015)
    assert told["gaps_withheld"] >= 9


def test_the_interval_widens_away_from_the_observations(table: xr.Dataset, found: xr.Dataset, tmp_path: Path) -> None:
    width = (found.soil_moisture_filled_high - found.soil_moisture_filled_low).values
    assert width[1300] < width[1310] < width[1400]
    assert width[150] < width[160]
    assert width[169] < width[160]
    causal = series_of(fill_station(table, "SCAN:1", tmp_path / "C", network=NETWORK, level=0.9, mode="causal"))
    width = (causal.soil_moisture_filled_high - causal.soil_moisture_filled_low).values
    assert width[150] < width[160] < width[169]


def test_causal_filling_knows_no_screening_by_later_days(table: xr.Dataset, tmp_path: Path) -> None:
    later = table.copy(deep=True)
    later.soil_moisture[1, 400:700] = np.nan  # what a sensor that dies later takes with it
    how: dict[str, Any] = {"network": NETWORK, "level": 0.9, "mode": "causal"}
    one, other = (series_of(fill_station(t, "SCAN:1", tmp_path / "S", **how)) for t in (table, later))
    xr.testing.assert_equal(one, other)
    with pytest.raises(VadoseError, match="no soil_moisture_causal"):
        fill_station(table.drop_vars("soil_moisture_causal"), "SCAN:1", tmp_path / "T", **how)
    assert not (tmp_path / "T").exists()


def test_what_is_withheld_is_not_learnt_from(table: xr.Dataset, found: xr.Dataset, tmp_path: Path) -> None:
    masks = []

    def learn(training: np.ndarray) -> dict[str, Any]:
        masks.append(training)
        return NETWORK

    told = series_of(fill_station(table, "SCAN:1", tmp_path / "S", network=learn, level=0.9))
    xr.testing.assert_equal(told, found)
    known = np.isfinite(table.soil_moisture.values)
    withheld = known & ~masks[0]
    assert not masks[0][~known].any()
    assert not withheld[[0, 2, 3]].any()
    assert withheld[1].sum() == pytest.approx(0.25 * known[1].sum(), abs=60)
    table.soil_moisture.values[withheld] += 0.2  # a network told these days would be another; the estimates are not
    again = series_of(fill_station(table, "SCAN:1", tmp_path / "T", network=learn, level=0.9))
    np.testing.assert_array_equal(masks[0], masks[1])
    assert again.attrs["rmse_filled_withheld"] > told.attrs["rmse_filled_withheld"] + 0.1


def test_gaps_do_not_touch_and_follow_what_a_checkpoint_has_learnt() -> None:
    observed = np.random.default_rng(0).random(3000) < 0.9
    may = np.arange(3000) >= 1000
    gaps = _withheld_gaps(observed, may, 0.25, 0, 0.95, "S")
    hidden = gaps >= 0
    assert not hidden[:1000].any()
    assert not hidden[~observed].any()
    assert hidden.sum() == pytest.approx(0.25 * (observed & may).sum(), abs=60)
    spans = np.array([np.flatnonzero(gaps == k)[[0, -1]] for k in range(gaps.max() + 1)])
    lengths = spans[:, 1] - spans[:, 0] + 1
    assert (lengths[:8] <= np.array([3, 10, 30, 60] * 2)).all()
    assert lengths[:4].max() > 50
    ordered = spans[np.argsort(spans[:, 0])]
    assert (ordered[1:, 0] - ordered[:-1, 1] > 5).all()
    assert len(spans) >= 19


def test_a_known_checkpoint_is_asked_only_after_what_it_has_learnt(table: xr.Dataset, tmp_path: Path) -> None:
    found = series_of(
        fill_station(table, "SCAN:0", tmp_path / "S", network=NETWORK, level=0.8, learnt_until="2017-12-31")
    )
    assert found.attrs["gaps_withheld"] >= 4
    with pytest.raises(
        VadoseError, match=r"SCAN:0: 105 observed days hold 3 gaps to withhold, intervals of 0\.8 need 4"
    ):
        fill_station(table, "SCAN:0", tmp_path / "S", network=NETWORK, level=0.8, learnt_until="2019-10-26")


@pytest.mark.parametrize(
    ("stations", "learnt_until", "said"),
    [
        ({"SCAN:0": ["2016-01-01", "2017-06-30"]}, None, None),
        ({"SCAN:0": ["2016-01-01", "2017-06-30"]}, "2017-06-29", None),
        ({"SCAN:0": ["2016-01-01", "2017-06-30"]}, "2017-06-30", "from this station up to 2017-06-30; gaps are"),
        ({"SCAN:1": ["2016-01-01", "2017-06-30"]}, None, "not from this station"),
        (None, None, "from stations that the model does not name"),
    ],
)
def test_a_model_that_learnt_the_station_is_refused_unless_declared(
    table: xr.Dataset, tmp_path: Path, stations: dict[str, list[str]] | None, learnt_until: str | None, said: str | None
) -> None:
    network = NETWORK | ({} if stations is None else {"stations": stations})
    how: dict[str, Any] = {"network": network, "level": 0.8, "learnt_until": learnt_until}
    if said is None:
        with pytest.raises(
            VadoseError, match=r"has learnt from it on 2016-01-01 .. 2017-06-30 \(.*--learnt-until 2017"
        ):
            fill_station(table, "SCAN:0", tmp_path / "S", **how)
        assert not list(tmp_path.iterdir())
    else:
        series = series_of(fill_station(table, "SCAN:0", tmp_path / "S", **how))
        assert series.attrs["network_learnt"].startswith(said)


def test_files_agree_and_are_made_once(table: xr.Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {"network": NETWORK, "level": 0.9, "made_of": {"table": "abc", "network": "def"}}
    out = fill_station(table, "SCAN:1", tmp_path / "S", **options)
    found, frame = series_of(out), pd.read_csv(out / "series.csv", index_col="date", parse_dates=True)
    np.testing.assert_allclose(frame.soil_moisture, found.soil_moisture_filled.values, atol=5.1e-5)
    assert list(frame.origin) == [ORIGINS[k] for k in found.origin.values]
    assert frame.index[0] == pd.Timestamp("2016-01-01")
    assert list(frame.columns) == ["soil_moisture", "soil_moisture_low", "soil_moisture_high", "predicted", "origin"]
    assert (out / "series.png").stat().st_size > 5000
    assert made_from(out) == made_from(out / "series.zarr")
    written = (out / "series.csv").stat().st_mtime_ns
    fill_station(table, "SCAN:1", out, **options)
    assert (out / "series.csv").stat().st_mtime_ns == written
    fill_station(table, "SCAN:1", out, **options | {"seed": 1})
    assert (out / "series.csv").stat().st_mtime_ns != written


def test_with_a_network_learnt_for_it(tmp_path: Path) -> None:
    table = table_of()

    def learn(training: np.ndarray) -> dict[str, Any]:
        days = StationDays(table, FEATURES, training)
        fitting = Fitting(epochs=3, batch_size=256, learning_rate=3e-3)
        return fit(days, table, training, DownscalingNetwork("mlp", {"full": True}, fitting))[0]

    found = series_of(fill_station(table, "SCAN:1", tmp_path / "S", network=learn, level=0.9))
    assert found.attrs["rmse_filled_withheld"] < 0.03
    assert np.isfinite(found.soil_moisture_filled.values[6:1455]).all()


def test_a_filled_station_is_a_station_store_also_one_of_an_earlier_version(
    table: xr.Dataset, found: xr.Dataset, tmp_path: Path
) -> None:
    table.attrs |= {"layer": "0-10 cm", "layer_depths": '{"0-10 cm": 5}'}
    out = fill_station(table, "SCAN:1", tmp_path / "S", network=NETWORK, level=0.9)
    store = open_store(out / "series.zarr")
    assert as_stations(store, "series").soil_moisture.dims == ("station", "layer", "time")
    assert (store.attrs["layer_depths"], store.station.item(), float(store.lat[0])) == (
        '{"0-10 cm": 5}',
        "SCAN:1",
        40.0,
    )
    np.testing.assert_array_equal(store.soil_moisture.values[0, 0], table.soil_moisture.values[1])  # no estimates
    before = found.drop_vars(["station", "layer", "soil_moisture"])
    before = before.rename({name: name.replace("_filled", "") for name in FILLED})
    before.to_zarr(tmp_path / "before.zarr", zarr_format=3, consolidated=False)
    again = open_store(tmp_path / "before.zarr")
    assert as_stations(again, "series").sizes["station"] == 1
    xr.testing.assert_equal(again.isel(station=0, layer=0).load(), found)


def test_says_what_is_wrong(table: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"no station 'scan:'; it has 4, such as SCAN:0, SCAN:1"):
        fill_station(table, "scan:", tmp_path / "S", network=NETWORK)
    few = table.copy(deep=True)
    few.soil_moisture[2, 300:] = np.nan
    with pytest.raises(VadoseError, match=r"SCAN:2: 300 observed days hold \d gaps to withhold, .* need 19; .* lower"):
        fill_station(few, "SCAN:2", tmp_path / "S", network=NETWORK)
    few.soil_moisture[2] = np.nan
    with pytest.raises(VadoseError, match="SCAN:2: 0 observed days"):
        fill_station(few, "SCAN:2", tmp_path / "S", network=NETWORK)
    dry = table.copy(deep=True)
    dry.precipitation[1] = np.nan
    with pytest.raises(VadoseError, match="SCAN:1: the network can estimate no observed day"):
        fill_station(dry, "SCAN:1", tmp_path / "S", network=NETWORK, level=0.9)
    assert not list(tmp_path.iterdir())
