"""What a cube says of itself, keeps and reads again."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from vadose import features
from vadose.artefact.learnt import learnt_by_inputs
from vadose.cube import Filling, Recipe, Source, build_from_granules, open_cube
from vadose.cube.granules import read_block
from vadose.errors import VadoseError
from vadose.experiments import load_cube
from vadose.twin.granules.imerg import write_imerg
from vadose.twin.granules.modis import write_mod09ga
from vadose.twin.granules.nldas import write_nldas_forcing, write_nldas_noah
from vadose.twin.granules.smap_l4 import write_smap_l4
from vadose.twin.truth import simulate

BOX = (-100.3, 39.6, -99.4, 40.4)
FIRST, LAST = "2019-04-01", "2019-05-20"


def recipe(**changes: Any) -> Recipe:
    return replace(load_cube("demo"), **({"bbox": BOX, "first": FIRST, "last": LAST} | changes))


@pytest.fixture(scope="module")
def cube(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cube") / "cube.zarr"
    return build_from_granules(world / "granules", out, recipe(training=(FIRST, "2019-04-30")))


def test_the_cube_follows_the_cf_conventions(cube: Path, compliance: Callable[..., tuple[int, str]]) -> None:
    made = open_cube(cube)
    failed, said = compliance(made)
    assert "Errors" not in said, said
    assert not failed, said
    made.precipitation.attrs["units"] = "cups a day"
    failed, said = compliance(made[["precipitation"]])
    assert failed
    assert "cups a day" in said


def test_values_keep_the_precision_that_is_stated(cube: Path, world: Path, tmp_path: Path) -> None:
    names = ("air_temperature_max", "precipitation", "soil_moisture")
    sources = tuple(
        replace(s, variables={k: v for k, v in s.variables.items() if v in names}) for s in recipe().sources[:3]
    )
    exact = build_from_granules(world / "granules", tmp_path / "c.zarr", recipe(sources=sources, exact=True))
    rounded, whole = open_cube(cube).load(), open_cube(exact).load()
    for name in names:
        bits = rounded[name].attrs["mantissa_bits"]
        assert "mantissa_bits" not in whole[name].attrs
        error = np.abs(rounded[name] - whole[name])
        # Half a unit of the last bit that is kept, the leading one being implied.
        assert float((error / np.abs(whole[name]).where(whole[name] != 0)).max()) <= 2.0 ** -(bits + 1)
        assert float(error.max()) > 0
        spare = rounded[name].values.view(np.uint32)[np.isfinite(rounded[name].values)] & ((1 << (23 - bits)) - 1)
        assert not spare.any()
        np.testing.assert_array_equal(np.isnan(rounded[name]), np.isnan(whole[name]))
    assert float(np.abs(rounded.air_temperature_max - whole.air_temperature_max).max()) < 0.04
    assert float(np.abs(rounded.soil_moisture - whole.soil_moisture).max()) < 3e-4
    assert "mantissa_bits" not in rounded.elevation.attrs


def test_the_share_of_each_class_is_kept(cube: Path) -> None:
    made = open_cube(cube).load()
    assert made.land_cover_fraction.dims == ("land_cover_class", "y", "x")
    there = made.land_cover.notnull()
    np.testing.assert_allclose(made.land_cover_fraction.sum("land_cover_class").where(there, 1), 1, atol=1e-6)
    largest = made.land_cover_class[made.land_cover_fraction.fillna(0).argmax("land_cover_class")]
    assert (largest == made.land_cover).where(there, True).all()
    assert "flag_meanings" in made.land_cover.attrs


def test_granules_are_listed_with_their_hashes(cube: Path, world: Path) -> None:
    listed = pd.read_csv(cube / "granules.csv")
    folder = world / "granules" / "smap_l3"
    expected = {f"smap_l3/{p.relative_to(folder).as_posix()}" for p in folder.rglob("*2019040*.h5")}
    assert expected
    assert expected <= set(listed.granule)
    assert listed.sha256.str.fullmatch("[0-9a-f]{64}").all()
    assert not listed.granule.duplicated().any()
    attrs = open_cube(cube).soil_moisture.attrs
    assert attrs["granules"] == (listed["product"] == "smap_l3").sum()
    assert attrs["latency"] == "about 2 days"
    assert attrs["cell_methods"] == "time: point area: point"
    assert open_cube(cube).precipitation.attrs["cell_methods"].startswith("time: sum")


def smap(folder: Path, world: Path, days: pd.DatetimeIndex) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for day in days:
        (granule,) = (world / "granules" / "smap_l3").rglob(f"*_{day:%Y%m%d}_*.h5")
        shutil.copy(granule, folder)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []

    def reading(granules: Any, grid: Any, days: Any, source: Any) -> Any:
        read.extend(granule.path.name for granule in granules)
        return read_block(granules, grid, days, source)

    monkeypatch.setattr("vadose.cube.build.read_block", reading)
    return read


MOISTURE = (Source("smap_l3", {"soil_moisture": "soil_moisture"}, "nearest"),)


def test_only_days_of_new_changed_or_vanished_granules_are_read(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "granules" / "smap_l3", tmp_path / "c.zarr"
    days = pd.date_range(FIRST, "2019-04-20")
    smap(folder, world, days[:12])
    small = recipe(sources=MOISTURE, last="2019-04-12", training=(FIRST, "2019-04-15"))
    build_from_granules(folder.parent, out, small)
    written = {p: p.stat().st_mtime_ns for p in out.glob("soil_moisture*/c/*/0/0")}
    read = count_reads(monkeypatch)
    smap(folder, world, days[12:14])
    grown = replace(small, last="2019-04-14")
    build_from_granules(folder.parent, out, grown)
    assert sorted(name.split("_")[5] for name in read) == ["20190413", "20190414"]
    assert written
    assert {p: p.stat().st_mtime_ns for p in written} == written
    # A day is replaced by another version and another vanishes.
    read.clear()
    third = next(folder.glob("*_20190403_*"))
    third.rename(third.with_name(third.name.replace("_001.h5", "_002.h5")))
    before = open_cube(out).load()
    next(folder.glob("*_20190405_*")).unlink()
    build_from_granules(folder.parent, out, grown)
    assert sorted({name.split("_")[5] for name in read}) == ["20190403", "20190404"]
    after = open_cube(out).load()
    assert not after.soil_moisture.sel(time="2019-04-05").notnull().any()
    others = after.time != np.datetime64("2019-04-05")
    xr.testing.assert_equal(after.soil_moisture[others], before.soil_moisture[others])
    # As if it had been built so at once, training statistics included.
    again = open_cube(build_from_granules(folder.parent, tmp_path / "again.zarr", grown)).load()
    for one in (after, again):
        del one.attrs["created"], one.attrs["history"]
    xr.testing.assert_identical(after, again)


@pytest.mark.parametrize(
    ("write", "product", "theirs", "tolerances"),
    [
        (write_nldas_forcing, "nldas_forcing", None, {"precipitation": 0.3, "air_temperature": 0.5}),
        (write_nldas_noah, "nldas_noah", None, {"soil_moisture_40_100cm": 0.01}),
        (write_smap_l4, "smap_l4", "soil_moisture", {"soil_moisture_0_10cm": 0.01}),
    ],
)
def test_hours_become_days(
    write: Callable[..., Any], product: str, theirs: str | None, tolerances: dict[str, float], tmp_path: Path
) -> None:
    grid = recipe().grid
    truth = next(simulate(grid, "2019-06-01", "2019-06-02", spin_up=20))
    write(truth, tmp_path / product)
    for granule in [*(tmp_path / product).rglob("*.*")][:2]:
        granule.with_name(f"{granule.name}.xml").write_text("<beside/>")
    method = "nearest" if product == "smap_l4" else "bicubic"
    sources = (Source(product, {theirs or ours: ours for ours in tolerances}, method),)
    days = recipe(sources=sources, first="2019-06-01", last="2019-06-02", training=None)
    made = open_cube(build_from_granules(tmp_path, tmp_path / "c.zarr", days)).load()
    assert made.sizes["time"] == 2
    inner = (slice(None), slice(2, -2), slice(2, -2))
    for ours, tolerance in tolerances.items():
        error = np.abs(made[ours].values - truth[ours].values)[inner]
        scale = max(1.0, float(truth[ours].max())) if ours == "precipitation" else 1.0
        assert np.isfinite(error).mean() > 0.9
        assert np.nanmean(error) < tolerance * scale
    # An hour that is missing: the day is no day.
    sorted(p for p in (tmp_path / product).rglob("*.*") if p.suffix not in (".xml", ".txt"))[3].unlink()
    part = open_cube(build_from_granules(tmp_path, tmp_path / "c.zarr", days))
    for ours in tolerances:
        assert part[ours].isel(time=0).isnull().all()
        assert part[ours].isel(time=1).notnull().any()
    assert part.attrs["broken_granules"] != "{}"


def test_a_bad_half_hour_leaves_the_rest_of_its_day_where_these_suffice(tmp_path: Path) -> None:
    truth = next(simulate(recipe().grid, "2019-06-01", "2019-06-01", spin_up=20))
    write_imerg(truth, tmp_path / "imerg")
    bad = sorted((tmp_path / "imerg").rglob("3B-HHR*"))[7]
    bad.write_bytes(bad.read_bytes()[:2000])
    source = Source("imerg", {"precipitation": "precipitation"}, "bicubic", {"min_granules": 47})
    day = recipe(sources=(source,), first="2019-06-01", last="2019-06-01", training=None)
    made = open_cube(build_from_granules(tmp_path, tmp_path / "c.zarr", day)).load()
    assert made.precipitation.notnull().all()
    error = np.abs(made.precipitation.values - truth.precipitation.values)[:, 2:-2, 2:-2]
    assert error.mean() < 0.3 * max(1.0, float(truth.precipitation.max()))
    assert [name.rpartition("/")[2] for name in json.loads(made.attrs["broken_granules"])] == [bad.name]
    needs_all = replace(day, sources=(replace(source, options={}),))
    with pytest.raises(VadoseError, match=r"48 are broken"):
        build_from_granules(tmp_path, tmp_path / "all.zarr", needs_all)
    notes = json.loads(next((tmp_path / ".all.zarr.building" / ".build").glob("imerg-*.json")).read_text())["granules"]
    reasons = {granule["broken"] for name, granule in notes.items() if not name.endswith(bad.name)}
    assert len(reasons) == 1
    assert "found 47 of its 48 half hours" in reasons.pop()


def test_features_are_computed_on_the_pixels_or_the_cells(world: Path, tmp_path: Path) -> None:
    terrain = ("elevation", "slope", "aspect_cosine", "curvature", "flow_accumulation")
    sources = (Source("srtm", {name: name for name in terrain}, "mean"),)
    made = open_cube(build_from_granules(world / "granules", tmp_path / "c.zarr", recipe(sources=sources))).load()
    # Of pixels of 90 m, so that cells at the border have one too; the simulated ground is smooth.
    of_cells = features.slope(made.elevation)
    assert made.slope.notnull().all()
    assert of_cells[0].isnull().all()
    assert 0.5 < float((made.slope / of_cells).median()) < 1.5
    assert float(np.abs(made.aspect_cosine).max()) <= 1
    assert made.flow_accumulation.min() >= 1
    expected = features.flow_accumulation(made.elevation)
    np.testing.assert_array_equal(made.flow_accumulation, expected)
    assert bool(made.mask.all())


def test_terra_and_aqua_are_averaged(tmp_path: Path) -> None:
    grid = recipe().grid
    truth = next(simulate(grid, "2019-06-01", "2019-06-01", spin_up=20))
    days = recipe(first="2019-06-01", last="2019-06-01", training=None)
    swir = {"transformed_swir": "transformed_swir"}
    days = replace(days, sources=(Source("mod09ga", swir, "mean", {"quality": "all"}),))
    means = {}
    for satellite in ("terra", "aqua"):
        write_mod09ga(truth, tmp_path / satellite / "mod09ga", satellite=satellite)
        shutil.copytree(tmp_path / satellite, tmp_path / "both", dirs_exist_ok=True)
    for name in ("terra", "aqua", "both"):
        means[name] = open_cube(build_from_granules(tmp_path / name, tmp_path / f"{name}.zarr", days)).transformed_swir
    both = (means["terra"] + means["aqua"]) / 2
    xr.testing.assert_allclose(means["both"], both, rtol=2e-3)
    assert means["both"].notnull().all()


@pytest.mark.parametrize(
    ("name", "product", "method", "message"),
    [
        ("land_cover", "mcd12q1", "mean", "are classes, which 'mean' mixes"),
        ("land_cover_nlcd", "nlcd", "bilinear", "are classes, which 'bilinear' mixes"),
        ("wind_from_direction", "gridmet", "mean", "is a direction and has no mean"),
    ],
)
def test_what_has_no_mean_is_refused(name: str, product: str, method: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=message):
        build_from_granules(tmp_path, tmp_path / "c.zarr", recipe(sources=(Source(product, {name: name}, method),)))


WEATHER = (
    Source("smap_l3", {"soil_moisture": "soil_moisture"}, "nearest"),
    Source("gridmet", {name: name for name in ("precipitation", "air_temperature_max")}, "mean"),
    Source("solus100", {"clay_fraction_5cm": "clay_fraction"}, "mean"),
)
TINY = {"latent": 2, "bases": 2, "width": 8, "steps": 4, "batch": 8}


def filled(method: str = "cru", mode: Any = "causal", **changes: Any) -> Recipe:
    told = {"covariates": ("precipitation", "air_temperature_max"), "static": ("clay_fraction",), "options": TINY}
    how = Filling(("soil_moisture",), method, mode, **(told if method in ("cru", "auto") else {}))
    sources = WEATHER if method in ("cru", "auto") else MOISTURE
    return recipe(sources=sources, training=(FIRST, "2019-05-10"), last="2019-05-20", filling=(how,), **changes)


@pytest.fixture(scope="module")
def causal(world: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Filled by a network for forecasts."""
    out = tmp_path_factory.mktemp("filled") / "cube.zarr"
    return open_cube(build_from_granules(world / "granules", out, filled())).load()


