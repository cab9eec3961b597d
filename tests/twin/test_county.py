"""A simulated county: the truth is that of the world, stations and pixels know the same, gaps are filled causally."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.door import by_day
from vadose.errors import VadoseError
from vadose.evaluation.county import score_county
from vadose.grid import ease_grid, grid_of
from vadose.models import MODELS, to_checkpoint
from vadose.models.mmnet import Features, example_fine
from vadose.predict.maps import downscale_maps
from vadose.samples.station_days import StationDays
from vadose.twin import pixels as module
from vadose.twin.county import SimulatedCounty, build_county, open_county
from vadose.twin.granules.landsat import passes
from vadose.twin.land import land
from vadose.twin.pixels import COARSE, Pixels, ground, observe
from vadose.twin.truth import simulate
from vadose.variables import variable

FIRST, LAST, MAPPED = "2022-05-20", "2022-06-12", ("2022-06-01", "2022-06-12")
RUN_UP = 20
OPTIONS = {
    "first": FIRST,
    "last": LAST,
    "mapped": MAPPED,
    "centre": (39.0, -96.0),
    "cells": (8, 10),
    "stations": 8,
    "inside": 5,
    "spin_up": 4,
}


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RUN_UP", RUN_UP)
        patch.setitem(module._SPIN_UP, "surface_temperature", 4)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_county(tmp_path_factory.mktemp("world") / "county", **OPTIONS)


@pytest.fixture(scope="module")
def county(folder: Path) -> SimulatedCounty:
    table, fine, coarse, truth = open_county(folder)
    return SimulatedCounty(table.load(), fine.load(), [of.load() for of in coarse], truth.load())


def test_the_truth_is_the_worlds(county: SimulatedCounty) -> None:
    grid = grid_of(county.truth)
    assert grid.shape == (8, 10)
    assert grid.cell == ease_grid("100m").cell
    begin = f"{pd.Timestamp(FIRST) - pd.Timedelta(days=RUN_UP):%Y-%m-%d}"
    part = next(simulate(grid.part(slice(3, 5), slice(6, 9)), begin, LAST, chunk=99, spin_up=4))
    expected = part.soil_moisture_0_10cm.sel(time=county.truth.time)
    np.testing.assert_allclose(county.truth.soil_moisture[:, 3:5, 6:9], expected, atol=1e-6)
    assert county.truth.sizes["time"] == 12
    assert float(county.truth.soil_moisture.std(("y", "x")).mean()) > 1e-3


def test_a_station_in_the_county_knows_what_its_pixel_does(county: SimulatedCounty) -> None:
    inside = county.table.isel(station=county.table.network == "INSIDE").sel(time=county.fine.time)
    assert inside.sizes["station"] == 5
    for name in inside.data_vars:
        if name == "soil_moisture":
            continue
        source = next(of for of in (county.fine, *county.coarse) if name in of)
        row, column = grid_of(source).rowcol(inside.lat.values, inside.lon.values)
        here = source[name].isel(y=xr.DataArray(row, dims="station"), x=xr.DataArray(column, dims="station"))
        if "time" in here.dims:
            here = here.sel(time=inside.time).transpose("station", "time")
        np.testing.assert_array_equal(inside[name], here, err_msg=str(name))


def test_a_network_maps_the_county_as_it_estimates_at_stations(
    county: SimulatedCounty, folder: Path, tmp_path: Path
) -> None:
    snapshot = ("soil_moisture_smap_l4", "ndvi", "cross_ratio", "elevation", "clay_fraction", "latitude", "season_sine")
    features = Features(snapshot, ("precipitation", "wind_speed", "surface_temperature"), days=6)
    torch.manual_seed(0)
    network = MODELS["mmnet"](features)
    days = StationDays(county.table, features)
    index = np.argwhere(np.isfinite(days.observed))
    observed = torch.from_numpy(days.observed[index[:, 0], index[:, 1]])
    network.fit_normalisation([(days.fine(index), observed)])
    network.eval()
    assert network(example_fine(features)).shape == (8,)
    torch.save(to_checkpoint("mmnet", {}, network), tmp_path / "selected.pt")
    _, fine, coarse, truth = open_county(folder)
    path = downscale_maps(tmp_path / "selected.pt", fine, coarse, county.truth.time.values, tmp_path / "maps.zarr")
    maps = by_day(xr.open_zarr(path, consolidated=False))
    assert maps.attrs["simulated"] == "true"
    assert maps.attrs["mode"] == "causal"
    stations = np.flatnonzero(county.table.network.values == "INSIDE")
    row, column = grid_of(county.fine).rowcol(county.table.lat.values[stations], county.table.lon.values[stations])
    day = int(np.flatnonzero(county.table.time.values == county.truth.time.values[-1])[0])
    with torch.inference_mode():
        expected = network(days.fine(np.column_stack([stations, np.full(len(stations), day)])))
    found = maps.soil_moisture.values[-1, row, column]
    np.testing.assert_allclose(found[np.isfinite(found)], expected.numpy()[np.isfinite(found)], atol=2e-5)
    assert np.isfinite(found).any()
    scores = score_county(maps, truth, coarse[0], min_days=5)
    assert np.isfinite(scores[scores.metric == "rmse"].value).all()


def test_stations_around_stand_on_single_pixels_of_the_same_world(county: SimulatedCounty) -> None:
    around = county.table.isel(station=county.table.network == "AROUND")
    whole = ease_grid("100m")
    row, column = (int(v[0]) for v in whole.rowcol(around.lat.values, around.lon.values))
    place = Pixels(range(row, row + 1), range(column, column + 1))
    fixed = ground(place, 0)
    for name in ("elevation", "slope", "clay_fraction", "land_cover_crop"):
        assert float(around[name][0]) == pytest.approx(float(fixed[name][0, 0]), rel=1e-6)
    begin = f"{pd.Timestamp(FIRST) - pd.Timedelta(days=RUN_UP):%Y-%m-%d}"
    cell = place.grid(COARSE["weather"])
    assert cell.rowcol(around.lat.values[:1], around.lon.values[:1])[0] == [0]
    weather = next(simulate(cell, FIRST, LAST, chunk=99, spin_up=0))
    np.testing.assert_allclose(around.precipitation[0], weather.precipitation[:, 0, 0], rtol=1e-6)
    smap = next(simulate(place.grid(COARSE["smap_l4"]), begin, LAST, chunk=99, spin_up=4, land_model=True))
    expected = smap.modelled_soil_moisture_0_10cm.sel(time=around.time)[:, 0, 0]
    np.testing.assert_allclose(around.soil_moisture_smap_l4[0], expected, rtol=1e-5)
    # A sensor differs from its pixel by some hundredths.
    truth = next(simulate(place.grid(), begin, LAST, chunk=99, spin_up=4)).soil_moisture_0_10cm.sel(time=around.time)
    error = np.abs(around.soil_moisture[0] - truth[:, 0, 0])
    assert 0 < float(error.max()) < 0.2


def test_overpasses_age_until_the_next_one_is_seen(county: SimulatedCounty) -> None:
    table = county.table
    path = np.round(30 - (table.lon.values + 100) * 233 / 360).astype(int)
    for station in range(table.sizes["station"]):
        passing = [any(passes(day, of, path[station]) for of in ("LC08", "LC09")) for day in table.indexes["time"]]
        age, ndvi = table.ndvi_age.values[station], table.ndvi.values[station]
        assert not (age[~np.array(passing)] == 0).any()
        older = age[1:] > 0
        np.testing.assert_array_equal(age[1:][older], age[:-1][older] + 1)
        np.testing.assert_array_equal(ndvi[1:][older], ndvi[:-1][older])
    assert (table.ndvi_age == 0).any()
    fresh = table.cross_ratio_age.values[:, 1:] == 0
    assert set(np.flatnonzero(fresh.any(axis=0)) % 12) == set(np.flatnonzero(fresh.any(axis=0))[:1] % 12)
    assert fresh.any()
    assert (table.surface_temperature_age == 0).any()
    assert (table.surface_temperature_age > 0).any()


def test_everything_is_of_the_vocabulary_and_in_range(county: SimulatedCounty) -> None:
    for data in (county.table, county.fine, *county.coarse, county.truth):
        assert data.attrs["simulated"] == "true"
        assert data.attrs["mode"] == "causal"
        assert "inputs" in data.attrs
        for name in map(str, data.drop_vars("mask", errors="ignore").data_vars):
            known = variable(name)
            assert known is not None, name
            assert float(data[name].min()) >= known.valid_range[0], name
            assert float(data[name].max()) <= known.valid_range[1], name
    covers = sum(county.fine[name] for name in county.fine.data_vars if str(name).startswith("land_cover_"))
    assert set(np.unique(covers)) <= {0.0, 1.0}
    assert (covers.values[county.fine["mask"].values] == 1).all()
    assert county.fine.slope.notnull().all()


def test_the_soil_map_is_wrong_by_what_it_says_and_all_else_is_right() -> None:
    strip = Pixels(range(20_000, 20_001), range(40_000, 43_000))
    some = Pixels(range(20_000, 20_005, 5), range(40_000, 43_000, 5))
    found, truth = ground(strip, 0).isel(x=slice(0, None, 5)), land(some.grid(), 0)
    np.testing.assert_allclose(found.elevation, truth.elevation, rtol=1e-6)
    np.testing.assert_array_equal(found.land_cover_crop, truth.land_cover_nlcd == 82)
    sand = (found.sand_fraction - truth.sand_fraction).values[0]
    assert sand.std() == pytest.approx(0.06, abs=0.02)
    assert np.log(found.clay_fraction / truth.clay_fraction).values[0].std() == pytest.approx(0.2, abs=0.06)
    # Spots of 2 km: alike at 500 m.
    assert np.corrcoef(sand[1:], sand[:-1])[0, 1] > 0.9
    assert abs(np.corrcoef(sand[40:], sand[:-40])[0, 1]) < 0.7


def test_pieces_go_on_from_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = Pixels(range(20_000, 20_002), range(40_000, 40_002))
    days = pd.date_range(FIRST, "2022-05-29")
    shares: list[float] = []

    def all_of() -> xr.Dataset:
        return xr.concat(
            [piece["fine"] for piece in observe(pixels, days, seed=0, spin_up=1, progress=shares.append)], "time"
        )

    whole = all_of()
    assert shares == [1.0]
    monkeypatch.setattr(module, "PIECE", 17)
    parts = all_of()
    assert shares[-1] == 1.0
    assert len(shares) == 1 + 2
    for name in ("ndvi", "ndvi_age", "cross_ratio", "cross_ratio_age"):
        np.testing.assert_array_equal(parts[name], whole[name])


def test_it_is_left_alone_when_current_and_refuses_what_cannot_be(folder: Path, tmp_path: Path) -> None:
    before = (folder / "provenance.json").stat().st_mtime_ns
    build_county(folder, **OPTIONS)
    assert (folder / "provenance.json").stat().st_mtime_ns == before
    for change, message in (
        ({"last": "2022-05-01"}, "give a last day not before the first"),
        ({"mapped": ("2021-01-01", "2021-02-01")}, "mapped days among them"),
        ({"inside": 81}, "81 stations asked for in the county; there is room for 1 to 63"),
        ({"stations": 5}, "0 stations asked for around the county"),
    ):
        with pytest.raises(VadoseError, match=message):
            build_county(tmp_path / "none", **(OPTIONS | change))
    with pytest.raises(VadoseError, match="no simulated county there"):
        open_county(tmp_path)
    assert not list(tmp_path.iterdir())
