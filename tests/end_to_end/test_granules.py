"""Granules of a simulated world to cube to scores, and what stops that road."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from vadose.artefact import locked, made_from
from vadose.cli import main
from vadose.cube import Recipe, Source, build_from_granules, journal, open_cube
from vadose.cube.granules import read_block
from vadose.errors import VadoseError
from vadose.experiments import load_cube, load_experiment, quick
from vadose.experiments.studies import study
from vadose.twin.world import build_granule_world

BOX = (-100.3, 39.6, -99.4, 40.4)
FIRST, LAST = "2019-04-01", "2019-06-30"
"""Those of the fixture ``world``."""
TRAINING = ("2019-04-10", "2019-05-03")


def recipe(**changes: Any) -> Recipe:
    return replace(load_cube("demo"), **({"bbox": BOX, "first": FIRST, "last": LAST} | changes))


@pytest.fixture(scope="module")
def cube(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_from_granules(world / "granules", tmp_path_factory.mktemp("cube") / "cube.zarr", recipe())


def little(**changes: Any) -> Recipe:
    """Two products and two blocks of days, for what holds whatever a cube is made of."""
    sources = (
        Source("smap_l3", {"soil_moisture": "soil_moisture"}, "nearest"),
        Source("imerg", {"precipitation": "precipitation"}, "bicubic"),
    )
    return recipe(**({"sources": sources, "training": TRAINING, "last": "2019-05-04"} | changes))


@pytest.fixture(scope="module")
def small(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_from_granules(world / "granules", tmp_path_factory.mktemp("small") / "cube.zarr", little())


def test_the_cube_holds_what_the_world_was_made_of(cube: Path, world: Path) -> None:
    made = open_cube(cube)
    truth = xr.open_zarr(world / "truth.zarr", consolidated=False)
    assert made.soil_moisture.shape == (91, truth.sizes["y"], truth.sizes["x"])
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
    assert made.soil_moisture.attrs["granules"] == 91
    assert made.precipitation.attrs["resampling"] == "bicubic"
    assert "Mountain Standard Time" in made.shortwave_radiation.attrs["day_boundary"]
    assert made.soil_moisture_filled.attrs["causal"] == "true"
    inputs = made_from(cube)
    assert inputs is not None
    assert set(inputs["granules"]) == {"smap_l3", "gridmet", "imerg", "solus100", "srtm", "mcd12q1"}


def files_of(cube: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in cube.rglob("*") if p.is_file() and p.name != "lock"}


def test_a_cube_is_made_once(small: Path, world: Path) -> None:
    before = files_of(small)
    build_from_granules(world / "granules", small, little())
    assert files_of(small) == before


def same(first: Path, second: Path) -> None:
    """Values and attributes of two cubes are equal, but for the time of making."""
    one, two = open_cube(first).load(), open_cube(second).load()
    for cube in (one, two):
        del cube.attrs["created"], cube.attrs["history"]
    xr.testing.assert_identical(one, two)


def test_a_cube_grows_by_days_without_touching_the_days_before(
    small: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Part of a block is added to, then a block begun; an earlier version knew fewer sums, that of 30 days on some.
    out = tmp_path / "grown.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("vadose.cube.finish.ANTECEDENT_DAYS", (7, 30, 90))
        build_from_granules(world / "granules", out, little(last="2019-05-01"))
    maps = {p: t for p, t in files_of(out).items() if "/soil_moisture/c/" in p.as_posix()}
    for until in ("2019-05-03", "2019-05-04"):
        build_from_granules(world / "granules", out, little(last=until))
    same(out, small)
    assert open_cube(out).precipitation_30d.notnull().any()
    assert maps
    assert {p: p.stat().st_mtime_ns for p in maps} == maps


def test_a_build_that_was_stopped_goes_on(
    world: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "stopped.zarr"

    def stop(what: str, share: float) -> None:
        if what == "reading imerg" and share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_from_granules(world / "granules", out, little(), progress=stop)
    with pytest.raises(VadoseError, match="half built"):
        open_cube(out)
    done = {p.name for p in (journal.building(out) / ".build").glob("smap_l3-*.json")}
    read: list[str] = []
    monkeypatch.setattr(
        "vadose.cube.build.read_block",
        lambda granules, grid, days, source: (read.append(source.product), read_block(granules, grid, days, source))[1],
    )
    build_from_granules(world / "granules", out, little())
    assert done
    assert "smap_l3" not in read
    assert "imerg" in read
    same(out, small)


@pytest.fixture
def week(world: Path, tmp_path: Path) -> Path:
    """Granules of a week."""
    for product, pattern in (("smap_l3", "SMAP_*_2019040[1-7]_*"), ("imerg", "*.2019040[1-7]-S*")):
        (tmp_path / "week" / product).mkdir(parents=True)
        for granule in (world / "granules" / product).rglob(pattern):
            shutil.copy(granule, tmp_path / "week" / product)
    return tmp_path / "week"


def test_days_without_a_granule_are_missing_and_said(week: Path, tmp_path: Path) -> None:
    out, at_once = tmp_path / "cube.zarr", tmp_path / "at_once.zarr"
    training = ("2019-04-01", "2019-04-07")
    build_from_granules(week, out, little(last="2019-04-07", training=training))
    next((week / "smap_l3").glob("*_20190401_*")).unlink()
    for granule in [*(week / "imerg").glob("*.2019040[37]-S*")]:
        granule.unlink()
    build_from_granules(week, out, little(last="2019-04-09", training=training))
    made = open_cube(out).load()
    there = made.precipitation.notnull().any(("y", "x"))
    assert made.time[~there].dt.day.values.tolist() == [3, 7, 8, 9]
    absent = {"smap_l3": ["2019-04-01", "2019-04-08..2019-04-09"], "imerg": ["2019-04-03", "2019-04-07..2019-04-09"]}
    assert json.loads(made.attrs["days_without_granule"]) == absent
    same(out, build_from_granules(week, at_once, little(last="2019-04-09", training=training)))


def test_a_cube_is_cut_back(week: Path, tmp_path: Path) -> None:
    training = ("2019-04-02", "2019-04-07")
    cut, at_once = tmp_path / "cut.zarr", tmp_path / "at_once.zarr"
    build_from_granules(week, cut, little(last="2019-04-07", training=training))
    for last in ("2019-04-05", "2019-04-06"):
        recipe_to = little(last=last, training=training)
        same(build_from_granules(week, cut, recipe_to), build_from_granules(week, tmp_path / f"{last}.zarr", recipe_to))
    next((week / "smap_l3").glob("*_20190407_*")).unlink()
    whole = little(last="2019-04-07", training=training)
    same(build_from_granules(week, cut, whole), build_from_granules(week, at_once, whole))


def test_readers_see_the_last_complete_state_while_a_cube_is_built_anew(week: Path, tmp_path: Path) -> None:
    out, at_once = tmp_path / "cube.zarr", tmp_path / "at_once.zarr"
    build_from_granules(week, out, little(last="2019-04-05", training=None))
    before = open_cube(out).load()
    # A past day changes, too.
    next((week / "smap_l3").glob("*_20190402_*")).unlink()
    stops = iter((1, 3, 10**6))
    for stop in stops:
        seen = 0

        def look(what: str, share: float, stop: int = stop) -> None:
            nonlocal seen
            seen += 1
            xr.testing.assert_identical(open_cube(out).load(), before)
            if seen == stop:
                raise KeyboardInterrupt

        try:
            build_from_granules(week, out, little(last="2019-04-07", training=None), progress=look)
        except KeyboardInterrupt:
            xr.testing.assert_identical(open_cube(out).load(), before)
    same(out, build_from_granules(week, at_once, little(last="2019-04-07", training=None)))
    assert not open_cube(out).soil_moisture.sel(time="2019-04-02").notnull().any()


def test_two_builds_do_not_write_at_once(small: Path, world: Path) -> None:
    with locked(small), pytest.raises(VadoseError, match="another process is writing"):
        build_from_granules(world / "granules", small, little())


def test_a_cube_of_another_recipe_is_left_alone(small: Path, world: Path, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"another recipe \(first differ\)"):
        build_from_granules(world / "granules", small, replace(little(), first="2019-04-10"))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(VadoseError, match="exists and is not a cube"):
        build_from_granules(world / "granules", tmp_path / "thesis", little())


def test_statistics_are_of_the_training_days_alone(small: Path) -> None:
    made = open_cube(small)
    for name in ("soil_moisture", "precipitation", "soil_moisture_filled"):
        values = made[name].sel(time=slice(*TRAINING)) if "time" in made[name].dims else made[name]
        attrs = made[name].attrs
        assert attrs["training_count"] == int(values.notnull().sum())
        assert attrs["training_mean"] == pytest.approx(float(values.astype(float).mean()), rel=1e-6)
        assert attrs["training_std"] == pytest.approx(float(values.astype(float).std()), rel=1e-5)
        assert (attrs["training_min"], attrs["training_max"]) == (float(values.min()), float(values.max()))


def test_a_worker_that_dies_costs_nothing_but_time(world: Path, small: Path, tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    out = tmp_path / "killed.zarr"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        killed: list[int] = []

        def kill(what: str, share: float) -> None:
            if share > 0.1 and not killed:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        build_from_granules(world / "granules", out, little(), scheduler=cluster.scheduler_address, progress=kill)
        assert killed
    same(out, small)


def test_no_scheduler_is_told(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vadose.parallel.workers.CONNECT_SECONDS", 0.2)
    with pytest.raises(VadoseError, match="no Dask scheduler answers there"):
        build_from_granules(world / "granules", tmp_path / "c.zarr", little(), scheduler="tcp://127.0.0.1:1")


def test_several_processes_make_the_same_cube(small: Path, world: Path, tmp_path: Path) -> None:
    told: list[str] = []
    again = build_from_granules(
        world / "granules", tmp_path / "again.zarr", little(), workers=2, progress=lambda what, share: told.append(what)
    )
    xr.testing.assert_equal(open_cube(again).load(), open_cube(small).load())
    assert "reading smap_l3" in told


def test_the_world_written_by_several_processes_is_the_same(world: Path, tmp_path: Path) -> None:
    one = build_granule_world(tmp_path / "one", "2019-04-01", "2019-04-04", bbox=BOX, stations=2, spin_up=30)
    two = build_granule_world(tmp_path / "two", "2019-04-01", "2019-04-04", bbox=BOX, stations=2, workers=2, spin_up=30)
    days = little(first="2019-04-01", last="2019-04-04", training=None)
    cubes = [open_cube(build_from_granules(w / "granules", w / "c.zarr", days)).load() for w in (one, two)]
    xr.testing.assert_equal(*cubes)
    assert float(np.isfinite(cubes[0].soil_moisture).mean()) > 0.2


def test_the_road_from_granules_to_scores(cube: Path, tmp_path: Path, blank_figures: Any) -> None:
    experiment = quick(load_experiment("demo")).model_copy(update={"min_pairs": 5})
    days = {
        "training": {"first": "2019-04-02", "last": "2019-05-10"},
        "validation": {"first": "2019-05-11", "last": "2019-05-25"},
        "test": {"first": "2019-05-26", "last": LAST},
    }
    runs = {name: run for name, run in experiment.runs.items() if name in ("persistence", "climatology", "lstm")}
    split = type(experiment.split).model_validate(days)
    experiment = experiment.model_copy(update={"split": split, "runs": runs, "blends": {}})
    with blank_figures():
        page = study(experiment, cube, tmp_path, title="t")
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert set(scores.model) == {"persistence", "climatology", "lstm"}
    assert np.isfinite(scores[scores.metric == "rmse"]["median"]).all()
    assert "SIMULATED" in page.read_text()


def source(product: str, name: str, method: str = "mean") -> Source:
    return Source(product, {name: name}, method)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ((source("smap", "soil_moisture"),), "'smap' is not a gridded product"),
        ((source("uscrn", "soil_moisture"),), "'uscrn' is not a gridded product"),
        ((source("srtm", "elevation", "average"),), "resampling 'average' unknown"),
        ((source("nlcd", "land_cover_nlcd", "majority"),), "no folder 'nlcd' in it.*vadose fetch nlcd"),
    ],
)
def test_recipes_that_cannot_be_followed(world: Path, tmp_path: Path, sources: Any, message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        build_from_granules(world / "granules", tmp_path / "c.zarr", recipe(sources=sources))
    assert not list(tmp_path.iterdir())


def test_a_variable_that_no_granule_gives_is_told(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.zarr"
    with pytest.raises(VadoseError, match=r"srtm: 4 granules of these days, and none with \['ndvi'\] on the grid"):
        build_from_granules(world / "granules", out, recipe(sources=(source("srtm", "ndvi"),)))
    with pytest.raises(VadoseError, match="half built"):
        open_cube(out)


@pytest.fixture
def few(world: Path, tmp_path: Path) -> Path:
    """Three days of SMAP to spoil."""
    folder = tmp_path / "few" / "smap_l3"
    folder.mkdir(parents=True)
    for day in ("0401", "0402", "0403"):
        shutil.copy(world / "granules" / "smap_l3" / f"SMAP_L3_SM_P_E_2019{day}_R19240_001.h5", folder)
    return folder


SMAP = recipe(sources=(source("smap_l3", "vegetation_opacity", "nearest"),))


def test_a_broken_granule_is_told_and_leaves_the_rest(few: Path, tmp_path: Path) -> None:
    granule = few / "SMAP_L3_SM_P_E_20190402_R19240_001.h5"
    whole = granule.read_bytes()
    granule.write_bytes(whole[:9000])
    out = tmp_path / "c.zarr"
    cube = open_cube(build_from_granules(few.parent, out, SMAP)).load()
    ((name, reason),) = json.loads(cube.attrs["broken_granules"]).items()
    assert name.endswith("20190402_R19240_001.h5")
    assert "cut short or damaged" in reason
    there = np.isfinite(cube.vegetation_opacity).any(("y", "x"))
    days = cube.time[there].dt.strftime("%m%d").values.tolist()
    assert "0402" not in days
    assert days
    # Fetched again, it alone is read.
    granule.write_bytes(whole)
    cube = open_cube(build_from_granules(few.parent, out, SMAP)).load()
    assert cube.attrs["broken_granules"] == "{}"
    assert set(days) <= set(cube.time[np.isfinite(cube.vegetation_opacity).any(("y", "x"))].dt.strftime("%m%d").values)


def test_the_newer_version_of_a_day_counts(few: Path, tmp_path: Path) -> None:
    granule, newer = (few / f"SMAP_L3_SM_P_E_20190402_R19240_00{version}.h5" for version in (1, 2))
    older = few / "SMAP_L3_SM_P_E_20190402_R18290_003.h5"
    shutil.copy(few / "SMAP_L3_SM_P_E_20190403_R19240_001.h5", older)
    alone = open_cube(build_from_granules(few.parent, tmp_path / "alone.zarr", SMAP)).load()
    granule.rename(newer)
    shutil.copy(few / "SMAP_L3_SM_P_E_20190401_R19240_001.h5", granule)
    out = tmp_path / "c.zarr"
    cube = open_cube(build_from_granules(few.parent, out, SMAP)).load()
    xr.testing.assert_equal(cube, alone)
    assert cube.attrs["broken_granules"] == "{}"
    of = f"smap_l3/{newer.name}"
    expected = {f"smap_l3/{older.name}": of, f"smap_l3/{granule.name}": of}
    assert json.loads(cube.attrs["superseded_granules"]) == expected
    listed = pd.read_csv(out / "granules.csv").set_index("granule")
    assert listed.superseded_by.dropna().to_dict() == expected


def test_files_beside_granules_are_none_of_them(few: Path, tmp_path: Path) -> None:
    alone = open_cube(build_from_granules(few.parent, tmp_path / "alone.zarr", SMAP)).load()
    granule = few / "SMAP_L3_SM_P_E_20190402_R19240_001.h5"
    for ending in (".xml", ".met", ".md5", ".h5.part"):
        (few / f"{granule.name}{ending}").write_text("<x/>")
    for name in (f"._{granule.name}", ".DS_Store", "Thumbs.db"):
        (few / name).write_bytes(b"\0\5\26\7")
    (few / "SMAP_L3_SM_P_E_20191301_R19240_001.h5").write_bytes(granule.read_bytes())
    (few / "renamed.h5").write_bytes(granule.read_bytes())
    (few / "notes.dat").write_text("nothing to do with it")
    cube = open_cube(build_from_granules(few.parent, tmp_path / "c.zarr", SMAP)).load()
    xr.testing.assert_equal(cube, alone)
    assert json.loads(cube.attrs["files_beside_granules"]) == {
        "smap_l3": {".xml": 1, ".met": 1, ".md5": 1, ".part": 1, ".h5": 1, ".DS_Store": 1, ".db": 1}
    }
    broken = json.loads(cube.attrs["broken_granules"])
    reasons = {
        "smap_l3/SMAP_L3_SM_P_E_20191301_R19240_001.h5": "is no possible day",
        "smap_l3/renamed.h5": "its name tells no day",
        "smap_l3/notes.dat": "neither named as",
    }
    assert broken.keys() == reasons.keys()
    assert all(reason in broken[name] for name, reason in reasons.items())


def test_links_are_followed(few: Path, tmp_path: Path) -> None:
    alone = build_from_granules(few.parent, tmp_path / "alone.zarr", SMAP)
    linked = tmp_path / "linked" / "smap_l3"
    (linked / "days").mkdir(parents=True)
    granules = sorted(few.iterdir())
    (linked / "days" / granules[0].name).symlink_to(granules[0])
    (tmp_path / "elsewhere").mkdir()
    for granule in granules[1:]:
        granule.rename(tmp_path / "elsewhere" / granule.name)
    (linked / "more").symlink_to(tmp_path / "elsewhere")
    (linked / "more" / "round").symlink_to(linked)
    made = build_from_granules(linked.parent, tmp_path / "c.zarr", SMAP)
    xr.testing.assert_equal(open_cube(made).load(), open_cube(alone).load())
    (tmp_path / "product").mkdir()
    (tmp_path / "product" / "smap_l3").symlink_to(linked)
    again = build_from_granules(tmp_path / "product", tmp_path / "again.zarr", SMAP)
    xr.testing.assert_equal(open_cube(again).load(), open_cube(alone).load())


def test_all_granules_broken_is_an_error_with_the_reason(few: Path, tmp_path: Path) -> None:
    for granule in few.iterdir():
        granule.write_bytes(b"<!DOCTYPE html><html>Earthdata Login</html>")
    out = tmp_path / "c.zarr"
    with pytest.raises(VadoseError, match=r"3 are broken: .*web page"):
        build_from_granules(few.parent, out, SMAP)
    with pytest.raises(VadoseError, match="half built"):
        open_cube(out)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "in" / "smap_l3").mkdir(parents=True)
    with pytest.raises(VadoseError, match="no file in it"):
        build_from_granules(tmp_path / "in", tmp_path / "c.zarr", SMAP)


def test_granules_elsewhere_are_told(few: Path, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="on the grid between 2018-01-01 and 2018-01-31"):
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
    assert run("doctor", str(out), "--out", str(tmp_path / "diagnosis")) == 0
    assert "0 errors" in capsys.readouterr().out
    assert (tmp_path / "diagnosis" / "diagnosis.png").exists()
    group = zarr.open_group(out, mode="r+")
    group["elevation"][:] = -9999
    assert run("doctor", str(out)) == 1
    assert "error    elevation: values outside -500 .. 9000" in capsys.readouterr().out
    file.write_text(file.read_text().replace("resampling", "resampled"))
    assert run("build", str(world / "granules"), "--recipe", str(file), "--out", str(out)) == 2
    assert "unknown key 'products.srtm.resampled'; did you mean 'resampling'?" in capsys.readouterr().err
    assert run("twin", "--from", "2019-04-02", "--to", "2019-04-01", "--out", str(tmp_path / "w")) == 2
    assert "is before the first day" in capsys.readouterr().err
    assert run("twin", "--with", "mod09", "--out", str(tmp_path / "w")) == 2
    assert "choose from ['nldas_noah', 'mod09ga', 'mod09cmg']" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