@pytest.mark.parametrize(
    ("method", "mode"), [("cru", "causal"), ("cru", "smoothed"), ("climatology_ar1", "causal"), ("linear", "smoothed")]
)
def test_gaps_are_filled_with_their_deviation(
    world: Path, causal: xr.Dataset, tmp_path: Path, method: str, mode: str
) -> None:
    made = causal
    if (method, mode) != ("cru", "causal"):
        made = open_cube(build_from_granules(world / "granules", tmp_path / "c.zarr", filled(method, mode))).load()
    seen = made.soil_moisture.notnull()
    xr.testing.assert_equal(made.soil_moisture_filled.where(seen), made.soil_moisture.rename("soil_moisture_filled"))
    assert made.soil_moisture_filled.notnull().mean() > 0.95
    assert (made.soil_moisture_filled_std.where(seen, 0) == 0).all()
    assert (made.soil_moisture_filled_std.where(~seen).fillna(1) > 0).all()
    attrs = made.soil_moisture_filled.attrs
    assert attrs["fill_method"] == method
    assert attrs["causal"] == ("true" if mode == "causal" else "false")
    assert attrs["filled_share"] == pytest.approx(1 - float(seen.mean()), abs=0.03)
    assert made.soil_moisture_filled_std.attrs["units"] == "m3 m-3"
    age = made.soil_moisture_age
    assert (age.where(seen, 0) == 0).all()
    assert float(age.max()) >= 1


