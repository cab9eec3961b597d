"""A user's own table of station-days as features: a made-up one, and the real satellite features at SCAN stations."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube.own_table import OwnTable, read_own_tables
from vadose.errors import VadoseError
from vadose.experiments.downscaling import load_downscaling

DAYS = pd.date_range("2019-01-03", "2019-01-10")
TABLE = OwnTable(
    "own.csv",
    "site",
    {"reflectance_red": "B4 / 100", "reflectance_nir": "B5"},
    day="seen",
    network="SCAN",
    features=("ndvi", "reflectance_nir"),
)
SOIL = OwnTable("own.csv", "site", {"sand_fraction": "sand/100"}, network="SCAN")
ROWS = """site,seen,B4,B5,sand
1,2019-01-01 23:50:00,10,0.3,40
1,2019-01-05 01:00:00,10,0.5,40
1,2019-01-05 13:00:00,,0.7,40
1,2019-01-08,,,40
9,2019-01-05,20,0.2,
"""


@pytest.fixture
def stations() -> xr.Dataset:
    return xr.Dataset(coords={"station": np.array(["SCAN:1", "SCAN:2"], object)})


def test_a_day_knows_what_was_observed_until_then(tmp_path: Path, stations: xr.Dataset) -> None:
    (tmp_path / "own.csv").write_text(ROWS)
    found = read_own_tables(tmp_path, [TABLE, SOIL], stations, DAYS)
    assert set(found) == {"ndvi", "ndvi_age", "reflectance_nir", "reflectance_nir_age", "sand_fraction"}
    one = found.sel(station="SCAN:1")
    # Observed before the first day; two rows of a day are averaged, each value by itself; a row without any is none.
    np.testing.assert_allclose(one.ndvi, [0.5] * 2 + [2 / 3] * 6, rtol=1e-6)
    np.testing.assert_allclose(one.reflectance_nir, [0.3] * 2 + [0.6] * 6, rtol=1e-6)
    assert one.ndvi_age.values.tolist() == [2, 3, 0, 1, 2, 3, 4, 5]
    assert float(one.sand_fraction) == pytest.approx(0.4)
    assert found.sel(station="SCAN:2").drop_vars("station").to_array().isnull().all()
    counted = json.loads(found.attrs["rows"])["1 own.csv"]["ndvi"]
    assert counted == {"rows": 3, "stations": 2, "stations_not_in_store": 1}
    later = read_own_tables(tmp_path, [TABLE], stations, DAYS[:2])
    xr.testing.assert_equal(later.ndvi, found.ndvi[:, :2])


@pytest.mark.parametrize(
    ("change", "rows", "message"),
    [
        ({"file": "other.csv"}, ROWS, "other.csv: no such file"),
        ({"station": "name"}, ROWS, r"no column 'name'; found \['site', 'seen'"),
        ({"columns": {"ndvi": "B6"}, "features": ()}, ROWS, "'B6' is neither a column nor"),
        ({"columns": {"ndvi": "abs(B4)"}, "features": ()}, ROWS, r"'abs\(B4\)' is neither a column nor"),
        ({"columns": {"ndvi": "B4 +"}, "features": ()}, ROWS, r"'B4 \+' is neither a column nor"),
        ({"features": ("evi",)}, ROWS, r"\['evi'\] are neither columns nor made of"),
        ({"network": "USCRN"}, ROWS, "none of its stations, such as"),
        ({"day": "B5"}, ROWS, "column 'B5': expected days such as 2019-07-31"),
        ({}, ROWS.replace("0.5", "wet"), "column 'B5' holds values that are no number"),
        ({}, ROWS.replace("0.5", "500"), "own.csv: .*lie outside -0.2 .. 1.7"),
        ({"day": None}, ROWS, "differs between rows of SCAN:1"),
        ({}, "", "own.csv: cannot be read as CSV"),
    ],
)
def test_a_mistake_is_said(
    change: dict[str, object], rows: str, message: str, tmp_path: Path, stations: xr.Dataset
) -> None:
    (tmp_path / "own.csv").write_text(rows)
    table = OwnTable(**{**TABLE.__dict__, **change})  # type: ignore[arg-type]
    with pytest.raises(VadoseError, match=message):
        read_own_tables(tmp_path, [table], stations, DAYS)


def test_a_feature_given_twice_is_refused(tmp_path: Path, stations: xr.Dataset) -> None:
    (tmp_path / "own.csv").write_text(ROWS)
    with pytest.raises(VadoseError, match="ndvi is also given by a file before it"):
        read_own_tables(tmp_path, [TABLE, TABLE], stations, DAYS)


def test_the_real_tables(real_data: Path) -> None:
    place = xr.Dataset(coords={"station": np.array(["SCAN:2215", "SCAN:2006"], object)})
    days = pd.date_range("2017-01-01", "2018-12-31")
    found = read_own_tables(real_data, load_downscaling("downscale-satellite").tables, place, days)
    # The VV that is made of mean and deviation is that of the third table.
    raw = pd.read_csv(real_data / "scan_satellite" / "final_data_public.csv")
    own = raw[raw.site == 2215].set_index("Unnamed: 0").vv
    ours = found.backscatter_vv.sel(station="SCAN:2215").to_series()
    assert np.median(np.abs(ours.reindex(pd.DatetimeIndex(own.index)).values - own.values)) < 0.2
    assert float(found.sand_fraction.sel(station="SCAN:2215")) == pytest.approx(0.36)
    assert found.ndvi.min() > -1
    assert found.ndvi.max() < 1
