"""Parts of granules that do not say where they lie: cut by a local server, placed by fetch, built into a cube."""

import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h5py
import numpy as np
import pytest
import xarray as xr
from data_centre import Answer, Centre, Handler, serve

from vadose import api
from vadose.download import RecipePlan
from vadose.errors import VadoseError
from vadose.fetching import plan as plan_of
from vadose.products import PRODUCTS
from vadose.products.mod09cmg import AXES, plain
from vadose.twin.granules.modis_cmg import write_mod09cmg
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.truth import example

RECIPE = """
kind: cube
resolution: 9km
bbox: [-100.3, 39.8, -99.8, 40.2]
first: 2019-06-01
last: 2019-06-02
products:
  smap_l3: {variables: [soil_moisture, tb_h], resampling: nearest, options: {overpass: mean}}
  mod09cmg: {variables: [transformed_swir], resampling: mean}
"""
PART = re.compile(r"(/[^;\[]+)\[(\d+):1:(\d+)\]\[(\d+):1:(\d+)\]")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return example(days=2, first="2019-06-01")


@pytest.fixture(scope="module")
def published(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_smap_l3(truth, folder / "SPL3SMP_E")
    for name, satellite in (("MOD09CMG", "terra"), ("MYD09CMG", "aqua")):
        write_mod09cmg(truth, folder / name, satellite)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def opendap(path: Path) -> Answer:
    """What a server makes of a DAP4 constraint: the fields it names, and nothing that tells their place."""

    def answer(to: Handler) -> None:
        asked = parse_qs(urlsplit(to.path).query)["dap4.ce"][0]
        stream = io.BytesIO()
        with h5py.File(path) as whole, h5py.File(stream, "w") as file:
            top, left = (
                (int(np.argmin(abs(axis - whole[name][0]))) if name in whole else 0)
                for name, axis in zip(("lat", "lon"), AXES, strict=True)
            )
            for name, *ends in PART.findall(asked):
                data, (r0, r1, c0, c1) = whole[name.removeprefix("/CMG")], map(int, ends)
                # The simulated part in the middle of the globe.
                globe = np.full((r1 + 1, c1 + 1), data.attrs["_FillValue"], data.dtype)
                there = globe[top : top + data.shape[0], left : left + data.shape[1]]
                there[:] = data[: there.shape[0], : there.shape[1]]
                made = file.create_dataset(name, data=globe[r0:, c0:])
                made.attrs.update({key: value for key, value in data.attrs.items() if key != "DIMENSION_LIST"})
        to.send(200, stream.getvalue())

    return answer


def described(path: Path) -> bytes:
    with h5py.File(path) as file:
        fields = "".join(f'<Int16 name="{plain(name)}"/>' for name, data in file.items() if data.ndim == 2)
    return f'<Dataset xmlns="http://x/ns"><Group name="CMG">{fields}</Group></Dataset>'.encode()


@pytest.fixture
def services(centre: Centre, published: Path, monkeypatch: pytest.MonkeyPatch) -> Centre:
    pytest.importorskip("earthaccess")
    monkeypatch.setenv("VADOSE_URL_CMR", centre.url("/cmr"))
    monkeypatch.setenv("EARTHDATA_TOKEN", "tok")
    items: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(p for p in published.rglob("*") if p.suffix in (".h5", ".nc4")):
        name = path.name.removesuffix(".nc4")
        links = [
            {"Type": "GET DATA", "URL": centre.url(f"/whole/{name}")},
            {"Type": "USE SERVICE API", "Subtype": "OPENDAP DATA", "URL": centre.url(f"/dap/{name}")},
        ]
        items.setdefault(path.parent.name, []).append({"meta": {}, "umm": {"GranuleUR": name, "RelatedUrls": links}})
        centre.on(f"/dap/{name}.dap.nc4", opendap(path))
        if path.suffix == ".nc4":
            centre.on(f"/dap/{name}.dmr.xml", serve(described(path)))

    def catalogue(to: Handler) -> None:
        found = items[parse_qs(urlsplit(to.path).query)["short_name"][0]]
        serve(json.dumps({"hits": len(found), "items": found}).encode(), etag=None, CMR_Hits=len(found))(to)

    centre.on("/cmr/search/granules.umm_json", catalogue)
    return centre


def test_parts_are_placed_and_built(services: Centre, published: Path, truth: xr.Dataset, tmp_path: Path) -> None:
    recipe = str(published / "recipe.yaml")
    files = api.fetch(recipe=recipe, out=tmp_path / "data")
    assert len(files) == 6
    # A service is asked once a collection which names it has.
    assert len([path for path, *_ in services.log if path.endswith(".dmr.xml")]) <= 4
    box = (-100.3, 39.8, -99.8, 40.2)
    for path in files:
        (original,) = published.rglob(path.name)
        product = PRODUCTS[path.parent.name]
        one, other = (product.read(file, bbox=box) for file in (path, original))
        assert {*one.data_vars} <= {*other.data_vars}
        for name in one.data_vars:
            np.testing.assert_array_equal(one[name], other[name])
            np.testing.assert_allclose(one[one[name].dims[-1]], other[one[name].dims[-1]], atol=1e-6)
    cube = api.build(tmp_path / "data", recipe=recipe, out=tmp_path / "cube.zarr", workers=1)
    assert {*json.loads(cube.attrs["inputs"])["granules"]} == {"smap_l3", "mod09cmg"}
    for name in ("soil_moisture", "tb_h", "transformed_swir"):
        assert bool(cube[name].notnull().any()), name
    asked = len(services.log)
    api.fetch(recipe=recipe, out=tmp_path / "data")
    assert not [path for path, *_ in services.log[asked:] if path.startswith("/dap")]


def test_a_field_that_the_service_lacks_is_told(services: Centre, published: Path, tmp_path: Path) -> None:
    for path in services.answers:
        if path.endswith(".dmr.xml"):
            services.on(path, serve(b'<Dataset><Int16 name="Coarse_Resolution_State_QA"/></Dataset>'))
    box, days = (-100.3, 39.8, -99.8, 40.2), ("2019-06-01", "2019-06-01")
    with pytest.raises(VadoseError, match=r"its service has no Coarse_Resolution_Surface_Reflectance_Band_7 \(found"):
        api.fetch("MOD09CMG", bbox=box, days=days, subset=True, out=tmp_path)


def test_without_opendap_whole_granules_are_advised(services: Centre, published: Path) -> None:
    name = "SMAP_L3_SM_P_E_20190601_R19240_001.h5"
    links = [{"Type": "GET DATA", "URL": services.url(f"/whole/{name}")}]
    body = json.dumps({"hits": 1, "items": [{"meta": {}, "umm": {"RelatedUrls": links}}]}).encode()
    services.on("/cmr/search/granules.umm_json", serve(body, etag=None, CMR_Hits=1))
    recipe = str(published / "recipe.yaml")
    plan = plan_of(recipe=recipe)
    assert isinstance(plan, RecipePlan)
    assert f"{name}: the catalogue names no OPeNDAP service for it; fetch whole granules" in plan.faults()[0]
    whole = plan_of(recipe=recipe, as_printed=True)
    assert isinstance(whole, RecipePlan)
    assert whole.faults() == []
    assert [file.url for file in whole.products[0].plan.files] == [links[0]["URL"]]  # type: ignore[union-attr]
    with pytest.raises(VadoseError, match="as_printed is for a recipe"):
        plan_of("gridmet", as_printed=True)
