"""Buckets of rain: what they hold, what they forget, what they are told when nothing is known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.features import bucket_saturation, derive

DAYS = 400


def weather(rain: float = 2.0, celsius: float = 15.0, **more: float) -> xr.Dataset:
    values = {"precipitation": rain, "air_temperature": celsius + 273.15, "reference_evapotranspiration": 3.0, **more}
    return xr.Dataset(
        {name: (("station", "time"), np.full((2, DAYS), value)) for name, value in values.items()},
        coords={"time": pd.date_range("2020-01-01", periods=DAYS), "lat": ("station", [35.0, 45.0])},
    )


def test_a_bucket_settles_where_rain_equals_demand_and_leak() -> None:
    saturation = bucket_saturation(weather(), (25,))[0].isel(time=-1).values[0]
    filled = saturation * 25 + 2.0
    left = filled - 3.0 * filled / 25
    assert left * (1 - 0.02 * (left / 25) ** 2) == pytest.approx(saturation * 25, rel=1e-4)


def test_larger_buckets_remember_longer() -> None:
    skin, root = bucket_saturation(weather(rain=0.0), (10, 150))
    assert skin.isel(time=20).max() < 0.01 < 0.3 < root.isel(time=20).min()


def test_snow_waits_for_the_melt() -> None:
    data = weather(rain=0.0, celsius=-10.0, reference_evapotranspiration=0.0)
    data["precipitation"][:, 50] = 10.0
    data["air_temperature"][:, 100:] = 280.0
    found = bucket_saturation(data, (60,))[0].transpose("time", "station").values[:, 0]
    assert found[51] <= found[49]
    assert found[104] > found[99] + 0.1


def test_nothing_of_a_later_day_is_used() -> None:
    data = weather()
    other = data.copy(deep=True)
    for values in other.values():
        values[:, 200:] = 300.0
    first, second = (bucket_saturation(d, (60,))[0].isel(time=slice(None, 200)) for d in (data, other))
    xr.testing.assert_equal(first, second)


def test_demand_follows_the_sun_without_a_reference() -> None:
    """Ra of FAO-56, example 8: 32.2 MJ m-2 a day at 20 S on 3 September."""
    data = weather(rain=0.0).drop_vars("reference_evapotranspiration").isel(time=slice(0, 40))
    data = data.assign(air_temperature_max=data.air_temperature + 8, air_temperature_min=data.air_temperature - 8)
    data = data.assign_coords(time=pd.date_range("2019-09-03", periods=40), lat=("station", [-20.0, -20.0]))
    found = bucket_saturation(data, (1000,))[0].isel(time=0, station=0).item()
    left = 500.0 - 0.5 * 0.0023 * 32.2 * (15.0 + 17.8) * np.sqrt(16.0) / 2.45
    assert found == pytest.approx(left * (1 - 0.02 * (left / 1000) ** 2) / 1000, abs=1e-5)


def test_without_rain_known_nothing_is_told() -> None:
    data = weather()
    data["precipitation"][0, 100:200] = np.nan
    found = bucket_saturation(data, (25,))[0].transpose("station", "time").values
    assert np.isfinite(found[0, :114]).all()
    assert np.isnan(found[0, 120:200]).all()
    assert np.isfinite(found[0, 220:]).all()
    assert np.isfinite(found[1]).all()


def test_buckets_there_already_are_kept() -> None:
    data = weather()
    data["bucket_25mm"] = data.precipitation * 0 + 0.5
    found = derive(data, ("bucket_25mm", "bucket_60mm", "elevation"), ("days",))
    assert float(found.bucket_25mm.min()) == 0.5
    assert "bucket_60mm" in found
    assert "bucket_60mm" not in data
    assert derive(data, ("elevation",), ("days",)) is data


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("precipitation", "precipitation"),
        ("air_temperature", "air_temperature_max"),
        ("reference_evapotranspiration", "air_temperature_max"),
    ],
)
def test_what_is_missing_is_named(name: str, asked: str) -> None:
    with pytest.raises(VadoseError, match=f"'{asked}'"):
        bucket_saturation(weather().drop_vars(name), (25,))
