"""What holds for every product of PRODUCTS, read from simulated files and, where they are, from real ones."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from vadose.errors import OutsideError, VadoseError
from vadose.products import PRODUCTS, identify
from vadose.products.containers import container_of
from vadose.products.inspection import inspect
from vadose.variables import variable

BOX = (-100.4, 39.7, -99.6, 40.3)  # of the simulated files
# A part of the box for products of some kilometres, and of the county in its middle for finer ones.
PART = (-100.25, 39.8, -99.95, 40.1)
FINE_PART = (-100.01, 39.98, -99.97, 40.02)
FINE = ("3dep", "glo30", "hls", "landsat", "nlcd", "polaris", "sentinel1", "smap_hydroblocks", "soilgrids")
GRIDS = [name for name, product in PRODUCTS.items() if product.kind == "grid"]
# The simulated world has daily maps of SMAP, no half-orbits, and lies far from India: these are read from real files.
NOT_SIMULATED = {"smap_l2", "smap_india"}
REAL = {
    "conusv4f1": "conusv4f1",
    "smap_india": "smap_india",
    "uscrn": "uscrn_daily01/2016/CRND0103-2016-AL_Fairhope_3_NE.txt",
    "scan": "scan_daily/2057.csv",
    "ismn": "granules/ismn/format_header_values",
    "smap_l2": "granules/smap_l2/SMAP_L2_SM_P_02801_A_20150811T013002_R18290_001.h5",
    "smap_l4": "granules/smap_l4/SMAP_L4_SM_aup_comparison.h5",
    "imerg": "granules/imerg/3B-HHR.MS.MRG.3IMERG.20000601-S000000-E002959.0000.V06B.HDF5",
    "gridmet": "granules/gridmet/tmmx_20190121.nc",
    "mod09ga": "granules/modis/MOD09GA.A2008296.h14v17.006.2015181011753.hdf",
    "mcd12q1": "granules/modis/MCD12Q1.A2001001.h00v08.006.2018142182903.hdf",
    "landsat": "granules/landsat",
    "sentinel1": "granules/sentinel1/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif",
    "srtm": "granules/terrain/srtm.tif",
    "nlcd": "granules/nlcd/nlcd2011.tif",
}


def datasets(name: str, path: Path, **options: Any) -> list[xr.Dataset]:
    found: Any = PRODUCTS[name].read(path, **options)
    return found if isinstance(found, list) else [found]


def test_every_product_is_simulated(files: dict[str, Path]) -> None:
    assert set(files) == set(PRODUCTS) - NOT_SIMULATED


def check(name: str, path: Path) -> list[xr.Dataset]:
    """What is read: names, units, ranges, time and place; twice the same."""
    first, again = datasets(name, path), datasets(name, path)
    assert first
    for dataset, twice in zip(first, again, strict=True):
        xr.testing.assert_identical(dataset, twice)
        for key, values in dataset.data_vars.items():
            known = variable(str(key))
            if known is None:
                assert key in ("mask", "saturation", "soil_moisture_unflagged"), f"{key} is not of the vocabulary"
                continue
            assert values.attrs["units"] == known.units
            finite = values.values[np.isfinite(values.values)]
            assert ((finite >= known.valid_range[0]) & (finite <= known.valid_range[1])).all(), key
        if "time" in dataset.dims:
            assert dataset.attrs["day_boundary"]
            assert (np.diff(dataset.time.values) > np.timedelta64(0)).all()
        if PRODUCTS[name].kind == "grid":
            check_grid(dataset)
    return first


def check_grid(dataset: xr.Dataset) -> None:
    row, column = ("lat", "lon") if "lat" in dataset.dims else ("y", "x")
    assert (np.diff(dataset[row]) < 0).all()
    assert (np.diff(dataset[column]) > 0).all()
    assert "crs_wkt" in dataset.crs.attrs
    for values in dataset.data_vars.values():
        assert values.dims[-2:] == (row, column)
        assert values.dtype == np.float32 or values.dtype.kind in "iub"
    assert {"product", "version", "granule", "quality", "simulated"} <= set(dataset.attrs)
    if column == "lon":
        assert float(dataset.lon.min()) >= -180
        assert float(dataset.lon.max()) <= 180


@pytest.mark.parametrize("name", sorted(set(PRODUCTS) - NOT_SIMULATED))
def test_simulated_files_keep_the_contract_and_a_box_is_a_part(name: str, files: dict[str, Path]) -> None:
    found = check(name, files[name])
    assert all(d.attrs.get("simulated", "true") == "true" for d in found)
    if name in GRIDS:
        check_box(*found, name, files[name])


def check_box(whole: xr.Dataset, name: str, path: Path) -> None:
    """What is read of a box is a part of the whole file."""
    (part,) = datasets(name, path, bbox=FINE_PART if name in FINE else PART)
    row, column = ("lat", "lon") if "lat" in whole.dims else ("y", "x")
    assert part.sizes[row] * part.sizes[column] < whole.sizes[row] * whole.sizes[column]
    same = whole.sel({row: part[row], column: part[column]}, method="nearest")
    for axis in (row, column):
        np.testing.assert_allclose(part[axis], same[axis], rtol=1e-9)
    for key in part.data_vars:
        np.testing.assert_array_equal(part[key], same[key])


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_files_keep_the_contract(name: str, real_data: Path) -> None:
    assert all(d.attrs.get("simulated", "false") == "false" for d in check(name, real_data / REAL[name]))
    assert identify(real_data / REAL[name]) == name


# A product of the whole globe lies in any box.
@pytest.mark.parametrize("name", sorted(set(GRIDS) - NOT_SIMULATED - {"smap_l3", "smap_l4", "imerg"}))
def test_a_box_elsewhere_is_told(name: str, files: dict[str, Path]) -> None:
    with pytest.raises(OutsideError):
        PRODUCTS[name].read(files[name], bbox=(20.0, -30.0, 21.0, -29.0))


@pytest.mark.parametrize("name", sorted(set(PRODUCTS) - NOT_SIMULATED))
def test_a_file_is_recognised_and_told(name: str, files: dict[str, Path]) -> None:
    assert identify(files[name]) == name
    found = inspect(files[name], bbox=BOX if name in ("smap_l3", "smap_l4", "imerg") else None)
    assert found.product == name
    assert found.facts["title"] == PRODUCTS[name].title
    assert any(content.there > 0 for content in found.variables)


@pytest.mark.parametrize("name", sorted(set(GRIDS) - NOT_SIMULATED))
def test_a_renamed_file_that_says_what_it_is_is_recognised(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    if container_of(files[name]) not in ("hdf5", "hdf4", "grib"):
        pytest.skip("a GeoTIFF names its product in its file name alone")
    path = tmp_path / f"renamed{files[name].suffix}"
    shutil.copy(files[name], path)
    assert identify(path) == name


@pytest.mark.parametrize("name", sorted(set(GRIDS) - NOT_SIMULATED))
def test_bad_files_are_one_line_each(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    content = files[name].read_bytes()
    other = b"\x89HDF\r\n\x1a\n" if container_of(files[name]) != "hdf5" else b"\x0e\x03\x13\x01"
    for spoilt in (
        b"",
        b"<!DOCTYPE html><html><title>Earthdata Login</title></html>",
        content[: len(content) * 2 // 3],
        other + content,
        b"\x00" * 2000,
        b"plain text\n" * 50,
    ):
        path = tmp_path / files[name].name
        path.write_bytes(spoilt)
        with pytest.raises(VadoseError) as told:
            PRODUCTS[name].read(path)
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)


def test_every_product_says_where_it_is_published() -> None:
    for product in PRODUCTS.values():
        assert product.kind in ("grid", "database", "station")
        assert product.doi.startswith("10.")
