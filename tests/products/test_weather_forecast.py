"""GEFS and GFS granules written by the simulated world."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.weather_forecast import (
    FILE_NAME,
    daily_weather_forecast,
    is_weather_forecast,
    read_weather_forecast,
)
from vadose.twin.granules.weather_forecast import write_weather_forecast
from vadose.twin.truth import at, example

MODELS = ("gefs", "gfs")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Three days; it rains on each of the two foretold ones."""
    truth = example(days=3)
    truth["precipitation"][:] = truth.precipitation + 4
    return truth


@pytest.fixture(scope="module")
def runs(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("runs")
    return {model: write_weather_forecast(truth, folder, model) for model in MODELS}


def expected(truth: xr.Dataset, name: str, dataset: xr.Dataset) -> np.ndarray:
    return at(truth[name], *np.meshgrid(dataset.lat, dataset.lon, indexing="ij"))[1:]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gep01.t00z.pgrb2a.0p50.f024", True),
        ("gec00.t18z.pgrb2s.0p25.f003", True),
        ("geavg.t00z.pgrb2s.0p25.f003", True),
        ("gfs.t06z.pgrb2.0p25.f384", True),
        ("subset_56ef2a91__gfs.t00z.pgrb2.0p25.f024.grib2", True),
        ("gespr.t00z.pgrb2s.0p25.f003", False),
        ("gfs.t00z.sfluxgrbf024.grib2", False),
    ],
)
def test_names_as_published(name: str, published: bool) -> None:
    assert bool(FILE_NAME.fullmatch(name)) is published


@pytest.mark.parametrize("model", MODELS)
def test_a_granule_is_the_truth_at_its_place_and_time(
    model: str, runs: dict[str, list[Path]], truth: xr.Dataset
) -> None:
    path = runs[model][9]
    assert path.name.endswith(".f027")
    dataset = read_weather_forecast(path)
    assert dataset.eastward_wind.dims == ("time", "lat", "lon")
    assert dataset.time.values == np.datetime64("2019-05-01T03:00")
    assert dataset.init_time.values == np.datetime64("2019-04-30")
    assert dataset.lead_time.values == np.timedelta64(27, "h")
    assert dataset.attrs["product"] == model.upper()
    assert str(dataset.member.values) == {"gefs": "c00", "gfs": "deterministic"}[model]
    assert dataset.attrs["simulated"] == "true"
    assert (np.diff(dataset.lat) == -0.25).all()
    assert (np.diff(dataset.lon) == 0.25).all()
    for name, tolerance in (("eastward_wind", 1e-3), ("soil_moisture_10_40cm", 6e-6), ("longwave_radiation", 1e-3)):
        np.testing.assert_allclose(dataset[name][0], expected(truth, name, dataset)[1], atol=tolerance, err_msg=name)
    np.testing.assert_allclose(
        dataset.soil_temperature_40_100cm[0], expected(truth, "soil_temperature", dataset)[1], atol=1e-3
    )
    dry = dataset.relative_humidity.values[0] < 99.9
    assert dry.any()
    moist = expected(truth, "specific_humidity", dataset)[1]
    np.testing.assert_allclose(dataset.specific_humidity.values[0][dry], moist[dry], rtol=1e-3)
    cell = dataset.surface_pressure.sel(lat=40.0, lon=-100.0)
    assert float(cell[0]) == pytest.approx(float(at(truth.surface_pressure, 40.0, -100.0)[2]), abs=0.1)
    # GFS has the rain since the start too; the shortest time is given.
    assert float(dataset.precipitation_hours[0]) == 3


@pytest.mark.parametrize("model", MODELS)
def test_days_of_a_run_are_the_truth(model: str, runs: dict[str, list[Path]], truth: xr.Dataset) -> None:
    days = daily_weather_forecast(reversed(runs[model]))
    assert days.precipitation.dims == ("init_time", "lead_time", "lat", "lon")
    assert days.lead_time.values.astype("timedelta64[h]").astype(int).tolist() == [24, 48]
    np.testing.assert_array_equal(days.day.values[0], truth.time.values[1:])
    for name in days.data_vars:
        source = "soil_temperature" if str(name).startswith("soil_temperature") else str(name)
        if source in truth and (model, name) != ("gefs", "specific_humidity"):
            np.testing.assert_allclose(
                days[name][0], expected(truth, source, days), rtol=1e-5, atol=1e-3, err_msg=str(name)
            )
    # Where it is made from relative humidity, that is capped at 100 percent.
    np.testing.assert_allclose(days.specific_humidity[0], expected(truth, "specific_humidity", days), rtol=0.1)


