"""NLDAS-2 granules written by the simulated world in both containers."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import eccodes
import netCDF4
import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.nldas import (
    FILE_NAME_FORCING,
    FILE_NAME_NOAH,
    daily_nldas_forcing,
    daily_nldas_noah,
    is_nldas_forcing,
    is_nldas_noah,
    read_nldas_forcing,
    read_nldas_noah,
)
from vadose.twin.granules.nldas import write_nldas_forcing, write_nldas_noah
from vadose.twin.truth import at, example

BOX = (-101.5, 39.0, -98.5, 41.0)
VERSIONS = ("2.0", "002")
MOISTURE = ("soil_moisture_0_10cm", "soil_moisture_10_40cm", "soil_moisture_40_100cm")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return example(days=1)


@pytest.fixture(scope="module")
def noah(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("noah")
    return {v: write_nldas_noah(truth, folder / v, v, hours=(0, 6, 12, 18)) for v in VERSIONS}


@pytest.fixture(scope="module")
def forcing(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("forcing")
    return {
        "2.0": write_nldas_forcing(truth, folder / "2.0"),
        "002": write_nldas_forcing(truth, folder / "002", "002", hours=(20, 24)),
    }


def expected(truth: xr.Dataset, name: str, dataset: xr.Dataset) -> np.ndarray:
    return at(truth[name], *np.meshgrid(dataset.lat, dataset.lon, indexing="ij"))[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_moisture_is_the_truth_at_its_place_and_hour(
    version: str, noah: dict[str, list[Path]], truth: xr.Dataset
) -> None:
    path = noah[version][1]
    assert FILE_NAME_NOAH.fullmatch(path.name)
    dataset = read_nldas_noah(path, bbox=BOX)
    assert dataset.soil_moisture_0_10cm.dims == ("time", "lat", "lon")
    assert dataset.soil_moisture_0_10cm.dtype == np.float32
    assert dataset.time.values == np.datetime64("2019-04-29T06:00")
    assert dataset.time.dtype == "datetime64[ns]"
    assert (np.diff(dataset.lat) == -0.125).all()
    assert (np.diff(dataset.lon) == 0.125).all()
    assert (float(dataset.lat[0]), float(dataset.lon[0])) == (40.9375, -101.4375)
    for name in MOISTURE:
        np.testing.assert_allclose(dataset[name][0], expected(truth, name, dataset), atol=6e-6, err_msg=name)
    assert np.isnan(dataset.soil_moisture_0_10cm.sel(lat=40.9375)).all()  # outside the truth: filled in the file
    cell = dataset.soil_moisture_0_10cm.sel(lat=40.0625, lon=-100.0625)
    assert float(cell[0]) == pytest.approx(float(at(truth.soil_moisture_0_10cm, 40.0625, -100.0625)[0]), abs=6e-6)
    attrs = dataset.attrs
    assert (attrs["product"], attrs["version"], attrs["simulated"]) == ("NLDAS_NOAH0125_H", version, "true")
    assert dataset.soil_moisture_100_200cm.attrs["units"] == "m3 m-3"


def test_both_containers_and_the_whole_grid_agree(noah: dict[str, list[Path]]) -> None:
    new, old = (read_nldas_noah(noah[v][2]) for v in VERSIONS)
    assert (new.sizes["lat"], new.sizes["lon"]) == (224, 464)
    assert (float(new.lat[0]), float(new.lon[-1])) == (52.9375, -67.0625)
    xr.testing.assert_allclose(new, old, rtol=0, atol=6e-4)


def test_a_public_reader_sees_the_same_netcdf(noah: dict[str, list[Path]], forcing: dict[str, list[Path]]) -> None:
    with xr.open_dataset(noah["2.0"][1]) as public:
        assert (np.diff(public.lat) > 0).all()
        assert public.time.values[0] == np.datetime64("2019-04-29T06:00")
        ours = read_nldas_noah(noah["2.0"][1])
        np.testing.assert_allclose(ours.soil_moisture_40_100cm[0], public.SoilM_40_100cm[0, ::-1] / 600, rtol=1e-6)
    with xr.open_dataset(forcing["2.0"][19]) as public:
        np.testing.assert_array_equal(read_nldas_forcing(forcing["2.0"][19]).precipitation[0], public.Rainf[0, ::-1])


def test_a_public_reader_sees_the_same_grib(forcing: dict[str, list[Path]]) -> None:
    path = forcing["002"][0]
    for keys, name in (
        ({"indicatorOfParameter": 61}, "precipitation"),
        ({"indicatorOfParameter": 11}, "air_temperature"),
    ):
        backend = {"filter_by_keys": keys, "indexpath": "", "read_keys": ["indicatorOfParameter"]}
        with xr.open_dataset(path, engine="cfgrib", backend_kwargs=backend) as public:
            assert public.valid_time.values == np.datetime64("2019-04-29T20:00")
            field = next(iter(public.data_vars.values())).sortby("latitude", ascending=False)
            np.testing.assert_allclose(read_nldas_forcing(path)[name][0], field, rtol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_day_of_noah_is_the_mean_of_its_hours(version: str, noah: dict[str, list[Path]], truth: xr.Dataset) -> None:
    with pytest.raises(VadoseError, match="found 4 of the 24 stamps 00:00 to 23:00"):
        daily_nldas_noah(noah[version], bbox=BOX)
    day = daily_nldas_noah(reversed(noah[version]), bbox=BOX, min_hours=4)
    assert day.time.values == np.datetime64("2019-04-29")
    assert day.hours.values == 4
    # Temperature swings by hours and averages to the truth.
    np.testing.assert_allclose(day.soil_temperature_0_10cm[0], expected(truth, "soil_temperature", day), atol=2e-3)
    hour = read_nldas_noah(noah[version][0], bbox=BOX).soil_temperature_0_10cm[0]
    assert float(np.abs(hour - day.soil_temperature_0_10cm[0]).max()) > 0.5


def test_a_day_of_forcing_ends_at_the_next_midnight(forcing: dict[str, list[Path]], truth: xr.Dataset) -> None:
    paths = forcing["2.0"]
    assert FILE_NAME_FORCING.fullmatch(paths[-1].name)
    assert "A20190430.0000" in paths[-1].name
    day = daily_nldas_forcing(paths, bbox=BOX)
    assert day.time.values == np.datetime64("2019-04-29")
    for name in day.data_vars:
        np.testing.assert_allclose(day[name][0], expected(truth, str(name), day), rtol=2e-5, atol=1e-6, err_msg=name)
    assert float(day.precipitation.max()) > 1
    assert day.precipitation.attrs["long_name"] == "precipitation of the day"
    with pytest.raises(VadoseError, match="found 2 of the 24 stamps 01:00 of the day to 00:00 of the next"):
        daily_nldas_forcing(paths[:2], bbox=BOX)
    with pytest.raises(VadoseError, match="was read from"):
        daily_nldas_forcing([paths[3], paths[3]], bbox=BOX)
    with pytest.raises(VadoseError, match="min_hours 25"):
        daily_nldas_forcing(paths, min_hours=25)


def test_products_are_told_by_their_content(
    noah: dict[str, list[Path]], forcing: dict[str, list[Path]], tmp_path: Path
) -> None:
    for version in VERSIONS:
        one, other = noah[version][0], forcing[version][0]
        assert [is_nldas_noah(one), is_nldas_forcing(one)] == [True, False]
        assert [is_nldas_noah(other), is_nldas_forcing(other)] == [False, True]
        assert identify(shutil.copy(one, tmp_path / f"a{one.suffix}")) == "nldas_noah"
        assert identify(shutil.copy(other, tmp_path / f"b{one.suffix}")) == "nldas_forcing"
        with pytest.raises(VadoseError, match=r"holds no|no message holds"):
            read_nldas_noah(other)


@pytest.fixture
def edited(noah: dict[str, list[Path]], tmp_path: Path) -> Callable[[Callable[[netCDF4.Dataset], object]], Path]:
    def edit(change: Callable[[netCDF4.Dataset], object], source: Path = noah["2.0"][1]) -> Path:
        path = Path(shutil.copy(source, tmp_path / source.name))
        with netCDF4.Dataset(path, "a") as file:
            file.set_auto_mask(False)
            change(file)
        return path

    return edit


Edit = Callable[[Callable[[netCDF4.Dataset], object]], Path]


@pytest.mark.parametrize("fill", [-9999.0, 9999.0])
def test_fill_is_missing_with_and_without_its_attribute(edited: Edit, fill: float) -> None:
    def change(file: netCDF4.Dataset) -> None:
        file["SoilM_0_10cm"][0, 120, 199] = fill

    dataset = read_nldas_noah(edited(change))
    assert np.isnan(dataset.soil_moisture_0_10cm.sel(lat=40.0625, lon=-100.0625)).all()
    assert np.isfinite(dataset.soil_moisture_0_10cm.sel(lat=40.0625, lon=-100.1875)).all()


@pytest.mark.parametrize("form", ["bounds", "middles", "bottoms", "tops", "unknown"])
def test_netcdf_made_from_version_002_has_an_axis_of_depth(
    noah: dict[str, list[Path]], tmp_path: Path, form: str
) -> None:
    path = tmp_path / "NLDAS_NOAH0125_H.A20190429.0600.002.grb.SUB.nc4"
    edges = np.array([(0, 10), (0, 100), (10, 40), (40, 100), (100, 200)], float)
    depth = {"bounds": edges[:, 0], "middles": edges.mean(axis=1)}.get(form)
    if depth is None:
        edges = np.delete(edges, 1, axis=0)
        depth = {"bottoms": edges[:, 1], "tops": edges[:, 0], "unknown": np.arange(4.0)}[form]
    with xr.open_dataset(noah["2.0"][1]) as source:
        layers = [source.get(f"SoilM_{a:.0f}_{b:.0f}cm", 10 * source.SoilM_0_10cm) for a, b in edges]
        made = xr.Dataset({"SOILM": xr.concat(layers, "depth").transpose("time", "depth", "lat", "lon")})
        made["SOILM"].attrs = {"units": "kg/m^2"}
        made = made.assign_coords(depth=("depth", depth / 100, {"units": "m"}))
        if form == "bounds":
            made.depth.attrs["bounds"] = "depth_bnds"
            made["depth_bnds"] = ("depth", "bnds"), edges / 100
        made.to_netcdf(path)
    if form == "unknown":
        with pytest.raises(VadoseError, match="does not tell which layer"):
            read_nldas_noah(path)
        return
    dataset, usual = read_nldas_noah(path), read_nldas_noah(noah["2.0"][1])
    assert dataset.attrs["version"] == "002"
    assert form in dataset.attrs["depth_note"]
    for name in MOISTURE:
        np.testing.assert_allclose(dataset[name], usual[name], rtol=1e-6)


def test_an_hour_off_its_name_is_told_and_a_wrong_one_refused(edited: Edit) -> None:
    def shift(hours: float) -> Callable[[netCDF4.Dataset], object]:
        def change(file: netCDF4.Dataset) -> None:
            file["time"][:] += hours

        return change

    dataset = read_nldas_noah(edited(shift(-0.5)))
    assert dataset.time.values == np.datetime64("2019-04-29T06:00")
    assert "05:30" in dataset.attrs["time_note"]
    with pytest.raises(VadoseError, match="2019-04-29 08:00, its name says 2019-04-29 06:00"):
        read_nldas_noah(edited(shift(2)))


def _rename(old: str, new: str) -> Callable[[netCDF4.Dataset], object]:
    return lambda file: file.renameVariable(old, new)


def _all_fill(file: netCDF4.Dataset) -> None:
    for name, variable in file.variables.items():
        if name.startswith("Soil"):
            variable[:] = -9999.0


def _units(file: netCDF4.Dataset) -> None:
    file["SoilM_0_10cm"].units = "m3 m-3"


def _times_thousand(file: netCDF4.Dataset) -> None:
    file["SoilM_0_10cm"][0, 118:122, 195:205] = 30_000.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rename("lat", "y"), r"no variable \['lat'\]"),
        (_all_fill, "every value is missing"),
        (_units, "is in 'm3 m-3', published in 'kgm-2'"),
        (_times_thousand, "values of soil_moisture_0_10cm lie outside 0 .. 1 m3 m-3"),
    ],
)
def test_wrong_content_is_named(edited: Edit, change: Callable[[netCDF4.Dataset], object], message: str) -> None:
    path = edited(change)
    with pytest.raises(VadoseError, match=message) as error:
        read_nldas_noah(path)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_subset_is_read_under_its_published_name_alone(
    noah: dict[str, list[Path]], forcing: dict[str, list[Path]], tmp_path: Path
) -> None:
    for source, variable, product in (
        (noah["2.0"][1], "SoilM_10_40cm", "nldas_noah"),
        (forcing["2.0"][1], "Tair", "nldas_forcing"),
    ):
        path = tmp_path / f"{source.name}.SUB.nc4"
        with xr.open_dataset(source) as raw:
            raw[[variable]].sel(lat=slice(38, 42), lon=slice(-102, -98)).to_netcdf(path)
        assert identify(path) == product
        read = read_nldas_noah if product == "nldas_noah" else read_nldas_forcing
        part, whole = read(path), read(source, bbox=(-102, 38, -98, 42))
        (name,) = part.data_vars
        xr.testing.assert_allclose(part[name], whole[name])
        assert len(part.attrs["left_out"].split(", ")) == len(whole.data_vars) - 1
        renamed = path.rename(tmp_path / "subset.nc")
        with pytest.raises(VadoseError, match="of no known product"):
            identify(renamed)
        with pytest.raises(VadoseError, match="a subset that was renamed"):
            read(renamed)


def test_means_of_a_month_are_no_hour(edited: Edit, tmp_path: Path) -> None:
    def a_month(file: netCDF4.Dataset) -> None:
        file["time"].bounds = "time_bnds"
        width = 720 * (60 if file["time"].units.startswith("minutes") else 1)
        file["time_bnds"][:] = [[file["time"][0], file["time"][0] + width]]

    hour = edited(lambda file: None)
    named = shutil.copy(hour, tmp_path / "NLDAS_NOAH0125_M.A201904.020.nc")
    for path in (Path(named), edited(a_month)):
        with pytest.raises(VadoseError, match="means of"):
            read_nldas_noah(path)


@pytest.mark.parametrize("version", VERSIONS)
def test_damaged_files_are_named(version: str, noah: dict[str, list[Path]], tmp_path: Path) -> None:
    source = noah[version][0]
    path = tmp_path / source.name
    whole = source.read_bytes()
    for content, message in (
        (whole[: len(whole) * 2 // 3], "cut short"),
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>Login</html>", "web page"),
        (b"PK\x03\x04" + bytes(100), "found a zip file"),
    ):
        path.write_bytes(content)
        with pytest.raises(VadoseError, match=message) as error:
            read_nldas_noah(path)
        assert path.name in str(error.value)
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_nldas_noah(source, bbox=(5, 45, 10, 50))


def test_grib_of_the_other_edition_or_two_hours_is_refused(noah: dict[str, list[Path]], tmp_path: Path) -> None:
    path = tmp_path / "two.grb"
    path.write_bytes(b"".join(p.read_bytes() for p in noah["002"][:2]))
    with pytest.raises(VadoseError, match="holds soil_moisture_0_10cm twice"):
        read_nldas_noah(path)
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    path.write_bytes(eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    assert not is_nldas_noah(path)
    with pytest.raises(VadoseError, match=re.escape("two.grb: no message holds any of soil_moisture_0_10cm")):
        read_nldas_noah(path)


def test_a_field_larger_than_memory_and_an_hour_of_no_day_are_refused(
    noah: dict[str, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    old = bytearray(noah["002"][1].read_bytes())
    old[23] = 76  # the hour in the first message
    path = tmp_path / "hour.grb"
    path.write_bytes(old)
    with pytest.raises(VadoseError, match=r"hour\.grb: the message at byte 0 is damaged \(its time is 76:00\)"):
        read_nldas_noah(path)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr("vadose.products.stored.fits", lambda nbytes: nbytes < 10_000)
    with pytest.raises(VadoseError, match=r"224 x 464 values of .* more than is free"):
        read_nldas_noah(noah["2.0"][1])
