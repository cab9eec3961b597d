"""gridMET yearly files, packed and plain, in every order of dimensions, and a real day."""

import itertools
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from vadose.errors import OutsideError, VadoseError
from vadose.products import identify
from vadose.products.gridmet import FIELDS, FILE_NAME, is_gridmet, read_gridmet
from vadose.twin.granules.gridmet import VARIABLES, write_gridmet
from vadose.twin.truth import at, example

BOX = (-101.0, 39.2, -99.0, 40.8)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return example(days=3)


@pytest.fixture(scope="module")
def folder(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gridmet")
    write_gridmet(truth, folder)
    return folder


def on(truth: xr.Dataset, name: str, dataset: xr.Dataset) -> np.ndarray:
    return at(truth[name], *np.meshgrid(dataset.lat, dataset.lon, indexing="ij"))


def rewritten(path: Path, target: Path, change: Any) -> Path:
    """A part of a file, changed, as a user or a server may store it; nothing is decoded on the way."""
    with xr.open_dataset(path, mask_and_scale=False, decode_times=False) as raw:
        change(raw.sel(lat=slice(41, 39), lon=slice(-101, -99)).load().drop_encoding()).to_netcdf(target)
    return target


@pytest.mark.parametrize("short", sorted(set(FIELDS) - {"vs", "th"}))
def test_a_packed_file_gives_the_truth(truth: xr.Dataset, folder: Path, short: str) -> None:
    name, scale = FIELDS[short].ours, VARIABLES[short][3]
    dataset = read_gridmet(folder / f"{short}_2019.nc", bbox=BOX)
    assert list(dataset.data_vars) == [name]
    assert dataset[name].dims == ("time", "lat", "lon")
    assert dataset[name].dtype == np.float32
    expected = on(truth, name, dataset)
    assert np.isfinite(expected).sum() > 1000
    np.testing.assert_allclose(dataset[name], expected, rtol=0, atol=0.501 * scale)
    np.testing.assert_array_equal(dataset.time, truth.time)
    assert dataset.attrs["simulated"] == "true"
    assert "Mountain Standard Time" in dataset.attrs["day_boundary"]


def test_wind_is_kept_as_speed_and_direction(truth: xr.Dataset, folder: Path) -> None:
    speed, origin = (read_gridmet(folder / f"{short}_2019.nc", bbox=BOX) for short in ("vs", "th"))
    angle = np.radians(origin.wind_from_direction)
    east = on(truth, "eastward_wind", speed)
    np.testing.assert_allclose(-speed.wind_speed * np.sin(angle), east, atol=0.25)
    np.testing.assert_allclose(-speed.wind_speed * np.cos(angle), on(truth, "northward_wind", speed), atol=0.25)
    assert float(np.nanmax(np.abs(east))) > 1


def test_a_cell_is_where_lat_and_lon_say(truth: xr.Dataset, folder: Path) -> None:
    # The attribute GeoTransform, taken for a corner, would shift by half a cell.
    whole = read_gridmet(folder / "tmmx_2019.nc")
    assert (whole.sizes["lat"], whole.sizes["lon"]) == (585, 1386)
    assert (float(whole.lat[0]), float(whole.lon[0])) == pytest.approx((49.4, -124.7666666), abs=1e-6)
    assert (float(whole.lat[-1]), float(whole.lon[-1])) == pytest.approx((25.0666667, -67.0583333), abs=1e-6)
    cell = whole.air_temperature_max.sel(lat=40.0, lon=-100.0, method="nearest")
    assert cell.values == pytest.approx(at(truth.air_temperature_max, float(cell.lat), float(cell.lon)), abs=0.051)
    xr.testing.assert_allclose(
        read_gridmet(folder / "tmmx_2019.nc", bbox=BOX).air_temperature_max,
        whole.air_temperature_max.sel(lat=slice(40.8, 39.2), lon=slice(-101, -99)),
    )


@pytest.mark.parametrize("order", list(itertools.permutations(("day", "lat", "lon"))))
def test_any_order_and_plain_floats(truth: xr.Dataset, tmp_path: Path, order: tuple[str, ...]) -> None:
    packed = order[0] == "lon"
    path = write_gridmet(truth, tmp_path, packed, order, ("vpd",))[0]
    with netCDF4.Dataset(path) as file:
        assert file["mean_vapor_pressure_deficit"].dimensions == order
    dataset = read_gridmet(path, bbox=BOX)
    expected = on(truth, "vapor_pressure_deficit", dataset)
    np.testing.assert_allclose(dataset.vapor_pressure_deficit, expected, atol=0.00501 if packed else 1e-7)


@pytest.mark.parametrize("short", ["tmmx", "sph", "pr"])
def test_xarray_reads_the_same(folder: Path, short: str) -> None:
    path = folder / f"{short}_2019.nc"
    mine = read_gridmet(path)
    with xr.open_dataset(path) as other:
        np.testing.assert_allclose(mine[FIELDS[short].ours], other[FIELDS[short].yearly], rtol=1e-6)
        np.testing.assert_array_equal(mine.time, other.day)
        np.testing.assert_allclose(mine.lat, other.lat, atol=1e-9)
        np.testing.assert_allclose(mine.lon, other.lon, atol=1e-9)


def test_days_are_appended_and_cut_out(truth: xr.Dataset, tmp_path: Path) -> None:
    leap = truth.assign_coords(time=np.array(["2020-02-28", "2020-02-29", "2020-03-01"], "datetime64[ns]"))
    for days in ([0], [1, 2]):
        path = write_gridmet(leap.isel(time=days), tmp_path, variables=("pet",))[0]
    dataset = read_gridmet(path, bbox=BOX)
    np.testing.assert_array_equal(dataset.time, leap.time)
    expected = on(truth, "reference_evapotranspiration", dataset)
    np.testing.assert_allclose(dataset.reference_evapotranspiration, expected, atol=0.0501)
    part = read_gridmet(path, bbox=BOX, time=("2020-02-29", "2020-12-31"))
    xr.testing.assert_equal(part, dataset.isel(time=[1, 2]))
    part = read_gridmet(path, bbox=BOX, time=("2020-02-28", "2020-02-29"))
    xr.testing.assert_equal(part, dataset.isel(time=[0, 1]))
    with pytest.raises(OutsideError, match="no day from 2021-01-01 to 2021-12-31 in it"):
        read_gridmet(path, time=("2021-01-01", "2021-12-31"))
    for wrong in (("2021", "2020"), ("a", "b")):
        with pytest.raises(VadoseError, match="give the first and the last day"):
            read_gridmet(path, time=wrong)
    with pytest.raises(VadoseError, match="do not follow"):
        write_gridmet(leap.isel(time=[1]), tmp_path, variables=("pet",))


def test_years_are_files_of_their_own(truth: xr.Dataset, tmp_path: Path) -> None:
    turn = truth.assign_coords(time=np.array(["2019-12-31", "2020-01-01", "2020-01-02"], "datetime64[ns]"))
    paths = write_gridmet(turn, tmp_path, variables=("srad",))
    assert [p.name for p in paths] == ["srad_2019.nc", "srad_2020.nc"]
    assert [read_gridmet(p, bbox=BOX).sizes["time"] for p in paths] == [1, 2]


def test_the_name_tells_what_the_internal_name_does_not(folder: Path, tmp_path: Path) -> None:
    def stripped(raw: xr.Dataset) -> xr.Dataset:
        for variable in raw.data_vars.values():
            for key in ("long_name", "standard_name", "description"):
                variable.attrs.pop(key, None)
        return raw

    etr = rewritten(folder / "etr_2019.nc", tmp_path / "etr_2019.nc", stripped)
    assert list(read_gridmet(etr)) == ["reference_evapotranspiration_alfalfa"]
    lost = rewritten(folder / "tmmn_2019.nc", tmp_path / "weather.nc", stripped)
    with pytest.raises(VadoseError, match=r"air_temperature may be tmmx or tmmn, .* say which with variable="):
        read_gridmet(lost)
    assert list(read_gridmet(lost, variable="tmmn")) == ["air_temperature_min"]
    with pytest.raises(VadoseError, match="no variable of gridMET that is pr"):
        read_gridmet(folder / "srad_2019.nc", variable="pr")
    with pytest.raises(VadoseError, match="variable 'eto' unknown"):
        read_gridmet(lost, variable="eto")


def test_attributes_tell_where_the_name_does_not(folder: Path, tmp_path: Path) -> None:
    def described(raw: xr.Dataset) -> xr.Dataset:
        for variable in raw.data_vars.values():
            for key in ("long_name", "standard_name"):
                variable.attrs.pop(key, None)
        return raw

    for short in ("tmmx", "tmmn", "rmax", "rmin", "pet", "etr"):
        path = rewritten(folder / f"{short}_2019.nc", tmp_path / "a.nc", lambda raw: raw)
        assert list(read_gridmet(path)) == [FIELDS[short].ours]
        assert list(read_gridmet(rewritten(folder / f"{short}_2019.nc", path, described))) == [FIELDS[short].ours]
    wrong = rewritten(folder / "tmmx_2019.nc", tmp_path / "tmmn_2019.nc", lambda raw: raw)
    with pytest.raises(VadoseError, match="is tmmn by the file's name and tmmx by its attributes"):
        read_gridmet(wrong)


def test_names_and_containers_of_the_servers(truth: xr.Dataset, folder: Path, tmp_path: Path) -> None:
    aggregated = "agg_met_tmmn_1979_CurrentYear_CONUS.nc"
    path = tmp_path / aggregated
    rewritten(folder / "tmmn_2019.nc", path, lambda raw: raw.rename(air_temperature="daily_minimum_temperature"))
    found = read_gridmet(path)
    np.testing.assert_allclose(found.air_temperature_min, on(truth, "air_temperature_min", found), atol=0.051)
    for name in (aggregated, "tmmx_2019.nc", "fm1000_1979.nc"):
        assert FILE_NAME.fullmatch(name)
    # netCDF-3 has no unsigned integers: they are signed, and an attribute tells.
    classic = tmp_path / "srad_2019.nc"
    with xr.open_dataset(folder / "srad_2019.nc", mask_and_scale=False, decode_times=False) as raw:
        part = raw.sel(lat=slice(41, 39), lon=slice(-101, -99)).drop_vars("crs").load().drop_encoding()
    name = FIELDS["srad"].yearly
    part[name] = part[name].copy(data=np.full(part[name].shape, 40000, np.uint16).view(np.int16))
    for key in ("_FillValue", "missing_value"):
        part[name].attrs[key] = np.int16(32767)
    part[name].attrs |= {"scale_factor": 0.01}
    part.to_netcdf(classic, format="NETCDF3_CLASSIC", engine="netcdf4")
    assert classic.read_bytes()[:3] == b"CDF"
    assert read_gridmet(classic).shortwave_radiation.values == pytest.approx(400.0)
    assert is_gridmet(classic)


def test_a_part_of_the_aggregate_without_its_attributes_is_told_by_its_name(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "part.nc"
    with xr.open_dataset(folder / "tmmx_2019.nc") as raw:
        part = raw[["air_temperature"]].sel(lat=slice(41, 39), lon=slice(-101, -99)).astype(np.float32)
        part = part.rename(day="time", air_temperature="daily_maximum_temperature").drop_encoding()
        part.drop_attrs(deep=False).to_netcdf(path)
    assert identify(path) == "gridmet"
    whole = read_gridmet(folder / "tmmx_2019.nc", bbox=(-101, 39, -99, 41))
    xr.testing.assert_allclose(read_gridmet(path).air_temperature_max, whole.air_temperature_max)


def test_fill_is_missing_even_when_no_attribute_says_so(folder: Path, tmp_path: Path) -> None:
    def undeclared(raw: xr.Dataset) -> xr.Dataset:
        for key in ("_FillValue", "missing_value"):
            del raw[FIELDS["pr"].yearly].attrs[key]
        return raw

    part = read_gridmet(rewritten(folder / "pr_2019.nc", tmp_path / "pr_2019.nc", undeclared))
    xr.testing.assert_allclose(
        part.precipitation, read_gridmet(folder / "pr_2019.nc", bbox=(-101, 39, -99, 41)).precipitation
    )
    assert part.precipitation.isnull().any()


def test_a_single_cell_south_first_is_read(truth: xr.Dataset, folder: Path, tmp_path: Path) -> None:
    path = rewritten(folder / "rmax_2019.nc", tmp_path / "rmax_2019.nc", lambda raw: raw.isel(lat=[20], lon=[9]))
    one = read_gridmet(path)
    assert one.relative_humidity_max.values == pytest.approx(on(truth, "relative_humidity_max", one), abs=0.051)
    rewritten(folder / "rmax_2019.nc", path, lambda raw: raw.sortby("lat"))
    turned = read_gridmet(path)
    np.testing.assert_allclose(turned.relative_humidity_max, on(truth, "relative_humidity_max", turned), atol=0.051)


def test_what_a_file_is(folder: Path, tmp_path: Path) -> None:
    for short in FIELDS:
        renamed = tmp_path / "a.bin"
        renamed.write_bytes((folder / f"{short}_2019.nc").read_bytes())
        assert identify(renamed) == "gridmet"
    other = tmp_path / "other.nc"
    axes = {"time": [0, 1], "lat": [40.0, 39.9], "lon": [-100.0, -99.9]}
    xr.Dataset({"specific_humidity": (("time", "lat", "lon"), np.ones((2, 2, 2)))}, axes).to_netcdf(other)
    assert not is_gridmet(other)
    rewritten(folder / "vs_2019.nc", other, lambda raw: raw.assign_attrs(title="MACAv2-METDATA"))
    assert not is_gridmet(other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"GRIB" + bytes(100), "found a grib file where netCDF"),
    ],
)
def test_other_containers_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pr_2019.nc"
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=message):
        read_gridmet(path)


