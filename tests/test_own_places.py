"""Own data as GRIB and at addresses: read where the libraries are there, refused with what to install where not."""

import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube.own_explain import explain_grid
from vadose.door import stores
from vadose.door.foreign import Foreign, as_ours, open_forecasts
from vadose.door.grids import as_grid
from vadose.door.own import Own, Quantity
from vadose.door.stores import open_any
from vadose.errors import VadoseError

DAYS = pd.date_range("2020-05-01", periods=3)
LAT, LON = np.array([41.0, 40.0, 39.0]), np.array([-101.0, -100.0, -99.0, -98.0])
ECMWF = {"table2Version": 128, "indicatorOfParameter": 39, "centre": "ecmf"}
NEXT_DAY_OF_MEMBER = {"productDefinitionTemplateNumber": 1, "shortName": "swvl1", "stepUnits": "h", "endStep": 24}


def wetness(day: int, member: int = 0) -> np.ndarray:
    return 0.2 + 0.01 * day + 0.02 * member + 0.001 * np.arange(12.0).reshape(3, 4)


def write_grib(path: Path, edition: int, keys: dict[str, Any], members: int = 1) -> Path:
    """Three days of moisture on three rows from north and four columns from west."""
    grid = {f"{end}OfFirstGridPointInDegrees": of for end, of in (("latitude", 41.0), ("longitude", 259.0))}
    grid |= {f"{end}OfLastGridPointInDegrees": of for end, of in (("latitude", 39.0), ("longitude", 262.0))}
    grid |= {"iDirectionIncrementInDegrees": 1.0, "jDirectionIncrementInDegrees": 1.0, "Ni": 4, "Nj": 3}
    with path.open("wb") as file:
        for day in range(3):
            for member in range(members):
                handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
                number = {"number": member} if members > 1 else {}
                when = {"dataDate": int(f"{DAYS[day]:%Y%m%d}"), "dataTime": 0, "bitsPerValue": 24}
                for key, value in (grid | keys | number | when).items():
                    eccodes.codes_set(handle, key, value)
                eccodes.codes_set_values(handle, wetness(day, member).ravel())
                eccodes.codes_write(handle, file)
                eccodes.codes_release(handle)
    return path


@pytest.mark.parametrize(
    ("name", "edition", "keys"),
    [("a.grib", 1, ECMWF), ("b.grb2", 2, {"shortName": "swvl1"}), ("c.pgrb2.0p25.f000", 2, {"shortName": "swvl1"})],
)
def test_grib_of_both_editions_is_an_analysis_and_a_grid(
    tmp_path: Path, name: str, edition: int, keys: dict[str, Any]
) -> None:
    path = write_grib(tmp_path / name, edition, keys)
    found = open_forecasts(path)
    assert found.attrs["layer_note"] == "0-7 cm of the data, 100% within"
    expected = np.stack([wetness(day) for day in range(3)])
    np.testing.assert_allclose(found.soil_moisture.isel(lead_time=0).sel(y=LAT, x=LON), expected, atol=1e-6)
    assert "swvl1: {variable: soil_moisture" in explain_grid(path)
    own = Own({"swvl1": Quantity("soil_moisture")}, select={"shortName": "swvl1"})
    grid = as_grid(open_any(str(path), own.select), Own(own.variables), name, None, ("2020-05-01", "2020-05-03"))
    np.testing.assert_allclose(np.sort(grid.soil_moisture[2], axis=0), wetness(2)[np.argsort(wetness(2)[:, 0])])


def test_members_of_grib_are_an_ensemble_of_the_day_ahead(tmp_path: Path) -> None:
    found = open_forecasts(write_grib(tmp_path / "gefs.grib2", 2, NEXT_DAY_OF_MEMBER, members=3))
    assert found.lead_time.dt.days.values.tolist() == [1]
    assert found.init_time.values[0] == DAYS[0]
    ahead = found.soil_moisture_member.isel(init_time=1, lead_time=0).sel(y=40.0, x=-99.0)
    np.testing.assert_allclose(ahead, [wetness(1, m)[1, 2] for m in range(3)], atol=1e-6)


def test_grib_without_its_library_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_grib(tmp_path / "a.grib", 1, ECMWF)
    monkeypatch.setitem(sys.modules, "cfgrib", None)
    for read in (open_forecasts, explain_grid):
        with pytest.raises(VadoseError, match=r"a.grib: is read by cfgrib, not installed; pip install cfgrib$"):
            read(path)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a folder with a NetCDF file and stores of Zarr."""
    where = {"time": DAYS, "lat": LAT, "lon": LON}
    values = np.stack([wetness(day) for day in range(3)])
    data = xr.Dataset({"swvl1": (tuple(where), values, {"units": "m3 m-3"})}, where)
    data.to_netcdf(tmp_path / "mine.nc")
    data.to_zarr(tmp_path / "two.zarr", zarr_format=2)
    data.to_zarr(tmp_path / "three.zarr", zarr_format=3, consolidated=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def test_data_at_an_address_are_those_of_a_path(server: str, tmp_path: Path) -> None:
    for name in ("mine.nc", "two.zarr", "three.zarr"):
        ours = open_forecasts(Path(f"{server}/{name}"))  # whose double slash a path loses
        np.testing.assert_allclose(ours.soil_moisture[2, 0], wetness(2))
        xr.testing.assert_equal(ours, as_ours(open_any(str(tmp_path / name)), Foreign(name)))
        assert "swvl1: {variable: soil_moisture" in explain_grid(Path(f"{server}/{name}"))
    for name in ("none.nc", "none.zarr"):
        with pytest.raises(VadoseError, match=rf"{name}: cannot be read \(") as error:
            open_any(f"{server}/{name}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "lacking"),
    [("s3://bucket/a.zarr", "s3fs"), ("gs://bucket/a.nc", "gcsfs"), ("https://host/a.nc", "aiohttp")],
)
def test_an_address_without_its_library_is_refused_in_a_line(
    address: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = stores.find_spec
    monkeypatch.setattr(stores, "find_spec", lambda name: None if name == lacking else there(name))
    said = rf"^{address}: is read by {lacking}, not installed; pip install 'vadose\[remote\]'$"
    for read in (open_forecasts, explain_grid):
        with pytest.raises(VadoseError, match=said):
            read(Path(address))
