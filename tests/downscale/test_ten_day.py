"""The ten-day table: a small one made up, and the real one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube.ten_day import PLACES, TABLE, read_ten_day
from vadose.errors import VadoseError

DAYS = pd.date_range("2019-01-05", "2019-02-10")
GAUGES = (("Mercury_3_SSW", 36.6, -116.0), ("Nowhere_1_N", 50.0, -100.0))


def write(folder: Path) -> pd.DataFrame:
    starts = pd.date_range("2019-01-01", periods=3, freq="10D")
    rows = []
    for k, _ in enumerate(GAUGES):
        for step, start in enumerate(starts):
            row = {f"B{b}": 1000.0 * (k + 1) + 100 * step for b in (2, 3, 4, 11)} | {"B8": 3000.0}
            rows.append(
                row
                | {"VV": -10.0, "VH": -20.0, "ssm": 10.0 + step, "fc": 20.0, "landcover": 52.0, "elevation": -2.0}
                | {"StartDate": f"{start:%Y-%m-%d}", "PointIndex": step}
                | {"EndDate": f"{start + pd.Timedelta(days=10):%Y-%m-%dT00:00:00}"}
            )
    table = pd.DataFrame(rows)
    table.loc[1, ["B4", "B8"]] = np.nan
    table.to_csv(folder / TABLE, index=False)
    pd.DataFrame(GAUGES, columns=["Station", "Latitude", "Longitude"]).to_csv(folder / PLACES, index=False)
    return table


@pytest.fixture
def stations() -> xr.Dataset:
    names = ["USCRN:NV_Mercury_3_SSW", "SCAN:2000", "USCRN:AZ_Mercury_3_SSW"]
    return xr.Dataset(
        coords={
            "station": np.array(names, object),
            "lat": ("station", [36.61, 36.6, 30.0]),
            "lon": ("station", [-116.01, -116.0, -110.0]),
        }
    )


def test_a_composite_is_known_when_its_days_have_ended(tmp_path: Path, stations: xr.Dataset) -> None:
    write(tmp_path)
    found = read_ten_day(tmp_path, stations, DAYS)
    smap = found.soil_moisture_smap.sel(station="USCRN:NV_Mercury_3_SSW").to_series()
    assert np.isnan(smap["2019-01-10"])
    assert smap["2019-01-11"] == smap["2019-01-20"] == np.float32(0.2)
    assert smap["2019-01-21"] == pytest.approx(0.22)
    age = found.ndvi_age.sel(station="USCRN:NV_Mercury_3_SSW").to_series()
    # The second composite has no red band: the first one is kept, and grows old.
    assert age["2019-01-20"] == 9
    assert age["2019-01-25"] == 14
    assert age["2019-01-31"] == 0
    ndvi = found.ndvi.sel(station="USCRN:NV_Mercury_3_SSW").to_series()
    assert ndvi["2019-01-12"] == pytest.approx((3000 - 1000) / 4000)
    assert found.cross_ratio.values[0, -1] == pytest.approx(0.1)
    assert found.land_cover_shrub.values[0] == 1
    assert found.field_capacity.values[0] == pytest.approx(0.2)
    # Another network at the place, and the name at another place, are other stations.
    assert found.isel(station=[1, 2]).soil_moisture_smap.isnull().all()
    line = read_ten_day(tmp_path, stations, DAYS, mode="paper").soil_moisture_smap.values[0]
    assert line[DAYS.get_loc("2019-01-16")] == pytest.approx(0.21)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="VV"), r"no column \['VV'\]"),
        (lambda t: t.iloc[:-1], "5 rows are not 3 steps of each of the 2 gauges"),
        (lambda t: t.sort_values("PointIndex"), "are not 3 steps of each"),
    ],
)
def test_another_table_is_refused(tmp_path: Path, stations: xr.Dataset, change: object, message: str) -> None:
    change(write(tmp_path)).to_csv(tmp_path / TABLE, index=False)  # type: ignore[operator]
    with pytest.raises(VadoseError, match=message):
        read_ten_day(tmp_path, stations, DAYS)


def test_no_table_and_no_gauge_are_said(tmp_path: Path, stations: xr.Dataset) -> None:
    with pytest.raises(VadoseError, match="give the folder of the ten-day table"):
        read_ten_day(tmp_path, stations, DAYS)
    write(tmp_path)
    with pytest.raises(VadoseError, match="none of its 2 gauges is among the stations"):
        read_ten_day(tmp_path, stations.isel(station=[1]), DAYS)


def test_the_real_table(real_data: Path) -> None:
    place = xr.Dataset(
        coords={
            "station": np.array(["USCRN:NM_Los_Alamos_13_W"], object),
            "lat": ("station", [35.8584]),
            "lon": ("station", [-106.5214]),
        }
    )
    found = read_ten_day(real_data / "s1s2smap_uscrn", place, pd.date_range("2019-01-11", "2021-12-31"))
    assert 0 < float(found.soil_moisture_smap.min()) < float(found.soil_moisture_smap.max()) < 0.6
    assert found.soil_moisture_smap.notnull().all()
