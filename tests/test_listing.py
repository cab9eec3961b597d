"""Which files of a folder are granules: the newest version of each, the files of a scene together."""

from pathlib import Path

import pytest

from vadose.cube.listing import for_a_cube, list_granules
from vadose.errors import VadoseError

HALF_HOUR = "3B-HHR{}.MS.MRG.3IMERG.20190601-S000000-E002959.0000.{}.HDF5"
DAY = "3B-DAY{}.MS.MRG.3IMERG.20190601-S000000-E235959.V07B.nc4"
OPERA = "OPERA_L2_RTC-S1_T079-168000-IW2_20220501T015035Z_{}T115035Z_S1A_30_v1.0_{}.tif"


def folder_of(tmp_path: Path, product: str, *names: str) -> Path:
    for name in names:
        place = tmp_path / product / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
    return tmp_path / product


@pytest.mark.parametrize(
    ("product", "newest", "older"),
    [
        ("smap_l3", "SMAP_L3_SM_P_E_20190701_R19240_001.h5", "SMAP_L3_SM_P_E_20190701_R18290_002.h5"),
        (
            "smap_l2",
            "SMAP_L2_SM_P_02801_A_20150811T013004_R19240_001.h5",
            "SMAP_L2_SM_P_02801_A_20150811T013002_R18290_001.h5",
        ),
        ("smap_l4", "SMAP_L4_SM_gph_20190601T013000_Vv8010_001.h5", "SMAP_L4_SM_gph_20190601T013000_Vv7032_001.h5"),
        ("imerg", HALF_HOUR.format("", "V07B"), HALF_HOUR.format("-L", "V07B")),
        ("imerg", HALF_HOUR.format("-L", "V07B"), HALF_HOUR.format("-E", "V07B")),
        ("imerg", HALF_HOUR.format("", "V07B"), HALF_HOUR.format("", "V06B")),
        ("imerg", DAY.format(""), DAY.format("-L")),
        ("imerg", DAY.format(""), HALF_HOUR.format("", "V07B")),
        ("nldas_noah", "NLDAS_NOAH0125_H.A20150620.0300.020.nc", "NLDAS_NOAH0125_H.A20150620.0300.002.grb"),
        (
            "mod09ga",
            "MOD09GA.A2008296.h14v17.061.2021181011753.hdf",
            "old/MOD09GA.A2008296.h14v17.061.2020181011753.hdf",
        ),
        (
            "hls",
            "HLS.S30.T14TML.2015158T171901.v2.0.B02.tif",
            "old/HLS.S30.T14TML.2015158T171901.v1.5.B02.tif",
        ),
        (
            "landsat",
            "LC08_L2SP_017036_20200505_20200913_02_T1_SR_B5.TIF",
            "LC08_L2SP_017036_20200505_20200820_02_RT_SR_B5.TIF",
        ),
        ("sentinel1", OPERA.format("20240501", "VV"), OPERA.format("20220501", "VV")),
        ("3dep", "USGS_13_n41w106.tif", "USGS_13_n41w106_20220331.tif"),
        ("3dep", "USGS_13_n41w106_20220331.tif", "USGS_13_n41w106_20200331.tif"),
        ("nlcd", "nlcd_2019_land_cover_l48_20230630.img", "nlcd_2019_land_cover_l48_20210604.img"),
    ],
)
def test_of_two_versions_the_newer_counts(tmp_path: Path, product: str, newest: str, older: str) -> None:
    listing = for_a_cube(folder_of(tmp_path, product, newest, older), product)
    (granule,) = listing.granules
    assert granule.path == tmp_path / product / newest
    assert list(listing.superseded.values()) == [granule.name]
    assert not listing.strangers


@pytest.mark.parametrize(
    ("product", "names"),
    [
        ("mod09ga", ["MOD09GA.A2008296.h14v17.061.2021181011753.hdf", "MYD09GA.A2008296.h14v17.061.2021181011753.hdf"]),
        ("polaris", ["clay/mean/0_5/lat4041_lon-100-99.tif", "sand/mean/0_5/lat4041_lon-100-99.tif"]),
        ("sentinel1", [OPERA.format("20220501", "VV"), OPERA.replace("-IW2", "-IW3").format("20220501", "VV")]),
        ("nldas_forcing", [f"NLDAS_FORA0125_H.A20150620.{hour}00.020.nc" for hour in ("03", "04")]),
        ("gridmet", ["tmmn_2019.nc", "tmmx_2019.nc", "tmmx_2020.nc"]),
    ],
)
def test_what_is_no_version_of_another_stays(tmp_path: Path, product: str, names: list[str]) -> None:
    listing = for_a_cube(folder_of(tmp_path, product, *names), product)
    assert [granule.path.relative_to(tmp_path / product).as_posix() for granule in listing.granules] == names
    assert not listing.superseded


