"""What a cube says of itself, keeps and reads again."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose import features
from vadose.config import load_cube
from vadose.cube import Recipe, Source, build_from_granules, open_cube
from vadose.cube.granules import read_block
from vadose.errors import VadoseError
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


# The checker's table has a word where a tuple of one belongs, and asks for an attribute of each letter.
CHECK = """
import sys
from compliance_checker.cf.appendix_f import grid_mapping_dict17 as grid_mappings
from compliance_checker.runner import CheckSuite, ComplianceChecker
entry = grid_mappings["lambert_cylindrical_equal_area"]
entry[0] = (entry[0],) if isinstance(entry[0], str) else entry[0]
CheckSuite.load_all_available_checkers()
passed, errors = ComplianceChecker.run_checker(sys.argv[1], ["cf:1.11"], 1, "strict")
sys.exit(not passed or errors)
"""


def compliance(cube: xr.Dataset, file: Path) -> tuple[int, str]:
    cube.to_netcdf(file)
    done = subprocess.run([sys.executable, "-c", CHECK, file], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_cube_follows_the_cf_conventions(cube: Path, tmp_path: Path) -> None:
    made = open_cube(cube)
    failed, said = compliance(made, tmp_path / "cube.nc")
    assert "Errors" not in said, said
    assert not failed, said
    made.precipitation.attrs["units"] = "cups a day"
    failed, said = compliance(made[["precipitation"]], tmp_path / "spoilt.nc")
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

    def reading(granules: Any, grid: Any, days: Any, source: Any, root: Any) -> Any:
        read.extend(granule.path.name for granule in granules)
        return read_block(granules, grid, days, source, root)

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
    written = {p: p.stat().st_mtime_ns for p in (out / "ease2_9km").glob("soil_moisture*/c/*/0/0")}
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
    ("write", "product", "theirs", "ours", "tolerance"),
    [
        (write_nldas_forcing, "nldas_forcing", "precipitation", "precipitation", 0.3),
        (write_nldas_forcing, "nldas_forcing", "air_temperature", "air_temperature", 0.5),
        (write_nldas_noah, "nldas_noah", "soil_moisture_40_100cm", "soil_moisture_40_100cm", 0.01),
        (write_smap_l4, "smap_l4", "soil_moisture", "soil_moisture_0_10cm", 0.01),
        (write_imerg, "imerg", "precipitation", "precipitation", 0.3),
    ],
)
def test_hours_become_days(
    write: Callable[..., Any], product: str, theirs: str, ours: str, tolerance: float, tmp_path: Path
) -> None:
    grid = recipe().grid
    truth = next(simulate(grid, "2019-06-01", "2019-06-02", spin_up=20))
    write(truth, tmp_path / product)
    method = "nearest" if product == "smap_l4" else "bicubic"
    sources = (Source(product, {theirs: ours}, method),)
    days = recipe(sources=sources, first="2019-06-01", last="2019-06-02", training=None)
    made = open_cube(build_from_granules(tmp_path, tmp_path / "c.zarr", days))[ours].load()
    assert made.sizes["time"] == 2
    inner = (slice(None), slice(2, -2), slice(2, -2))
    error = np.abs(made.values - truth[ours].values)[inner]
    scale = max(1.0, float(truth[ours].max())) if ours == "precipitation" else 1.0
    assert np.isfinite(error).mean() > 0.9
    assert np.nanmean(error) < tolerance * scale
    # An hour that is missing: the day is no day.
    sorted((tmp_path / product).rglob("*.*"))[3].unlink()
    part = open_cube(build_from_granules(tmp_path, tmp_path / "c.zarr", days))
    assert part[ours].isel(time=0).isnull().all()
    assert part[ours].isel(time=1).notnull().any()
    assert part.attrs["broken_granules"] != "{}"


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
    for name, satellites in (("terra", ["terra"]), ("aqua", ["aqua"]), ("both", ["terra", "aqua"])):
        for satellite in satellites:
            write_mod09ga(truth, tmp_path / name / "mod09ga", satellite=satellite)
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
