import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vadose.cube import build_cube, open_cube
from vadose.errors import VadoseError
from vadose.gapfill import carry_forward


def test_the_real_cube_has_its_group_units_and_provenance(real_data: Path, tmp_path: Path) -> None:
    out = build_cube(real_data / "conusv4f1", tmp_path / "cube.zarr")
    cube = open_cube(out)
    assert [p.name for p in out.iterdir() if p.is_dir()] == ["ease2_36km_every_4"]
    assert cube.soil_moisture.attrs["units"] == "m3 m-3"
    assert cube.soil_moisture.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert json.loads(cube.attrs["inputs"])["product"] == "conusv4f1"
    written = (out / "zarr.json").stat().st_mtime_ns
    build_cube(real_data / "conusv4f1", out)
    assert (out / "zarr.json").stat().st_mtime_ns == written


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


def test_wrong_sources_and_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="choose from"):
        build_cube(tmp_path, tmp_path / "c.zarr", product="smap")
    with pytest.raises(VadoseError, match="no such file or folder"):
        build_cube(tmp_path / "nothing", tmp_path / "c.zarr")
    with pytest.raises(VadoseError, match="no folder 'CONUSv4f1'"):
        build_cube(tmp_path, tmp_path / "c.zarr")
    with pytest.raises(VadoseError, match="no cube there"):
        open_cube(tmp_path / "c.zarr")
    assert not list(tmp_path.iterdir())