@pytest.mark.parametrize(("method", "mode"), [("auto", "causal"), ("cru", "smoothed")])
def test_a_filled_cube_that_grew_is_the_same_as_one_built_at_once(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, mode: str
) -> None:
    # Short, so that a short record has many of them.
    monkeypatch.setattr("vadose.cube.filling.FILL_DAYS", 16)
    monkeypatch.setattr("vadose.cube.filling.RUN_UP", 24)
    monkeypatch.setattr("vadose.cube.filling.CELLS_AT_ONCE", 30)
    grown = tmp_path / "grown.zarr"
    for last in ("2019-05-11", "2019-05-12", "2019-05-20"):
        build_from_granules(world / "granules", grown, replace(filled(method, mode), last=last))
    whole = build_from_granules(world / "granules", tmp_path / "whole.zarr", filled(method, mode))
    one, two = open_cube(grown).load(), open_cube(whole).load()
    if method == "auto":
        # Four steps train no network: another filler is chosen, from the training days alone, and the cube says so.
        attrs = one.soil_moisture_filled.attrs
        rmse = json.loads(attrs["fill_rmse"])
        assert list(rmse) == ["cru", "climatology_ar1", "last_value"]
        assert attrs["fill_method"] == f"{min(rmse, key=rmse.__getitem__)}, chosen" != "cru, chosen"
        assert re.fullmatch(
            r"lowest RMSE at \d+ withheld training observations, gaps of [\d, ]+ d", attrs["fill_choice"]
        )
        assert learnt_by_inputs(one, ("soil_moisture_filled",), {})["gap filler"].last == "2019-05-10"
    for cube in (one, two):
        del cube.attrs["created"], cube.attrs["history"]
    xr.testing.assert_identical(one, two)


