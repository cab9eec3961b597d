"""What 'vadose inspect' says of files, good and bad."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from vadose.cli import main
from vadose.errors import VadoseError
from vadose.products.inspection import inspect
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.landsat import write_landsat
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.granules.stations import at_stations, measured, place_stations, write_ismn, write_uscrn
from vadose.twin.granules.terrain import write_srtm
from vadose.twin.truth import example

BOX = (-101.0, 39.0, -99.0, 41.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    truth = example(days=3, rows=10, columns=10)
    truth.overpass_am[1] = 1
    truth.surface_temperature[1, :5] = 274.0  # frozen: there, but not recommended
    write_smap_l3(truth, folder)
    write_gridmet(truth, folder)
    write_srtm(truth, folder)
    series = measured(at_stations(truth, place_stations(truth, 2)))
    write_uscrn(series, folder / "uscrn")
    write_ismn(series, folder / "ismn")
    return folder


def test_a_granule_is_told_whole(world: Path) -> None:
    found = inspect(world / "SMAP_L3_SM_P_E_20190430_R19240_001.h5", bbox=BOX)
    assert found.product == "smap_l3"
    assert found.facts["product"] == "SPL3SMP_E"
    assert found.facts["version"] == "006 (R19240)"
    assert found.facts["time"] == "2019-04-30 UTC"
    assert found.facts["grid"].startswith("21 x 22 cells of 9008.06 x 9008.06 m")
    assert "EPSG:6933" in found.facts["grid"]
    assert found.facts["simulated"] == "true"
    moisture = next(v for v in found.variables if v.name == "soil_moisture")
    assert moisture.units == "m3 m-3"
    assert moisture.there == pytest.approx(100 / (21 * 22))
    assert moisture.valid == pytest.approx(50 / (21 * 22))
    assert 0.02 <= moisture.low < moisture.high < 0.6


def test_grids_of_degrees_and_what_does_not_change(world: Path) -> None:
    weather = inspect(next(world.rglob("tmmx_2019.nc")))
    assert weather.facts["time"] == "2019-04-29 to 2019-05-01 (3 times)"
    assert "585 x 1386 cells of 0.0416667 x 0.0416667 degree" in weather.facts["grid"]
    terrain = inspect(next(world.rglob("srtm_*.tif")))
    assert terrain.facts["time"] == "none (fixed in time)"


def test_stations_are_counted_and_placed(world: Path) -> None:
    one = inspect(next((world / "uscrn").rglob("CRND*.txt")))
    assert one.facts["place"].startswith("lat ")
    both = inspect(world / "ismn")
    assert both.facts["stations"] == "2"
    series = inspect(next((world / "ismn").rglob("*_sm_0.050000*.stm")))
    assert series.facts["station"].startswith("Simulated")
    moisture = next(v for v in series.variables if v.name == "soil_moisture")
    assert np.isfinite(moisture.low)


def test_the_command_prints_and_fails_as_people_expect(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["vadose", "inspect", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0)

    granule = str(world / "SMAP_L3_SM_P_E_20190430_R19240_001.h5")
    assert run(granule, "--bbox=-101,39,-99,41") == 0
    printed = capsys.readouterr().out
    for word in ("SPL3SMP_E", "006", "2019-04-30", "soil_moisture", "m3 m-3", "%"):
        assert word in printed
    page = tmp_path / "SMAP_L3_SM_P_E_20190501_R19240_001.h5"
    page.write_text("<!DOCTYPE html><html>Earthdata Login</html>")
    cut = tmp_path / "SMAP_L3_SM_P_E_20190430_R19240_001.h5"
    cut.write_bytes(Path(granule).read_bytes()[:5000])
    for path, message in ((page, "web page"), (cut, "cut short or damaged"), (tmp_path / "no.h5", "no such file")):
        assert run(str(path)) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert message in told
        assert "Traceback" not in told
        assert len(told.strip().splitlines()) == 1
    assert run(granule, "--bbox=1,2,3") == 2
    assert "expected four numbers" in capsys.readouterr().err


def test_bad_requests(world: Path, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="product 'smap' unknown"):
        inspect(world, product="smap")
    with pytest.raises(VadoseError, match="leave out the box"):
        inspect(world / "ismn", bbox=BOX)
    strange = tmp_path / "notes.txt"
    strange.write_text("nothing to see here\n")
    with pytest.raises(VadoseError, match="a text of no known product"):
        inspect(strange)
    named = tmp_path / "SMAP_L3_SM_P_E_20190501_R19240_001.h5"
    named.write_bytes(next(world.rglob("srtm_*.tif")).read_bytes())
    with pytest.raises(VadoseError, match=r"named like SMAP Level 3.*a tiff|found a tiff"):
        inspect(named)


def test_a_file_without_its_companions_is_told_with_what_it_lacks(tmp_path: Path) -> None:
    (scene,) = write_landsat(example(days=2, first="2019-05-16", resolution="100m"), tmp_path / "whole")
    alone = Path(shutil.copy(next(scene.glob("*_SR_B4.TIF")), tmp_path))
    found = inspect(alone)
    assert (found.product, found.facts["quality"]) == ("landsat", "all: none applied: only fill is masked")
    assert "no QA_PIXEL band beside the others" in found.facts["lacking"]
    assert [v.name for v in found.variables] == ["reflectance_red"]
    assert "lacking" not in inspect(scene).facts


def test_a_tile_of_soil_without_its_folders_is_told_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "lat4142_lon-88-87.tif"
    profile = {"crs": "EPSG:4326", "transform": Affine(1 / 3600, 0, -88, 0, -1 / 3600, 42), "dtype": "float32"}
    with rasterio.open(path, "w", driver="GTiff", height=2, width=3, count=1, **profile) as file:
        file.write(np.zeros((2, 3), np.float32), 1)
    found = inspect(path)
    assert (found.product, found.variables[0].name, found.variables[0].units) == (
        "polaris",
        "unknown_property",
        "unknown",
    )
    assert "neither folders" in found.facts["lacking"]
