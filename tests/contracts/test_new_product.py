"""A product of one's own is one file with its reader and one line in PRODUCTS: this file, and the line in `mine`."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube import Recipe, Source, build_from_granules, open_cube
from vadose.cube.at_stations import extract
from vadose.grid import ease_grid, raster_coordinates
from vadose.products import PRODUCTS, identify
from vadose.products.inspection import inspect
from vadose.products.product import AtStations, Product

BOX = (-100.2, 39.9, -99.9, 40.1)
STEP = 0.05
COORDINATES = raster_coordinates("EPSG:4326", (-101.0, 41.0, STEP, STEP), (40, 40))


def read_mine(path: Path, *, bbox: tuple[float, float, float, float] | None = None) -> xr.Dataset:
    with xr.open_dataset(path, engine="scipy") as file:
        dataset = file.load().assign_coords(COORDINATES.coords)
    if bbox is not None:
        dataset = dataset.sel(lat=slice(bbox[3], bbox[1]), lon=slice(bbox[0], bbox[2]))
    return dataset.assign_attrs(product="MINE", version="1", quality="all", simulated="true", day_boundary="UTC")


def is_mine(path: Path) -> bool:
    return path.suffix == ".nc" and path.name.startswith("mine")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Granules of three days, the second in two versions; moisture rises from day to day and towards the north."""
    monkeypatch.setitem(
        PRODUCTS,
        "mine",
        Product(
            "Moisture of one's own",
            "grid",
            "10.1000/mine",
            read_mine,
            is_mine,
            re.compile(r"mine_\d{8}_r\d\.nc"),
            version=re.compile(r"_r(?P<a>\d)"),
            stations=AtStations({"soil_moisture_mine": "soil_moisture"}),
        ),
    )
    (tmp_path / "mine").mkdir()
    for k, (day, version) in enumerate((("20190701", 1), ("20190702", 1), ("20190702", 2), ("20190703", 1))):
        field = np.broadcast_to(0.01 * k + 0.005 * COORDINATES.lat.values[:, None], (40, 40)).astype(np.float32)
        dataset = xr.Dataset({"soil_moisture": (("time", "lat", "lon"), field[None])}, {"time": [pd.Timestamp(day)]})
        dataset.to_netcdf(tmp_path / "mine" / f"mine_{day}_r{version}.nc", engine="scipy")
    return tmp_path


def test_it_is_recognised_and_told(mine: Path) -> None:
    path = mine / "mine" / "mine_20190701_r1.nc"
    assert identify(path) == "mine"
    assert inspect(path, bbox=BOX).facts["title"] == "Moisture of one's own"


def test_it_becomes_a_cube(mine: Path) -> None:
    recipe = Recipe("9km", BOX, "2019-07-01", "2019-07-03", (Source("mine", {"soil_moisture": "moisture"}, "nearest"),))
    cube = open_cube(build_from_granules(mine, mine / "cube.zarr", recipe))
    grid = ease_grid("9km").bounding_box(*BOX)
    lat = grid.latlon(np.arange(grid.shape[0]), 0)[0]
    centre = np.round((lat - 41.0 + STEP / 2) / STEP) * STEP + 41.0 - STEP / 2
    # Of two versions of a day the newer counts.
    for day, k in enumerate((0, 2, 3)):
        np.testing.assert_allclose(cube.moisture[day, :, 0], 0.01 * k + 0.005 * centre, atol=2e-4)
    assert cube.moisture.attrs["product"] == "MINE"
    assert "mine/mine_20190702_r1.nc" in (mine / "cube.zarr" / "granules.csv").read_text()


def test_stations_are_given_it(mine: Path) -> None:
    place = {"lat": ("station", [40.0, 40.05]), "lon": ("station", [-100.0, -100.05])}
    stations = xr.Dataset(coords={"station": ["a", "b"], **place})
    found = extract(mine, stations, pd.date_range("2019-07-01", periods=4)).soil_moisture_mine
    centre = COORDINATES["lat"].sel(lat=[40.0, 40.05], method="nearest").values
    expected = [[0.01 * k + 0.005 * lat for k in (0, 2, 3)] + [np.nan] for lat in centre]
    np.testing.assert_allclose(found, expected, atol=3e-4)
