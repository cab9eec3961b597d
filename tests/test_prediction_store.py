from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact import provenance
from vadose.artefact.predictions import CONVENTIONS, write_predictions
from vadose.door import as_forecasts, open_store
from vadose.grid import ease_grid

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
    write_predictions(tmp_path / "f.zarr", found, "daily forecasts of soil moisture", chunks={"init_time": 4})
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
    said = found.attrs
    assert said["Conventions"] == CONVENTIONS
    assert said["title"] == "daily forecasts of soil moisture"
    assert said["source"].endswith("model lstm")
    assert said["created"] in said["history"]
    assert as_forecasts(found, "f.zarr").sizes["init_time"] == 6
