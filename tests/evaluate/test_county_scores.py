"""Maps against a known truth: scores in time and space, known answers, what is refused."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluation.county import score_county
from vadose.evaluation.metrics import gaussian_crps
from vadose.grid import ease_grid

DAYS = pd.date_range("2020-05-01", periods=80)
ROWS, COLUMNS = 9, 12


@pytest.fixture(scope="module")
def world() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    return made(80)


def made(days: int) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Truth across two cells of 9 km, maps with errors, and the coarse field."""
    rng = np.random.default_rng(0)
    corner = 360 * 40
    pixels = ease_grid("100m").part(slice(corner - 5, corner + 4), slice(corner - 6, corner + 6))
    weather = np.cumsum(rng.normal(0, 0.01, days))[:, None, None] + 0.25
    pattern = 0.05 * rng.normal(size=(ROWS, COLUMNS))
    truth = pixels.coordinates().assign_coords(time=pd.date_range(DAYS[0], periods=days))
    truth["soil_moisture"] = ("time", "y", "x"), weather + pattern + 0.01 * rng.normal(size=(days, ROWS, COLUMNS))
    maps = truth.drop_vars(["lat", "lon"]).assign(
        soil_moisture=truth.soil_moisture + 0.02 + 0.02 * rng.normal(size=(days, ROWS, COLUMNS))
    )
    cells = ease_grid("9km").part(slice(160 - 1, 160 + 1), slice(160 - 1, 160 + 1))
    coarse = cells.coordinates().assign_coords(time=pd.date_range(DAYS[0], periods=days))
    steps = np.array([[0.0, 0.02], [0.01, -0.03]])
    values = weather + steps + 0.02 * rng.normal(size=(days, 2, 2))
    coarse["soil_moisture_smap_l4"] = ("time", "y", "x"), values
    return maps, truth, coarse


