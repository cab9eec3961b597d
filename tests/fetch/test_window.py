"""Windows of remote GeoTIFFs."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from data_centre import Centre, serve, status
from rasterio.transform import Affine

from vadose.download import Plan, RemoteFile, fetch
from vadose.download.client import Client
from vadose.download.plan import part_of
from vadose.errors import VadoseError

BOX = (-99.5, 30.25, -98.75, 30.875)


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    path = tmp_path / "whole.tif"
    profile = {
        "driver": "GTiff",
        "width": 2048,
        "height": 1024,
        "count": 1,
        "dtype": "int16",
        "crs": "EPSG:4326",
        "transform": Affine(1 / 1024, 0, -100, 0, -1 / 1024, 31),
        "nodata": -32768,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.random.default_rng(0).integers(0, 3000, (1024, 2048)).astype(np.int16), 1)
        target.update_tags(AREA_OR_POINT="Area", survey="SRTM")
        target.set_band_description(1, "elevation")
    return path


def plan(url: str, **more: object) -> Plan:
    return Plan("3dep_1", (RemoteFile("n31w100.tif", url, crop=(BOX,), part={"bbox": list(BOX)}, **more),))  # type: ignore[arg-type]


def test_a_window_holds_the_pixels_of_the_box_and_no_more_is_read(
    centre: Centre, client: Client, tmp_path: Path, raster: Path
) -> None:
    url = centre.on("/whole.tif", serve(raster.read_bytes()))
    (path,) = fetch(plan(url), tmp_path / "out", client=client)
    with rasterio.open(path) as cut, rasterio.open(raster) as whole:
        assert cut.shape == (640, 768)
        assert cut.bounds == pytest.approx(BOX[:1] + BOX[1:2] + BOX[2:])
        assert (cut.nodata, cut.dtypes, cut.crs) == (-32768, whole.dtypes, whole.crs)
        assert cut.descriptions == ("elevation",)
        assert cut.tags()["survey"] == "SRTM"
        assert cut.tags()["source"] == url
        assert (cut.read(1) == whole.read(1)[128:768, 512:1280]).all()
    # GDAL asks once without a range, and hangs up when it knows the size.
    sent = [headers["Range"] for headers in centre.asked("/whole.tif") if "Range" in headers]
    spans = [text.removeprefix("bytes=").split("-") for text in sent]
    assert sum(int(last) - int(first) + 1 for first, last in spans) < 0.7 * raster.stat().st_size
    before = len(centre.log)
    fetch(plan(url), tmp_path / "out", client=client)
    assert len(centre.log) == before


def test_a_projected_raster_is_cut_by_the_outline_of_the_box(centre: Centre, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "albers.tif"
    profile = {"driver": "GTiff", "width": 300, "height": 300, "count": 1, "dtype": "uint8", "crs": "EPSG:5070"}
    with rasterio.open(path, "w", transform=Affine(1000, 0, -400_000, 0, -1000, 1_000_000), **profile) as target:
        target.write(np.arange(90_000, dtype=np.uint32).reshape(1, 300, 300).astype(np.uint8))
    (cut,) = fetch(plan(centre.on("/a.tif", serve(path.read_bytes()))), tmp_path / "out", client=client)
    with rasterio.open(cut) as part, rasterio.open(path) as whole:
        row, column = whole.index(part.bounds.left + 500, part.bounds.top - 500)
        same = whole.read(1)[row : row + part.height, column : column + part.width]
        assert (part.read(1) == same).all()
        assert 70 < part.width < 80


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(404), "does not exist"),
        (status(403), "answered 403 Forbidden"),
        (serve(b"II*\x00" + bytes(3000)), "reading the raster failed; gave up after 3 tries"),
        (serve(b"II*\x00" + bytes(3000), ranges=False), "does not serve parts of files"),
    ],
)
def test_a_window_that_cannot_be_had(
    centre: Centre, client: Client, tmp_path: Path, answer: object, message: str
) -> None:
    with pytest.raises(VadoseError, match=f"^n31w100.tif: .*{message}"):
        fetch(plan(centre.on("/a.tif", answer)), tmp_path / "out", client=client)  # type: ignore[arg-type]
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".fetch"]


def test_a_box_outside_is_told(centre: Centre, client: Client, tmp_path: Path, raster: Path) -> None:
    away = Plan("x", (RemoteFile("a.tif", centre.on("/a.tif", serve(raster.read_bytes())), crop=((10, 10, 11, 11),)),))
    with pytest.raises(VadoseError, match="lies outside the file"):
        fetch(away, tmp_path / "out", client=client)


def test_a_signed_address_is_asked_for_and_shown_nowhere(
    centre: Centre,
    client: Client,
    tmp_path: Path,
    raster: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("VADOSE_URL_STAC_SIGN", centre.url("/sas"))
    signed = f'{{"href": "{centre.url("/a.tif")}?sig=SECRET%2F1"}}'.encode()
    centre.on("/sas/sign", serve(signed))
    url = centre.on("/a.tif", status(403), serve(raster.read_bytes()))
    (path,) = fetch(plan(url, login="planetary-computer"), tmp_path / "out", client=client)
    assert len(centre.asked("/sas/sign")) == 2
    assert any("sig=SECRET%2F1" in full for _, _, full in centre.log)
    with rasterio.open(path) as cut:
        assert "SECRET" not in str(cut.tags())
    assert not any(b"SECRET" in p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    centre.on("/a.tif", status(206, b"II*\x00", Content_Range="bytes 0-3/3000"), status(501))
    with pytest.raises(VadoseError) as error:
        fetch(plan(url, login="planetary-computer"), tmp_path / "other", client=client)
    assert "SECRET" not in str(error.value)
    assert "501" in caplog.text
    assert "SECRET" not in caplog.text


def test_the_address_behind_a_login_is_read_without_the_login(
    centre: Centre, client: Client, tmp_path: Path, raster: Path
) -> None:
    centre.on("/cdn/a.tif", serve(raster.read_bytes()))
    there = centre.url("/cdn/a.tif?sig=SECRET", host="localhost")
    url = centre.on("/protected/a.tif", status(302, Location=there))
    (path,) = fetch(plan(url, login="earthdata"), tmp_path / "out", client=client)
    with rasterio.open(path) as cut:
        assert cut.shape == (640, 768)
        assert cut.tags()["source"] == url
    assert "Bearer" in centre.asked("/protected/a.tif")[0]["Authorization"]
    assert not any("Authorization" in headers for headers in centre.asked("/cdn/a.tif"))


PLACES = (-99.9, 30.9, -99.88, 30.92), (-98.2, 30.05, -98.18, 30.07)
"""Two stations far apart in one scene."""


@pytest.mark.parametrize(
    "orders", [[PLACES], [PLACES[:1], PLACES[1:]], [PLACES, PLACES[1:]]], ids=["at once", "later", "again"]
)
def test_two_stations_in_one_scene_share_a_file(
    centre: Centre, client: Client, tmp_path: Path, raster: Path, orders: list[tuple[tuple[float, ...], ...]]
) -> None:
    url = centre.on("/whole.tif", serve(raster.read_bytes()))
    for boxes in orders:
        file = RemoteFile("scene/B4.tif", url, crop=boxes, part=part_of(boxes))  # type: ignore[arg-type]
        (path,) = fetch(Plan("landsat", (file,)), tmp_path / "out", client=client)
    with rasterio.open(path) as cut, rasterio.open(raster) as whole:
        held = cut.read(1)
        row, column = whole.index(cut.bounds.left + 1e-6, cut.bounds.top - 1e-6)
        same = whole.read(1)[row : row + cut.height, column : column + cut.width]
        for west, south, east, north in PLACES:
            (top, left), (bottom, right) = cut.index(west, north), cut.index(east, south)
            part = slice(top + 1, bottom), slice(left + 1, right)
            assert held[part].size > 300
            assert (held[part] == same[part]).all()
        assert (held == -32768).mean() > 0.8
    assert path.stat().st_size < 0.3 * raster.stat().st_size
    sent = [headers["Range"] for headers in centre.asked("/whole.tif") if "Range" in headers]
    spans = [text.removeprefix("bytes=").split("-") for text in sent]
    assert sum(int(last) - int(first) + 1 for first, last in spans) < 0.6 * raster.stat().st_size * len(orders)


def test_of_several_boxes_those_outside_the_scene_are_left_out(
    centre: Centre, client: Client, tmp_path: Path, raster: Path
) -> None:
    boxes = (*PLACES[:1], (10.0, 10.0, 11.0, 11.0))
    file = RemoteFile("a.tif", centre.on("/a.tif", serve(raster.read_bytes())), crop=boxes, part=part_of(boxes))
    (path,) = fetch(Plan("x", (file,)), tmp_path / "out", client=client)
    with rasterio.open(path) as cut:
        assert cut.shape == (20, 21)
