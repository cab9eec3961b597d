"""Percentiles of known answer, the calendar's seams, classes at their edges, and one-line refusals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import vadose.predict.outlook.climatology
import vadose.predict.outlook.percentiles
from vadose.errors import VadoseError
from vadose.predict.outlook import (
    LEVELS,
    MISSING,
    draw_outlook,
    drought_class,
    drought_probability,
    local_climatology,
    percentile,
    with_outlook,
)

PERIOD = {"first": "2015-01-01", "last": "2019-12-31"}
TIME = pd.date_range("2015-01-01", "2019-12-31")


def cube_of(values: np.ndarray, time: pd.DatetimeIndex = TIME) -> xr.Dataset:
    """Values (time, y, x) on a grid."""
    y, x = -9008.0 * np.arange(values.shape[1]), 9008.0 * np.arange(values.shape[2])
    attrs = {"units": "m"}
    coords = {"time": time, "y": ("y", y, attrs), "x": ("x", x, attrs)}
    return xr.Dataset({"soil_moisture": (("time", "y", "x"), values.astype(np.float32))}, coords)


def store_of(
    mean: np.ndarray | float, init: str | Sequence[str], leads: Sequence[int] = (1,), std: float | None = None
) -> xr.Dataset:
    """Forecasts; ``mean`` (y, x), or a number for one cell, at every day and lead."""
    init_time = pd.DatetimeIndex([init] if isinstance(init, str) else list(init))
    field = np.atleast_2d(np.asarray(mean, np.float32))
    values = np.broadcast_to(field, (len(init_time), len(leads), *field.shape)).copy()
    cube = cube_of(field[None], TIME[:1])
    store = xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
        {"init_time": init_time, "lead_time": pd.to_timedelta(leads, unit="D"), "y": cube.y, "x": cube.x},
        {"model": "made up", "layer": "0-10 cm", "simulated": "true"},
    )
    return store if std is None else store.assign(soil_moisture_std=store.soil_moisture * 0 + np.float32(std))


def ranked(n: int) -> xr.Dataset:
    """A climatology of the values 1 / (n + 1) .. n / (n + 1) in the window of 1 July, one cell."""
    values = np.full(len(TIME), np.nan)
    near = np.flatnonzero((TIME.month == 7) & (TIME.day == 1))[:, None] + np.arange(-15, 16)
    values[near.ravel()[:n]] = np.random.default_rng(0).permutation(np.arange(1, n + 1)) / (n + 1)
    cube = cube_of(values[:, None, None])
    return local_climatology(cube.soil_moisture, **PERIOD, days=[183]).load()


@pytest.fixture(scope="module")
def uniform() -> xr.Dataset:
    """Independent uniform values, five years, 4 x 3 cells; the last is never observed."""
    values = np.random.default_rng(1).random((len(TIME), 4, 3))
    values[:, 3, 2] = np.nan
    return cube_of(values)


# ---- the climatology


def test_quantiles_are_those_of_weibull_positions() -> None:
    found = ranked(93)
    assert found["count"].values.item() == 93
    # Values at their own plotting positions: the quantile of a level is the level.
    np.testing.assert_allclose(found["quantile"].values[0, 1:-1, 0, 0], LEVELS, atol=1e-6)
    np.testing.assert_allclose(found["quantile"].values[0, [0, -1], 0, 0], [1 / 94, 93 / 94], atol=1e-6)


def test_quantiles_agree_with_numpy_with_gaps(uniform: xr.Dataset) -> None:
    gappy = uniform.soil_moisture.where(np.random.default_rng(2).random(uniform.soil_moisture.shape) < 0.7)
    found = local_climatology(gappy, **PERIOD, days=[100]).load()
    centre = pd.DatetimeIndex([f"{year}-04-09" for year in range(2015, 2020)])
    near = np.abs((TIME.values[:, None] - centre.values) / np.timedelta64(1, "D")).min(1) <= 15
    for row, column in np.ndindex(4, 3):
        values = gappy.values[near, row, column]
        values = values[np.isfinite(values)]
        assert found["count"].values[0, row, column] == len(values)
        if len(values):
            expected = np.quantile(values, LEVELS, method="weibull")
            np.testing.assert_allclose(found["quantile"].values[0, 1:-1, row, column], expected, rtol=1e-5)
    assert np.isnan(found["quantile"].values[0, :, 3, 2]).all()


def test_fewer_values_than_the_levels_need_give_none() -> None:
    assert np.isfinite(ranked(49)["quantile"].values).all()
    few = ranked(48)
    assert np.isnan(few["quantile"].values).all()
    assert few["count"].values.item() == 48
    assert few.climatology_values_needed == 49


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        # 17 December to 16 January: no day of the record is counted twice, none of a neighbouring year missed.
        (1, [("12-17", "12-31"), ("01-01", "01-16")]),
        (366, [("12-16", "12-31"), ("01-01", "01-15")]),
        (183, [("06-16", "07-16")]),
    ],
)
def test_windows_reach_across_new_year(day: int, expected: list[tuple[str, str]]) -> None:
    values = np.zeros(len(TIME))
    month_day = TIME.strftime("%m-%d")
    for begin, end in expected:
        values[(month_day >= begin) & (month_day <= end)] = 1
    found = local_climatology(cube_of(values[:, None, None]).soil_moisture, **PERIOD, days=[day])
    assert found["count"].values.item() == values.sum() == 155
    assert (found["quantile"].values == 1).all()


def test_29_february_has_a_climatology_and_1_march_is_one_day_in_every_year() -> None:
    values = np.zeros(len(TIME))
    in_window = [("2016-02-14", "2016-03-15")] + [(f"{y}-02-13", f"{y}-03-15") for y in (2015, 2017, 2018, 2019)]
    for begin, end in in_window:
        values[(begin <= TIME) & (end >= TIME)] = 1
    found = local_climatology(cube_of(values[:, None, None]).soil_moisture, **PERIOD)
    assert found.dayofyear.values.tolist() == list(range(1, 367))
    assert (found["count"].values == 155).all()
    assert (found["quantile"].sel(dayofyear=60).values == 1).all()
    marked = store_of(0.0, ["2019-02-27", "2019-02-28", "2019-12-30", "2020-02-28", "2020-02-29", "2020-12-31"])
    days = vadose.predict.outlook.percentiles._valid_days(marked, found)
    assert found.dayofyear.values[days].ravel().tolist() == [59, 61, 366, 60, 61, 1]


def test_blocks_of_rows_equal_the_whole(uniform: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = local_climatology(uniform.soil_moisture, **PERIOD, days=[1, 60, 200])
    assert whole["quantile"].chunksizes["y"] == (4,)
    store = store_of(np.linspace(0, 1, 12).reshape(4, 3), ["2020-02-27", "2020-12-30"], (2,), std=0.1)
    together = with_outlook(store, uniform, **PERIOD).load()
    monkeypatch.setattr(vadose.predict.outlook.climatology, "_BLOCK_BYTES", 1)
    rows = local_climatology(uniform.soil_moisture.chunk(time=100), **PERIOD, days=[1, 60, 200])
    assert rows["quantile"].chunksizes["y"] == (1, 1, 1, 1)
    xr.testing.assert_identical(whole.load(), rows.load())
    lazily = with_outlook(store.chunk(init_time=1, x=2), uniform.chunk(time=100), **PERIOD)
    xr.testing.assert_identical(together, lazily.load())


# ---- percentiles


@pytest.mark.parametrize("value", [0.01, 0.02, 0.137, 0.3, 0.5, 0.98, 0.985])
def test_the_percentile_of_a_uniform_climatology_is_the_value(value: float) -> None:
    found = percentile(store_of(value, "2021-06-30"), ranked(99))
    assert found.dims == ("init_time", "lead_time", "y", "x")
    np.testing.assert_allclose(found.values.item(), 100 * value, atol=1e-4)


def test_beyond_the_record_lie_0_and_100() -> None:
    climatology = ranked(93)
    found = [percentile(store_of(v, "2021-06-30"), climatology).values.item() for v in (0, 1 / 94, 93 / 94, 1)]
    np.testing.assert_allclose(found, [0, 100 / 94, 9300 / 94, 100], atol=1e-4)


def test_random_values_have_uniform_percentiles(uniform: xr.Dataset) -> None:
    drawn = np.random.default_rng(3).random((4, 3))
    drawn[3, 0] = np.nan
    init = pd.date_range("2020-01-01", "2020-12-31").strftime("%Y-%m-%d")
    found = percentile(store_of(drawn, init), local_climatology(uniform.soil_moisture, **PERIOD)).values[:, 0]
    unknown = np.zeros((4, 3), bool)
    unknown[3, [0, 2]] = True
    assert np.isnan(found[:, unknown]).all()
    np.testing.assert_allclose(found[:, ~unknown].mean(0), 100 * drawn[~unknown], atol=2.5)


def test_equal_values_share_the_middle_of_their_levels() -> None:
    # 60 values of which the lowest half are equal.
    time = pd.date_range("2019-01-01", "2020-12-31")
    values = np.full(len(time), np.nan)
    values[time.month == 7] = np.concatenate([np.full(31, 0.1), 0.2 + 0.01 * np.arange(31)])
    cube = cube_of(values[:, None, None], time)
    climatology = local_climatology(
        cube.soil_moisture, first="2019-01-01", last="2020-12-31", window=61, days=[198], levels=LEVELS
    )
    assert climatology["count"].values.item() == 62
    below, tied, above = (percentile(store_of(v, "2021-07-15"), climatology).values.item() for v in (0.099, 0.1, 0.101))
    # Equal from the lowest position 100 / 63 to level 0.45, the last at or below 31 / 63.
    np.testing.assert_allclose(tied, (100 / 63 + 45) / 2, atol=1e-4)
    assert below == 0
    assert 45 < above < 50
    constant = local_climatology(
        xr.full_like(cube.soil_moisture, 0.25), first="2019-01-01", last="2020-12-31", days=[198]
    )
    assert [percentile(store_of(v, "2021-07-15"), constant).values.item() for v in (0.2, 0.25, 0.3)] == [0, 50, 100]


def test_the_percentile_never_falls_with_the_forecast(uniform: xr.Dataset) -> None:
    rounded = cube_of(np.round(uniform.soil_moisture.values[:, :1, :1], 1).repeat(111, axis=2))
    climatology = local_climatology(rounded.soil_moisture, **PERIOD, days=[200])
    found = percentile(store_of(np.linspace(-0.05, 1.05, 111), "2021-07-17"), climatology).values.ravel()
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[-1]) == (0, 100)


def test_the_climatology_is_that_of_the_valid_day() -> None:
    values = np.where(TIME.month == 7, 0.5, 0.0) + 0.5 * np.random.default_rng(4).random(len(TIME))
    store = store_of(0.5, "2021-06-16", (1, 30))
    winter_is_dry = with_outlook(store, cube_of(values[:, None, None]), **PERIOD).soil_moisture_percentile
    assert winter_is_dry.values[0, 0, 0, 0] > 90
    assert winter_is_dry.values[0, 1, 0, 0] < 5


# ---- classes and probabilities


def test_classes_begin_exactly_at_their_thresholds() -> None:
    edges = np.array([30, 20, 10, 5, 2], np.float32)
    assert drought_class(xr.DataArray(edges)).values.tolist() == [0, 1, 2, 3, 4]
    assert drought_class(xr.DataArray(np.nextafter(edges, np.float32(100)))).values.tolist() == [-1, 0, 1, 2, 3]
    # A forecast equal to the quantile of a threshold lies at the threshold, not a rounding above it.
    climatology = ranked(99)
    for k, level in enumerate((0.3, 0.2, 0.1, 0.05, 0.02)):
        at = climatology["quantile"].sel(level=level).values.item()
        assert drought_class(percentile(store_of(at, "2021-06-30"), climatology)).values.item() == k


def test_classes_are_flags_of_cf_that_survive_the_disk(tmp_path: Path) -> None:
    classes = drought_class(xr.DataArray([1.0, 50.0, np.nan], dims="x"))
    assert classes.dtype == np.int8
    assert classes.values.tolist() == [4, -1, MISSING]
    assert classes.flag_values.dtype == np.int8
    assert len(classes.flag_values) == len(classes.flag_meanings.split()) == 6
    classes.to_dataset().to_zarr(tmp_path / "c.zarr", zarr_format=3, consolidated=False)
    back = xr.open_zarr(tmp_path / "c.zarr", consolidated=False).drought_class
    np.testing.assert_array_equal(back.values, [4, -1, np.nan])
    assert back.attrs["flag_values"] == [-1, 0, 1, 2, 3, 4]


def test_probabilities_are_those_of_the_normal_distribution(uniform: xr.Dataset) -> None:
    mean = np.linspace(0, 0.5, 12).reshape(4, 3)
    store = store_of(mean, "2021-06-30", (1, 14), std=0.2)
    climatology = local_climatology(uniform.soil_moisture, **PERIOD, days=[183, 196])
    found = drought_probability(store, climatology)
    assert found.dims == ("init_time", "lead_time", "drought_threshold", "y", "x")
    for k, day in enumerate((183, 196)):
        for threshold in (30, 20, 10, 5, 2):
            q = climatology["quantile"].sel(dayofyear=day, level=threshold / 100).values
            np.testing.assert_allclose(
                found.sel(drought_threshold=threshold).values[0, k], stats.norm.cdf(q, mean, 0.2), atol=1e-6
            )
    assert np.isnan(found.values[..., 3, 2]).all()


def test_without_spread_the_probability_is_0_or_1() -> None:
    climatology = ranked(99)
    found = drought_probability(store_of(0.15, "2021-06-30", std=0.0), climatology)
    assert found.values.ravel().tolist() == [1, 1, 0, 0, 0]


# ---- the store


def test_the_store_holds_it_all_and_says_what_it_rests_on(uniform: xr.Dataset, tmp_path: Path) -> None:
    store = store_of(np.full((4, 3), 0.04), ["2020-06-30", "2020-12-31"], (1, 7), std=0.1)
    store.attrs["observed"] = "soil_moisture_0_10cm"
    found = with_outlook(store, uniform.rename(soil_moisture="soil_moisture_0_10cm"), **PERIOD)
    assert {"soil_moisture", "soil_moisture_std"} < set(found.data_vars)
    assert "soil_moisture_percentile" not in store
    assert found.attrs["climatology_variable"] == "soil_moisture_0_10cm"
    assert found.attrs["climatology_period"] == "2015-01-01 .. 2019-12-31"
    assert (found.attrs["climatology_years"], found.attrs["climatology_window_days"]) == (5.0, 31)
    assert "climatology_warning" not in found.attrs
    assert (found.climatology_count.values[:, :, :3] == 155).all()
    expected = np.maximum(stats.norm.ppf([0.05, 0.25, 0.5, 0.75, 0.95], 0.04, 0.1), 0)
    np.testing.assert_allclose(found.soil_moisture_quantile.values[1, 1, :, 0, 0], expected, atol=1e-6)
    store.chunk(init_time=1).to_zarr(tmp_path / "f.zarr", zarr_format=3, consolidated=False)
    opened = xr.open_zarr(tmp_path / "f.zarr", consolidated=False)
    with_outlook(opened, uniform.rename(soil_moisture="soil_moisture_0_10cm"), **PERIOD).to_zarr(
        tmp_path / "o.zarr", zarr_format=3, consolidated=False
    )
    back = xr.open_zarr(tmp_path / "o.zarr", consolidated=False).load()
    np.testing.assert_array_equal(back.soil_moisture_percentile, found.soil_moisture_percentile)
    assert back.drought_class.values[0, 0, 3, 2] != back.drought_class.values[0, 0, 0, 0]
    assert np.isnan(back.drought_class.values[0, 0, 3, 2])


def test_short_or_later_climatologies_carry_a_warning(uniform: xr.Dataset) -> None:
    store = store_of(np.full((4, 3), 0.1), "2020-06-30")
    short = with_outlook(store, uniform, first="2017-01-01", last="2019-12-31")
    assert "rests on 3 years, fewer than 5" in short.attrs["climatology_warning"]
    assert "drought_probability" not in short
    inside = store_of(np.full((4, 3), 0.1), "2018-06-30")
    with pytest.raises(VadoseError, match="climatology up to 2019-12-31: the first forecast is issued on 2018-06-30"):
        with_outlook(inside, uniform, **PERIOD)
    found = with_outlook(inside, uniform, **PERIOD, hindsight=True)
    assert "after the first forecast, of 2018-06-30" in found.climatology_warning


def test_the_climatology_is_that_of_the_cell_wherever_it_stands(uniform: xr.Dataset) -> None:
    wide = uniform.isel(y=slice(None, None, -1), time=np.random.default_rng(0).permutation(len(TIME)))
    wide = wide.assign_coords(y=wide.y.astype(np.float32))
    store = store_of(np.full((4, 3), 0.1), "2020-06-30")
    for cells in ({}, {"y": slice(1, 3), "x": [2]}):
        found = with_outlook(store.isel(cells), wide, **PERIOD).soil_moisture_percentile
        expected = with_outlook(store, uniform, **PERIOD).soil_moisture_percentile.isel(cells)
        xr.testing.assert_identical(found.load(), expected.load())


def test_stations_without_a_grid_have_an_outlook(uniform: xr.Dataset) -> None:
    cube = uniform.isel(x=[0]).drop_vars(["y", "x"]).assign_coords(station=("y", list("abcd")))
    store = store_of(np.full((4, 1), 0.1), "2020-06-30").drop_vars(["y", "x"])
    found = with_outlook(store.assign_coords(station=("y", list("abcd"))), cube, **PERIOD)
    assert ((found.soil_moisture_percentile > 3) & (found.soil_moisture_percentile < 20)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cube": lambda c: c.assign_coords(x=c.x + 9008)}, "lacks 4 cells of the forecasts"),
        ({"cube": lambda c: c.isel(y=slice(0, 3))}, "lacks 3 cells of the forecasts"),
        ({"cube": lambda c: c.rename(soil_moisture="tb_h")}, "has no 'soil_moisture'"),
        ({"store": lambda s: s.rename(soil_moisture="mean")}, r"has no soil_moisture \(init_time"),
        ({"first": "2014-12-31"}, "the record holds 2015-01-01 .. 2019-12-31"),
        ({"last": "2020-01-01"}, "the record holds 2015-01-01 .. 2019-12-31"),
        ({"first": "2019-01-01", "last": "2018-01-01"}, "take a period within it"),
        ({"last": "2015-12-31"}, "holds at most 31 days .* need 49 values"),
        ({"window": 30}, "window of 30 days; expected an odd number"),
    ],
)
def test_bad_input_is_refused_in_one_line(uniform: xr.Dataset, change: dict, message: str) -> None:
    same = lambda dataset: dataset  # noqa: E731
    cube = change.pop("cube", same)(uniform)
    store = change.pop("store", same)(store_of(np.full((4, 3), 0.1), "2020-06-30"))
    with pytest.raises(VadoseError, match=message) as caught:
        with_outlook(store, cube, **PERIOD | change)
    assert "\n" not in str(caught.value)


def test_a_single_value_off_the_valid_range_is_no_observation_and_more_are_refused(uniform: xr.Dataset) -> None:
    on_day = (TIME.month == 7) & (TIME.day == 2)
    some = uniform.soil_moisture.values.copy()
    some[np.flatnonzero(on_day)[0], 0, 0] = -9999.0
    found = local_climatology(cube_of(some).soil_moisture, **PERIOD, days=[184])["count"].values[0]
    assert (found[0, 0], found[1, 1]) == (154, 155)
    with pytest.raises(VadoseError, match=r"values of soil_moisture lie outside 0 \.\. 1"):
        local_climatology((100 * uniform.soil_moisture).rename("soil_moisture"), **PERIOD, days=[184]).load()


def test_levels_and_days_that_are_not_there_are_refused(uniform: xr.Dataset) -> None:
    store = store_of(np.full((4, 3), 0.1), "2020-06-30", std=0.1)
    with pytest.raises(VadoseError, match="expected increasing ones between 0 and 1"):
        local_climatology(uniform.soil_moisture, **PERIOD, levels=(0.5, 0.4))
    hole = uniform.soil_moisture.isel(time=[0, -1])
    with pytest.raises(VadoseError, match="holds at most 0 days"):
        local_climatology(hole, first="2016-01-01", last="2018-12-31")
    with pytest.raises(VadoseError, match=r"lacks days of the year \[183\]"):
        percentile(store, local_climatology(uniform.soil_moisture, **PERIOD, days=[182]))
    coarse = local_climatology(uniform.soil_moisture, **PERIOD, days=[183], levels=(0.1, 0.5, 0.9))
    with pytest.raises(VadoseError, match=r"no quantiles at levels \[0.3, 0.2, 0.05, 0.02\]"):
        drought_probability(store, coarse)
    with pytest.raises(VadoseError, match="has no soil_moisture_std"):
        drought_probability(
            store.drop_vars("soil_moisture_std"), local_climatology(uniform.soil_moisture, **PERIOD, days=[183])
        )


# ---- the picture


def test_the_map_shows_the_classes_in_their_colours(uniform: xr.Dataset, tmp_path: Path) -> None:
    from matplotlib.image import imread

    mean = np.full((4, 3), 0.01)
    mean[:2] = 0.5
    found = with_outlook(store_of(mean, ["2020-06-30", "2020-07-01"], (1, 7)), uniform, **PERIOD)
    pixels = (imread(draw_outlook(found, tmp_path / "o.png", [1, 7]))[..., :3] * 255).round().astype(int)
    left = pixels[:, : pixels.shape[1] // 3].reshape(-1, 3)
    share = {c: (left == [int(c[i : i + 2], 16) for i in (0, 2, 4)]).all(1).mean() for c in ("730000", "FFFF00")}
    assert share["730000"] > 0.1
    assert share["FFFF00"] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["o.png"]


def test_a_picture_of_nothing_is_refused(uniform: xr.Dataset, tmp_path: Path) -> None:
    store = store_of(np.full((4, 3), 0.1), "2020-06-30")
    found = with_outlook(store, uniform, **PERIOD)
    for wrong, options, message in (
        (store, {"lead": 1}, "no soil_moisture_percentile"),
        (found, {"lead": 3}, r"leads \[3\] days asked for, the store has \[1\]"),
        (found, {"lead": 1, "init": "2020-07-05"}, "forecast of 2020-07-05 asked for"),
        (found.where(False), {"lead": 1}, "nothing to draw"),
        (found.isel(x=[0]), {"lead": 1}, "are stations, or one row"),
    ):
        with pytest.raises(VadoseError, match=message):
            draw_outlook(wrong, tmp_path / "o.png", **options)
    assert not list(tmp_path.iterdir())


def test_the_order_of_rows_and_columns_does_not_matter(uniform: xr.Dataset) -> None:
    store = store_of(np.linspace(0, 1, 12).reshape(4, 3), "2020-06-30", std=0.1)
    turned = uniform.isel(y=[2, 0, 3, 1], x=[2, 1, 0]).transpose("x", "time", "y")
    straight, other = (with_outlook(store, cube, **PERIOD).load() for cube in (uniform, turned))
    xr.testing.assert_identical(straight, other)