def of(table: pd.DataFrame, estimate: str, over: str, metric: str) -> pd.Series:
    rows = table[(table.estimate == estimate) & (table.over == over) & (table.metric == metric)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_scores_are_those_of_each_pixel_and_each_day(world) -> None:
    maps, truth, coarse = world
    found = score_county(maps, truth, coarse)
    repeated = coarse.soil_moisture_smap_l4.values.repeat([5, 4], axis=1).repeat([6, 6], axis=2)
    actual = truth.soil_moisture.values
    assert len(found) == 3 * 4 * 2
    for name, values in (("maps", maps.soil_moisture.values), ("coarse", repeated)):
        error = values - actual
        series = [np.corrcoef(values[:, i, j], actual[:, i, j])[0, 1] for i in range(ROWS) for j in range(COLUMNS)]
        fields = [np.corrcoef(values[d].ravel(), actual[d].ravel())[0, 1] for d in range(80)]
        assert of(found, name, "time", "pearson_r").value == pytest.approx(np.median(series))
        assert of(found, name, "space", "pearson_r").value == pytest.approx(np.mean(fields))
        rmse = np.sqrt((error**2).mean(axis=0))
        assert of(found, name, "time", "rmse").value == pytest.approx(np.median(rmse))
        assert of(found, name, "time", "ubrmse").value == pytest.approx(np.median(error.std(axis=0)))
        assert of(found, name, "space", "ubrmse").value == pytest.approx(np.mean(error.std(axis=(1, 2))))
        assert of(found, name, "space", "bias").value == pytest.approx(error.mean())
    assert of(found, "maps minus coarse", "space", "pearson_r").value == pytest.approx(
        of(found, "maps", "space", "pearson_r").value - of(found, "coarse", "space", "pearson_r").value
    )
    assert of(found, "maps minus coarse", "time", "rmse").share_better > 0.7
    assert set(found.n_days) == {80}
    assert set(found.n_pixels) == {ROWS * COLUMNS}


def test_intervals_hold_the_score_and_are_narrower_for_a_longer_record(world) -> None:
    long = made(480)
    found = score_county(*long)
    assert ((found.lower <= found.value) & (found.value <= found.upper)).all()
    assert (found.upper > found.lower).all()
    part = score_county(*(data.isel(time=slice(120)) for data in long))
    width = [of(table, "maps", "space", "bias")[["lower", "upper"]].diff().iloc[1] for table in (found, part)]
    assert width[0] < width[1]
    short = score_county(*world)
    assert short.value.notna().all()
    assert short[["lower", "upper"]].isna().all(axis=None)


def test_a_perfect_map_and_a_single_coarse_cell(world) -> None:
    _, truth, coarse = world
    left = {"y": slice(5), "x": slice(6)}
    found = score_county(truth.isel(left), truth.isel(left), coarse.isel(y=[0], x=[0]))
    for over in ("time", "space"):
        assert of(found, "maps", over, "pearson_r").value == pytest.approx(1)
        assert of(found, "maps", over, "rmse").value == pytest.approx(0, abs=1e-9)
    assert np.isnan(of(found, "coarse", "space", "pearson_r").value)
    assert np.isnan(of(found, "maps minus coarse", "space", "pearson_r").value)
    assert of(found, "maps minus coarse", "space", "rmse").share_better == 1


def test_both_estimates_are_scored_on_what_all_know(world) -> None:
    maps, truth, coarse = (data.copy(deep=True) for data in world)
    maps.soil_moisture.values[:, 0, 0] = np.nan
    maps.soil_moisture.values[3] = np.nan
    coarse.soil_moisture_smap_l4.values[7] = np.nan
    truth.soil_moisture.values[10:70, 1, 1] = np.nan  # 18 days are left
    found = score_county(maps.isel(time=slice(0, 78)), truth, coarse)
    assert set(found.n_days) == {76}
    assert set(found.n_pixels) == {ROWS * COLUMNS - 2}
    keep = np.ones((ROWS, COLUMNS), bool)
    keep[0, 0] = keep[1, 1] = False
    days = np.setdiff1d(np.arange(78), [3, 7])
    error = (world[0].soil_moisture - world[1].soil_moisture).values[days][:, keep]
    assert of(found, "maps", "time", "bias").value == pytest.approx(np.median(error.mean(axis=0)))
    assert of(found, "maps", "space", "rmse").value == pytest.approx(np.mean(np.sqrt((error**2).mean(axis=1))))


def test_maps_with_a_deviation_are_scored_as_distributions(world) -> None:
    maps, truth, coarse = world
    sharp = maps.assign(soil_moisture_std=xr.full_like(maps.soil_moisture, 0.02))
    found = score_county(sharp, truth, coarse)
    error = (maps.soil_moisture - truth.soil_moisture).values
    crps = gaussian_crps(error, np.full(error.shape, 0.02)).mean(axis=0)
    assert of(found, "maps", "time", "crps").value == pytest.approx(np.median(crps))
    assert 0.3 < of(found, "maps", "time", "coverage_50").value < 0.6


def test_what_does_not_fit_is_refused(world) -> None:
    maps, truth, coarse = world
    with pytest.raises(VadoseError, match="coarse field: no 'moisture'"):
        score_county(maps, truth, coarse, field="moisture")
    with pytest.raises(VadoseError, match="different pixels: x of 11"):
        score_county(maps.isel(x=slice(1, None)), truth, coarse)
    with pytest.raises(VadoseError, match="holds 48 of the 108 pixels"):
        score_county(maps, truth, coarse.isel(y=[1]))
    with pytest.raises(VadoseError, match="no day in common"):
        score_county(maps.assign_coords(time=DAYS + pd.Timedelta(days=90)), truth, coarse)
    with pytest.raises(VadoseError, match="on at most 20 days, expected 30"):
        score_county(maps.isel(time=slice(20)), truth, coarse)
    for given in ((maps * 100, truth, coarse), (maps, truth * 100, coarse), (maps, truth, coarse * 100)):
        with pytest.raises(VadoseError, match=r"(maps|truth|coarse field): .* lie outside 0 \.\. 1"):
            score_county(*(now.assign_attrs(was.attrs) for now, was in zip(given, world, strict=True)))


def test_a_single_value_off_the_valid_range_is_not_known(world) -> None:
    maps, truth, coarse = world
    filled = maps.soil_moisture.values.copy()
    filled[3, 2, 1] = -9999.0
    missing = np.where(filled == -9999.0, np.nan, filled)
    found, expected = (
        score_county(maps.assign(soil_moisture=(("time", "y", "x"), values)), truth, coarse)
        for values in (filled, missing)
    )
    pd.testing.assert_frame_equal(found, expected)


def test_rows_and_columns_are_found_by_their_coordinates(world) -> None:
    maps, truth, coarse = world
    turned = [data.isel(y=slice(None, None, -1), x=slice(None, None, -1)) for data in world]
    straight = score_county(maps, truth, coarse)
    for given in ((turned[0], truth, coarse), (maps, turned[1], coarse), (maps, truth, turned[2]), turned):
        pd.testing.assert_frame_equal(score_county(*given), straight)
