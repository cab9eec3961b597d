"""A study finds before it begins what cannot be scored, and what has learnt from the days it is scored on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.experiments import Experiment, LayerConfig
from vadose.experiments.studies import study
from vadose.experiments.studies.checks import allowed_overlap, check_pairs, min_pairs
from vadose.parallel.progress import silent

SPLIT = {
    "training": {"first": "2015-04-10", "last": "2015-05-31"},
    "validation": {"first": "2015-06-01", "last": "2015-06-30"},
    "test": {"first": "2015-07-01", "last": "2015-08-28"},
}
LAYERS = [LayerConfig(observed="soil_moisture")]


def experiment(**changes: Any) -> Experiment:
    runs = {"persistence": {"model": "persistence"}, "climatology": {"model": "climatology"}}
    return Experiment.model_validate({"split": SPLIT, "runs": runs} | changes)


def filled_by(cube: xr.Dataset, first: str, last: str, method: str = "cru") -> xr.Dataset:
    attributes = {"fill_method": method, "training_days": [first, last]}
    return cube.assign(soil_moisture_filled=cube.soil_moisture_filled.assign_attrs(attributes))


def test_a_test_too_short_is_found_before_anything_is_trained(small_cube: xr.Dataset, tmp_path: Path) -> None:
    xr.Dataset().to_zarr(tmp_path / "cube.zarr", zarr_format=3, consolidated=False)
    small_cube.to_zarr(tmp_path / "cube.zarr", group="ease2_36km", mode="a", zarr_format=3, consolidated=False)
    most = int(small_cube.soil_moisture.sel(time=slice("2015-07-01", "2015-08-28")).count("time").max())
    message = (
        f"test 2015-07-01 .. 2015-08-28: cells of 0-10 cm are observed on {most} days at most, and count with 60; "
        f"give the experiment a longer test, or the key 'min_pairs: {most // 2}'"
    )
    with pytest.raises(VadoseError) as told:
        study(experiment(), tmp_path / "cube.zarr", tmp_path / "out", title="short", progress=silent)
    assert str(told.value) == message
    assert not (tmp_path / "out").exists()


def test_pairs_wanted_are_the_experiment_s_or_those_of_the_phase(small_cube: xr.Dataset) -> None:
    observed = {"0-10 cm": "soil_moisture"}
    assert [min_pairs(experiment(), phase) for phase in ("validation", "test")] == [10, 60]
    half_a_year = experiment(
        split=SPLIT
        | {
            "validation": {"first": "2015-06-01", "last": "2015-12-01"},
            "test": {"first": "2016-01-01", "last": "2016-01-31"},
        }
    )
    assert min_pairs(half_a_year, "validation") == 60
    check_pairs(experiment(min_pairs=20), "test", small_cube, xr.Dataset(), observed)
    times = {"time": small_cube.time, "layer": ["0-10 cm"], "station": ["a"]}
    seen = np.where(np.arange(150) < 100, 0.2, np.nan)[:, None, None]
    stations = xr.Dataset({"soil_moisture": (("time", "layer", "station"), seen)}, times)
    with pytest.raises(VadoseError, match="stations of 0-10 cm are observed on 9 days at most, and count with 20"):
        check_pairs(experiment(min_pairs=20), "test", small_cube, stations, observed)


@pytest.mark.parametrize("last", ["2015-06-01", "2015-06-15", "2015-08-28"])
def test_a_gap_filler_that_learnt_from_days_to_score_is_refused_unless_declared(
    small_cube: xr.Dataset, last: str
) -> None:
    cube = filled_by(small_cube, "2015-04-01", last)
    with pytest.raises(
        VadoseError, match=f"^here: its gap filler learnt from 2015-04-01 .. {last}, which reaches into"
    ):
        allowed_overlap(experiment(), cube, LAYERS, "here")
    told = allowed_overlap(experiment(allow_overlap=["gap_filler"]), cube, LAYERS, "here")
    assert told == {"allowed_overlap": f"gap filler learnt from 2015-04-01 .. {last}"}


def test_what_has_learnt_nothing_of_days_to_score_is_told_nothing_of(small_cube: xr.Dataset) -> None:
    for cube in (
        small_cube,
        filled_by(small_cube, "2015-04-01", "2015-05-31"),
        filled_by(small_cube, "2015-04-01", "2015-08-28", "last observation"),
        filled_by(small_cube, "2015-04-01", "2015-08-28", "last_value"),
    ):
        assert allowed_overlap(experiment(allow_overlap=["gap_filler"]), cube, LAYERS, "here") == {}