def test_a_public_reader_sees_the_same(runs: dict[str, list[Path]]) -> None:
    path = runs["gefs"][5]
    ours = read_weather_forecast(path)
    for keys, name in (
        ({"shortName": "tp"}, "precipitation"),
        ({"shortName": "2t"}, "air_temperature"),
        ({"shortName": "10u"}, "eastward_wind"),
        ({"shortName": "tmax"}, "air_temperature_max"),
        ({"parameterCategory": 4, "discipline": 0}, "shortwave_radiation"),
    ):
        backend = {"filter_by_keys": keys, "indexpath": "", "read_keys": ["parameterCategory", "discipline"]}
        with xr.open_dataset(path, engine="cfgrib", backend_kwargs=backend, decode_timedelta=True) as public:
            assert public.valid_time.values == ours.time.values[0]
            assert (public.longitude > 180).all()
            field = next(iter(public.data_vars.values()))
            np.testing.assert_allclose(ours[name][0], field, rtol=1e-6, err_msg=name)


def subset(source: Path, target: Path, keep: Callable[[int], bool], **change: Any) -> Path:
    """Messages of a file for which ``keep(handle)`` holds, with keys changed."""
    with source.open("rb") as stream, target.open("wb") as out:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            if keep(handle):
                for key, value in change.items():
                    eccodes.codes_set(handle, key, value)
                eccodes.codes_write(handle, out)
            eccodes.codes_release(handle)
    return target


def is_rain(handle: int) -> bool:
    return bool(eccodes.codes_get(handle, "shortName") == "tp")


def is_state(handle: int) -> bool:
    return bool(eccodes.codes_get(handle, "productDefinitionTemplateNumber") == 1)


def test_rain_is_resolved_from_whatever_times_there_are(
    runs: dict[str, list[Path]], truth: xr.Dataset, tmp_path: Path
) -> None:
    def rain(model: str, keep: Callable[[int, int], bool]) -> list[Path]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return [
            subset(
                path,
                folder / path.name,
                lambda h: is_rain(h) and keep(eccodes.codes_get(h, "startStep"), eccodes.codes_get(h, "endStep")),
            )
            for path in runs[model][1:]
        ]

    def days(paths: list[Path]) -> xr.DataArray:
        return daily_weather_forecast([p for p in paths if p.stat().st_size]).precipitation[0]

    whole = days(rain("gfs", lambda a, b: True))
    np.testing.assert_allclose(whole, expected(truth, "precipitation", whole), atol=1e-3)
    # Six-hour times alone, and, as models of other centres have it, the rain since the start alone.
    np.testing.assert_allclose(days(rain("gefs", lambda a, b: b - a == 6)), whole, atol=1e-3)
    np.testing.assert_allclose(days(rain("gfs", lambda a, b: a == 0)), whole, atol=1e-3)
    # 18-24 h is missing: it follows from the rain since the start.
    np.testing.assert_allclose(days(rain("gfs", lambda a, b: (a, b) != (18, 24))), whole, atol=1e-3)
    with pytest.raises(VadoseError, match=r"c00: precipitation of hours 0-24: found 0-3, 0-6, 6-9, .* cannot be made"):
        days(rain("gefs", lambda a, b: (a, b) != (18, 24)))


def test_members_and_missing_leads(runs: dict[str, list[Path]], truth: xr.Dataset, tmp_path: Path) -> None:
    other = write_weather_forecast(truth, tmp_path, member=1)
    assert other[1].name == "gep01.t00z.pgrb2s.0p25.f003"
    both = daily_weather_forecast([*runs["gefs"], *other])
    assert both.precipitation.dims == ("init_time", "lead_time", "member", "lat", "lon")
    assert both.member.values.tolist() == ["c00", "p01"]
    with pytest.raises(VadoseError, match=r"air_temperature of hours 0-24: found leads \[3, 6, 12, 15"):
        daily_weather_forecast([p for p in other if not p.name.endswith("f009")])
    with pytest.raises(VadoseError, match="no run reaches lead 24 h"):
        daily_weather_forecast(other[:4])
    with pytest.raises(VadoseError, match="was read already"):
        daily_weather_forecast([*other, other[2]])
    # The second day is not whole: it is left away.
    assert daily_weather_forecast(other[:12]).sizes["lead_time"] == 1


