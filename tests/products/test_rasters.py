"""Rasters are read from their own folder alone, north up, in windows that fit in memory."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio import Affine

from vadose.errors import NeedsError, VadoseError
from vadose.products import rasters
from vadose.products.inspection import inspect
from vadose.products.nlcd import read_nlcd
from vadose.products.rasters import open_raster, read_raster

STEP = Affine(0.5, 0, -100, 0, -0.5, 40)


def raster(path: Path, values: Any = ((1, 2, 3), (4, 5, 6)), **options: Any) -> Path:
    values = np.asarray(values, np.int16)
    profile = {"driver": "GTiff", "crs": "EPSG:4326", "transform": STEP, "dtype": values.dtype} | options
    with rasterio.open(path, "w", height=values.shape[0], width=values.shape[1], count=1, **profile) as file:
        file.write(values, 1)
    return path


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server on this machine that would see a request; nobody answers."""
    for name in ("GDAL_HTTP_TIMEOUT", "GDAL_HTTP_CONNECTTIMEOUT"):
        monkeypatch.setenv(name, "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


def address(server: socket.socket) -> str:
    return f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/x.tif"


def test_no_file_reaches_the_network(listening: socket.socket, tmp_path: Path) -> None:
    plain = raster(tmp_path / "plain.tif", np.ones((600, 600)))
    with rasterio.open(plain, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=address(listening))
    with open_raster(plain) as file:
        assert file.overviews(1) == []
        assert file.read(1, out_shape=(9, 9)).all()
    rasterio.shutil.copy(plain, tmp_path / "mosaic.vrt", driver="VRT")
    text = (tmp_path / "mosaic.vrt").read_text()
    for name in ("mosaic.vrt", "mosaic.tif", "srtm_16_04.tif"):
        (tmp_path / name).write_text(text.replace("plain.tif", address(listening)))
        with pytest.raises(VadoseError, match="is no file in its own folder"):
            read_raster(tmp_path / name)
    with pytest.raises(VadoseError, match="no such file"):
        read_raster(Path(address(listening)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a.tif<", "../outside.tif<", "is no file in its own folder"),
        ("a.tif<", "{outside}<", "is no file in its own folder"),
        ("a.tif<", "/vsisubfile/0_99,{outside}<", "is no file in its own folder"),
        ("a.tif<", "NETCDF:a.tif:x<", "is no file in its own folder"),
        ("a.tif<", "b.tif<", "source 'b.tif' is a vrt"),
        ('relativeToVRT="1"', 'SourceFilename="{outside}"', "with 'sourcefilename'"),
        ("<SimpleSource>", "<SimpleSource><OpenOptions/>", "with 'openoptions'"),
        ("<VRTRasterBand", '<VRTRasterBand subClass="VRTRawRasterBand"', "with 'subclass'"),
        ("</VRTDataset>", "", "not whole XML"),
    ],
)
def test_a_virtual_raster_stays_in_its_folder(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    outside = raster(tmp_path / "outside.tif")
    raster(folder / "a.tif")
    rasterio.shutil.copy(folder / "a.tif", folder / "b.tif", driver="VRT")
    text = (folder / "b.tif").read_text()
    path = folder / "mosaic.vrt"
    path.write_text(text)
    assert read_raster(path)[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert old in text
    path.write_text(text.replace(old, new.format(outside=outside)))
    with pytest.raises(VadoseError, match=message) as told:
        read_raster(path)
    assert "\n" not in str(told.value)


def test_what_lies_beside_a_file_says_nothing(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif")
    pam = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>1</NoDataValue></PAMRasterBand></PAMDataset>'
    (tmp_path / "a.tif.aux.xml").write_text(pam)
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n7\n8\n")
    values, coordinates, nodata = read_raster(path)
    assert (values.tolist(), nodata) == ([[1, 2, 3], [4, 5, 6]], None)
    assert coordinates.lon.values.tolist() == [-99.75, -99.25, -98.75]


def test_rows_from_south_to_north_are_turned(tmp_path: Path) -> None:
    north = read_raster(raster(tmp_path / "north.tif"), (-99.5, 39.0, -98.5, 39.5))
    south = raster(tmp_path / "south.tif", ((4, 5, 6), (1, 2, 3)), transform=Affine(0.5, 0, -100, 0, 0.5, 39))
    values, coordinates, _ = read_raster(south, (-99.5, 39.0, -98.5, 39.5))
    assert values.tolist() == north[0].tolist() == [[5, 6]]
    assert coordinates.identical(north[1])
    assert read_raster(south)[0].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transform": Affine(0.5, 0.1, -100, 0, -0.5, 40)}, "transform is"),
        ({"transform": Affine(np.nan, 0, -100, 0, -0.5, 40)}, "transform is"),
        ({"transform": Affine(0.5, 0, -100, 0, -0.5, 940)}, "nowhere on Earth"),
        ({"transform": Affine(0.5, 0, 260, 0, -0.5, 40)}, "nowhere on Earth"),
        ({"crs": "EPSG:32614", "transform": Affine(30, 0, 5e9, 0, -30, 4e6)}, "nowhere on Earth"),
        ({"crs": None}, "names no projection"),
        ({"crs": 'LOCAL_CS["here",UNIT["metre",1]]'}, "cannot transform degrees to the projection"),
    ],
)
def test_what_cannot_be_placed_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(VadoseError, match=message) as told:
        read_raster(raster(tmp_path / "a.tif", **options))
    assert str(told.value).startswith(str(tmp_path / "a.tif"))


def test_a_database_of_another_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJ_LIB", "/opt/other/proj")
    with pytest.raises(VadoseError, match="PROJ_LIB leads PROJ to /opt/other/proj, unset it"):
        read_raster(raster(tmp_path / "a.tif", crs='LOCAL_CS["here",UNIT["metre",1]]'))


def test_a_raster_larger_than_memory_is_read_by_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "Annual_NLCD_LndCov_2019_CU_C1V1.tif"
    profile = {
        "driver": "GTiff",
        "height": 104_424,
        "width": 161_190,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:5070",
        "transform": Affine(30, 0, -2493045, 0, -30, 3310005),
        "nodata": 250,
        "tiled": True,
        "blockxsize": 1024,
        "blockysize": 1024,
        "sparse_ok": True,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as file:
        window = rasterio.windows.Window(80_000, 52_000, 1024, 1024)
        file.write(np.full((1024, 1024), 52, np.uint8), 1, window=window)
    monkeypatch.setattr(rasters, "fits", lambda nbytes: nbytes < 1 << 28)
    with pytest.raises(NeedsError, match=r"104424 x 161190 pixels take 168 GB of memory.*--bbox") as told:
        read_nlcd(path)
    small = told.value.instead["bbox"]
    assert read_nlcd(path, bbox=small).land_cover_nlcd.size < 1e6
    found = inspect(path)
    assert "take 168 GB of memory" in found.facts["lacking"]
    assert (found.variables[0].low, found.variables[0].high) == (52, 52)


def test_one_block_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raster(tmp_path / "a.tif", np.zeros((40, 2)), blockysize=40)
    monkeypatch.setattr(rasters, "fits", lambda nbytes: nbytes < 100)
    with pytest.raises(VadoseError, match="in blocks of 40 x 2 pixels"):
        read_raster(path, (-100, 39.5, -99, 40))
