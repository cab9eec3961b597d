"""Time axes become whole days in order, or are refused in one line."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.door.days import daily, in_order, lead_days
from vadose.errors import VadoseError


def of(times: list[str]) -> xr.Dataset:
    values = np.arange(len(times), dtype=float)
    return xr.Dataset({"rain": ("time", values), "mask": ("y", [True])}, {"time": pd.to_datetime(times), "y": [0.0]})


def test_a_complete_axis_is_left_alone() -> None:
    dataset = of(["2019-01-01", "2019-01-02"])
    assert daily(dataset) is dataset


def test_missing_days_are_explicit_and_fields_stay_as_they_are() -> None:
    found = daily(of(["2019-01-05", "2019-01-01"]))
    assert found.sizes["time"] == 5
    np.testing.assert_array_equal(found.rain, [1, np.nan, np.nan, np.nan, 0])
    assert found.mask.dims == ("y",)
    assert found.mask.dtype == bool
    lazy = daily(of(["2019-01-05", "2019-01-01"]).chunk())
    assert lazy.identical(found)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2019-01-01", "2019-01-02", "2019-01-02"], "1 days come more than once, such as 2019-01-02"),
        (["2019-01-01T00", "2019-01-01T12"], "times of day differ, such as 00:00 and 12:00"),
        (["2019-01-01T12", "2019-01-01T12"], "1 days come more than once"),
        (["2019-01-01", "NaT"], "1 of 2 dates are missing"),
    ],
)
def test_what_is_no_axis_of_days_is_refused(times: list[str], message: str) -> None:
    with pytest.raises(VadoseError, match=f"^the cube: time: {message}"):
        daily(of(times))
    with pytest.raises(VadoseError, match=f"^mine: init_time: {message}"):
        in_order(of(times).rename(time="init_time"), "init_time", "mine")


def test_numbers_are_no_dates() -> None:
    with pytest.raises(VadoseError, match="the cube: time is int64; expected dates"):
        daily(xr.Dataset({"rain": ("time", [0.0])}, {"time": [3]}))
    with pytest.raises(VadoseError, match="no axis 'time' of days"):
        daily(xr.Dataset({"rain": ("time", [0.0])}))


@pytest.mark.parametrize(
    ("hours", "message"), [([24, 60], "leads of 60 h; expected whole days"), ([24, 24], "a lead comes twice")]
)
def test_leads_are_whole_days(hours: list[int], message: str) -> None:
    with pytest.raises(VadoseError, match=f"the forecast: {message}"):
        lead_days(xr.Dataset(coords={"lead_time": pd.to_timedelta(hours, unit="h")}))
    with pytest.raises(VadoseError, match="lead_time is int64"):
        lead_days(xr.Dataset(coords={"lead_time": [1, 3]}))
