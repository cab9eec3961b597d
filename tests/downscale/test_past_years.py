"""Weather that past years lend: which days, whose, and what the maps of their mixture hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.artefact import provenance
from vadose.door import by_day
from vadose.errors import VadoseError
from vadose.grid import ease_grid, raster_coordinates
from vadose.models import MODELS, to_checkpoint
from vadose.models.mmnet import Features, Fine, example_fine
from vadose.predict.maps import downscale_maps
from vadose.predict.past_years import outlook_of_past_years, with_past_weather

ISSUED = pd.Timestamp("2020-12-30")
VALID = pd.DatetimeIndex(["2020-12-31", "2021-01-02"])


@pytest.fixture
def fine() -> xr.Dataset:
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(39.0, -98.0))
    data = whole.part(slice(row, row + 12), slice(column, column + 15)).coordinates()
    data["elevation"] = ("y", "x"), np.linspace(-2, 2, 180, dtype=np.float32).reshape(12, 15)
    return data.assign_attrs({"simulated": "true", "mode": "causal"} | provenance(seed=0))


@pytest.fixture
def coarse(fine: xr.Dataset) -> list[xr.Dataset]:
    """Rain of 2018 .. 2021-01-05, from a random generator, and a forecast of the moisture."""
    lat, lon = float(fine.lat.mean()), float(fine.lon.mean())
    weather = raster_coordinates("EPSG:4326", (lon - 0.1, lat + 0.1, 1 / 24, 1 / 24), (5, 5))
    weather = weather.assign_coords(time=pd.date_range("2018-01-01", "2021-01-05"))
    rain = np.random.default_rng(1).gamma(0.3, 12.0, (weather.sizes["time"], 5, 5))
    weather["precipitation"] = ("time", "lat", "lon"), rain
    weather["precipitation_7d"] = weather.precipitation.rolling(time=7).sum()
    weather = weather.assign_attrs(provenance(seed=1))
    forecast = weather[["precipitation"]].sel(time=VALID).rename(precipitation="moisture") / 100
    return [forecast.assign_attrs(provenance(seed=2) | {"init_time": f"{ISSUED:%Y-%m-%d}"}), weather]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = MODELS["mmnet"](Features(("elevation", "moisture"), ("precipitation",), days=4, ends=0))
    example = example_fine(model.features, batch=64)
    model.fit_normalisation([(Fine(example.snapshot, example.series * 10), torch.rand(64))])
    torch.save(
        to_checkpoint("mmnet", {}, model) | {"domain": None, "attributes": {"mode": "causal"}}, tmp_path / "m.pt"
    )
    return tmp_path / "m.pt"


def test_the_same_days_of_another_year(coarse: list[xr.Dataset]) -> None:
    weather = coarse[1]
    ahead = with_past_weather(weather, ISSUED, 2018, VALID[-1])
    assert ahead.attrs["weather"] == "past year 2018"
    own, lent = (
        ahead.precipitation.sel(time=slice(None, ISSUED)),
        ahead.precipitation.sel(time=slice("2020-12-31", None)),
    )
    xr.testing.assert_equal(own, weather.precipitation.sel(time=slice(None, ISSUED)))
    assert list(lent.time.values) == list(pd.date_range("2020-12-31", "2021-01-02").values)
    np.testing.assert_array_equal(lent, weather.precipitation.sel(time=slice("2018-12-31", "2019-01-02")))
    # It would bring the rain of December 2018 along.
    assert "precipitation_7d" not in ahead


def test_maps_are_the_mixture_of_years(
    checkpoint: Path, fine: xr.Dataset, coarse: list[xr.Dataset], tmp_path: Path
) -> None:
    store = outlook_of_past_years(checkpoint, fine, coarse, VALID, tmp_path / "o.zarr", years=[2018, 2019], tile=64)
    found = by_day(xr.open_zarr(store, consolidated=False))
    members = []
    for year in (2018, 2019):
        given = [coarse[0], with_past_weather(coarse[1], ISSUED, year, VALID[-1])]
        one = downscale_maps(checkpoint, fine, given, VALID, tmp_path / f"{year}.zarr")
        members.append(by_day(xr.open_zarr(one, consolidated=False)).soil_moisture.values)
    assert np.abs(members[0] - members[1]).max() > 1e-3
    np.testing.assert_allclose(found.soil_moisture, np.mean(members, axis=0), atol=1e-6)
    np.testing.assert_allclose(found.soil_moisture_std, np.std(members, axis=0), atol=1e-6)
    assert (found.attrs["weather"], found.attrs["init_time"]) == ("past years 2018, 2019", "2020-12-30")
    assert found.attrs["simulated"] == "true"
    assert not list(tmp_path.glob(".*"))


def test_what_came_after_the_day_of_issue_changes_nothing(
    checkpoint: Path, fine: xr.Dataset, coarse: list[xr.Dataset], tmp_path: Path
) -> None:
    later = coarse[1].copy(deep=True)
    later.precipitation.loc["2020-12-31":] = 500.0
    both = [
        outlook_of_past_years(checkpoint, fine, [coarse[0], data], VALID, tmp_path / f"{k}.zarr", years=[2018, 2019])
        for k, data in enumerate((coarse[1], later))
    ]
    first, second = (by_day(xr.open_zarr(store, consolidated=False)).soil_moisture.values for store in both)
    np.testing.assert_array_equal(first, second)


def test_a_weather_forecast_is_kept_as_far_as_it_goes(
    checkpoint: Path, fine: xr.Dataset, coarse: list[xr.Dataset], tmp_path: Path
) -> None:
    told = coarse[1].sel(time=slice(None, "2020-12-31")).assign_attrs(weather="forecast")
    wet = told.copy(deep=True)
    wet.precipitation.loc["2020-12-31"] = 90.0
    both = [
        outlook_of_past_years(checkpoint, fine, [coarse[0], data], VALID, tmp_path / f"{k}.zarr", years=[2018, 2019])
        for k, data in enumerate((told, wet))
    ]
    first, second = (by_day(xr.open_zarr(store, consolidated=False)).soil_moisture.values for store in both)
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
    ("years", "change", "message"),
    [
        ([2018], {}, "give two or more"),
        ([2018, 2018], {}, "each once"),
        ([2018, 2020], {}, "weather of 2020: 3 of the days 2020-12-31 .. 2021-01-02 are not in what was known"),
        ([2016, 2018], {}, "from 2018-01-01 on; take other years"),
        ([2018, 2019], {"issued": None}, "no forecast of the coarse moisture is given"),
        ([2018, 2019], {"until": "2020-12-01"}, "2020-12-30 is not in it"),
    ],
)
def test_bad_input(
    years: list[int],
    change: dict[str, Any],
    message: str,
    checkpoint: Path,
    fine: xr.Dataset,
    coarse: list[xr.Dataset],
    tmp_path: Path,
) -> None:
    if "issued" in change:
        coarse[0] = coarse[0].drop_attrs()
    if "until" in change:
        coarse[1] = coarse[1].sel(time=slice(None, change["until"]))
    with pytest.raises(VadoseError, match=message):
        outlook_of_past_years(checkpoint, fine, coarse, VALID, tmp_path / "o.zarr", years=years)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]
