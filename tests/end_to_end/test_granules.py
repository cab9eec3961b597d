"""Granules of a simulated world to cube to scores, and what stops that road."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact import made_from
from vadose.cli import main
from vadose.config import load_cube, load_experiment, quick
from vadose.cube import Recipe, Source, build_from_granules, open_cube
from vadose.errors import VadoseError
from vadose.study import study
from vadose.twin.world import build_granule_world

BOX = (-100.3, 39.6, -99.4, 40.4)
FIRST, LAST = "2019-01-01", "2019-08-31"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_granule_world(tmp_path_factory.mktemp("granules") / "world", FIRST, LAST, bbox=BOX, stations=3)


def recipe(**changes: Any) -> Recipe:
    return replace(load_cube("demo"), bbox=BOX, first=FIRST, last=LAST, **changes)


@pytest.fixture(scope="module")
def cube(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_from_granules(world / "granules", tmp_path_factory.mktemp("cube") / "cube.zarr", recipe())


def test_the_cube_holds_what_the_world_was_made_of(cube: Path, world: Path) -> None:
    made = open_cube(cube)
    truth = xr.open_zarr(world / "truth.zarr", consolidated=False)
    assert dict(made.sizes) == {"time": 243, "y": truth.sizes["y"], "x": truth.sizes["x"]}
    np.testing.assert_allclose(made.x, truth.x, atol=1e-3)
    np.testing.assert_allclose(made.y, truth.y, atol=1e-3)
    error = made.soil_moisture - truth.soil_moisture_0_10cm.values
    assert 0.3 < float(np.isfinite(error).mean()) < 0.9
    assert float(np.abs(error).mean()) < 0.06
    # Sand and clay come as whole percent of 100 m pixels, averaged over cells.
    total = made.sand_fraction + made.silt_fraction + made.clay_fraction
    np.testing.assert_allclose(total, 1.0, atol=0.02)
    assert set(np.unique(made.land_cover)) <= set(range(1, 18))
    assert float(made.precipitation.min()) >= 0
    assert made.attrs["simulated"] == "true"
    assert made.attrs["dataset"].startswith("smap_l3 + gridmet + imerg")


def test_variables_note_where_they_come_from(cube: Path) -> None:
    made = open_cube(cube)
    assert made.soil_moisture.attrs["product"] == "SPL3SMP_E"
    assert made.soil_moisture.attrs["quality"].startswith("retrieval recommended")
    assert made.soil_moisture.attrs["granules"] == 243
    assert made.precipitation.attrs["resampling"] == "bicubic"
    assert "Mountain Standard Time" in made.shortwave_radiation.attrs["day_boundary"]
    assert made.soil_moisture_filled.attrs["causal"] == "true"
    inputs = made_from(cube)
    assert inputs is not None
    assert set(inputs["granules"]) == {"smap_l3", "gridmet", "imerg", "solus100", "srtm", "mcd12q1"}


def test_a_cube_is_made_once(cube: Path, world: Path) -> None:
    before = (cube / "zarr.json").stat().st_mtime_ns
    build_from_granules(world / "granules", cube, recipe())
    assert (cube / "zarr.json").stat().st_mtime_ns == before


def test_several_processes_make_the_same_cube(cube: Path, world: Path, tmp_path: Path) -> None:
    told: list[str] = []
    again = build_from_granules(
        world / "granules", tmp_path / "again.zarr", recipe(), workers=2, progress=lambda what, share: told.append(what)
    )
    xr.testing.assert_equal(open_cube(again).load(), open_cube(cube).load())
    assert "reading smap_l3" in told


def test_the_world_written_by_several_processes_is_the_same(world: Path, tmp_path: Path) -> None:
    one = build_granule_world(tmp_path / "one", "2019-04-01", "2019-04-04", bbox=BOX, stations=2)
    two = build_granule_world(tmp_path / "two", "2019-04-01", "2019-04-04", bbox=BOX, stations=2, workers=2)
    short = recipe(sources=(Source("smap_l3", {"soil_moisture": "soil_moisture"}, "nearest"),))
    cubes = [
        open_cube(build_from_granules(w / "granules", w / "c.zarr", replace(
            short, first="2019-04-01", last="2019-04-04",
            sources=(*short.sources, Source("imerg", {"precipitation": "precipitation"}, "bicubic")),
        ))).load()
        for w in (one, two)
    ]  # fmt: skip
    xr.testing.assert_equal(*cubes)
    assert float(np.isfinite(cubes[0].soil_moisture).mean()) > 0.2


def test_the_road_from_granules_to_scores(cube: Path, tmp_path: Path) -> None:
    experiment = quick(load_experiment("demo"))
    days = {
        "training": {"first": "2019-02-01", "last": "2019-05-15"},
        "validation": {"first": "2019-05-16", "last": "2019-05-31"},
        "test": {"first": "2019-06-01", "last": "2019-08-31"},
    }
    runs = {name: run for name, run in experiment.runs.items() if name in ("persistence", "climatology", "lstm")}
    split = type(experiment.split).model_validate(days)
    page = study(experiment.model_copy(update={"split": split, "runs": runs, "blends": {}}), cube, tmp_path, title="t")
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert set(scores.model) == {"persistence", "climatology", "lstm"}
    assert np.isfinite(scores[scores.metric == "rmse"]["median"]).all()
    assert "SIMULATED" in page.read_text()


def source(product: str, name: str, method: str = "mean") -> Source:
    return Source(product, {name: name}, method)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ((source("smap", "soil_moisture"),), "'smap' is no gridded product"),
        ((source("uscrn", "soil_moisture"),), "'uscrn' is no gridded product"),
        ((source("srtm", "elevation", "average"),), "resampling 'average' unknown"),
        ((source("nlcd", "land_cover_nlcd"),), "no folder 'nlcd' in it.*vadose fetch nlcd"),
        ((source("srtm", "slope"),), r"4 granules, 0 of them outside the grid, and none with \['slope'\]"),
    ],
)
def test_recipes_that_cannot_be_followed(world: Path, tmp_path: Path, sources: Any, message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        build_from_granules(world / "granules", tmp_path / "c.zarr", recipe(sources=sources))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def few(world: Path, tmp_path: Path) -> Path:
    """Three days of SMAP to spoil."""
    folder = tmp_path / "few" / "smap_l3"
    folder.mkdir(parents=True)
    for day in ("0401", "0402", "0403"):
        shutil.copy(world / "granules" / "smap_l3" / f"SMAP_L3_SM_P_E_2019{day}_R19240_001.h5", folder)
    return folder


SMAP = recipe(sources=(source("smap_l3", "vegetation_opacity", "nearest"),))


def test_a_broken_granule_is_named_and_nothing_is_written(few: Path, tmp_path: Path) -> None:
    granule = few / "SMAP_L3_SM_P_E_20190402_R19240_001.h5"
    granule.write_bytes(granule.read_bytes()[:9000])
    with pytest.raises(VadoseError, match=r"20190402.*cut short"):
        build_from_granules(few.parent, tmp_path / "c.zarr", SMAP)
    assert not (tmp_path / "c.zarr").exists()


def test_two_versions_of_a_day_are_refused(few: Path, tmp_path: Path) -> None:
    shutil.copy(few / "SMAP_L3_SM_P_E_20190402_R19240_001.h5", few / "SMAP_L3_SM_P_E_20190402_R19240_002.h5")
    with pytest.raises(VadoseError, match="holds places and a day that another granule"):
        build_from_granules(few.parent, tmp_path / "c.zarr", SMAP)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "in" / "smap_l3").mkdir(parents=True)
    with pytest.raises(VadoseError, match="no file in it"):
        build_from_granules(tmp_path / "in", tmp_path / "c.zarr", SMAP)


def test_granules_elsewhere_are_told(few: Path, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="between 2018-01-01 and 2018-01-31"):
        build_from_granules(few.parent, tmp_path / "c.zarr", replace(SMAP, first="2018-01-01", last="2018-01-31"))


def test_the_commands(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["vadose", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0)

    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"resolution: 9km\nbbox: {list(BOX)}\nfirst: 2019-04-01\nlast: 2019-04-03\n"
        "products:\n  srtm: {variables: [elevation], resampling: mean}\n"
    )
    out = tmp_path / "cube.zarr"
    assert run("build", str(world / "granules"), "--recipe", str(file), "--out", str(out)) == 0
    assert np.isfinite(open_cube(out).elevation).all()
    file.write_text(file.read_text().replace("resampling", "resampled"))
    assert run("build", str(world / "granules"), "--recipe", str(file), "--out", str(out)) == 2
    assert "unknown key 'products.srtm.resampled'; did you mean 'resampling'?" in capsys.readouterr().err
    assert run("twin", "--from", "2019-04-02", "--to", "2019-04-01", "--out", str(tmp_path / "w")) == 2
    assert "lies before the first" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
