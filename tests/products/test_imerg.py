"""IMERG half hours and days of both versions, written on the whole globe, and a real cut."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import OutsideError, VadoseError
from vadose.products import identify
from vadose.products.imerg import FILE_NAME, daily_imerg, is_imerg, read_imerg
from vadose.twin.granules.imerg import write_imerg
from vadose.twin.truth import at, example

BOX = (-101.0, 39.2, -99.0, 40.8)
RAINY = (36, 40)  # half hours from 18:00 and 20:00


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    whole = example(days=2)[["precipitation", "air_temperature"]]
    assert float(whole.precipitation.max()) > 1
    return whole


@pytest.fixture(scope="module")
def granules(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("imerg")
    written = {v: write_imerg(truth, folder, "daily", v) for v in ("06", "07")}
    return written | {f"{v} half": write_imerg(truth, folder, version=v, half_hours=RAINY) for v in ("06", "07")}


def copied(path: Path, folder: Path, name: str = "") -> Path:
    target = folder / (name or path.name)
    target.write_bytes(path.read_bytes())
    return target


def on(truth: xr.Dataset, dataset: xr.Dataset) -> np.ndarray:
    return at(truth.precipitation, *np.meshgrid(dataset.lat, dataset.lon, indexing="ij"))


def test_names_are_those_published(granules: dict[str, list[Path]], truth: xr.Dataset, tmp_path: Path) -> None:
    assert granules["06"][0].name == "3B-DAY.MS.MRG.3IMERG.20190429-S000000-E235959.V06.nc4"
    assert granules["07 half"][1].name == "3B-HHR.MS.MRG.3IMERG.20190429-S200000-E202959.1200.V07B.HDF5"
    late = write_imerg(truth.isel(time=[0]), tmp_path, run="late", half_hours=[47])[0]
    assert late.name == "3B-HHR-L.MS.MRG.3IMERG.20190429-S233000-E235959.1410.V07B.HDF5"
    assert read_imerg(late, bbox=BOX).attrs["product"] == "GPM_3IMERGHHL"
    for name in (late.name, "3B-HHR-E.MS.MRG.3IMERG.20240101-S000000-E002959.0000.V07B.RT-H5"):
        assert FILE_NAME.fullmatch(name)


@pytest.mark.parametrize("version", ["06", "07"])
def test_days_give_the_truth(granules: dict[str, list[Path]], truth: xr.Dataset, version: str) -> None:
    for number, path in enumerate(granules[version]):
        day = read_imerg(path, bbox=BOX)
        np.testing.assert_allclose(day.precipitation[0], on(truth, day)[number], rtol=1e-6)
        assert day.time.values[0] == truth.time.values[number]
        assert day.precipitation.notnull().sum() > 50
    assert day.precipitation.dims == ("time", "lat", "lon")
    assert day.precipitation.dtype == np.float32
    assert day.lat.values[0] > day.lat.values[-1]
    assert day.precipitation_count.max() == 48
    assert day.precipitation.attrs["units"] == "kg m-2"
    kept = {key: day.attrs[key] for key in ("product", "published_units", "simulated", "day_boundary")}
    assert kept == {
        "product": "GPM_3IMERGDF",
        "published_units": "mm" if version == "06" else "mm/day",
        "simulated": "true",
        "day_boundary": "UTC day",
    }


@pytest.mark.parametrize("version", ["06", "07"])
def test_half_hours_hold_their_share_of_the_day(
    granules: dict[str, list[Path]], truth: xr.Dataset, version: str
) -> None:
    half = read_imerg(granules[f"{version} half"][1], bbox=BOX)
    # The rain of the half hour from 20:00 is 4 of the day's 28 parts.
    np.testing.assert_allclose(half.precipitation[0], on(truth, half)[0] / 7, rtol=1e-5)
    assert half.time.values[0] == np.datetime64("2019-04-29T20:00")
    assert half.attrs["version"] == f"V{version}B"
    assert "half hour" in half.precipitation.attrs["long_name"]
    assert float(half.precipitation_quality_index.max()) == pytest.approx(0.7)


def test_a_day_is_the_sum_of_its_half_hours(truth: xr.Dataset, tmp_path: Path) -> None:
    paths = write_imerg(truth.isel(time=[1]), tmp_path)
    assert len(paths) == 48
    day = daily_imerg(paths[::-1], bbox=BOX)
    np.testing.assert_allclose(day.precipitation[0], on(truth, day)[1], rtol=1e-5)
    assert day.time.values[0] == truth.time.values[1]
    assert day.attrs["day_boundary"].startswith("UTC day")

    with pytest.raises(VadoseError, match=r"2019-04-30: found 3 of its 48 half hours"):
        daily_imerg(paths[:3], bbox=BOX)
    # Dry half hours less: the mean of those there stands for 48.
    short = daily_imerg(paths[20:], bbox=BOX, min_granules=24)
    np.testing.assert_allclose(short.precipitation, day.precipitation * 48 / 28, rtol=1e-5)
    assert short.precipitation_count.max() == 28
    with h5py.File(paths[0], "a") as file:
        file["Grid/precipitation"][0, 790:810, 1290:1310] = -9999.9
    complete = daily_imerg(paths, bbox=BOX, quality="complete").sel(lat=40.05, lon=-99.95, method="nearest")
    assert bool(complete.precipitation.isnull())
    cell = daily_imerg(paths, bbox=BOX).sel(lat=40.05, lon=-99.95, method="nearest")
    assert (cell.precipitation_count.item(), bool(cell.precipitation.notnull())) == (47, True)
    with pytest.raises(VadoseError, match=r"was read from .* already"):
        daily_imerg([paths[0], paths[0]], bbox=BOX)
    with pytest.raises(VadoseError, match="min_granules 12; give 24 to 48"):
        daily_imerg(paths, min_granules=12)
    late = write_imerg(truth.isel(time=[1]), tmp_path, run="late", half_hours=[0])
    with pytest.raises(VadoseError, match="another run, version or grid"):
        daily_imerg([paths[1], *late], bbox=BOX)
    with pytest.raises(VadoseError, match="no granule"):
        daily_imerg([])


def test_days_of_too_few_half_hours_are_missing(granules: dict[str, list[Path]], tmp_path: Path) -> None:
    path = copied(granules["07"][0], tmp_path)
    row, column = 1299, 800  # 39.95 north, 99.95 west
    with h5py.File(path, "a") as file:
        assert (file["lat"][row], file["lon"][column]) == (np.float32(39.95), np.float32(-99.95))
        file["precipitation_cnt"][0, column : column + 2, row] = 24, 23
        file["precipitation"][0, column + 2, row] = -9999.9

    def rain(**options: str) -> list[bool]:
        day = read_imerg(path, bbox=BOX, **options)
        cells = day.precipitation.sel(lat=39.95, method="nearest").sel(
            lon=[-99.95, -99.85, -99.75, -99.65], method="nearest"
        )
        return cells.notnull().values[0].tolist()

    assert rain() == [True, False, False, True]
    assert rain(quality="complete") == [False, False, False, True]
    assert rain(quality="all") == [True, True, False, True]
    assert read_imerg(path, bbox=BOX).attrs["quality"] == "recommended: at least 24 valid half hours of the day"
    with pytest.raises(VadoseError, match="quality 'best' unknown"):
        read_imerg(path, quality="best")


@pytest.mark.filterwarnings("ignore")
def test_satpy_reads_the_same(granules: dict[str, list[Path]]) -> None:
    satpy = pytest.importorskip("satpy")
    path = granules["06 half"][0]
    scene = satpy.Scene([str(path)], reader="gpm_imerg")
    scene.load(["precipitationCal"])
    other = scene["precipitationCal"]
    mine = read_imerg(path)
    np.testing.assert_array_equal(mine.precipitation[0], other.values * np.float32(0.5))
    # It places cells to less than a cell, from the corner.
    assert np.abs(mine.lat.values - other.y.values).max() < 0.06
    assert np.abs(mine.lon.values - other.x.values).max() < 0.06


@pytest.mark.parametrize(("which", "group", "factor"), [("07 half", "Grid", 0.5), ("07", None, 1.0), ("06", None, 1.0)])
def test_xarray_reads_the_same(granules: dict[str, list[Path]], which: str, group: str | None, factor: float) -> None:
    mine = read_imerg(granules[which][0], bbox=BOX)
    with xr.open_dataset(granules[which][0], group=group, decode_times=False) as other:
        rain = other["precipitationCal" if which == "06" else "precipitation"].isel(time=0)
        expected = rain.sel(lon=slice(-101, -99), lat=slice(39.2, 40.8)).transpose("lat", "lon")[::-1]
        np.testing.assert_array_equal(mine.precipitation[0], expected * factor)
        np.testing.assert_allclose(mine.lat, expected.lat, atol=1e-5)
        np.testing.assert_allclose(mine.lon, expected.lon, atol=1e-5)
        epoch = pd.Timestamp("1970-01-01" if which == "06" else "1980-01-06")
        unit = "s" if group else "D"
        assert (pd.Timestamp(mine.time.values[0]) - epoch) / pd.Timedelta(1, unit) == int(other.time[0])


def test_the_epoch_and_not_the_calendar_dates_a_granule(granules: dict[str, list[Path]], tmp_path: Path) -> None:
    # As told of real files: 643852800 of version 07 is 2000-06-01.
    path = copied(granules["07 half"][0], tmp_path, "renamed.h5")
    with h5py.File(path, "a") as file:
        assert file["Grid/time"].attrs["calendar"] == b"julian"
        file["Grid/time"][0] = 643852800
    assert read_imerg(path, bbox=BOX).time.values[0] == np.datetime64("2000-06-01")
    assert read_imerg(path, bbox=BOX).attrs["product"] == "GPM_3IMERGHH"
    path = copied(granules["07 half"][0], tmp_path, granules["07 half"][1].name)
    with pytest.raises(VadoseError, match="holds 2019-04-29 18:00, its name says 2019-04-29 20:00"):
        read_imerg(path)


def test_a_part_cut_by_a_server_is_read_alike(granules: dict[str, list[Path]], tmp_path: Path) -> None:
    whole = read_imerg(granules["07"][0], bbox=BOX)
    for cells in (slice(790, 800), slice(795, 796)):
        path = tmp_path / granules["07"][0].name
        with xr.open_dataset(granules["07"][0], decode_times=False, mask_and_scale=False) as other:
            other[["precipitation"]].isel(lon=cells, lat=slice(1295, 1300)).to_netcdf(path)
        part = read_imerg(path)
        assert part.sizes["lon"] == cells.stop - cells.start
        np.testing.assert_allclose(part.lon, whole.lon.sel(lon=part.lon, method="nearest"), atol=1e-9)
        same = whole.precipitation.sel(lat=part.lat, lon=part.lon, method="nearest")
        np.testing.assert_array_equal(part.precipitation, same)
        assert "no count" in part.attrs["quality"]


def test_what_a_file_is(granules: dict[str, list[Path]], tmp_path: Path) -> None:
    for path in (paths[0] for paths in granules.values()):
        assert identify(copied(path, tmp_path, "a.bin")) == "imerg"
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["Grid"], file["lat"], file["lon"] = 1, [1.0], [2.0]
        file.create_group("precipitation")
    assert not is_imerg(other)
    coarse = tmp_path / "coarse.nc"
    axes = {"time": [0], "lon": [0.125, 0.375], "lat": [0.125, 0.375]}
    xr.Dataset({"precipitation": (("time", "lon", "lat"), np.ones((1, 2, 2)), {"units": "mm"})}, axes).to_netcdf(coarse)
    assert not is_imerg(coarse)
    with pytest.raises(VadoseError, match=r"not spaced by 0\.1 degree"):
        read_imerg(coarse)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Log in</html>", "web page"),
        (b"II*\x00" + bytes(100), "found a tiff file where HDF5"),
    ],
)
def test_other_containers_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "3B-DAY.MS.MRG.3IMERG.20190429-S000000-E235959.V07B.nc4"
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=message):
        read_imerg(path)


def test_damaged_granules_are_refused(granules: dict[str, list[Path]], tmp_path: Path) -> None:
    source = granules["07 half"][0]
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes()[:40000])
    with pytest.raises(VadoseError, match="cut short or damaged"):
        read_imerg(path)

    def refuses(change: object, message: str) -> None:
        copied(source, tmp_path)
        with h5py.File(path, "a") as file:
            change(file["Grid"])  # type: ignore[operator]
        with pytest.raises(VadoseError, match=message):
            read_imerg(path)

    def empty(grid: h5py.Group) -> None:
        grid["precipitation"][0, 700:900, 1200:1400] = -9999.9

    refuses(empty, "every value is missing")
    refuses(lambda grid: grid.__delitem__("precipitation"), "no 'precipitation' or 'precipitationCal'")
    refuses(lambda grid: grid.__delitem__("lat"), "no 'precipitation' or 'precipitationCal' with 'lat'")
    refuses(lambda grid: grid["precipitation"].attrs.__setitem__("units", "inch"), "precipitation is in 'inch'")
    refuses(lambda grid: grid["time"].attrs.__setitem__("units", "s"), "time is in 's'")
    refuses(
        lambda grid: grid["precipitation"].__setitem__((0, slice(800), slice(700, 900)), 5000),
        "values of precipitation lie outside 0 .. 2000",
    )
    with pytest.raises(OutsideError, match="lies outside the file"):
        read_imerg(source, bbox=(200, 0, 201, 1))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("precipitation", (1, 3700, 1900), r"is \(1, 3700, 1900\); expected \(1, 3600, 1800\) of time, lon, lat"),
        ("randomError", (1, 3500, 1800), r"is \(1, 3500, 1800\); expected \(1, 3600, 1800\) of time, lon, lat"),
        ("lat", (1 << 40,), "values of lat take .* GB of memory, more than is free; is the file as published?"),
        ("time", (1 << 40,), "values of time take .* GB of memory"),
    ],
)
def test_fields_that_do_not_fit_their_axes_or_memory_are_refused(
    granules: dict[str, list[Path]], tmp_path: Path, name: str, shape: tuple[int, ...], message: str
) -> None:
    path = copied(granules["07 half"][0], tmp_path)
    with h5py.File(path, "a") as file:
        old = file["Grid"][name]
        attributes, dtype = {k: v for k, v in old.attrs.items() if k not in ("DIMENSION_LIST", "CLASS")}, old.dtype
        del file["Grid"][name]
        file["Grid"].create_dataset(name, shape, dtype, chunks=tuple(min(n, 1000) for n in shape))
        file["Grid"][name].attrs.update(attributes)
    with pytest.raises(VadoseError, match=message):
        read_imerg(path, bbox=(-100.2, 39.8, -99.9, 40.1))


def test_a_real_cut(real_data: Path) -> None:
    path = next((real_data / "granules/imerg").glob("*V06B.HDF5"))
    assert identify(path) == "imerg"
    dataset = read_imerg(path)
    assert dict(dataset.sizes) == {"lat": 10, "lon": 10, "time": 1}
    # Next to the pole version 06 is missing over ice.
    assert dataset.precipitation.isnull().all()
    np.testing.assert_allclose(dataset.lat, -89.05 - 0.1 * np.arange(10))
    np.testing.assert_allclose(dataset.lon, -179.95 + 0.1 * np.arange(10))
    assert dataset.time.values[0] == np.datetime64("2000-06-01")
    assert (dataset.attrs["version"], dataset.attrs["product"]) == ("V06B", "GPM_3IMERGHH")
    assert dataset.attrs["simulated"] == "false"


def test_means_of_a_month_are_no_half_hour(granules: dict[str, list[Path]], tmp_path: Path) -> None:
    month = copied(granules["07 half"][0], tmp_path, "3B-MO.MS.MRG.3IMERG.20190401-S000000-E235959.04.V07B.HDF5")
    with pytest.raises(VadoseError, match="means of a month"):
        read_imerg(month, bbox=BOX)
    for change in ("field", "header", "bounds"):
        path = copied(granules["07 half"][0], tmp_path, f"{change}.HDF5")
        read_imerg(path, bbox=BOX)
        with h5py.File(path, "r+") as file:
            if change == "field":
                file["Grid/gaugeRelativeWeighting"] = np.zeros((1, 2, 2), np.int16)
            elif change == "header":
                file.attrs["HDF5_GLOBAL.FileHeader"] = "AlgorithmID=3IMERGM;\nTimeInterval=MONTH;\n"
            else:
                start = int(file["Grid/time"][0])
                file["Grid"].pop("time_bnds", None)
                file["Grid/time_bnds"] = np.array([[start, start + 30 * 86400]])
        with pytest.raises(VadoseError, match="means of a month"):
            read_imerg(path, bbox=BOX)


def test_a_part_saved_by_xarray_is_read_without_its_group_or_axis_of_time(
    granules: dict[str, list[Path]], tmp_path: Path
) -> None:
    source = granules["07 half"][1]
    whole = read_imerg(source, bbox=BOX)
    west, south, east, north = BOX
    with xr.open_dataset(source, group="Grid", decode_times=False) as raw:
        cut = raw[["precipitation"]].sel(lon=slice(west, east), lat=slice(south, north))
        cut.to_netcdf(tmp_path / "cut.nc")
        cut.isel(time=0).transpose("lat", "lon").to_netcdf(tmp_path / "one.nc")
    for name in ("cut.nc", "one.nc"):
        assert identify(tmp_path / name) == "imerg"
        part = read_imerg(tmp_path / name)
        xr.testing.assert_allclose(part.precipitation, whole.precipitation)