def test_the_files_of_a_scene_are_one_granule(tmp_path: Path) -> None:
    scene = "LC08_L2SP_017036_20200505_20200913_02_T1"
    other = scene.replace("20200505", "20200419")
    bands = [f"{name}_{band}.TIF" for name in (scene, other) for band in ("QA_PIXEL", "SR_B4", "SR_B5", "ST_B10")]
    beside = [f"{scene}_thumb_small.jpeg", f"{scene}_SR_B4.TIF.aux.xml", f"._{scene}_SR_B4.TIF", ".DS_Store"]
    listing = for_a_cube(folder_of(tmp_path, "landsat", *bands, f"{scene}_MTL.json", *beside), "landsat")
    assert [(granule.name, len(granule.members)) for granule in listing.granules] == [
        (f"landsat/{other}", 4),
        (f"landsat/{scene}", 5),
    ]
    assert [f"{granule.first:%m%d}" for granule in listing.granules] == ["0419", "0505"]
    assert all(granule.path.suffix == ".TIF" for granule in listing.granules)
    assert sum(listing.beside.values()) == len(beside)
    before = listing.granules[1].state
    (tmp_path / "landsat" / f"{scene}_MTL.json").unlink()
    assert for_a_cube(tmp_path / "landsat", "landsat").granules[1].state != before


@pytest.mark.parametrize(
    "scene",
    [
        "S1A_IW_20190615T003953_DVP_RTC30_G_gpuned_35B9",
        "S1A_IW_RT30_20170708T161200_G_gpn",
        OPERA.format("20220501", "")[:-5],
        "S1A__IW___A_20150309T173017",
        "s1_rtc_02F5EA_N02E040_2020_12_27",
    ],
)
def test_both_polarisations_and_the_angle_of_a_pass_are_one_granule(tmp_path: Path, scene: str) -> None:
    names = [f"{scene}_{band}.tif" for band in ("VH", "VV", "inc_map", "ls_map")]
    listing = list_granules(folder_of(tmp_path, "sentinel1", *names, f"{scene}_VV.tif.xml"), "sentinel1")
    (granule,) = listing.granules
    assert granule.name == f"sentinel1/{scene}"
    assert [path.name for path in granule.members] == names
    assert not listing.strangers


def test_maps_of_several_years_are_refused(tmp_path: Path) -> None:
    names = [f"MCD12Q1.A{year}001.h10v04.061.2022169161349.hdf" for year in (2018, 2019)]
    with pytest.raises(VadoseError, match="files of the years 2018, 2019; a cube holds one map of mcd12q1"):
        for_a_cube(folder_of(tmp_path, "mcd12q1", *names), "mcd12q1")


def test_a_link_to_nowhere_is_a_granule_that_cannot_be_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "smap_l3", "SMAP_L3_SM_P_E_20190701_R19240_001.h5")
    (folder / "SMAP_L3_SM_P_E_20190702_R19240_001.h5").symlink_to(tmp_path / "nowhere")
    granules = for_a_cube(folder, "smap_l3").granules
    assert granules[1].state == [0, 0]
    assert granules[1].note()["first"] == "2019-07-02"


@pytest.mark.parametrize(
    ("product", "number", "first", "last"),
    [
        ("3dep", 4, None, None),
        ("gridmet", 12, "2019-01-01", "2019-12-31"),
        ("hls", 1, "2019-05-01", "2019-05-01"),
        ("imerg", 16, "2019-04-28", "2019-05-13"),
        ("landsat", 1, "2019-05-01", "2019-05-01"),
        ("mcd12q1", 2, None, None),
        ("mod09ga", 2, "2019-05-13", "2019-05-13"),
        ("mod11a1", 2, "2019-05-13", "2019-05-13"),
        ("mod15a2h", 2, "2019-05-16", "2019-05-16"),
        ("nlcd", 1, None, None),
        ("nldas_forcing", 24, "2019-05-13", "2019-05-13"),
        ("nldas_noah", 24, "2019-05-13", "2019-05-13"),
        ("polaris", 144, None, None),
        ("sentinel1", 2, "2019-04-28", "2019-05-10"),
        ("smap_hydroblocks", 2, "2019-04-01", "2019-05-31"),
        ("smap_l3", 16, "2019-04-28", "2019-05-13"),
        ("smap_l4", 8, "2019-05-13", "2019-05-13"),
        ("solus100", 15, None, None),
        ("srtm", 4, None, None),
    ],
)
def test_granules_of_the_simulated_world_and_their_days(
    product: str, number: int, first: str | None, last: str | None, files: dict[str, Path]
) -> None:
    folder = next(place for place in files[product].parents if place.parent.name == "granules")
    listing = list_granules(folder, product)
    days = [(granule.first, granule.last) for granule in listing.granules]
    assert (len(days), listing.superseded, listing.strangers) == (number, {}, {})
    found = [None if day is None else f"{day:%Y-%m-%d}" for day in (days[0][0], days[-1][1])]
    assert found == [first, last]