def test_filling_for_forecasts_does_not_see_ahead(world: Path, causal: xr.Dataset, tmp_path: Path) -> None:
    short = replace(filled(), last="2019-05-15")
    early = open_cube(build_from_granules(world / "granules", tmp_path / "early.zarr", short)).load()
    names = ["soil_moisture_filled", "soil_moisture_filled_std", "soil_moisture_age"]
    xr.testing.assert_equal(causal[names].sel(time=early.time), early[names])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"filling": (Filling(("soil_moisture",), "linear", "causal"),)},
            "has no mode 'causal'; choose from .'smoothed'",
        ),
        (
            {"filling": (Filling(("soil_moisture",), "cru", covariates=("snow",)),)},
            r"asks for \['snow'\], which no product",
        ),
        (
            {"filling": (Filling(("soil_moisture",), "auto", options={"steps": "many"}),)},
            "options of the filling of 'soil_moisture': 'steps' is 'many'; expected int",
        ),
        ({"training": None}, "learns from the training days; name them"),
        ({"training": (FIRST, "2020-01-01")}, "learns from days up to 2020-01-01, and the cube ends on 2019-05-20"),
    ],
)
def test_fillings_that_cannot_be_are_refused(world: Path, tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        build_from_granules(world / "granules", tmp_path / "c.zarr", replace(filled(), **changes))
    assert not list(tmp_path.iterdir())


def test_variables_are_filled_together(world: Path, tmp_path: Path) -> None:
    names = ("soil_moisture", "tb_h")
    smap = Source("smap_l3", {name: name for name in names}, "nearest")
    both = replace(filled(), sources=(smap,), filling=(Filling(names, options=TINY),), last="2019-05-31")
    made = open_cube(build_from_granules(world / "granules", tmp_path / "c.zarr", both)).load()
    for name in names:
        seen = made[name].notnull()
        assert 0.1 < float(seen.mean()) < 0.95
        np.testing.assert_array_equal(made[f"{name}_filled"].values[seen], made[name].values[seen])
        assert made[f"{name}_filled"].notnull().all()
    assert made.tb_h_filled.attrs["filled_with"] == "soil_moisture"
    assert float(made.tb_h_filled.mean()) > 200


def test_a_cube_of_an_earlier_version_goes_on(world: Path, tmp_path: Path) -> None:
    small = recipe(sources=MOISTURE, last="2019-04-05", training=None)
    out = build_from_granules(world / "granules", tmp_path / "c.zarr", small)
    attributes = zarr.open_group(out, mode="r+").attrs
    recorded = json.loads(attributes["recipe"])
    attributes["recipe"] = {k: v for k, v in recorded.items() if k not in ("exact", "filling", "training")}
    # The arrays of a grid were in a group of its name.
    (out / "ease2_9km").mkdir()
    (out / "ease2_9km" / "zarr.json").write_bytes((out / "zarr.json").read_bytes())
    for array in [place.parent for place in out.glob("*/zarr.json") if place.parent.name != "ease2_9km"]:
        array.rename(out / "ease2_9km" / array.name)
    build_from_granules(world / "granules", out, replace(small, last="2019-04-06"))
    assert open_cube(out).sizes["time"] == 6
    with pytest.raises(VadoseError, match="exact differ"):
        build_from_granules(world / "granules", out, replace(small, last="2019-04-06", exact=True))