def test_missing_cells_and_rows_from_the_south(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    path = tmp_path / "turned"
    with path.open("wb") as out, runs["gefs"][1].open("rb") as stream:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            shape = (eccodes.codes_get(handle, "Nj"), eccodes.codes_get(handle, "Ni"))
            values = eccodes.codes_get_values(handle).reshape(shape)[::-1].copy()
            first, last = (eccodes.codes_get(handle, f"latitudeOf{x}GridPointInDegrees") for x in ("First", "Last"))
            eccodes.codes_set(handle, "jScansPositively", 1)
            eccodes.codes_set(handle, "latitudeOfFirstGridPointInDegrees", last)
            eccodes.codes_set(handle, "latitudeOfLastGridPointInDegrees", first)
            if eccodes.codes_get(handle, "discipline") == 2:
                values[0, 1] = 9999.0
                eccodes.codes_set(handle, "bitmapPresent", 1)
                eccodes.codes_set(handle, "missingValue", 9999.0)
            eccodes.codes_set_values(handle, values.ravel())
            eccodes.codes_write(handle, out)
            eccodes.codes_release(handle)
    turned, usual = read_weather_forecast(path), read_weather_forecast(runs["gefs"][1])
    np.testing.assert_array_equal(turned.lat, usual.lat)
    np.testing.assert_allclose(turned.air_temperature, usual.air_temperature, atol=1e-3)
    assert np.argwhere(np.isnan(turned.soil_moisture_0_10cm.values)).tolist() == [[0, usual.sizes["lat"] - 1, 1]]


def test_a_global_grid_is_turned_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "global"
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    keys = {
        "centre": 7,
        "Ni": 72,
        "Nj": 37,
        "latitudeOfFirstGridPointInDegrees": 90.0,
        "latitudeOfLastGridPointInDegrees": -90.0,
        "longitudeOfFirstGridPointInDegrees": 0.0,
        "longitudeOfLastGridPointInDegrees": 355.0,
        "iDirectionIncrementInDegrees": 5.0,
        "jDirectionIncrementInDegrees": 5.0,
        "typeOfFirstFixedSurface": 103,
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": 2,
        "dataDate": 20190601,
        "dataTime": 600,
        "forecastTime": 3,
    }
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    lon = 5.0 * np.arange(72)
    eccodes.codes_set_values(handle, (200 + np.broadcast_to(lon / 5, (37, 72))).astype(float).ravel())
    path.write_bytes(eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    dataset = read_weather_forecast(path)
    assert (float(dataset.lon[0]), float(dataset.lon[-1])) == (-180, 175)
    cut = read_weather_forecast(path, bbox=(-101, 29, -89, 41))
    assert cut.lon.values.tolist() == [-100, -95, -90]
    assert cut.lat.values.tolist() == [40, 35, 30]
    assert cut.air_temperature.values[0, 0] == pytest.approx([252, 253, 254], abs=0.01)
    assert cut.time.values == np.datetime64("2019-06-01T09:00")
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_weather_forecast(path, bbox=(-100.9, 30.1, -100.8, 30.2))


def test_content_tells_the_product(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    for model in MODELS:
        assert is_weather_forecast(runs[model][0])
        assert identify(shutil.copy(runs[model][1], tmp_path / "renamed.bin")) == "weather_forecast"
    (tmp_path / "note.txt").write_text("rain")
    assert not is_weather_forecast(tmp_path / "note.txt")


def test_what_is_no_weather_is_refused(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    source, path = runs["gefs"][1], tmp_path / "gec00.t00z.pgrb2s.0p25.f003"
    spread = subset(source, path, is_state, productDefinitionTemplateNumber=2, derivedForecast=4)
    with pytest.raises(VadoseError, match="the ensemble's spread"):
        read_weather_forecast(spread)
    with pytest.raises(VadoseError, match="values of precipitation lie outside"):
        read_weather_forecast(subset(runs["gefs"][7], path, is_rain, decimalScaleFactor=-4))
    with pytest.raises(VadoseError, match="no message holds a variable"):
        read_weather_forecast(subset(source, path, is_rain, parameterNumber=99))
    path.write_bytes(source.read_bytes() + runs["gfs"][1].read_bytes())
    with pytest.raises(VadoseError, match="holds c00 of 2019-04-30 00:00:00 and deterministic"):
        read_weather_forecast(path)


def test_damaged_files_are_named(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    source = runs["gefs"][1]
    path = tmp_path / source.name
    whole = source.read_bytes()
    for content, message in (
        (whole[: len(whole) * 2 // 3], "cut short: the message at byte"),
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>Login</html>", "web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "found a hdf5 file"),
    ):
        path.write_bytes(content)
        with pytest.raises(VadoseError, match=message) as error:
            read_weather_forecast(path)
        assert path.name in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(VadoseError, match="no granule given"):
        daily_weather_forecast([])


def _handles(path: Path) -> list[int]:
    found = []
    with path.open("rb") as stream:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            found.append(handle)
    return found


def test_two_fields_in_one_message_are_both_read(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    source = runs["gfs"][9]
    by_name = {eccodes.codes_get(handle, "shortName"): handle for handle in _handles(source)}
    path = tmp_path / source.name
    multi = eccodes.codes_grib_multi_new()
    eccodes.codes_grib_multi_append(by_name["10u"], 0, multi)
    eccodes.codes_grib_multi_append(by_name["10v"], 4, multi)
    with path.open("wb") as stream:
        eccodes.codes_grib_multi_write(multi, stream)
        eccodes.codes_write(by_name["2t"], stream)
    part, whole = read_weather_forecast(path), read_weather_forecast(source)
    assert set(part.data_vars) == {"eastward_wind", "northward_wind", "air_temperature"}
    np.testing.assert_array_equal(part.northward_wind, whole.northward_wind)
    # A walk broken off within the message leaves nothing behind.
    assert is_weather_forecast(path)
    xr.testing.assert_equal(read_weather_forecast(path), part)


def test_a_single_cell_is_read(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    source = runs["gefs"][9]
    path = tmp_path / source.name
    with path.open("wb") as stream:
        for handle in _handles(source):
            first = float(eccodes.codes_get_values(handle)[0])
            eccodes.codes_set(handle, "Ni", 1)
            eccodes.codes_set(handle, "Nj", 1)
            for axis in ("latitude", "longitude"):
                corner = eccodes.codes_get(handle, f"{axis}OfFirstGridPointInDegrees")
                eccodes.codes_set(handle, f"{axis}OfLastGridPointInDegrees", corner)
            eccodes.codes_set_values(handle, np.array([first]))
            eccodes.codes_write(handle, stream)
    whole, one = read_weather_forecast(source), read_weather_forecast(path)
    corner = whole.air_temperature.isel(lat=slice(1), lon=slice(1))
    np.testing.assert_allclose(one.air_temperature, corner, rtol=1e-4)
    assert (one.lat.values, one.lon.values) == (corner.lat.values, corner.lon.values)


def test_other_levels_are_named(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    source = runs["gefs"][9]
    handle = next(h for h in _handles(source) if eccodes.codes_get(h, "shortName") == "2t")
    for key, value in (("typeOfFirstFixedSurface", 100), ("scaledValueOfFirstFixedSurface", 50000)):
        eccodes.codes_set(handle, key, value)
    path = tmp_path / "subset.grib2"
    path.write_bytes(eccodes.codes_get_message(handle))
    with pytest.raises(VadoseError, match=r"of no known product .*holds t at isobaric"):
        identify(path)
    named = path.rename(tmp_path / source.name)
    with pytest.raises(VadoseError, match="no message holds a variable that is read"):
        identify(named)


def changed(source: Path, target: Path, keep: Callable[[int], bool], change: Callable[[np.ndarray], None]) -> Path:
    """Messages for which ``keep(handle)`` holds, their values changed in place."""
    with target.open("wb") as out:
        for handle in _handles(source):
            if keep(handle):
                values = eccodes.codes_get_values(handle)
                change(values)
                eccodes.codes_set_values(handle, values)
                eccodes.codes_write(handle, out)
    return target


def is_moisture(handle: int) -> bool:
    return bool(eccodes.codes_get(handle, "parameterNumber") == 192 and eccodes.codes_get(handle, "discipline") == 2)


def test_placeholders_over_ice_and_sea_are_missing(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    source = runs["gfs"][9]

    def ice(values: np.ndarray) -> None:
        values[:3] = (1.001, 1.0, 0.75)

    path = changed(source, tmp_path / source.name, is_moisture, ice)
    whole, part = read_weather_forecast(source), read_weather_forecast(path)
    moisture = part.soil_moisture_10_40cm
    assert np.isnan(moisture.values.ravel()[:3]).all()
    assert moisture.attrs["placeholders"] == 3
    np.testing.assert_array_equal(moisture.values.ravel()[3:], whole.soil_moisture_10_40cm.values.ravel()[3:])
    assert "placeholder of 1 over ice and sea" in part.attrs["quality"]
    # Percent are no placeholders.
    percent = changed(source, path, is_moisture, lambda v: v.__imul__(100))
    with pytest.raises(VadoseError, match=r"values of soil_moisture_0_10cm lie outside 0 \.\. 1"):
        read_weather_forecast(percent)


def test_soil_is_missing_where_the_file_says_sea(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    source, path = runs["gfs"][9], tmp_path / runs["gfs"][9].name
    handles = {(eccodes.codes_get(h, "shortName"), eccodes.codes_get(h, "level")): h for h in _handles(source)}
    land = eccodes.codes_clone(handles["sp", 0])
    for key, value in (("discipline", 2), ("parameterCategory", 0), ("parameterNumber", 0)):
        eccodes.codes_set(land, key, value)
    sea = np.ones(eccodes.codes_get_size(land, "values"))
    sea[:5] = 0
    eccodes.codes_set_values(land, sea)
    with path.open("wb") as out:
        for handle in (*_handles(source), land):
            eccodes.codes_write(handle, out)
    dataset = read_weather_forecast(path)
    for name in ("soil_moisture_0_10cm", "soil_temperature_0_10cm"):
        assert np.isnan(dataset[name].values.ravel()).sum() == 5
    assert np.isfinite(dataset.air_temperature).all()


def test_a_file_is_held_against_its_name(runs: dict[str, list[Path]], tmp_path: Path) -> None:
    for name, message in (
        ("gec00.t00z.pgrb2s.0p25.f012", "says lead 12 h, its messages 27 h"),
        ("gep01.t00z.pgrb2s.0p25.f027", "says member p01, its messages c00"),
        ("gec00.t12z.pgrb2s.0p25.f027", "says run 12 UTC, its messages 00 UTC"),
        ("gefs.20190501/gec00.t00z.pgrb2s.0p25.f027", "says day 20190501, its messages 20190430"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with pytest.raises(VadoseError, match=message):
            read_weather_forecast(shutil.copy(runs["gefs"][9], path))


@pytest.mark.parametrize(
    ("section", "octet", "value", "message"),
    [
        (1, 15, 13, "'2019-13-30 0:0', which is no date"),  # month
        (1, 13, 39, "which is no date between 1900 and 2100"),  # year
        (3, 34, 255, "cells where .* are declared"),  # columns
        (3, 47, 250, "apart, the message says|expected -90 to 90"),  # first latitude
        (4, 9, 3, "1 messages of product template 3"),
        (4, 7, 9, "a section is not as long as its template"),  # vertical coordinates
        (5, 20, 255, "its values do not fit their packing"),  # bits
        (5, 9, 7, "values where .* are declared"),
        (7, 1, 1, "its sections do not fill it"),  # length
    ],
)
def test_a_wrong_octet_is_named(
    section: int, octet: int, value: int, message: str, runs: dict[str, list[Path]], tmp_path: Path
) -> None:
    content = bytearray(runs["gefs"][9].read_bytes())
    at = 16
    while content[at + 4] != section:
        at += int.from_bytes(content[at : at + 4], "big")
    content[at + octet - 1] = value
    path = tmp_path / "cut.grib2"
    path.write_bytes(content)
    try:
        said = read_weather_forecast(path).attrs.get("left_out", "")
    except VadoseError as error:
        said = str(error)
    assert re.search(message, said), said
