"""Files of products that are not read: each is refused in one line that names it."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
from pyhdf.SD import SD, SDC
from rasterio import Affine

from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.strangers import described


def refusal(path: Path) -> str:
    with pytest.raises(VadoseError) as error:
        identify(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("form", ["text", "bytes", "array of bytes"])
@pytest.mark.parametrize(
    ("file", "name", "groups"),
    [
        ("SMAP_L3_FT_P_20190601_R18290_001.h5", "SPL3FTP", ["Freeze_Thaw_Retrieval_Data_Global"]),
        ("SMAP_L2_SM_SP_1AIWDV_20190601T000823_R18290_001.h5", "SPL2SMAP_S", ["Soil_Moisture_Retrieval_Data_3km"]),
        ("SMAP_L4_C_mdl_20190601T000000_Vv7042_001.h5", "SPL4CMDL", ["EC", "GPP", "NEE", "QA", "RH", "SOC"]),
    ],
)
def test_smap_products_that_are_not_read(tmp_path: Path, file: str, name: str, groups: list[str], form: str) -> None:
    path = tmp_path / file
    value = {"text": name, "bytes": np.bytes_(name), "array of bytes": np.array([name.encode()])}[form]
    with h5py.File(path, "w") as written:
        written.create_group("Metadata/DatasetIdentification").attrs["shortName"] = value
        for group in groups:
            written[f"{group}/values"] = np.zeros((2, 3), np.float32)
    said = refusal(path)
    assert f"of no known product (it calls itself '{name}', holds {groups[0]}" in said
    assert said.count(" ...") == (len(groups) > 5)


def test_a_modis_product_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "renamed.hdf"
    file = SD(str(path), SDC.WRITE | SDC.CREATE)
    core = 'GROUP = ECS\n  OBJECT = SHORTNAME\n    NUM_VAL = 1\n    VALUE = "MOD13Q1"\n  END_OBJECT = SHORTNAME\n'
    file.attr("CoreMetadata.0").set(SDC.CHAR, core)
    file.create("250m 16 days NDVI", SDC.INT16, (2, 2)).endaccess()
    file.end()
    assert "it calls itself 'MOD13Q1', holds 250m 16 days NDVI" in refusal(path)


def test_netcdf_of_either_kind(tmp_path: Path) -> None:
    stranger = xr.Dataset({"tas": ("time", [1.0])}, {"time": [0]}, {"title": "another\nmodel"})
    for kind in ("NETCDF3_CLASSIC", "NETCDF4"):
        stranger.to_netcdf(tmp_path / "file.nc", format=kind)
        assert "it calls itself 'another model', holds tas)" in refusal(tmp_path / "file.nc")


def test_a_file_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    h5py.File(path, "w").close()
    assert described(path, "hdf5") == ""
    path.write_bytes(path.read_bytes()[:40])
    assert described(path, "hdf5") == ""
    assert described(path, "text") == ""


def test_under_a_published_name_the_reader_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "tmmx_2019.nc"
    axes = {"day": [0, 1], "lat": [40.0, 39.9], "lon": [-100.0, -99.9]}
    xr.Dataset({"tas": (("day", "lat", "lon"), np.ones((2, 2, 2)))}, axes).to_netcdf(path)
    assert "no variable of gridMET (found: ['tas'])" in refusal(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HLS.L30.T13SDD.2020004.v1.4.tif", "HLS v1"),
        ("LC08_L1TP_017036_20200419_20200913_02_T1_B4.TIF", "Landsat Level 1"),
        ("LE07_L1TP_017036_20200419_20200913_02_T1_MTL.txt", "Landsat Level 1"),
        ("LC80170362020110LGN00_B4.TIF", "Landsat Collection 1"),
        ("Annual_NLCD_LndChg_2019_CU_C1V0.tif", "another layer of NLCD"),
        ("nlcd_2019_impervious_l48_20210604.tif", "another layer of NLCD"),
        (
            "SPL3SMP_E.006_Soil_Moisture_Retrieval_Data_AM_soil_moisture_doy2015153_aid0001.tif",
            "a layer that AppEEARS cut out",
        ),
        ("om_100_200.tif", "POLARIS on Earth Engine: its name tells no statistic"),
    ],
)
def test_relatives_of_products_are_told_by_their_names(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / name
    if path.suffix == ".txt":
        path.write_text("GROUP = LANDSAT_METADATA_FILE\n")
    else:
        profile = {"driver": "GTiff", "crs": "EPSG:4326", "transform": Affine(0.1, 0, -100, 0, -0.1, 40)}
        with rasterio.open(path, "w", height=3, width=3, count=1, dtype="float32", **profile) as file:
            file.write(np.full((3, 3), 0.3, np.float32), 1)
    assert f"{name}: {said}" in refusal(path)
