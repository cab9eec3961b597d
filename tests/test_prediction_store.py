from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import CRS

from vadose.artefact import provenance, writing
from vadose.artefact.predictions import (
    CONVENTIONS,
    INSTITUTION,
    beside_arrays,
    consolidate,
    on_cells,
    write_predictions,
)
from vadose.door import as_cube, as_forecasts, by_day, open_store
from vadose.evaluation import evaluate
from vadose.grid import Grid, ease_grid, grid_of
from vadose.predict.map_files import QUANTILE, create_maps, place_of

ATTRIBUTES = {"model": "lstm", "weather": "none", "scenario": "all", "layer": "0-10 cm", "dataset": "made up"}
# CF recommends other axes left of time; a forecast is looked up by its day of issue first.
ORDER = "check_dimension_order"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    cells = ease_grid("36km").part(slice(47, 51), slice(151, 156)).coordinates()
    cells.attrs |= ATTRIBUTES | {"simulated": "true", "causal": "true"} | provenance(seed=0)
    values = np.random.default_rng(0).random((6, 2, 4, 5)).astype(np.float32)
    found = cells.drop_vars("crs").assign_coords(
        init_time=pd.date_range("2020-01-01", periods=6),
        lead_time=pd.to_timedelta([1, 3], unit="D"),
        channel=np.array(["precipitation", "ndvi"], object),
    )
    found["soil_moisture"] = ("init_time", "lead_time", "y", "x"), values
    found["soil_moisture_std"] = found.soil_moisture * 0.1
    found["inputs_missing"] = ("init_time", "channel"), np.zeros((6, 2), np.int8), {"long_name": "1 where missing"}
    write_predictions(tmp_path / "f.zarr", found, "daily forecasts of soil moisture")
    return tmp_path / "f.zarr"


def test_a_store_of_forecasts_follows_the_cf_conventions(
    store: Path, compliance: Callable[..., tuple[int, str]]
) -> None:
    # The checker takes differences of all coordinates, also of words.
    found = open_store(store).load().drop_vars("channel")
    failed, said = compliance(found, ORDER)
    assert not failed, said
    found.soil_moisture.attrs["units"] = "cups"
    assert compliance(found, ORDER)[0]


def test_anybody_opens_it_and_reads_what_it_is(store: Path) -> None:
    found = xr.open_zarr(store)  # warnings are errors here
    assert found.soil_moisture.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert found.soil_moisture.attrs["grid_mapping"] == "crs"
    assert found.crs.attrs["grid_mapping_name"] == "lambert_cylindrical_equal_area"
    assert found.lead_time.values.tolist() == pd.to_timedelta([1, 3], unit="D").as_unit("us").to_numpy().tolist()
    assert set(found.data_vars) == {"soil_moisture", "soil_moisture_std", "inputs_missing"}
    said = found.attrs
    assert said["Conventions"] == CONVENTIONS
    assert said["title"] == "daily forecasts of soil moisture"
    assert said["source"].endswith("model lstm")
    assert said["created"] in said["history"]
    assert as_forecasts(found, "f.zarr").sizes["init_time"] == 6


def test_a_store_serves_maps_and_series_and_gis(store: Path) -> None:
    found = xr.open_zarr(store)
    assert (found.lat.dims, found.lon.dims) == (("y",), ("x",))
    assert found.soil_moisture_std.attrs["standard_name"].endswith(" standard_error")
    assert found.soil_moisture.encoding["chunks"] == (6, 2, 4, 5)
    assert {name for name, of in found.data_vars.items() if of.attrs.get("grid_mapping") == "crs"} == {
        "soil_moisture",
        "soil_moisture_std",
    }
    assert CRS.from_cf(found.crs.attrs).to_epsg() == CRS(found.crs.attrs["crs_wkt"]).to_epsg() == 6933


def test_maps_in_degrees_say_where_they_lie(store: Path, tmp_path: Path) -> None:
    given = open_store(store).load().drop_vars(["y", "x", "lat", "lon", "crs"])
    degrees = given.rename(y="lat", x="lon").assign_coords(lat=41 - np.arange(4) / 24, lon=-100 + np.arange(5) / 24)
    for name in degrees.data_vars:
        degrees[name].encoding, degrees[name].attrs = {}, {"units": degrees[name].attrs.get("units", "1")}
    write_predictions(tmp_path / "d.zarr", degrees.assign_attrs(grid_crs=""), "maps")
    found = xr.open_zarr(tmp_path / "d.zarr")
    assert (found.soil_moisture.attrs["grid_mapping"], found.lat.attrs["units"]) == ("crs", "degrees_north")
    assert CRS(found.crs.attrs["crs_wkt"]).to_epsg() == 4326
    grid = Grid("EPSG:4326", (-100.0, 41.0, 1 / 24), (4, 5), 1 / 24)
    assert grid_of(grid.coordinates()).shape == (4, 5)


def test_stores_of_earlier_versions_are_read_the_same(store: Path, tmp_path: Path) -> None:
    new = open_store(store)
    old = on_cells(new.load().drop_encoding())
    assert old.lat.dims == ("y", "x")
    with beside_arrays():
        old.to_zarr(tmp_path / "old.zarr", zarr_format=3, consolidated=False)
    both = [as_forecasts(of, "f.zarr") for of in (new, open_store(tmp_path / "old.zarr"))]
    xr.testing.assert_equal(*(of.drop_vars(["lat", "lon"]) for of in both))
    xr.testing.assert_equal(on_cells(both[0]).lat, both[1].lat.load())


