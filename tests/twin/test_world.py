from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact import identity
from vadose.errors import VadoseError
from vadose.features.soil_water import THICKNESS, Water, soil_of, step_water
from vadose.grid import ease_grid
from vadose.insitu.store import build_stations
from vadose.products.conusv4f1 import read_conusv4f1
from vadose.products.uscrn import read_uscrn
from vadose.twin.weather import weather
from vadose.twin.world import build_database_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_database_world(tmp_path_factory.mktemp("twin") / "world", years=1, stations=5)


def test_no_water_is_lost_or_made() -> None:
    generator = np.random.default_rng(1)
    grid = ease_grid("36km").bounding_box(-110, 35, -104, 45)
    lat, lon = grid.latlon(*np.indices(grid.shape))
    soil = soil_of(generator.uniform(0.2, 0.7, lat.shape), generator.uniform(0.05, 0.3, lat.shape))
    start = np.repeat(soil.field_capacity[None], 3, axis=0)
    water = Water(start.copy(), np.zeros(lat.shape))
    gained, deepest = np.zeros(lat.shape), 0.0
    for day in pd.date_range("2019-10-01", periods=300):
        today = weather(day, grid, lat, lon, 0 * lat + 1500, 0)
        fluxes = step_water(soil, water, today)
        gained += today["precipitation"] - sum(fluxes.values())
        deepest = max(deepest, float(water.snow.max()))
        assert (water.moisture >= 0).all()
        assert (water.moisture <= soil.porosity + 1e-12).all()
    stored = ((water.moisture - start) * THICKNESS[:, None, None]).sum(axis=0) + water.snow
    np.testing.assert_allclose(stored, gained, atol=1e-9)
    assert deepest > 10


def test_the_database_is_read_as_the_real_one_is(world: Path) -> None:
    dataset = read_conusv4f1(world / "conusv4f1")
    assert dict(dataset.sizes) == {"time": 366, "y": 8, "x": 10}
    assert 60 < int(dataset.mask.sum()) <= 80
    assert dataset.attrs["simulated"] == "true"
    assert dataset.attrs["grid_step"] == pytest.approx(4 * dataset.attrs["cell_size"])
    assert 250 < float(dataset.precipitation.sum("time").where(dataset.mask).mean()) < 1800


def test_the_satellite_sees_the_truth_on_about_two_days_of_five(world: Path) -> None:
    seen = read_conusv4f1(world / "conusv4f1").soil_moisture
    truth = xr.open_zarr(world / "truth.zarr", consolidated=False)
    assert truth.attrs["simulated"] == "true"
    share = np.isfinite(seen).where(seen.notnull().any("time")).mean("time")
    assert 0.3 < float(share.mean()) < 0.5
    error = seen.values - truth.soil_moisture_0_10cm.values
    assert 0.02 < float(np.nanstd(error)) < 0.045


def test_moisture_is_remembered_for_days_and_forgotten_in_weeks(world: Path) -> None:
    truth = xr.open_zarr(world / "truth.zarr", consolidated=False).soil_moisture_0_10cm.values
    anomalies = truth - truth.mean(axis=0)
    r = [
        float(np.mean([np.corrcoef(a[:-lag], a[lag:])[0, 1] for a in anomalies.reshape(366, -1).T])) for lag in (1, 30)
    ]
    assert r[0] > 0.6
    assert r[1] < 0.4


def test_stations_are_read_as_real_ones_are_and_lie_in_cells(world: Path, tmp_path: Path) -> None:
    files = sorted((world / "uscrn" / "2015").glob("*.txt"))
    assert len(files) == 5
    station = read_uscrn(files[0])
    assert station.sizes["depth"] == 5
    assert float(station.soil_moisture.min()) > 0
    store = xr.open_zarr(build_stations(tmp_path / "s.zarr", uscrn=world / "uscrn"), consolidated=False)
    assert store.attrs["simulated"] == "true"
    assert all("Simulated" in name for name in store.station.values)
    flagged = (store.soil_moisture_flag.sel(depth=5) > 0).any("time").values
    assert flagged.sum() >= 1  # the spike, at least


def test_one_seed_gives_one_world_and_another_gives_another(world: Path, tmp_path: Path) -> None:
    again = build_database_world(tmp_path / "again", years=1, stations=5)
    other = build_database_world(tmp_path / "other", years=1, stations=5, seed=1)
    for folder in ("conusv4f1", "uscrn"):
        prints = [identity(place / folder) for place in (world, again, other)]
        assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"years": 0}, "0 years"),
        ({"stations": 99}, "expected 1 to 40"),
        ({"stations": 0}, "0 stations asked for; expected 1 to 40"),
    ],
)
def test_impossible_worlds_are_refused(tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        build_database_world(tmp_path / "world", **options)
    assert not list(tmp_path.iterdir())
