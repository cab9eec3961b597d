"""One plan for all products of a recipe: fetched from a local server, and built by the two documented commands."""

import io
import json
import socket
import zipfile
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import xarray as xr
from data_centre import Centre, serve, status
from typer.testing import CliRunner

from vadose import api
from vadose.cli import app
from vadose.cube import open_cube
from vadose.cube.wanted import Wanted, places_of
from vadose.download import fetch_products, plan_products
from vadose.download.client import Client
from vadose.errors import VadoseError
from vadose.experiments.needs import needs
from vadose.fetching import plan as plan_of
from vadose.insitu.files import folders_of
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.imerg import write_imerg
from vadose.twin.granules.soils import write_solus
from vadose.twin.granules.terrain import write_srtm
from vadose.twin.truth import example

FIRST, LAST = "2019-06-01", "2019-06-03"
RECIPE = f"""
kind: cube
resolution: 9km
bbox: [{{box}}]
first: {FIRST}
last: {LAST}
products:
  imerg: {{{{variables: [precipitation], resampling: nearest}}}}
  gridmet: {{{{variables: [air_temperature_max], resampling: nearest}}}}
  solus100: {{{{variables: [clay_fraction_5cm], resampling: mean}}}}
  srtm: {{{{variables: [elevation], resampling: mean}}}}
"""
SERVICES = ("cmr", "gridmet_subset", "solus", "srtm")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Granules as their data centres have them."""
    folder = tmp_path_factory.mktemp("published")
    # In one tile of SRTM.
    truth = example(days=3, rows=28, columns=28, first=FIRST).isel(y=slice(6), x=slice(20, 26))
    write_imerg(truth, folder / "imerg", frequency="daily")
    write_gridmet(truth, folder / "gridmet", variables=("tmmx",))
    write_solus(truth, folder / "solus100", properties=("claytotal",), depths=(5,))
    write_srtm(truth, folder / "srtm")
    inner = slice(1, -1)
    box = [
        float(end(truth[side][inner, inner]))
        for end, side in ((min_, "lon"), (min_, "lat"), (max_, "lon"), (max_, "lat"))
    ]
    (folder / "small.yaml").write_text(RECIPE.format(box=", ".join(f"{side:.4f}" for side in box)))
    return folder


def min_(field: xr.DataArray) -> float:
    return float(field.min()) - 0.03


def max_(field: xr.DataArray) -> float:
    return float(field.max()) + 0.03


@pytest.fixture
def small(published: Path) -> str:
    return str(published / "small.yaml")


@pytest.fixture
def services(centre: Centre, published: Path, monkeypatch: pytest.MonkeyPatch) -> Centre:
    """The four services, each under its own path of one server."""
    pytest.importorskip("earthaccess")
    for name in SERVICES:
        monkeypatch.setenv(f"VADOSE_URL_{name.upper()}", centre.url(f"/{name}"))
    monkeypatch.setenv("EARTHDATA_TOKEN", "tok")
    days = sorted((published / "imerg").rglob("3B-DAY*"))
    items = []
    for path in days:
        centre.on(f"/dap/{path.name}.dap.nc4", serve(path.read_bytes()))
        links = [
            {"Type": "GET DATA", "URL": centre.url(f"/whole/{path.name}")},
            {"Type": "USE SERVICE API", "Subtype": "OPENDAP DATA", "URL": centre.url(f"/dap/{path.name}")},
        ]
        items.append({"meta": {}, "umm": {"GranuleUR": path.name, "RelatedUrls": links}})
    body = json.dumps({"hits": len(items), "items": items}).encode()
    centre.on("/cmr/search/granules.umm_json", serve(body, etag=None, CMR_Hits=len(items)))
    (year,) = (published / "gridmet").rglob("*.nc")
    centre.on(f"/gridmet_subset/tmmx/{year.name}", serve(year.read_bytes()))
    (clay,) = (published / "solus100").rglob("*.tif")
    centre.on(f"/solus/{clay.name}", serve(clay.read_bytes()))
    for tile in (published / "srtm").rglob("*.tif"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(tile, tile.name)
        centre.on(f"/srtm/{tile.stem}.zip", serve(packed.getvalue()))
    return centre


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, VadoseError):
        return 2, result.output + str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def names(folder: Path) -> list[str]:
    """Everything that a build could take for data."""
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and ".fetch" not in p.parts
    )


def test_what_is_fetched_by_a_recipe_is_built_by_it(services: Centre, small: str, tmp_path: Path) -> None:
    data, cube = str(tmp_path / "data"), str(tmp_path / "cube.zarr")
    code, text = run("fetch", "--recipe", small, "--out", data)
    assert code == 0, text
    assert [name.split("/")[0] for name in names(tmp_path / "data")] == ["gridmet", *["imerg"] * 3, "solus100", "srtm"]
    code, text = run("build", data, "--recipe", small, "--out", cube, "--workers", "1")
    assert code == 0, text
    made = open_cube(Path(cube))
    assert (made.sizes["time"], made.sizes["y"], made.sizes["x"]) == (3, 4, 4)
    for name in ("precipitation", "air_temperature_max", "clay_fraction_5cm", "elevation"):
        assert bool(made[name].notnull().all()), name
    asked = len(services.log)
    assert run("fetch", "--recipe", small, "--out", data)[0] == 0
    again = [path for path, *_ in services.log[asked:]]
    assert not [path for path in again if path.startswith(("/dap", "/gridmet_subset/")) or path.endswith(".tif")]


def test_a_dry_run_tells_files_and_sizes_by_product(services: Centre, small: str, tmp_path: Path) -> None:
    code, text = run("fetch", "--recipe", small, "--out", str(tmp_path / "data"), "--dry-run")
    assert code == 0, text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["imerg"][1:3] == ["GPM_3IMERGDF", "3"]
    assert rows["imerg"][5:] == ["earthdata", "estimate", "of", "2024"]
    assert rows["srtm"][-2:] == ["none", "server"]
    assert not rows["srtm"][3].startswith("~")
    assert rows["total"][1] == "6"
    assert names(tmp_path) == []
    url = next(full for path, _, full in services.log if path.startswith("/cmr/search"))
    assert parse_qs(urlsplit(url).query)["temporal[]"][0].startswith("2019-06-01T00:00:00Z,2019-06-03")


def test_one_product_that_fails_does_not_stop_the_others(services: Centre, small: str, tmp_path: Path) -> None:
    (clay,) = (path for path in services.answers if path.startswith("/solus/"))
    good = services.answers[clay]
    services.on(clay, status(404))
    code, text = run("fetch", "--recipe", small, "--out", str(tmp_path))
    assert code == 2
    assert "1 of 4 products not complete" in text
    assert "solus100: claytotal_5_cm_p.tif" in text
    assert {name.split("/")[0] for name in names(tmp_path)} == {"gridmet", "imerg", "srtm"}
    services.on(clay, *good)
    assert run("fetch", "--recipe", small, "--out", str(tmp_path))[0] == 0
    assert "solus100/claytotal_5_cm_p.tif" in names(tmp_path)


def test_an_interrupted_fetch_goes_on_where_it_was(services: Centre, small: str, tmp_path: Path) -> None:
    def interrupt(what: str, share: float) -> None:
        if "solus" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.fetch(recipe=small, out=tmp_path, progress=interrupt)
    before = set(names(tmp_path))
    assert {name.split("/")[0] for name in before} >= {"gridmet", "imerg"}
    services.log.clear()
    assert len(api.fetch(recipe=small, out=tmp_path)) == 6
    assert not [path for path, *_ in services.log if path.startswith(("/dap", "/gridmet_subset/"))]


@pytest.mark.parametrize("silence", ["refused", "hangs"])
def test_without_a_network_estimates_are_told_and_marked(
    silence: str, published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = 9 if silence == "refused" else mute.getsockname()[1]
        for name in SERVICES:
            monkeypatch.setenv(f"VADOSE_URL_{name.upper()}", f"http://127.0.0.1:{port}/{name}")
        plan = plan_products(needs(str(published / "small.yaml")), patience=0.3)
    assert [one.number for one in plan.products][:3] == [3, 1, 1]
    assert plan.offline() == (
        f"no answer from 127.0.0.1:{port}: files and sizes of imerg, gridmet, solus100, srtm are estimates of 2024"
    )
    assert plan.table().count("estimate of 2024") == 4
    assert plan.faults() == []
    with pytest.raises(
        VadoseError, match=r"4 of 4 products not complete.*\nimerg, gridmet, solus100, srtm: no answer from"
    ):
        fetch_products(plan, tmp_path / "data")
    assert names(tmp_path) == []


def test_a_plan_does_not_wait_long_for_a_catalogue_that_fails(
    services: Centre, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.on("/cmr/search/granules.umm_json", status(503))
    waits: list[float] = []
    monkeypatch.setattr("vadose.download.recipe.Client", partial(Client, wait=waits.append))
    plan = plan_products(needs(small))
    assert sum(waits) < 10
    (fault,) = plan.faults()
    assert fault.startswith("imerg: GPM_3IMERGDF 07: the catalogue answered an error; gave up after 4 tries")
    assert [one.number for one in plan.products if one.product != "imerg"] == [1, 1, 1]


# ---- what is wanted


def test_each_product_is_asked_for_what_the_recipe_reads() -> None:
    wanted = {one.product: one for one in needs("forecast_paper")}
    assert wanted["mod09cmg"].variables == ("reflectance_swir2",)
    assert wanted["srtm"].variables[0] == "elevation"
    assert wanted["gridmet"].boxes == ((-125.5, 24.0, -66.0, 50.0),)
    assert f"{wanted['smap_l3'].first} {wanted['smap_l3'].last}" == "2018-01-01 2022-12-31"


def test_the_paper_is_fetched_from_practical_sources_or_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vadose.download.recipe._silent", lambda urls, patience: urls)
    usual, printed = (plan_products(needs("forecast_paper", as_printed=own)) for own in (False, True))
    assert [one.source for one in usual.products if one.product == "mod09cmg"] == ["MOD09CMG", "MYD09CMG"]
    assert sum(one.size for one in usual.products) < 60e9
    sources = {one.source: one for one in printed.products}
    assert {"GPM_3IMERGHH", "MOD09GA", "MYD09GA"} <= {*sources}
    assert sources["SPL3SMP_E"].size == 1826 * 700_000_000
    assert sum(one.size for one in printed.products) > 9e12
    assert not [*usual.faults(), *printed.faults()]


def test_the_newest_map_up_to_the_first_day_is_fetched(
    centre: Centre, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VADOSE_URL_NLCD", centre.url())
    for year in (2016, 2018, 2019):
        centre.on(f"/Annual_NLCD_LndCov_{year}_CU_C1V1.zip", serve(b"PK\x03\x04"))
    (wanted,) = (one for one in needs("demo") if one.product == "srtm")
    nlcd = Wanted("nlcd", (), wanted.boxes, wanted.first.replace(year=2018), wanted.last.replace(year=2020))
    (row,) = plan_products([nlcd], client).products
    assert row.note == "one map, of 2018"
    assert [file.name for file in row.plan.files] == ["Annual_NLCD_LndCov_2018_CU_C1V1.tif"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "nope"], r"recipe nope: no such file, nor a built-in recipe \(conus, .*demo.*\) or experiment"),
        (["--recipe", "india"], "india: an experiment on 'smap_india', which cannot be fetched; give a recipe"),
        (["--recipe", "downscale-stations"], "an experiment on 'stations', which cannot be fetched"),
        (["--recipe", "downscale-paper"], "give the stations .--at stations.zarr. or a box"),
        (["--recipe", "demo", "--from", "2017-01-01"], "last day 2016-09-30 is before the first day, 2017-01-01"),
        (["--recipe", "demo", "--variable", "pr"], "are for a single product"),
        (["gridmet", "--recipe", "demo"], "expected either a product, such as gridmet, or a recipe"),
        ([], "expected either a product"),
        (["--recipe", "demo", "--bbox=1,2,3"], "expected four numbers"),
        (["--recipe", "demo", "--bbox=3,2,1,4"], "expected west, south, east, north"),
    ],
)
def test_recipes_that_cannot_be_fetched_are_told(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vadose.download.recipe._silent", lambda urls, patience: urls)
    with pytest.raises(VadoseError, match=message):
        raise VadoseError(run("fetch", *arguments, "--dry-run")[1])


def test_products_that_have_nothing_there_or_then_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vadose.download.recipe._silent", lambda urls, patience: urls)
    code, text = run("fetch", "--recipe", "demo", "--bbox=5,45,6,46", "--dry-run")
    assert code == 2
    assert "gridmet: covers -125 .. -66 E" in text
    assert "smap_l3: begins on 2015-03-31; the days from 2015-01-01 to then have no files" in text
    code, text = run("fetch", "--recipe", "demo", "--from", "2010-01-01", "--to", "2010-02-01", "--dry-run")
    assert code == 2
    assert "smap_l3: begins on 2015-03-31; the days 2010-01-01 .. 2010-02-01 are all before" in text


# ---- at stations


STATIONS = xr.Dataset(
    coords={"station": ["a", "b"], "lat": ("station", [38.25, 38.75]), "lon": ("station", [-99.25, -99.75])}
)


def test_a_study_at_stations_is_asked_for_what_is_read_there() -> None:
    wanted = {one.product: one for one in needs("downscale-paper", places=places_of(STATIONS))}
    assert needs("mmnet", places=places_of(STATIONS)) == [*wanted.values()]
    assert set(wanted) >= {"uscrn", "scan", "landsat", "sentinel1", "gridmet", "smap_l4", "3dep", "polaris", "nlcd"}
    assert "srtm" not in wanted  # of two products that give a feature the first is read
    assert f"{wanted['gridmet'].first} {wanted['gridmet'].last}" == "2015-12-01 2022-12-31"
    # Overpasses before and after fill the days between, as published.
    assert f"{wanted['landsat'].first} {wanted['landsat'].last}" == "2015-09-28 2023-03-05"
    assert len(wanted["landsat"].boxes) == 2
    west, south, east, north = wanted["landsat"].boxes[0]
    assert west < -99.25 < east
    assert south < 38.25 < north
    assert east - west < 0.1


def test_two_stations_in_one_tile_share_its_file() -> None:
    plan = plan_of("3dep_1", at=STATIONS)
    (file,) = plan.files  # type: ignore[union-attr]
    assert len(file.crop) == 2
    with pytest.raises(VadoseError, match=r"either stations .at. or an area"):
        plan_of("3dep_1", at=STATIONS, bbox=(-100, 38, -99, 39))
    with pytest.raises(VadoseError, match="no stations with lat and lon"):
        plan_of("3dep_1", at=xr.Dataset())


def test_studies_find_station_files_where_fetch_puts_them(tmp_path: Path) -> None:
    for name in ("uscrn", "scan"):
        (tmp_path / name).mkdir()
    assert folders_of(tmp_path) == {name: tmp_path / name for name in ("uscrn", "scan")}
    (tmp_path / "scan" / "station-metadata.csv").touch()
    assert folders_of(tmp_path)["metadata"] == tmp_path / "scan"
    (tmp_path / "scan_daily").mkdir()
    assert folders_of(tmp_path)["scan"] == tmp_path / "scan_daily"
