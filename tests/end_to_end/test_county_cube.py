"""A county at 100 m from granules: to a cube, at stations, and on to a map."""

import re
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.fetch.county_centre import CountyCentre

import vadose as vd
from vadose.artefact import provenance
from vadose.cli import main
from vadose.cube.at_stations import extract
from vadose.cube.station_table import build_station_table
from vadose.door.datasets import by_day
from vadose.errors import VadoseError
from vadose.experiments import load_cube
from vadose.grid import ease_grid, grid_of
from vadose.models.mmnet import Features
from vadose.products import PRODUCTS
from vadose.samples.station_days import StationDays
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.leaves import write_mod15a2h
from vadose.twin.granules.modis import write_mod11a1
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.granules.smap_l4 import write_smap_l4
from vadose.twin.granules.soils import write_solus
from vadose.twin.granules.stations import at_stations, measured, place_stations, write_ismn
from vadose.twin.truth import simulate

FIRST, LAST = "2019-06-02", "2019-07-05"
BOX = (-99.980, 39.9915, -99.970, 40.0010)
AROUND = (-100.0, 39.96, -99.94, 40.03)
OPTICAL, RADAR = ("ndvi", "evi", "ndwi", "lswi"), ("cross_ratio", "dpsvim", "polarization")
FIXED = ("elevation", "slope", "aspect_cosine", "clay_fraction", "sand_fraction", "bulk_density", "land_cover_forest")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Some weeks of a small county, a part of it at last under a cloud."""
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(40.0, -99.97))
    county = whole.part(slice(row - 10, row + 10), slice(column - 10, column + 10))
    truth = next(simulate(county, FIRST, LAST, chunk=40, spin_up=0))
    truth["cloud"] = truth.cloud * 0
    truth["cloud"][20:, :, :6] = 1.0
    return truth


@pytest.fixture(scope="module")
def granules(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of the county, and weather around."""
    folder = tmp_path_factory.mktemp("county")
    for name in ("landsat", "hls", "sentinel1", "3dep", "nlcd", "polaris"):
        twin = PRODUCTS[name].twin
        assert twin
        module, _, writer = twin.writer.partition(".")
        getattr(import_module(f"vadose.twin.granules.{module}"), writer)(truth, folder / name)
    for file in (folder / "polaris").rglob("*.tif"):
        if file.parts[-4] not in ("clay", "sand", "bd") or file.parts[-2] != "0_5":
            file.unlink()  # most of a world's soils are in no recipe
    cells = ease_grid("9km").bounding_box(-100.3, 39.8, -99.7, 40.2)
    around = next(simulate(cells, "2019-06-20", LAST, spin_up=0))
    write_gridmet(around, folder / "gridmet")
    write_solus(truth, folder / "solus100", properties=("claytotal", "sandtotal", "dbovendry"), depths=(5,))
    days = around.sel(time=slice("2019-07-03", "2019-07-04"))
    write_smap_l4(around.sel(time=slice("2019-07-01", "2019-07-04")), folder / "smap_l4")
    for write, name in ((write_smap_l3, "smap_l3"), (write_mod11a1, "mod11a1")):
        write(days, folder / name)
    write_mod15a2h(days.isel(time=slice(1)), folder / "mod15a2h", subset=True)
    return folder


@pytest.fixture(scope="module")
def cube(granules: Path) -> Path:
    out = granules / "county.zarr"
    # It grows by days, as a cube that is kept up to date.
    for last in ("2019-06-20", LAST):
        vd.build(granules, "county_100m", out=out, bbox=BOX, days=(FIRST, last), workers=1)
    return out


def test_a_cube_that_grew_is_the_one_built_at_once(granules: Path, cube: Path, tmp_path: Path) -> None:
    grown = vd.open(cube).load()
    at_once = vd.build(granules, "county_100m", out=tmp_path / "c.zarr", bbox=BOX, days=(FIRST, LAST), workers=1)
    xr.testing.assert_equal(grown, at_once.load())
    assert grown.mask.all()
    assert grown.attrs["broken_granules"] == "{}"
    # Landsat flew over on the 2nd and 18th of June and on the 4th of July, when clouds hid a part.
    age = grown.ndvi_age
    assert age.sel(time="2019-06-20").values.tolist() == np.full(age.shape[1:], 2.0).tolist()
    assert set(np.unique(age.sel(time=LAST))) == {1.0, 17.0}
    clear = (age.sel(time=LAST) == 1).values
    assert (np.isfinite(grown.ndvi.sel(time="2019-07-04").values) == clear).all()
    assert np.isfinite(grown.ndvi_filled).all()
    assert grown.ndvi_filled.attrs["causal"] == "true"


