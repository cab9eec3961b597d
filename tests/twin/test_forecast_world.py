"""The simulated world of the forecast study: soil that remembers, a model that errs, granules with outages."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray

from vadose.cube import Recipe, build_from_granules, open_cube
from vadose.errors import VadoseError
from vadose.experiments import load_cube
from vadose.features.soil_water import Soil, filled, soil_of, step_water
from vadose.grid import ease_grid, grid_of
from vadose.insitu.store import build_stations
from vadose.products.mod09ga import BANDS, read_mod09ga
from vadose.products.nldas import daily_nldas_noah, is_nldas_noah
from vadose.products.scan import read_scan
from vadose.twin.granules.modis import write_mod09ga
from vadose.twin.granules.nldas import write_nldas_noah
from vadose.twin.sensors import green, vegetation
from vadose.twin.truth import at, simulate
from vadose.twin.weather import weather
from vadose.twin.world import MORE, build_granule_world

FIRST, LAST = "2018-05-01", "2018-05-28"
BOX = (-101.8, 32.5, -101.3, 32.95)
OUTAGES = {
    "smap_l3": [("2018-05-20", "2018-05-26")],
    "mod09ga": [("2018-05-22", "2018-05-24")],
    "nldas_noah": [("2018-05-02", "2018-05-02")],
    "gridmet": [("2018-05-07", "2018-05-08")],
}
LAYERS = ("0_10cm", "10_40cm", "40_100cm")

Array = NDArray[np.floating]


@pytest.fixture(scope="module")
def moisture() -> Array:
    """Four years of three layers on a dozen places of the plains, (layer, day, place); frost and season taken out."""
    grid = ease_grid("36km").bounding_box(-104, 33, -94, 43).part(slice(0, 27, 7), slice(0, 21, 7))
    lat, lon = grid.latlon(*np.indices(grid.shape))
    soil = soil_of(np.full(grid.shape, 0.4), np.linspace(0.1, 0.35, grid.shape[0] * grid.shape[1]).reshape(grid.shape))
    water, days, kept = filled(soil), pd.date_range("2014-01-01", "2018-12-31"), []
    for day in days:
        today = weather(day, grid, lat, lon, 0 * lat + 500, 0)
        canopy = green(vegetation(day.day_of_year, np.full(grid.shape, 10), lat)["ndvi"])
        step_water(soil, water, today, canopy)
        kept.append(water.moisture.reshape(3, -1).copy())
    series = np.stack(kept, axis=1)[:, 365:]
    angle = 2 * np.pi * days.day_of_year.to_numpy()[365:] / 365.25
    waves = np.column_stack([f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin)] + [np.ones(len(angle))])
    return np.stack([of - waves @ np.linalg.lstsq(waves, of, rcond=None)[0] for of in series])


def correlation(first: Array, second: Array, lag: int) -> float:
    """Median over places of the correlation of one with the other some days later."""
    pairs = zip(first[: len(first) - lag].T, second[lag:].T, strict=True)
    return float(np.median([np.corrcoef(a, b)[0, 1] for a, b in pairs]))


def test_each_layer_remembers_as_long_as_real_stations_do(moisture: Array) -> None:
    # Anomalies of USCRN stations of the plains fall to 1/e after 15, 29 and 77 days at 5, 20 and 50 cm.
    days = [
        next((lag for lag in range(1, 200) if correlation(layer, layer, lag) < np.exp(-1)), 200) for layer in moisture
    ]
    assert 6 <= days[0] <= 22
    assert 14 <= days[1] <= 50
    assert 35 <= days[2] <= 140
    # Theirs are 0.79, 0.59 and 0.38 after 3, 7 and 14 days at the surface.
    for lag, real in ((3, 0.79), (7, 0.59), (14, 0.38)):
        assert correlation(moisture[0], moisture[0], lag) == pytest.approx(real, abs=0.15)


def test_the_layer_above_tells_of_the_layer_below_some_days_later(moisture: Array) -> None:
    for above, below in pairwise(moisture):
        cut = []
        for a, b in zip(above[:-7].T, below.T, strict=True):
            later, own = b[7:], np.column_stack([b[:-7], np.ones(len(a))])
            both = np.column_stack([own, a])
            left = [float((later - x @ np.linalg.lstsq(x, later, rcond=None)[0]).var()) for x in (own, both)]
            cut.append(1 - left[1] / left[0])
        assert np.median(cut) > 0.01
    # The lowest follows the surface late, not at once.
    assert correlation(moisture[0], moisture[2], 14) > correlation(moisture[0], moisture[2], 0) + 0.02


def dried(soil: Soil, canopy: float, days: int = 40) -> Array:
    """Moisture of three layers after days of sun on a soil at field capacity."""
    water = filled(soil)
    for _ in range(days):
        step_water(
            soil,
            water,
            {
                "precipitation": np.zeros((1, 1)),
                "air_temperature": np.full((1, 1), 298.0),
                "shortwave_radiation": np.full((1, 1), 260.0),
            },
            canopy,
        )
    return water.moisture[:, 0, 0]


def test_sand_drains_faster_and_plants_draw_from_the_depth() -> None:
    sand, clay = (soil_of(np.array([[s]]), np.array([[c]])) for s, c in ((0.85, 0.05), (0.2, 0.5)))
    lost = []
    for soil in (sand, clay):
        water = filled(soil)
        water.moisture[:] = soil.porosity * 0.9
        still = {
            "precipitation": np.zeros((1, 1)),
            "air_temperature": np.full((1, 1), 270.0),
            "shortwave_radiation": np.full((1, 1), 100.0),
        }
        fluxes = [step_water(soil, water, still)["drainage"].item() for _ in range(5)]
        lost.append(sum(fluxes))
    assert lost[0] > 3 * lost[1] > 0
    loam = soil_of(np.array([[0.4]]), np.array([[0.2]]))
    bare, grown = dried(loam, 0.05), dried(loam, 0.9)
    assert grown[2] < bare[2] - 0.02
    assert (grown > 0.4 * loam.wilting_point.item()).all()


def test_the_land_model_errs_in_its_own_way_and_only_when_asked() -> None:
    grid = ease_grid("9km").bounding_box(*BOX)
    truth = next(simulate(grid, "2018-04-01", "2018-09-30", chunk=200, spin_up=200, land_model=True))
    for layer in LAYERS:
        true, modelled = truth[f"soil_moisture_{layer}"], truth[f"modelled_soil_moisture_{layer}"]
        error = modelled - true
        assert 0.6 < float(xr.corr(true, modelled, "time").median()) < 0.995
        assert 0.003 < float((error - error.mean("time")).std()) < 0.06
        assert float(np.abs(error.mean("time")).max()) > 0.005
    plain = next(simulate(grid, "2018-04-01", "2018-04-02", spin_up=5))
    assert not [name for name in plain.data_vars if "modelled" in str(name)]


def test_subsets_hold_what_whole_granules_hold(tmp_path: Path) -> None:
    grid = ease_grid("9km").bounding_box(*BOX)
    truth = next(simulate(grid, "2018-07-01", "2018-07-01", spin_up=30, land_model=True))
    box = (BOX[0] + 0.1, BOX[1] + 0.1, BOX[2] - 0.1, BOX[3] - 0.1)
    (whole,), (cut,) = (write_mod09ga(truth, tmp_path / name, subset=name == "cut") for name in ("whole", "cut"))
    assert cut.name == whole.name
    assert cut.stat().st_size < 0.5 * whole.stat().st_size
    one, other = (read_mod09ga(path, bbox=box, quality="all", bands=list(BANDS)) for path in (whole, cut))
    for name in BANDS:
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_allclose(one.x, other.x, atol=1e-3)
    np.testing.assert_allclose(one.y, other.y, atol=1e-3)
    hours = write_nldas_noah(truth, tmp_path / "nldas", hours=(0, 12), subset=True)
    assert all(is_nldas_noah(path) for path in hours)
    day = daily_nldas_noah(hours, min_hours=2)
    places = np.meshgrid(day.lat, day.lon, indexing="ij")
    for layer in LAYERS:
        expected = at(truth[f"modelled_soil_moisture_{layer}"], *places)
        np.testing.assert_allclose(day[f"soil_moisture_{layer}"], expected, atol=6e-6)
        assert np.abs(expected - at(truth[f"soil_moisture_{layer}"], *places)).max() > 1e-3
    with pytest.raises(VadoseError, match="subsets of NLDAS-2 are netCDF"):
        write_nldas_noah(truth, tmp_path / "grib", "002", hours=(0,), subset=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("forecast") / "world"
    return build_granule_world(out, FIRST, LAST, bbox=BOX, stations=6, more=MORE[:2], outages=OUTAGES, spin_up=60)


def recipe(**changes: object) -> Recipe:
    told = {"bbox": BOX, "first": FIRST, "last": LAST, "training": (FIRST, "2018-05-19")} | changes
    return replace(load_cube("forecast_demo"), **told)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cube(world: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    out = tmp_path_factory.mktemp("forecast_cube") / "cube.zarr"
    return open_cube(build_from_granules(world / "granules", out, recipe())).load()


def test_the_cube_of_the_study_is_made_from_published_files(cube: xr.Dataset, world: Path) -> None:
    truth = xr.open_zarr(world / "truth.zarr", consolidated=False).load()
    assert cube.attrs["simulated"] == "true"
    assert cube.attrs.get("broken_granules", "{}") == "{}"
    np.testing.assert_allclose(cube.x, truth.x, atol=1e-3)
    expected = {ours for source in recipe().sources for ours in source.variables.values()}
    assert expected <= set(cube.data_vars)
    for layer in LAYERS:
        name = f"soil_moisture_{layer}"
        error = cube[name] - truth[name].values
        # Every cell is there, those at the edge too, and it is a model's moisture, not the truth.
        assert error.isel(time=slice(2, None)).notnull().all()
        assert 0.001 < float(error.std()) < 0.08
    smap = cube.soil_moisture - truth.soil_moisture_0_10cm.values
    assert float((smap - smap.mean("time")).std()) < 0.06
    for name in ("soil_moisture", "tb_h", "vegetation_opacity", "transformed_swir"):
        filled_in = cube[f"{name}_filled"]
        assert filled_in.attrs["causal"] == "true"
        assert filled_in.isel(time=slice(12, None)).notnull().mean() > 0.95


def test_short_wave_infrared_follows_the_moisture_it_sees(cube: xr.Dataset, world: Path) -> None:
    truth = xr.open_zarr(world / "truth.zarr", consolidated=False).soil_moisture_0_10cm.load()
    seen = cube.transformed_swir
    # Clouds hide a third to two thirds of the days; a cloud's reflectance would stand far off.
    assert 0.2 < float(seen.notnull().mean()) < 0.9
    assert 0.2 < float(seen.min()) < float(seen.max()) < 12
    found = xr.corr(seen, xr.DataArray(truth.values, dims=("time", "y", "x"), coords=seen.coords), "time")
    assert 0.3 < float(found.median()) < 0.97


def test_products_fail_on_the_days_told(cube: xr.Dataset, world: Path) -> None:
    held = {p.name.split("_")[5] for p in (world / "granules" / "smap_l3").glob("*.h5")}
    assert "20180519" in held
    assert not held & {f"{day:%Y%m%d}" for day in pd.date_range("2018-05-20", "2018-05-26")}
    for name, product in (
        ("tb_h", "smap_l3"),
        ("transformed_swir", "mod09ga"),
        ("soil_moisture_0_10cm", "nldas_noah"),
        ("shortwave_radiation", "gridmet"),
    ):
        (gap,) = OUTAGES[product]
        assert cube[name].sel(time=slice(*gap)).isnull().all(), name
        assert cube[name].notnull().any(("y", "x")).sum() >= 10, name
    # The gap is filled from the days before it, and is known to be long.
    filled_in = cube.sel(time="2018-05-26")
    assert filled_in.soil_moisture_filled.notnull().all()
    assert float(filled_in.soil_moisture_age.min()) >= 7
    assert cube.precipitation.notnull().all()


def test_stations_are_of_two_networks(world: Path, tmp_path: Path) -> None:
    folder = world / "stations"
    assert len(list((folder / "uscrn" / "2018").glob("*.txt"))) == 3
    assert len(list((folder / "scan").glob("9*.csv"))) == 3
    assert read_scan(next(folder.glob("scan/9*.csv")))
    store = build_stations(
        tmp_path / "s.zarr", uscrn=folder / "uscrn", scan=folder / "scan", metadata=folder / "station_meta"
    )
    made = xr.open_zarr(store, consolidated=False)
    assert sorted(set(made.network.values)) == ["SCAN", "USCRN"]
    truth = xr.open_zarr(world / "truth.zarr", consolidated=False)
    row, column = grid_of(truth).rowcol(made.lat.values, made.lon.values)
    assert (row >= 0).all()
    assert len(set(zip(row.tolist(), column.tolist(), strict=True))) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"more": ("nldas",)},
            r"unknown product 'nldas' in 'more'; choose from \['nldas_noah', 'mod09ga', 'mod09cmg'\]",
        ),
        ({"outages": {"mod09ga": [(FIRST, LAST)]}}, "outage of 'mod09ga'; those that can fail are"),
    ],
)
def test_worlds_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        build_granule_world(tmp_path / "world", FIRST, FIRST, bbox=BOX, stations=2, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
