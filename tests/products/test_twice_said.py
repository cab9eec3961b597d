"""What a file says twice is compared: scale and type, name and days, place and lattice, place and coordinates."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.products.dates import after, moment
from vadose.products.gridmet import read_gridmet
from vadose.products.lattice import on_lattice
from vadose.products.smap import check_places
from vadose.products.smap_hydroblocks import read_smap_hydroblocks
from vadose.products.stored import check_calendar, check_size, check_stored, scale_of

FILE = Path("a.nc")
EXTENT = (-124.75, 25.25, -67.25, 49.25)


@pytest.mark.parametrize("text", ["20151301", "20150230", "10000101", "99990101", "201506", ""])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(VadoseError, match=r"^a.nc: the day in its name is .* no date between 1900 and 2100"):
        moment(text, "%Y%m%d", FILE, "the day in its name")


@pytest.mark.parametrize("seconds", [np.nan, np.inf, -1e12, 1e12])
def test_seconds_far_off_are_refused(seconds: float) -> None:
    with pytest.raises(VadoseError, match="outside the years 1900 to 2100"):
        after(pd.Timestamp("2000-01-01"), seconds, FILE, "'time'")


def test_scales_that_contradict_the_type_are_refused() -> None:
    assert scale_of(FILE, "pr", np.dtype("f4"), {"scale_factor": 1.0, "add_offset": 0.0}) == (1.0, 0.0)
    for dtype, scale in (("f4", 0.1), ("f8", 10.0), ("u2", 0.0), ("u2", np.nan)):
        with pytest.raises(VadoseError, match=r"pr .*scale_factor"):
            scale_of(FILE, "pr", np.dtype(dtype), {"scale_factor": scale})
    for key, value in (("scale_factor", 0.1), ("add_offset", 1.0), ("_FillValue", 0.0)):
        with pytest.raises(VadoseError, match=f"tb_h declares {key}"):
            check_stored(FILE, "tb_h", {key: value}, -9999.0)


def test_calendars_without_all_days_are_refused() -> None:
    check_calendar(FILE, "day", {"calendar": "gregorian"})
    for calendar in ("365_day", "noleap", "360_day", "julian"):
        with pytest.raises(VadoseError, match=f"day is in the calendar '{calendar}'"):
            check_calendar(FILE, "day", {"calendar": calendar})


def test_more_than_memory_is_refused_before_it_is_asked_for() -> None:
    with pytest.raises(VadoseError, match=r"1000000 x 1000000 values of tb_h take 1.2e\+04 GB"):
        check_size(FILE, "tb_h", (10**6, 10**6))


@pytest.mark.parametrize(
    ("lat", "lon", "message"),
    [
        (np.arange(40, 39, -0.25), np.arange(-100, -99, 0.5), "latitudes .* not spaced by 0.5"),
        (np.arange(40.5, 38, -0.5), np.arange(-100.25, -99, 0.5), "latitudes .* not the product's"),
        (np.full(4, 40.25), np.arange(-100.25, -99, 0.5), "latitudes .* not spaced"),
        (np.arange(-98.25, -100, -0.5), np.arange(39.25, 41, 0.5), "latitudes .* not the product's"),
        (np.arange(120.25, 119, -0.5), np.arange(-100.25, -99, 0.5), "latitudes .* not the product's"),
        (np.arange(40.25, 39, -0.5), np.arange(-99.25, -101, -0.5), "longitudes .* not spaced"),
        (np.arange(40.25, 39, -0.5), np.array([-100.25, np.nan]), "hold gaps"),
    ],
)
def test_centres_off_the_lattice_are_refused(lat: np.ndarray, lon: np.ndarray, message: str) -> None:
    rows, columns, south_first, _ = on_lattice(
        FILE, np.arange(39.25, 41, 0.5), np.arange(-100.25, -99, 0.5), None, 0.5, EXTENT
    )
    assert (rows, columns, south_first) == (slice(0, 4), slice(0, 3), True)
    with pytest.raises(VadoseError, match=message):
        on_lattice(FILE, lat, lon, None, 0.5, EXTENT)


def test_cells_beside_their_latitudes_are_refused() -> None:
    grid = ease_grid("36km")
    row, column = (axis.ravel() for axis in np.mgrid[100:110, 200:230])
    lat, lon = (axis.astype(np.float32) for axis in grid.latlon(row, column))
    lat[:3] = np.nan
    check_places(FILE, grid, row, column, lat, lon)
    for wrong in ((lon, lat), (lat + 0.5, lon), (-lat, lon), (lat, lon[::-1])):
        with pytest.raises(VadoseError, match="cells do not lie where their latitude and longitude say"):
            check_places(FILE, grid, row, column, *wrong)


def gridmet(path: Path, first: str, calendar: str = "standard") -> Path:
    day = (pd.date_range(first, periods=3) - pd.Timestamp("1900-01-01")).days.to_numpy(float)
    lat, lon = 49.4 - np.arange(4) / 24, -124.7666667 + np.arange(5) / 24
    xr.Dataset(
        {"air_temperature": (("day", "lat", "lon"), np.full((3, 4, 5), 290.0, np.float32), {"units": "K"})},
        coords={"day": ("day", day, {"units": "days since 1900-01-01", "calendar": calendar}), "lat": lat, "lon": lon},
    ).to_netcdf(path)
    return path


def test_days_of_gridmet_are_those_in_its_name(tmp_path: Path) -> None:
    assert read_gridmet(gridmet(tmp_path / "tmmx_2020.nc", "2020-02-28")).sizes["time"] == 3
    with pytest.raises(VadoseError, match=r"3 of its 3 days are not those in its name \(2020-02-28\)"):
        read_gridmet(gridmet(tmp_path / "tmmx_2019.nc", "2020-02-28"))
    with pytest.raises(VadoseError, match="2 of its 3 days are not"):
        read_gridmet(gridmet(tmp_path / "tmmx_20200228.nc", "2020-02-28"))
    with pytest.raises(VadoseError, match="calendar 'noleap'"):
        read_gridmet(gridmet(tmp_path / "tmmx_2020.nc", "2020-02-28", "noleap"))


def test_maps_of_hydroblocks_are_those_in_their_name(tmp_path: Path) -> None:
    def maps(name: str, lat: np.ndarray) -> Path:
        values = np.full((2, 4, 4), 0.2, np.float32)
        axes = {"lat": lat, "lon": -100 + np.arange(4) / 3600}
        days = ("time", [0.0, 1.0], {"units": "days since 2015-06-03"})
        xr.Dataset({"SMAPHB_SM": (("time", "lat", "lon"), values)}, coords={"time": days, **axes}).to_netcdf(
            tmp_path / name
        )
        return tmp_path / name

    rising = 40 + np.arange(4) / 3600
    name = "SMAP-HB_surface-soil-moisture_30m_daily_2015-06.nc"
    assert read_smap_hydroblocks(maps(name, rising)).sizes["time"] == 2
    with pytest.raises(VadoseError, match="holds 2015-06-03, its name says 2015-07"):
        read_smap_hydroblocks(maps(name.replace("06", "07"), rising))
    with pytest.raises(VadoseError, match="not evenly spaced"):
        read_smap_hydroblocks(maps(name, np.full(4, 40.0)))
    with pytest.raises(VadoseError, match=r"are they swapped|'lat' from"):
        read_smap_hydroblocks(maps(name, rising + 60))
