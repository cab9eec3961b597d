"""What is derived is the same in a cube, at the station of its cell, and on a map: one table makes all three."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube import Recipe, Source, build_from_granules, open_cube
from vadose.cube.at_stations import extract
from vadose.errors import VadoseError
from vadose.features.derived import DERIVED, KEPT, Derived, derive
from vadose.grid import ease_grid, grid_of, raster_coordinates
from vadose.models.mmnet import Features
from vadose.predict.map_features import MapFeatures
from vadose.products import PRODUCTS
from vadose.products.product import AtStations, Product

BOX, DAYS = (-100.008, 39.992, -99.992, 40.008), pd.date_range("2019-07-01", periods=2)
COORDINATES = raster_coordinates("EPSG:4326", (-100.03, 40.03, 0.0005, 0.0005), (120, 120)).coords
BANDS = tuple(f"reflectance_{colour}" for colour in ("blue", "green", "red", "nir", "swir1", "swir2"))
BACKSCATTER = ("sigma0_vv", "sigma0_vh")
OF_PIXELS = ("ndvi", "evi", "ndwi", "lswi", "cross_ratio", "dpsvim", "polarization", "redness")
# The filter of backscatter in degrees takes metres at the middle of what is read.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}
TERRAIN = ("slope", "aspect", "aspect_cosine", "aspect_sine")


def read_mine(path: Path, *, bbox: tuple[float, float, float, float] | None = None) -> xr.Dataset:
    with xr.open_dataset(path, engine="scipy") as file:
        dataset = file.load().assign_coords(COORDINATES)
    return dataset if bbox is None else dataset.sel(lat=slice(bbox[3], bbox[1]), lon=slice(bbox[0], bbox[2]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cube and the features of its stations from random fields of a product, and a feature nobody knew before."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("derived")
    at = AtStations({"elevation": "elevation"}, (*BANDS, *BACKSCATTER, "elevation"), reach=300)
    product = Product("A scene", "grid", "10.1000/mine", read_mine, lambda path: False, re.compile(r"mine_\d{8}\.nc"))
    for day in DAYS:
        fields = {name: rng.uniform(0.05, 0.6, (120, 120)) for name in (*BANDS, *BACKSCATTER)}
        fields["reflectance_blue"] /= 10  # as of land: an index beyond its valid range is cut in a cube
        fields["elevation"] = rng.normal(500, 20, (120, 120))
        daily = {name: (("time", "lat", "lon"), of[None].astype(np.float32)) for name, of in fields.items()}
        (folder / "mine").mkdir(exist_ok=True)
        xr.Dataset(daily, {"time": [day]}).to_netcdf(folder / "mine" / f"mine_{day:%Y%m%d}.nc", engine="scipy")
    grid = ease_grid("100m").bounding_box(*BOX)
    rows, columns = rng.integers(0, grid.shape[0], 9), rng.integers(0, grid.shape[1], 9)
    lat, lon = grid.latlon(rows, columns)
    place = {"lat": ("station", lat + rng.uniform(-3e-4, 3e-4, 9)), "lon": ("station", lon)}
    stations = xr.Dataset(coords={"station": [f"s{k}" for k in range(9)], **place})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRODUCTS, "mine", Product(**(vars(product) | {"stations": at})))
        red_share = Derived(("reflectance_red", "reflectance_nir"), lambda r, n: r / (r + n), at_stations=True)
        patch.setitem(DERIVED, "redness", red_share)
        names = (*BANDS, *TERRAIN, *OF_PIXELS, "elevation", "vv", "vh")
        recipe = Recipe(
            "100m", BOX, "2019-07-01", "2019-07-02", (Source("mine", {n: n for n in names}, "nearest"),), exact=True
        )
        cube = open_cube(build_from_granules(folder, folder / "cube.zarr", recipe)).load()
        yield cube, extract(folder, stations, DAYS)


def at_cells(values: np.ndarray, cube: xr.Dataset, stations: xr.Dataset) -> np.ndarray:
    row, column = grid_of(cube).rowcol(stations.lat.values, stations.lon.values)
    return np.moveaxis(values[..., row, column], -1, 0)


@pytest.mark.parametrize("name", [*OF_PIXELS, *TERRAIN, "elevation"])
def test_a_station_has_the_value_of_the_cubes_cell(name: str, made: Any) -> None:
    cube, stations = made
    found = stations[name].transpose("station", "time").values
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, at_cells(cube[name].values, cube, stations), **CLOSE)


@pytest.mark.parametrize("name", OF_PIXELS)
def test_a_map_has_it_though_its_store_holds_the_inputs_alone(name: str, made: Any) -> None:
    cube, stations = made
    fine = cube.drop_vars(OF_PIXELS)
    features = MapFeatures(fine, [], [Features((name, "elevation"), (), days=1)], DAYS)
    whole = slice(0, fine.sizes["y"]), slice(0, fine.sizes["x"])
    for day in range(2):
        values = features.snapshot(day, *whole)[0][0]
        np.testing.assert_allclose(
            at_cells(values, cube, stations), stations[name].transpose("station", "time")[:, day], **CLOSE
        )


def test_sums_and_buckets_are_those_of_the_days_in_a_table_and_on_a_map(made: Any) -> None:
    cube, _ = made
    days = pd.date_range("2019-05-01", DAYS[-1])
    rng, shape = np.random.default_rng(0), (len(days), cube.sizes["y"], cube.sizes["x"])
    weather = grid_of(cube).coordinates().assign_coords(time=days)
    weather["precipitation"] = ("time", "y", "x"), rng.gamma(0.3, 9.0, shape)
    weather["air_temperature"] = weather.precipitation * 0 + 290
    weather["reference_evapotranspiration"] = weather.precipitation * 0 + 4
    names = ("precipitation_7d", "bucket_25mm")
    features = MapFeatures(cube, [weather], [Features(names, (), days=1)], DAYS)
    found = features.snapshot(1, slice(2, 4), slice(5, 7))[0]
    table = derive(weather.isel(y=[2, 3], x=[5, 6]), names, KEPT)
    np.testing.assert_allclose(found, [table[name][-1] for name in names], rtol=1e-5)
    np.testing.assert_allclose(found[0], weather.precipitation[-7:, 2:4, 5:7].sum("time"), rtol=1e-5)


def test_what_lacks_its_inputs_is_left_to_the_caller() -> None:
    data = xr.Dataset({"reflectance_red": ("x", [0.1])})
    assert derive(data, ["ndvi", "slope", "bucket_10mm", "unheard_of"], KEPT) is data


def test_the_share_of_a_cover_has_a_mean_and_the_classes_have_none() -> None:
    def of(name: str) -> Recipe:
        return Recipe("9km", BOX, "2019-07-01", "2019-07-02", (Source("nlcd", {name: name}, "mean"),))

    of("land_cover_forest").check()
    with pytest.raises(VadoseError, match="'land_cover_nlcd' of nlcd are classes"):
        of("land_cover_nlcd").check()
