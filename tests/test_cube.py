import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube import build_cube, open_cube
from vadose.errors import VadoseError
from vadose.gapfill import carry_forward
from vadose.products.smap_india import GRID


def test_the_real_cube_has_its_units_and_provenance(real_data: Path, tmp_path: Path) -> None:
    out = build_cube(real_data / "conusv4f1", tmp_path / "cube.zarr")
    cube = open_cube(out)
    assert xr.open_zarr(out).soil_moisture.dims == ("time", "y", "x")
    assert cube.soil_moisture.attrs["units"] == "m3 m-3"
    assert cube.soil_moisture.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert json.loads(cube.attrs["inputs"])["product"] == "conusv4f1"
    written = (out / "zarr.json").stat().st_mtime_ns
    build_cube(real_data / "conusv4f1", out)
    assert (out / "zarr.json").stat().st_mtime_ns == written


@pytest.fixture
def india(tmp_path: Path) -> Path:
    """A folder ``data/smap_india`` of five days of made-up maps, one of them missing."""
    folder = tmp_path / "data" / "smap_india"
    folder.mkdir(parents=True)
    end = pd.date_range("2020-01-01", periods=5).delete(2)
    maps = np.random.default_rng(0).integers(0, 65535, (4, *GRID.shape), np.uint16)
    days = {"start_date": end - pd.Timedelta(days=2), "end_date": end}
    text = {key: value.strftime("%Y-%m-%d").to_numpy(str) for key, value in days.items()}
    np.savez_compressed(folder / "swi.npz", swi=maps, **text)
    return folder


def test_the_database_in_a_folder_is_found_out(india: Path, tmp_path: Path) -> None:
    out = build_cube(india, tmp_path / "cube.zarr")
    cube = open_cube(out)
    assert json.loads(cube.attrs["inputs"])["product"] == cube.attrs["dataset"] == "smap_india"
    # What is filled is what the product observes.
    index = cube.soil_water_index.load()
    assert np.isnan(index[2]).all()
    np.testing.assert_array_equal(cube.soil_water_index_filled[2], index[1])
    assert np.unique(cube.soil_water_index_age[2]).tolist() == [1]
    assert not [name for name in cube if str(name).startswith(("soil_moisture", "precipitation"))]


def test_a_named_database_is_found_one_folder_up(india: Path, tmp_path: Path) -> None:
    out = build_cube(india.parent, tmp_path / "cube.zarr", product="smap_india")
    made_from = json.loads(open_cube(out).attrs["inputs"])
    assert (made_from["product"], made_from["source"]) == ("smap_india", str(india))
    written = (out / "zarr.json").stat().st_mtime_ns
    assert build_cube(india, out) == out
    assert (out / "zarr.json").stat().st_mtime_ns == written


def test_a_database_named_wrongly_is_refused(india: Path, tmp_path: Path) -> None:
    for product in ("uscrn", "smap_indonesia"):
        with pytest.raises(VadoseError, match=rf"product '{product}' is not a database; choose from .*smap_india"):
            build_cube(india, tmp_path / "cube.zarr", product=product)
    with pytest.raises(VadoseError, match="no folder 'CONUSv4f1'"):
        build_cube(india, tmp_path / "cube.zarr", product="conusv4f1")
    with pytest.raises(VadoseError, match=r"no \.npz archive in it"):
        build_cube(tmp_path, tmp_path / "cube.zarr", product="smap_india")
    assert not (tmp_path / "cube.zarr").exists()


def test_filling_never_looks_ahead(small_cube: xr.Dataset) -> None:
    moisture = small_cube.soil_moisture
    changed = moisture.copy(deep=True)
    changed[60:] = 0.9
    before, after = (carry_forward(series).isel(time=slice(0, 60)) for series in (moisture, changed))
    xr.testing.assert_equal(before, after)


def test_filling_keeps_observations_and_counts_their_age(small_cube: xr.Dataset) -> None:
    filled = carry_forward(small_cube.soil_moisture)
    observed = filled.soil_moisture_observed == 1
    assert float(observed.mean()) == pytest.approx(0.45 * 70 / 72, abs=0.02)
    xr.testing.assert_equal(filled.soil_moisture_filled.where(observed), small_cube.soil_moisture.rename(None))
    assert (filled.soil_moisture_age.where(observed, 0) == 0).all()
    ages = filled.soil_moisture_age.values
    steps = np.diff(ages, axis=0)[~observed.values[1:]]
    assert set(steps[np.isfinite(steps)]) == {1.0}


@pytest.mark.parametrize(("name", "kind"), [("own.nc", "a file"), ("own.zarr", "a Zarr store")])
def test_gridded_data_of_ones_own_are_told_how_to_become_a_cube(name: str, kind: str, tmp_path: Path) -> None:
    own = xr.Dataset({"theta": (("time", "y", "x"), np.full((2, 1, 1), 0.2))})
    own.to_netcdf(tmp_path / "own.nc")
    own.to_zarr(tmp_path / "own.zarr", group="mine", zarr_format=3, consolidated=False)
    told = rf"{name}: {kind}; expected the folder .*vadose build --explain .*{name} > own"
    with pytest.raises(VadoseError, match=told):
        build_cube(tmp_path / name, tmp_path / "cube.zarr")


def test_wrong_sources_and_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="choose from"):
        build_cube(tmp_path, tmp_path / "c.zarr", product="smap")
    with pytest.raises(VadoseError, match="no such file or folder"):
        build_cube(tmp_path / "nothing", tmp_path / "c.zarr")
    with pytest.raises(VadoseError, match=r"no folder 'CONUSv4f1'.*or for granules a recipe"):
        build_cube(tmp_path, tmp_path / "c.zarr")
    with pytest.raises(VadoseError, match="no cube there"):
        open_cube(tmp_path / "c.zarr")
    assert not list(tmp_path.iterdir())
    inner = xr.Dataset(coords={"lat": ("y", [40.0])}).to_zarr
    inner(tmp_path / "stores" / "forecast.zarr", consolidated=False)
    with pytest.raises(VadoseError, match="stores: a folder without a Zarr store; expected a cube"):
        open_cube(tmp_path / "stores")
    with pytest.raises(VadoseError, match=r"forecast\.zarr: no coordinate y or x .*expected \(y, x\)"):
        open_cube(tmp_path / "stores" / "forecast.zarr")