@pytest.mark.parametrize("name", [*OPTICAL, *RADAR, *FIXED])
def test_a_station_has_the_value_of_its_pixel(name: str, features: tuple[xr.Dataset, xr.Dataset]) -> None:
    cells, stations = features
    found = stations[name].transpose("station", ...).values
    at = f"{name}_filled" if f"{name}_filled" in cells else name
    np.testing.assert_allclose(found, cells[at].transpose("station", ...).values, rtol=2e-3, atol=1e-6)
    if at != name:
        ages = (of[f"{name}_age"].transpose("station", "time") for of in (cells, stations))
        np.testing.assert_array_equal(*ages)
    assert np.isfinite(found).any()


@pytest.fixture(scope="module")
def features(granules: Path, cube: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """The cube's pixels that hold stations, and the features of the stations."""
    pixels = vd.open(cube).load()
    rng = np.random.default_rng(0)
    row, column = (rng.integers(0, size, 7) for size in grid_of(pixels).shape)
    lat, lon = grid_of(pixels).latlon(row, column)
    place = {"lat": ("station", lat + rng.uniform(-3e-4, 3e-4, 7)), "lon": ("station", lon)}
    stations = xr.Dataset(coords={"station": [f"s{k}" for k in range(7)], **place})
    at = {"y": xr.DataArray(row, dims="station"), "x": xr.DataArray(column, dims="station")}
    return pixels.isel(at), extract(granules, stations, pd.date_range(FIRST, LAST))


def test_stations_by_the_recipe_have_the_cubes_values(
    granules: Path, features: tuple[xr.Dataset, xr.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, stations = features
    monkeypatch.chdir(tmp_path)
    provenance_of = {"inputs": "{}", "dataset": "made up", "day_boundary": "{}", "simulated": "true"}
    days = pd.date_range("2019-06-25", LAST)
    series = xr.DataArray(np.full((7, 1, len(days)), 0.2), dims=("station", "layer", "time"))
    store = xr.Dataset(
        {"soil_moisture": series, "precipitation": series[:, 0] * 10},
        {
            "layer": np.array(["0-10 cm"], object),
            "time": days,
            "elevation": ("station", np.zeros(7)),
            **stations[["lat", "lon"]].coords,
        },
        provenance_of | {"layer_depths": '{"0-10 cm": 5}'} | provenance(),
    )
    store = store.assign_coords(station=stations.station.astype(object))
    store.to_zarr("stations.zarr", zarr_format=3, consolidated=False)
    command = ["vadose", "build", str(granules), "--recipe", "county_100m", "--at", "stations.zarr"]
    command += ["--from", "2019-06-25", "--to", LAST, "--out", "features.zarr"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    found = vd.open("features.zarr").load()
    # A cube of these days begins with what was seen before them; this one began before.
    for name in (*OPTICAL, *RADAR, "orbit_ascending"):
        for ours, theirs in ((name, f"{name}_filled"), (f"{name}_age", f"{name}_age")):
            expected = cells[theirs].sel(time=days).transpose("station", "time")
            np.testing.assert_allclose(found[ours], expected, rtol=2e-3, err_msg=ours)
    for name in FIXED:
        np.testing.assert_allclose(found[name], cells[name], rtol=1e-5)
    made = build_station_table(Path("stations.zarr"), Path("table.zarr"), first="2019-06-25", features=found)
    table = vd.open(made)
    learnt = StationDays(
        table.load(), Features(("ndvi", "ndvi_age", "cross_ratio", "clay_fraction"), ("soil_moisture",), 2)
    )
    assert np.isfinite(learnt.snapshot).all()


def test_other_products_by_their_recipe(granules: Path, cube: Path, tmp_path: Path) -> None:
    out = {"out": tmp_path / "c.zarr", "bbox": BOX, "days": ("2019-06-20", "2019-06-22"), "workers": 1}
    other, usual = (
        vd.build(granules, "county_100m_hls", **out).load(),
        vd.open(cube).sel(time=slice("2019-06-20", "2019-06-22")).load(),
    )
    # Landsat's own scene, packed otherwise, on pixels that lie otherwise on cells of 100 m.
    for name in OPTICAL:
        np.testing.assert_allclose(other[f"{name}_filled"], usual[f"{name}_filled"], atol=5e-3)
        np.testing.assert_array_equal(other[f"{name}_age"], usual[f"{name}_age"])
    np.testing.assert_allclose(other.clay_fraction, usual.clay_fraction, atol=0.02)
    assert (other.ndvi.attrs["product"], other.clay_fraction.attrs["product"]) == ("HLSL30", "SOLUS100")
    place = {"lat": ("station", [40.0]), "lon": ("station", [-99.975])}
    station = xr.Dataset(coords={"station": ["a"], **place})
    row, column = (int(v[0]) for v in grid_of(other).rowcol([40.0], [-99.975]))
    recipe = load_cube("county_100m_hls")
    found = extract(granules, station, pd.DatetimeIndex(other.time.values), recipe=recipe)
    for name, theirs in (("ndvi", "ndvi_filled"), ("clay_fraction", "clay_fraction")):
        np.testing.assert_allclose(found[name][0], other[theirs][..., row, column], rtol=1e-3)


def test_leaves_and_optical_depth_are_layers(granules: Path, tmp_path: Path) -> None:
    days = ("2019-07-03", "2019-07-05")
    made = vd.build(
        granules, "county_1km_vegetation", out=tmp_path / "c.zarr", bbox=AROUND, days=days, workers=1
    ).load()
    # The composite of 30 June to 3 July, from its last day on.
    assert ((made.leaf_area_index[0] > 0) & (made.leaf_area_index[0] < 10)).all()
    assert (made.fpar_filled == made.fpar[0]).all()
    assert made.fpar_age.max(("y", "x")).values.tolist() == [0, 1, 2]
    seen = np.isfinite(made.vegetation_opacity_filled[-1])
    assert seen.any()
    assert (made.vegetation_opacity_age.values[-1][seen] >= 1).all()


PAGE = Path(__file__).resolve().parents[2] / "docs" / "county.md"
OURS = {
    "-97.3,35.0,-96.7,35.5": ",".join(map(str, BOX)),
    "-97.4,34.9,-96.6,35.6": ",".join(map(str, AROUND)),
    "2020-03-01": "2019-06-26",
    "2020-06-01": "2019-07-02",
    "2020-08-31": "2019-07-04",
    "min-pairs 30": "min-pairs 3",
    "min_pairs: 30": "min_pairs: 3",
    "days: 10": "days: 5",
    "epochs: 20": "epochs: 4",
}
"""What of the page is of its own county -> of this one."""


def test_the_page_leads_from_a_data_centre_to_a_scored_map(
    truth: xr.Dataset, granules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank_figures: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    for theirs, ours in OURS.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    for name, content in re.findall(r"`(\w+\.yaml)`:\n\n```yaml\n(.+?)```", text, flags=re.DOTALL):
        Path(name).write_text(content)
    places = place_stations(truth, 5)
    write_ismn(measured(at_stations(truth, places)), tmp_path / "data" / "ismn")
    days = truth.sel(time=slice("2019-07-02", "2019-07-04"))
    moisture = days[["soil_moisture_0_10cm"]].rename(soil_moisture_0_10cm="soil_moisture")
    moisture.assign_attrs(truth.attrs | {"layer": "0-10 cm"}).to_zarr("truth.zarr", zarr_format=3, consolidated=False)
    # Features at stations by the recipe are built, and compared, above.
    lines = [line for line in re.findall(r"^\$ vadose (.+)$", text, flags=re.MULTILINE) if "--at" not in line]
    commands = [shlex.split(line) for line in lines]
    assert {command[0] for command in commands} == {"stations", "fetch", "build", "study", "downscale", "evaluate"}
    with CountyCentre(granules, monkeypatch), blank_figures():
        for command in commands:
            monkeypatch.setattr(sys, "argv", ["vadose", *command])
            with pytest.raises(SystemExit) as stopped:
                main()
            assert stopped.value.code in (0, None), command
    maps = by_day(xr.open_zarr("maps.zarr", consolidated=False)).load()
    assert np.isfinite(maps.soil_moisture).mean() > 0.6
    assert len(list(Path("geotiffs").glob("*_colours.tif"))) == maps.sizes["time"] == 3
    for scores in ("at_stations", "on_pixels"):
        found = pd.read_csv(Path(scores) / "scores.csv")
        assert set(found.model) == {"mmnet", "smap_l4"}
        assert found.n_pairs.gt(0).all()


def test_place_and_days_are_of_a_recipe(granules: Path, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="last day 2019-06-01 is before the first day, 2019-07-01"):
        vd.build(granules, "county_100m", out=tmp_path / "c.zarr", bbox=BOX, days=("2019-07-01", "2019-06-01"))
    with pytest.raises(VadoseError, match="an area or days are those of a recipe"):
        vd.build(granules, out=tmp_path / "c.zarr", bbox=BOX)