def test_whoever_makes_a_store_is_named_where_the_environment_says(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "institution" not in xr.open_zarr(store).attrs
    monkeypatch.setenv(INSTITUTION, "University of X")
    write_predictions(store, open_store(store).load(), "forecasts")
    assert xr.open_zarr(store).attrs["institution"] == "University of X"


def test_xarray_opens_any_artefact_without_a_word(tmp_path: Path) -> None:
    with writing(tmp_path / "folder") as scratch:
        inner = xr.Dataset({"score": ("site", [1.0])})
        inner.to_zarr(scratch / "scores.zarr", zarr_format=3, consolidated=False)
    assert xr.open_zarr(tmp_path / "folder" / "scores.zarr").score.values == [1.0]  # warnings are errors here


PIXELS = ease_grid("100m").part(slice(14400, 14404), slice(14400, 14405))
DAYS = pd.date_range("2020-06-01", periods=40)
MOISTURE = np.random.default_rng(1).uniform(0.1, 0.4, (len(DAYS), *PIXELS.shape)).astype(np.float32)


def maps_in(path: Path, **more: str) -> xr.Dataset:
    """A store of maps, filled a day at a time as `downscale_maps` does."""
    shares = xr.DataArray(np.zeros((len(DAYS), 1), np.float32), dims=("time", "feature"), name="missing_share")
    beside = shares.assign_attrs(long_name="share of pixels", units="1").to_dataset()
    beside.attrs = ATTRIBUTES | {"simulated": "true", "causal": "true"} | more
    group = create_maps(path, PIXELS, DAYS, ("soil_moisture", "soil_moisture_std", QUANTILE), edge=3, beside=beside)
    for day in range(len(DAYS)):
        group["soil_moisture"][place_of(group["soil_moisture"], day)] = MOISTURE[day]
        group["soil_moisture_std"][place_of(group["soil_moisture"], day)] = 0.02
    consolidate(path)
    return open_store(path)


def test_a_store_of_maps_follows_the_cf_conventions(tmp_path: Path, compliance: Callable[..., tuple[int, str]]) -> None:
    failed, said = compliance(maps_in(tmp_path / "m.zarr").load(), ORDER)
    assert not failed, said


@pytest.mark.parametrize(("issued", "sizes"), [(None, (40, 1)), ("2020-05-31", (1, 40))])
def test_a_map_is_at_lead_0_or_of_a_day_ahead(issued: str | None, sizes: tuple[int, int], tmp_path: Path) -> None:
    maps_in(tmp_path / "m.zarr", **({"init_time": issued} if issued else {}))
    found = xr.open_zarr(tmp_path / "m.zarr")  # warnings are errors here
    assert (found.sizes["init_time"], found.sizes["lead_time"]) == sizes
    assert found.lead_time.values[0] == np.timedelta64(1 if issued else 0, "D")
    assert found.soil_moisture.attrs["grid_mapping"] == "crs"
    assert (by_day(found).indexes["time"] == DAYS).all()
    np.testing.assert_array_equal(as_cube(found, "m.zarr").soil_moisture, MOISTURE)


def scores_of(predictions: xr.Dataset, truth: xr.Dataset, out: Path) -> pd.DataFrame:
    table = pd.read_csv(evaluate([predictions], truth, out=out, min_pairs=10) / "scores.csv")
    return table.set_index("metric")[["lead_days", "median", "n_sites", "n_pairs"]]


def test_maps_are_scored_as_forecasts_are_on_pixels_and_at_stations(tmp_path: Path) -> None:
    maps = maps_in(tmp_path / "m.zarr")
    truth = PIXELS.coordinates().assign_coords(time=DAYS)
    truth["soil_moisture"] = ("time", "y", "x"), MOISTURE - 0.03
    truth.attrs |= {"dataset": "made up", "layer": "0-10 cm", "simulated": "true"}
    scores = scores_of(maps, truth, tmp_path / "pixels")
    assert scores.loc["rmse"].tolist() == pytest.approx([0, 0.03, 20, 800], abs=1e-6)
    at = {"y": xr.DataArray([1, 2], dims="station"), "x": xr.DataArray([0, 4], dims="station")}
    stations = truth.isel(at).drop_vars(["y", "x", "crs"]).expand_dims(layer=["0-10 cm"])
    stations = stations.assign_coords(station=["a", "b"])
    at_stations = scores_of(maps, stations.transpose("station", "layer", "time"), tmp_path / "stations")
    assert at_stations.loc["bias"].tolist() == pytest.approx([0, 0.03, 2, 80], abs=1e-6)


def test_maps_of_earlier_versions_are_scored_alike(tmp_path: Path) -> None:
    maps = maps_in(tmp_path / "m.zarr")
    old = by_day(maps).load()
    truth = old[["soil_moisture"]] - 0.03
    truth = truth.assign_attrs(old.attrs)
    found = [scores_of(of, truth, tmp_path / name) for name, of in (("new", maps), ("old", old))]
    pd.testing.assert_frame_equal(*found)
