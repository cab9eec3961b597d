"""Grids of one's own in a cube: what is recognised, what is equal to a calculation by hand, and what is refused."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
import yaml
from pyproj import CRS, Transformer

import vadose as vd
from vadose.cli import main
from vadose.cube.own_explain import explain_grid
from vadose.cube.own_grid import own_listing
from vadose.door.grids import as_grid
from vadose.door.own import Own, Quantity
from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.resample import resample

DAYS = pd.date_range("2020-05-01", periods=36)
LAT, LON = np.arange(40.95, 39.0, -0.1), np.arange(-100.95, -99.0, 0.1)
BOX = (-100.6, 39.4, -99.4, 40.6)
GRID = ease_grid("9km").bounding_box(*BOX)
WET = 0.2 + 0.002 * np.arange(36)[:, None, None] + 0.001 * np.arange(20)[:, None] + np.zeros(20)


def moisture(values: Any = WET, name: str = "sm", **attrs: Any) -> xr.Dataset:
    where = {"time": DAYS[: len(values)], "lat": LAT, "lon": LON}
    return xr.Dataset({name: (tuple(where), values, {"units": "m3 m-3"} | attrs)}, where)


def own(name: str = "sm", **said: Any) -> Own:
    of = {key: said.pop(key) for key in ("unit", "missing", "scale", "offset", "of_day") if key in said}
    return Own({name: Quantity("soil_moisture", **of)}, **said)


def recipe(**changes: Any) -> dict[str, Any]:
    said = {"sm": {"variable": "soil_moisture"}}
    source = {"resampling": "mean", "own": {"variables": said}}
    whole = {
        "resolution": "9km",
        "bbox": BOX,
        "first": "2020-05-01",
        "last": "2020-06-05",
        "products": {"mine": source},
    }
    return whole | changes


def by_hand(field: xr.DataArray, row: int, column: int) -> float:
    """Mean of even latitudes and longitudes over a cell of 9 km, each pixel by the share of the area."""
    south, north = (GRID.y[row] + side * GRID.cell / 2 for side in (-1, 1))
    west, east = (GRID.x[column] + side * GRID.cell / 2 for side in (-1, 1))
    to = Transformer.from_crs(4326, 6933, always_xy=True)
    y = to.transform(np.zeros(21), np.r_[LAT + 0.05, LAT[-1] - 0.05])[1]
    x = to.transform(np.r_[LON - 0.05, LON[-1] + 0.05], np.zeros(21))[0]
    down = np.clip(np.minimum(y[:-1], north) - np.maximum(y[1:], south), 0, None)
    across = np.clip(np.minimum(x[1:], east) - np.maximum(x[:-1], west), 0, None)
    weight = down[:, None] * across
    return float((field.values * weight).sum() / weight.sum())


def test_a_data_set_in_memory_becomes_a_cube_with_our_fillings(tmp_path: Path) -> None:
    data = moisture(np.where(np.arange(36)[:, None, None] == 9, np.nan, WET)).chunk(time=7)
    training = {"first": "2020-05-01", "last": "2020-05-20"}
    cube = vd.build(data, recipe(exact=True, training=training), out=tmp_path / "cube.zarr", workers=1).load()
    for row, column in ((0, 0), (5, 7)):
        assert float(cube.soil_moisture[3, row, column]) == pytest.approx(by_hand(data.sm[3], row, column), abs=1e-6)
    assert np.isnan(cube.soil_moisture[9]).all()
    np.testing.assert_array_equal(cube.soil_moisture_filled[9], cube.soil_moisture[8])
    assert float(cube.soil_moisture_age[9, 0, 0]) == 1.0
    assert cube.soil_moisture.attrs["source_variable"] == "sm"
    assert cube.soil_moisture.attrs["training_mean"] == pytest.approx(float(cube.soil_moisture[:20].mean()))
    assert cube.attrs["layer_note"] == "as the data given have it"
    assert not list(tmp_path.glob(".own-*"))


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["vadose", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code


def test_a_file_and_its_explanation_become_a_cube_by_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    height = ("lat", "lon"), 300.0 + np.zeros((20, 20)), {"units": "m", "standard_name": "surface_altitude"}
    rain = ("time", "lat", "lon"), np.full(WET.shape, 0.001), {"units": "m"}
    data = moisture().assign(z=height, tp=rain, foo=rain, q=(*rain[:2], {"units": "furlong"}))
    data.to_netcdf(tmp_path / "mine.nc")
    command(monkeypatch, "build", "--explain", tmp_path / "mine.nc")
    text = capsys.readouterr().out
    said = yaml.safe_load(text)
    assert said["resolution"] == "9km"
    assert said["products"]["mine_static"]["own"] == {"static": True, "variables": {"z": {"variable": "elevation"}}}
    assert said["products"]["mine"]["own"]["variables"]["tp"] == {"variable": "precipitation"}
    assert "its unit 'furlong' is none of kg kg-1" in text
    (tmp_path / "mine.yaml").write_text(text.replace("last: 2020-06-05", "last: 2020-05-08"))
    where = ["--bbox=" + ",".join(map(str, BOX)), "--workers", 1, "--out", tmp_path / "cube.zarr"]
    command(monkeypatch, "build", tmp_path / "mine.nc", "--recipe", tmp_path / "mine.yaml", *where)
    cube = vd.open(tmp_path / "cube.zarr")
    assert float(cube.precipitation_7d[7, 3, 3]) == pytest.approx(7.0, rel=1e-3)
    assert cube.precipitation.attrs["converted_from"] == "m"
    assert float(cube.elevation[2, 2]) == 300
    assert cube.foo.attrs["units"] == "m"


def hours(values: float, unit: str, name: str) -> xr.Dataset:
    times = pd.date_range("2020-05-01", periods=60, freq="h")
    where = {"valid_time": times, "latitude": LAT[::-1], "longitude": LON + 360}
    data = np.full((60, 20, 20), values)
    data[30, 0, 0] = np.nan
    return xr.Dataset({name: (tuple(where), data, {"units": unit})}, where)


@pytest.mark.parametrize(
    ("ours", "value", "unit", "of_day", "expected"),
    [
        ("precipitation", 0.001, "m", None, 24.0),
        ("evapotranspiration", 0.001, "m of water equivalent", None, 24.0),
        ("precipitation", 1 / 86400, "kg m-2 s-1", None, 1.0),
        ("precipitation", 2.0, "mm", "max", 2.0),
        ("air_temperature", 20.0, "degC", None, 293.15),
        ("air_temperature_max", 68.0, "degF", None, 293.15),
        ("shortwave_radiation", 3.6e6, "J m-2", None, 1000.0),
        ("longwave_radiation", 1.08e6, "J m-2", None, 300.0),
        ("precipitation", 24.0, "mm/day", None, 24.0),
    ],
)
def test_hours_become_days_in_our_units(ours: str, value: float, unit: str, of_day: Any, expected: float) -> None:
    found = as_grid(hours(value, unit, "v"), Own({"v": Quantity(ours, of_day=of_day)}), "mine.nc")[ours]
    assert found.sizes["time"] == (2 if found.attrs["of_day"] == "sum" else 3)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    assert np.isnan(found[1, -1, 0]) == (found.attrs["of_day"] == "sum")


LAMBERT = CRS("+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=-97.5 +R=6371229")
UTM = CRS.from_epsg(32614)


def projected(crs: CRS, stated: str) -> xr.Dataset:
    """A field whose value is the latitude / 100, of 6 km in a projection."""
    to = Transformer.from_crs(4326, crs, always_xy=True)
    centre = to.transform(-100.0, 40.0)
    x, y = (c + 6000.0 * np.arange(-18, 19) for c in centre)
    lon, lat = to.transform(*np.meshgrid(x, y), direction="INVERSE")
    data = xr.Dataset({"sm": (("y", "x"), lat / 100, {"units": "1"})}, {"y": y, "x": x})
    if stated == "grid_mapping":
        data["lambert"] = xr.DataArray(0, attrs=crs.to_cf())
        data.sm.attrs["grid_mapping"] = "lambert"
    elif stated == "rim":
        lat[:2], lon[:2] = np.nan, np.nan
    if stated in ("rim", "places"):
        data = data.drop_vars(["y", "x"]).rename(y="south_north", x="west_east")
        data = data.assign(XLAT=(("south_north", "west_east"), lat), XLONG=(("south_north", "west_east"), lon + 360))
    return data


@pytest.mark.parametrize(
    ("stated", "method"),
    [("grid_mapping", "mean"), ("places", "mean"), ("rim", "mean"), ("places", "nearest"), ("km", "mean")],
)
def test_grids_of_any_projection_lie_where_they_are(stated: str, method: str) -> None:
    data, said = projected(LAMBERT if stated != "km" else UTM, stated), {}
    if stated == "km":
        data = data.assign_coords({a: data[a].assign_attrs(units="km") / 1000 for a in ("x", "y")})
        data.x.attrs["units"] = data.y.attrs["units"] = "km"
        said = {"crs": "EPSG:32614"}
    found = as_grid(data, own(static=True, **said), "mine.nc", BOX).soil_moisture
    cells = resample(found, GRID, method)
    lat, _ = GRID.latlon(*np.indices(GRID.shape))
    assert np.isfinite(cells[3:-3, 3:-3]).all()
    assert np.nanmax(np.abs(cells - lat / 100)[2:-2, 2:-2]) < (2e-4 if method == "mean" else 4e-4)
    weights = resample(found * 0 + 1, GRID, method)
    np.testing.assert_allclose(weights[3:-3, 3:-3], 1.0, rtol=1e-6)


def test_rows_that_are_not_even_keep_their_places() -> None:
    lat = np.r_[LAT[:10], LAT[10:] - 0.05]
    data = moisture().assign_coords(lat=lat).isel(time=0, drop=True)
    data["sm"] = data.sm * 0 + xr.DataArray(lat / 100, dims="lat")
    found = as_grid(data, own(static=True), "mine.nc").soil_moisture
    assert "crs" not in found.coords
    expected = GRID.latlon(np.arange(GRID.shape[0]), 0)[0] / 100
    np.testing.assert_allclose(resample(found, GRID, "mean")[:, 5], expected, atol=6e-4)


def test_zarr_of_both_versions_references_and_tiffs_are_read(tmp_path: Path) -> None:
    data = moisture().isel(time=slice(0, 3))
    kept = {}
    for version in (2, 3):
        store = tmp_path / f"v{version}.zarr"
        data.to_zarr(store, zarr_format=version, consolidated=False)
        kept[f"v{version}"] = store
    references = {
        path.relative_to(kept["v2"]).as_posix(): "base64:" + base64.b64encode(path.read_bytes()).decode()
        for path in kept["v2"].rglob("*")
        if path.is_file()
    }
    kept["references"] = tmp_path / "virtual.json"
    kept["references"].write_text(json.dumps({"version": 1, "refs": references}))
    kept["tiffs"] = tmp_path / "tiffs"
    kept["tiffs"].mkdir()
    for day, values in zip(DAYS, data.sm.values, strict=False):
        to = rasterio.Affine(0.1, 0, -101.0, 0, -0.1, 41.0)
        kind = {"driver": "GTiff", "height": 20, "width": 20, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
        with rasterio.open(kept["tiffs"] / f"sm_{day:%Y%m%d}.tif", "w", transform=to, nodata=-9.0, **kind) as file:
            file.write(values.astype("float32"), 1)
    for name, place in kept.items():
        said = recipe(last="2020-05-03", exact=True)
        if name == "tiffs":
            source = {
                "resampling": "mean",
                "own": {"variables": {"band_1": {"variable": "soil_moisture", "unit": "1"}}},
            }
            said["products"] = {"mine": source}
        cube = vd.build(place, said, out=tmp_path / f"{name}_cube.zarr", workers=1)
        assert float(cube.soil_moisture[2, 4, 4]) == pytest.approx(by_hand(data.sm[2], 4, 4), abs=1e-6), name
    assert "time_format" in explain_grid(kept["tiffs"])


def test_what_is_known_later_stands_on_the_day_on_which_it_is_known(tmp_path: Path) -> None:
    found = as_grid(moisture(), own(delay=3), "mine.nc", None, ("2020-05-04", "2020-05-06")).soil_moisture
    assert found.time.dt.day.values.tolist() == [4, 5, 6]
    np.testing.assert_allclose(found[:, 0, 0], WET[:3, 0, 0], rtol=1e-6)
    (tmp_path / "sm_20200501.tif").touch()
    # A cube that begins on 4 May needs the raster of 1 May.
    (granule,) = own_listing(own(delay=3), tmp_path, "mine").granules
    assert granule.first == granule.last == pd.Timestamp("2020-05-04")


def test_other_calendars_text_and_codes_are_told_or_converted() -> None:
    text = moisture().assign_coords(time=DAYS.strftime("%d/%m/%Y"))
    assert as_grid(text, own(time_format="%d/%m/%Y"), "m.nc").time.values[-1] == DAYS[-1]
    noleap = moisture().assign_coords(time=xr.date_range("2020-02-27", periods=36, calendar="noleap", use_cftime=True))
    assert as_grid(noleap, own(), "m.nc").time.dt.day.values.tolist()[:3] == [27, 28, 1]
    numbers = moisture().assign_coords(time=np.arange(36))
    assert as_grid(numbers, own(time_format="days since 2020-05-01"), "m.nc").time.values[1] == DAYS[1]
    coded = moisture(np.where(np.arange(20) % 2, WET, -9999.0))
    assert np.isnan(as_grid(coded, own(missing=-9999), "m.nc").soil_moisture[0, 0, 0])
    packed = moisture(np.round(WET * 65534).astype("uint16"))
    np.testing.assert_allclose(as_grid(packed, own(scale=1 / 65534), "m.nc").soil_moisture[0], WET[0], atol=1e-5)
    deep = moisture().expand_dims(depth=[0.05, 0.5])
    assert as_grid(deep, own(select={"depth": 0.05}), "m.nc").soil_moisture.shape == WET.shape


@pytest.mark.parametrize(
    ("data", "said", "message"),
    [
        (moisture(units="bushels"), {}, "soil_moisture is in 'bushels'; expected .m3 m-3.*under own.*'unit'"),
        (moisture().drop_attrs(), {}, "sm has no attribute 'units'; write its unit under own, such as 'unit: m3 m-3'"),
        (moisture(np.where(np.arange(20) % 2, WET, -9999.0)), {}, "from -9999 to -9999; .*under own.*'missing'"),
        (moisture(WET * 65534), {}, "lie outside 0 .. 1 .*'scale' and 'offset'"),
        (moisture(units="percent"), {}, "its values are at most 0.289; correct the attribute"),
        (moisture().assign_coords(time=DAYS[[0, *range(35)]]), {}, "1 times come twice, such as 2020-05-01"),
        (
            moisture().assign_coords(time=DAYS.strftime("%d/%m/%Y")),
            {},
            "found the time '01/05/2020'; write 'time_format'",
        ),
        (
            moisture().assign_coords(time=np.arange(36)),
            {},
            "times are the numbers 0, ...; write 'time_format' under own",
        ),
        (
            moisture().assign_coords(time=xr.date_range("2020-02-27", periods=36, calendar="360_day", use_cftime=True)),
            {},
            "of the calendar 360_day, whose days are no dates",
        ),
        (moisture().isel(time=0, drop=True), {}, "have no time; write 'static: true' under own"),
        (moisture(), {"static": True}, r"change with time \(36 times\); leave 'static' out"),
        (moisture().expand_dims(depth=[0.05, 0.5]), {}, "choose one of it under own, 'select: {depth: VALUE}'"),
        (projected(UTM, ""), {"static": True}, "in no projection that is stated; write 'crs: EPSG:NUMBER' under own"),
        (projected(UTM, ""), {"static": True, "crs": "EPSG:1"}, "its projection 'EPSG:1' is not understood"),
        (moisture().rename(lat="rows"), {}, "none is y; write 'axes: {y: NAME}' under own"),
        (moisture(), {"axes": {"y": "rows"}}, "'axes' calls 'rows' y, which is none"),
        (moisture().isel(lat=[0]), {}, "1 x 20 pixels are no grid"),
        (moisture(np.full(WET.shape, "wet")), {}, "holds <U3; expected numbers"),
    ],
)
def test_what_is_not_clear_is_refused_with_what_to_write(data: xr.Dataset, said: dict[str, Any], message: str) -> None:
    with pytest.raises(VadoseError, match=message) as error:
        as_grid(data, own(**said), "mine.nc")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variables": {"smm": {"variable": "soil_moisture"}}}, "no variable 'smm'; did you mean 'sm'"),
        ({"variables": {"sm": "soil_moisture"}}, r"expected NAME: .variable: OURS, unit: UNIT."),
        ({"variables": {"sm": {"variable": "soil moisture"}}}, "cannot be the name of a variable"),
        ({"path": "nowhere/*.nc"}, "no file of .nc, .*name the files, 'path: mine"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    moisture().to_netcdf(tmp_path / "mine.nc")
    told = {"variables": {"sm": {"variable": "soil_moisture"}}} | change
    said = recipe(products={"mine": {"resampling": "mean", "own": told}})
    with pytest.raises(VadoseError, match=message) as error:
        vd.build(tmp_path / "mine.nc", said, out=tmp_path / "cube.zarr")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cube.zarr").exists()