def test_damaged_files_are_refused(folder: Path, tmp_path: Path) -> None:
    source, path = folder / "srad_2019.nc", tmp_path / "srad_2019.nc"
    path.write_bytes(source.read_bytes()[:20000])
    with pytest.raises(VadoseError, match="cut short or damaged"):
        read_gridmet(path)
    name = FIELDS["srad"].yearly

    def refuses(change: Any, message: str) -> None:
        with pytest.raises(VadoseError, match=message):
            read_gridmet(rewritten(source, path, change))

    def attribute(key: str, value: Any) -> Any:
        def change(raw: xr.Dataset) -> xr.Dataset:
            raw[name].attrs[key] = value
            if value is None:
                del raw[name].attrs[key]
            return raw

        return change

    refuses(attribute("units", None), "is in '', published in")
    refuses(lambda raw: raw.assign({name: xr.full_like(raw[name], 32767)}), "every value is missing")
    refuses(attribute("units", "MJ m-2"), "is in 'MJ m-2', published in")
    refuses(attribute("scale_factor", None), "packed .* but has no scale_factor")
    refuses(attribute("scale_factor", 10.0), "values of shortwave_radiation lie outside 0 .. 1500")
    refuses(lambda raw: raw.rename({name: "radiation"}), "no variable of gridMET")
    refuses(lambda raw: raw.rename({name: "burning_index_g"}), "an index of fire danger, which is not read")
    refuses(lambda raw: raw.rename(lat="latitude"), r"no variable \['lat'\]")
    refuses(lambda raw: raw.rename(day="date"), "no variable 'day'")
    refuses(lambda raw: raw.isel(day=[0, 2, 1]), "day goes from .* to .* days; expected every day once and in order")
    refuses(lambda raw: raw.assign_coords(lat=raw.lat * 1.5), "not spaced by 0.04167 degree")
    with pytest.raises(OutsideError, match="lies outside the file"):
        read_gridmet(source, bbox=(10, 40, 11, 41))


def test_a_real_day(real_data: Path) -> None:
    path = real_data / "granules/gridmet/tmmx_20190121.nc"
    assert identify(path) == "gridmet"
    dataset = read_gridmet(path)
    assert dict(dataset.sizes) == {"lat": 585, "lon": 1386, "time": 1}
    assert dataset.time.values[0] == np.datetime64("2019-01-21")
    assert 240 < float(dataset.air_temperature_max.min()) < float(dataset.air_temperature_max.max()) < 310
    assert dataset.attrs["status"].startswith("permanent to 2019-09-24, provisional to 2019-11-17")
    assert dataset.attrs["simulated"] == "false"
    with xr.open_dataset(path) as other:
        np.testing.assert_allclose(dataset.air_temperature_max[0], other.air_temperature, rtol=1e-6)
        np.testing.assert_allclose(dataset.lon, other.lon, atol=1e-9)
