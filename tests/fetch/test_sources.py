"""What each service lists, from small answers in the form of the real ones."""

import json
import re
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from data_centre import Centre, Handler, serve, status

from vadose.download import READERS, SOURCES, RemoteFile, fetch, plan_fetch
from vadose.download.client import Client
from vadose.download.plan import newest
from vadose.errors import VadoseError
from vadose.products import PRODUCTS
from vadose.products.scan import read_scan, read_scan_stations

BOX = (-100.0, 34.0, -99.0, 35.0)


def as_json(value: object, **headers: object) -> object:
    return serve(json.dumps(value).encode(), etag=None, **headers)


def names(plan: object) -> list[str]:
    return [file.name for file in plan.files]  # type: ignore[attr-defined]


# ---- what is asked for


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("smap", BOX), "product 'smap' unknown; choose from .*SPL3SMP_E"),
        (("gridmet", BOX), "gridmet: give the days"),
        (("gridmet", BOX, "2019-02-30", "2019-03-01"), "first day '2019-02-30': not a day"),
        (("gridmet", BOX, "2019-03-02", "2019-03-01"), "first day 2019-03-02 comes after last day 2019-03-01"),
        (("gridmet", (-99, 34, -100, 35), "2019-03-01", "2019-03-02"), "expected west, south, east, north"),
        (("gridmet", BOX, "2019-03-01", "2019-03-02", ["rain"]), "no variable rain; choose from pr, srad"),
        (("gridmet.2", BOX, "2019-03-01", "2019-03-02"), "only NASA collections have versions"),
        (("srtm",), "srtm: give a box"),
        (
            ("gridmet", (5, 45, 6, 46), "2019-03-01", "2019-03-02"),
            "gridmet: covers -125 .. -66 E, 24 .. 50 N; box .*outside",
        ),
        (
            ("SPL3SMP_E", BOX, "2014-01-01", "2015-03-30"),
            "SPL3SMP_E: begins on 2015-03-31; the days 2014-01-01 .. 2015",
        ),
        (("SPL3SMP_E", BOX, "2019-03-01", "2019-03-02", ["soil_moisture"]), "whole granules hold all variables"),
    ],
)
def test_what_makes_no_sense_is_told(client: Client, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        plan_fetch(*arguments, client=client)  # type: ignore[arg-type]


def test_subsets_are_of_some_products_only(client: Client) -> None:
    for product, message in (("gridmet", "always subset to the box"), ("MOD09GA", "the server cannot subset it")):
        with pytest.raises(VadoseError, match=message):
            plan_fetch(product, BOX, "2019-03-01", "2019-03-02", subset=True, client=client)


def test_the_newest_release_is_kept() -> None:
    older_first = [
        "SMAP_L3_SM_P_E_20240715_R18290_003.h5",
        "SMAP_L3_SM_P_E_20240715_R19240_001.h5",
        "SMAP_L3_SM_P_E_20240716_R19240_001.h5",
        "SMAP_L2_SM_P_E_02801_A_20150811T013002_R18290_001.h5",
        "SMAP_L2_SM_P_E_02801_A_20150811T013003_R19240_001.h5",
        "SMAP_L2_SM_P_E_02801_D_20150811T022002_R18290_001.h5",
        "SMAP_L4_SM_gph_20240101T013000_Vv7032_001.h5",
        "SMAP_L4_SM_gph_20240101T013000_Vv8010_001.h5",
        "3B-DAY.MS.MRG.3IMERG.20200101-S000000-E235959.V07A.nc4",
        "3B-DAY.MS.MRG.3IMERG.20200101-S000000-E235959.V07B.nc4",
        "MOD09GA.A2020001.h09v05.061.2020003040506.hdf",
        "MOD09GA.A2020001.h09v05.061.2021003040506.hdf",
        "MOD09GA.A2020001.h10v05.061.2020003040506.hdf",
    ]
    kept = [file.name for file in newest(RemoteFile(name, "") for name in reversed(older_first))]
    assert sorted(kept) == sorted(older_first[k] for k in (1, 2, 4, 5, 7, 9, 11, 12))


def test_the_newest_landsat_scene_is_kept_in_all_bands() -> None:
    scenes = ("LC08_L2SP_033032_20200701_20200913_02_T1", "LC08_L2SP_033032_20200701_20201001_02_T1")
    files = [RemoteFile(f"{scene}/{scene}_{band}.TIF", "") for scene in scenes for band in ("SR_B4", "SR_B5")]
    assert [file.name for file in newest(files)] == [
        f"{scenes[1]}/{scenes[1]}_{band}.TIF" for band in ("SR_B4", "SR_B5")
    ]


# ---- NASA Earthdata


def granule(
    name: str, size: int = 1000, url: str = "https://data.nsidc.earthdatacloud.nasa.gov/x"
) -> dict[str, object]:
    return {
        "meta": {"concept-id": "G1-NSIDC_CPRD", "provider-id": "NSIDC_CPRD"},
        "umm": {
            "GranuleUR": name,
            "CollectionReference": {"ShortName": "X", "Version": "1"},
            "RelatedUrls": [
                {"Type": "GET DATA VIA DIRECT ACCESS", "URL": f"s3://bucket/{name}"},
                {"Type": "GET DATA", "URL": f"{url}/{name}.iso.xml"},
                {"Type": "GET DATA", "URL": f"{url}/{name}"},
                {"Type": "USE SERVICE API", "Subtype": "OPENDAP DATA", "URL": f"https://opendap.nasa.gov/g/{name}"},
            ],
            "DataGranule": {
                "ArchiveAndDistributionInformation": [
                    {"Name": f"{name}.iso.xml", "SizeInBytes": 5},
                    {"Name": name, "SizeInBytes": size, "Checksum": {"Algorithm": "SHA-256", "Value": "AB" * 32}},
                ]
            },
        },
    }


@pytest.fixture
def catalogue(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> Centre:
    pytest.importorskip("earthaccess")
    monkeypatch.setenv("VADOSE_URL_CMR", centre.url())
    return centre


def listed(*granules: dict[str, object]) -> object:
    return as_json({"hits": len(granules), "items": list(granules)}, CMR_Hits=len(granules))


def test_granules_come_with_size_and_checksum(catalogue: Centre, client: Client) -> None:
    days = [f"SMAP_L3_SM_P_E_202407{day}_R19240_00{run}.h5" for day, run in ((14, 1), (15, 1), (15, 2), (16, 1))]
    catalogue.on("/search/granules.umm_json", status(503), listed(*map(granule, days)))  # type: ignore[arg-type]
    plan = plan_fetch("spl3smp_e", BOX, "2024-07-15", "2024-07-15", client=client)
    # The neighbours touch the day in UTC, but are named after another.
    assert names(plan) == [days[2]]
    (file,) = plan.files
    assert file.bytes == 1000
    assert file.checksum == "sha256:" + "ab" * 32
    assert file.login == "earthdata"
    assert file.url.startswith("https://data.nsidc.earthdatacloud.nasa.gov/")
    assert plan.table().splitlines()[-1] == "SPL3SMP_E: 1 file, 1.0 kB"
    asked = parse_qs(urlsplit(catalogue.log[-1][2]).query)
    assert (asked["short_name"], asked["version"]) == (["SPL3SMP_E"], ["006"])
    assert asked["bounding_box"] == ["-100.0,34.0,-99.0,35.0"]
    assert asked["temporal[]"][0].startswith("2024-07-15T00:00:00Z,2024-07-15T23:59:59Z")


def test_an_older_version_is_asked_where_the_newest_has_nothing(catalogue: Centre, client: Client) -> None:
    def answer(to: Handler) -> None:
        asked = parse_qs(urlsplit(to.path).query)
        found = [granule("SMAP_L3_SM_P_E_20160101_R18290_001.h5")] if asked["version"] == ["005"] else []
        listed(*found)(to)  # type: ignore[operator]

    catalogue.on("/search/granules.umm_json", answer)
    assert len(plan_fetch("SPL3SMP_E", BOX, "2016-01-01", "2016-01-01", client=client).files) == 1
    with pytest.raises(VadoseError, match="nothing found from 2016-01-01 to 2016-01-01"):
        plan_fetch("SPL3SMP_E.006", BOX, "2016-01-01", "2016-01-01", client=client)


def test_a_day_of_nldas_ends_with_the_file_of_the_next_midnight(catalogue: Centre, client: Client) -> None:
    files = [f"NLDAS_FORA0125_H.A2019010{day}.{hour:02d}00.020.nc" for day in (1, 2) for hour in range(24)]
    catalogue.on("/search/granules.umm_json", listed(*map(granule, files)))  # type: ignore[arg-type]
    plan = plan_fetch("NLDAS_FORA0125_H", BOX, "2019-01-01", "2019-01-01", client=client)
    assert names(plan) == files[:25]


def test_the_year_of_land_cover_is_found_by_a_day_in_it(catalogue: Centre, client: Client) -> None:
    file = "MCD12Q1.A2019001.h09v05.061.2022168011122.hdf"
    catalogue.on("/search/granules.umm_json", listed(granule(file)))  # type: ignore[arg-type]
    assert names(plan_fetch("MCD12Q1", BOX, "2019-06-01", "2019-06-30", client=client)) == [file]


def test_imerg_is_cut_to_the_box_by_opendap(catalogue: Centre, client: Client) -> None:
    file = "3B-DAY.MS.MRG.3IMERG.20200101-S000000-E235959.V07B.nc4"
    catalogue.on("/search/granules.umm_json", listed(granule(file)))  # type: ignore[arg-type]
    plan = plan_fetch("GPM_3IMERGDF", BOX, "2020-01-01", "2020-01-01", subset=True, client=client)
    parts = urlsplit(plan.files[0].url)
    assert parts.path == f"/g/{file}.dap.nc4"
    # Centres -99.95 .. -99.05 and 34.05 .. 34.95 of a grid that begins at -179.95, -89.95.
    assert parse_qs(parts.query)["dap4.ce"] == [
        "/precipitation[0][800:1:809][1240:1:1249];/lon[800:1:809];/lat[1240:1:1249];/time"
    ]
    assert plan.files[0].checksum == ""
    assert plan.files[0].part["bbox"] == list(BOX)


def test_a_refused_search_is_told(catalogue: Centre, client: Client) -> None:
    body = json.dumps({"errors": ["The mapped bounding box is invalid"]}).encode()
    catalogue.on("/search/granules.umm_json", status(400, body))
    with pytest.raises(VadoseError, match=r"refuses the search: .*bounding box is invalid"):
        plan_fetch("MOD09GA", BOX, "2019-06-01", "2019-06-30", client=client)


def test_of_places_far_apart_only_their_tiles_are_fetched(catalogue: Centre, client: Client) -> None:
    files = [f"MOD11A1.A2019001.{tile}.061.2019002030405.hdf" for tile in ("h08v05", "h09v05", "h10v05", "h12v04")]
    catalogue.on("/search/granules.umm_json", listed(*map(granule, files)))  # type: ignore[arg-type]
    places = [(-102.5, 32.0, -102.4, 32.1), (-72.1, 43.5, -72.0, 43.6)]
    assert names(plan_fetch("MOD11A1", places, "2019-01-01", "2019-01-01", client=client)) == [files[1], files[3]]


def test_composites_that_reach_into_the_days_are_fetched(catalogue: Centre, client: Client) -> None:
    files = [f"MCD15A3H.A2019{day:03d}.h09v05.061.2019012030405.hdf" for day in (1, 5, 9)]
    catalogue.on("/search/granules.umm_json", listed(*map(granule, files)))  # type: ignore[arg-type]
    assert names(plan_fetch("mod15a2h", BOX, "2019-01-08", "2019-01-08", client=client)) == [files[1]]


def tile_of_hls(name: str, west: float, bands: str) -> dict[str, object]:
    """A record of HLS: a file a band, and the outline of the tile."""
    url = f"https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/HLS/{name}/{name}"
    corners = [(west, 34.0), (west + 1.2, 34.0), (west + 1.2, 35.0), (west, 35.0)]
    points = [{"Longitude": lon, "Latitude": lat} for lon, lat in corners]
    outline = {"HorizontalSpatialDomain": {"Geometry": {"GPolygons": [{"Boundary": {"Points": points}}]}}}
    links = [{"Type": "GET DATA", "URL": f"{url}.{band}.tif"} for band in bands.split()]
    links += [{"Type": "GET DATA VIA DIRECT ACCESS", "URL": f"s3://b/{name}.B04.tif"}]
    links += [{"Type": "EXTENDED METADATA", "URL": f"{url}.cmr.xml"}]
    return {"meta": {}, "umm": {"GranuleUR": name, "RelatedUrls": links, "SpatialExtent": outline}}


@pytest.mark.parametrize(("kind", "nir"), [("L30", "B05"), ("S30", "B8A")])
def test_bands_of_hls_are_cut_to_the_boxes_in_a_tile(catalogue: Centre, client: Client, kind: str, nir: str) -> None:
    there, elsewhere = (f"HLS.{kind}.T14S{square}.2020209T155956.v2.0" for square in ("MD", "ND"))
    bands = f"B02 B04 {nir} B11 Fmask SZA"
    catalogue.on(
        "/search/granules.umm_json",
        listed(tile_of_hls(there, -100.2, bands), tile_of_hls(elsewhere, -98.0, bands)),  # type: ignore[arg-type]
    )
    boxes = [(-99.9, 34.1, -99.8, 34.2), (-90.0, 34.1, -89.9, 34.2)]
    plan = plan_fetch(f"HLS{kind}", boxes, "2020-07-27", "2020-07-27", ["red", "nir"], client=client)
    assert names(plan) == [f"{there}/{there}.{band}.tif" for band in sorted(("B04", nir, "Fmask"))]
    file = plan.files[0]
    assert (file.crop, file.login, file.bytes) == ((boxes[0],), "earthdata", None)
    asked = parse_qs(urlsplit(catalogue.log[-1][2]).query)
    assert (asked["short_name"], asked["version"]) == ([f"HLS{kind}"], ["2.0"])
    with pytest.raises(VadoseError, match="no variable thermal; choose from blue, green"):
        plan_fetch(f"HLS{kind}", boxes, "2020-07-27", "2020-07-27", ["thermal"], client=client)


# ---- plain HTTPS


def test_gridmet_is_cut_to_the_box_in_whole_years(client: Client) -> None:
    plan = plan_fetch("gridmet", BOX, "2018-12-30", "2019-01-02", ["tmmx"], client=client)
    assert names(plan) == ["tmmx_2018.nc", "tmmx_2019.nc"]
    parts = urlsplit(plan.files[1].url)
    assert parts.path.endswith("/thredds/ncss/MET/tmmx/tmmx_2019.nc")
    asked = {key: value[0] for key, value in parse_qs(parts.query).items()}
    assert asked["var"] == "air_temperature"
    assert [float(asked[side]) for side in ("west", "south", "east", "north")] == list(BOX)
    assert (asked["time_start"][:10], asked["time_end"][:10]) == ("2019-01-01", "2019-12-31")
    assert plan.files[1].settled == date(2020, 2, 29)
    (whole,) = plan_fetch("gridmet", None, "2019-01-01", "2019-01-02", ["pr"], client=client).files
    assert whole.url.endswith("/metdata/data/pr_2019.nc")


def test_uscrn_stations_in_the_box(centre: Centre, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VADOSE_URL_USCRN", centre.url())
    header = "WBAN\tCOUNTRY\tSTATE\tLOCATION\tVECTOR\tNAME\tLATITUDE\tLONGITUDE\tELEVATION\n"
    rows = "1\tUS\tOK\tGoodwell\t2 E\tx\t34.5\t-99.5\t9\n2\tUS\tMT\tSt. Mary\t1 SSW\tx\t48.7\t-113.4\t9\n"
    centre.on("/stations.tsv", serve((header + rows).encode()))
    page = "".join(f'<a href="CRND0103-2019-{n}.txt">' for n in ("OK_Goodwell_2_E", "MT_St._Mary_1_SSW"))
    centre.on("/daily01/2019/", serve(page.encode() + b'<a href="headers.txt">'))
    plan = plan_fetch("uscrn", BOX, "2019-03-01", "2019-05-01", client=client)
    assert names(plan) == ["2019/CRND0103-2019-OK_Goodwell_2_E.txt"]
    assert len(plan_fetch("uscrn", None, "2019-03-01", "2019-05-01", client=client).files) == 2
    north = plan_fetch("uscrn", (-114, 48, -113, 49), "2019-01-01", "2019-01-01", client=client)
    assert names(north) == ["2019/CRND0103-2019-MT_St._Mary_1_SSW.txt"]


@pytest.mark.parametrize(
    ("product", "box", "variables", "expected"),
    [
        ("srtm", (-101, 34, -99, 36), None, ["TIFF/srtm_16_05.zip", "TIFF/srtm_17_05.zip", "TIFF/srtm_16_06.zip"]),
        ("3dep_13", (-105.5, 40.2, -105.2, 40.6), None, ["13/TIFF/current/n41w106/USGS_13_n41w106.tif"]),
        ("polaris", (-87.9, 41.1, -87.5, 41.9), ["ksat_0_5"], ["v1.0/ksat/mean/0_5/lat4142_lon-88-87.tif"]),
        ("solus", BOX, ["dbovendry_30"], ["solus100pub/dbovendry_30_cm_p.tif"]),
        ("solus", BOX, ["resdept_all"], ["solus100pub/resdept_all_cm_p.tif"]),
    ],
)
def test_tiles_and_layers(client: Client, product: str, box: object, variables: object, expected: list[str]) -> None:
    urls = [file.url for file in plan_fetch(product, box, variables=variables, client=client).files]  # type: ignore[arg-type]
    assert all(any(url.endswith(end) for url in urls) for end in expected)
    if product != "srtm":
        assert len(urls) == len(expected)


def test_solus_has_seven_depths(client: Client) -> None:
    assert len(plan_fetch("solus", BOX, variables=["soc"], client=client).files) == 7


def test_forecasts_of_a_day(client: Client) -> None:
    files = plan_fetch("gefs", None, "2024-01-01", "2024-01-02", ["APCP", "TMP"], client=client).files
    assert len(files) == 2 * 80
    assert files[0].name == "gefs.20240101/geavg.t00z.pgrb2s.0p25.f003"
    assert files[0].url.endswith("/gefs.20240101/00/atmos/pgrb2sp25/geavg.t00z.pgrb2s.0p25.f003")
    assert files[0].messages == (":APCP:surface:", ":TMP:2 m above ground:")
    assert len(plan_fetch("gfs", None, "2024-01-01", "2024-01-01", client=client).files) == 128


def test_the_newest_nlcd_release_there_is(centre: Centre, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VADOSE_URL_NLCD", centre.url())
    for release in (0, 1):
        centre.on(f"/Annual_NLCD_LndCov_2021_CU_C1V{release}.zip", serve(b"PK\x03\x04"))
    (file,) = plan_fetch("nlcd", BOX, "2021-03-01", "2021-04-01", client=client).files
    assert (file.name, file.member) == ("Annual_NLCD_LndCov_2021_CU_C1V1.tif",) * 2
    assert file.crop == (BOX,)


def test_zenodo_states_checksums(centre: Centre, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VADOSE_URL_ZENODO", centre.url())
    entry = {"key": "SMAP-HB_hru_6h.zip", "size": 9, "checksum": "md5:" + "0" * 32, "links": {"self": "https://z/a"}}
    centre.on("/records/5206725", as_json({"files": [entry]}))  # type: ignore[arg-type]
    (file,) = plan_fetch("smap_hydroblocks", client=client).files
    assert (file.bytes, file.checksum) == (9, "md5:" + "0" * 32)
    centre.on("/records/5206725", as_json({"files": [{"key": "a"}]}))  # type: ignore[arg-type]
    with pytest.raises(VadoseError, match="has changed its form"):
        plan_fetch("smap_hydroblocks", client=client)


# ---- STAC


def test_scenes_of_a_stac_catalogue(centre: Centre, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pystac_client")
    monkeypatch.setenv("VADOSE_URL_STAC", centre.url("/stac"))
    scene = "LC08_L2SP_033032_20200701_20200913_02_T1"
    bands = {"red": "SR_B4.TIF", "qa_pixel": "QA_PIXEL.TIF", "mtl.txt": "MTL.txt", "coastal": "SR_B1.TIF"}
    root = {
        "type": "Catalog",
        "id": "x",
        "description": "x",
        "stac_version": "1.0.0",
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
            "https://api.stacspec.org/v1.0.0/item-search#query",
        ],
        "links": [
            {"rel": "self", "href": centre.url("/stac")},
            {"rel": "root", "href": centre.url("/stac")},
            {"rel": "search", "href": centre.url("/stac/search"), "method": "POST", "type": "application/geo+json"},
        ],
    }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": "LC08_L2SP_033032_20200701_02_T1",
        "geometry": {"type": "Point", "coordinates": [-99.5, 34.5]},
        "bbox": [-99.5, 34.5, -99.5, 34.5],
        "properties": {"datetime": "2020-07-01T17:30:00Z"},
        "links": [],
        "collection": "landsat-c2-l2",
        "assets": {band: {"href": f"https://blob/{scene}_{end}?x=1"} for band, end in bands.items()},
    }
    centre.on("/stac", as_json(root, Content_Type="application/json"))  # type: ignore[arg-type]
    bodies: list[bytes] = []

    def answer(to: Handler) -> None:
        bodies.append(to.body)
        as_json({"type": "FeatureCollection", "features": [item], "links": []})(to)  # type: ignore[operator]

    centre.on("/stac/search", status(503), answer)
    plan = plan_fetch("landsat", BOX, "2020-07-01", "2020-07-02", client=client)
    assert names(plan) == [f"{item['id']}/{scene}_{end}" for end in ("MTL.txt", "QA_PIXEL.TIF", "SR_B4.TIF")]
    assert [file.crop for file in plan.files] == [(), (BOX,), (BOX,)]
    assert all(file.login == "planetary-computer" for file in plan.files)
    asked = json.loads(bodies[0])
    assert asked["datetime"] == "2020-07-01T00:00:00Z/2020-07-02T23:59:59Z"
    assert asked["collections"] == ["landsat-c2-l2"]
    places = [(-99.6, 34.4, -99.4, 34.6), (-90.0, 40.0, -89.0, 41.0)]
    plan = plan_fetch("landsat", places, "2020-07-01", "2020-07-02", client=client)
    assert plan.files[2].crop == (places[0],)
    assert len(json.loads(bodies[-1])["intersects"]["coordinates"]) == 2
    with pytest.raises(VadoseError, match=r"has no .*'swir99'"):
        plan_fetch("landsat", BOX, "2020-07-01", "2020-07-02", ["swir99"], client=client)
    monkeypatch.setenv("VADOSE_URL_STAC_SIGN", "")
    assert plan_fetch("landsat", BOX, "2020-07-01", "2020-07-02", client=client).files[0].login == ""
    centre.on("/stac/search", status(400, b"{}"))
    with pytest.raises(VadoseError, match=r"refuses the search \(400\)"):
        plan_fetch("landsat", BOX, "2020-07-01", "2020-07-02", client=client)


# ---- SCAN

STATION = {
    "stationTriplet": "2057:AL:SCAN",
    "stationId": "2057",
    "stateCode": "AL",
    "networkCode": "SCAN",
    "name": "AAMU-JTG",
    "elevation": 800,
    "latitude": 34.78,
    "longitude": -86.56,
    "dataTimeZone": -6,
    "beginDate": "2002-02-23 00:00",
    "endDate": "2100-01-01 00:00",
    "stationElements": [{"elementCode": "SMS", "beginDate": "2002-02-23 00:00", "endDate": "2100-01-01 00:00"}],
}


def element(code: str, unit: str, values: dict[str, object], depth: int | None = None, ordinal: int = 1) -> object:
    about = {"elementCode": code, "heightDepth": depth, "ordinal": ordinal, "storedUnitCode": unit}
    return {"stationElement": about, "values": [{"date": day, "value": value} for day, value in values.items()]}


@pytest.fixture
def awdb(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> Centre:
    monkeypatch.setenv("VADOSE_URL_AWDB", centre.url())
    away = STATION | {"stationTriplet": "1:AK:SCAN", "stationId": "1", "latitude": 61.6, "longitude": -159.6}
    centre.on("/stations", as_json([STATION, away]))  # type: ignore[arg-type]

    def hours(day: str, count: int, value: float) -> dict[str, object]:
        return {f"{day} {hour:02d}:00": value + (hour % 2) for hour in range(count)}

    moisture = hours("2018-01-01", 24, 20.0) | hours("2018-01-02", 17, 30.0) | {"2018-01-03 00:00": None}
    hourly = [
        element("SMS", "pct", moisture, -2),
        element("SMS", "pct", hours("2018-01-01", 24, 50.0), -2, ordinal=2),
        element("SMS", "pct", hours("2018-01-01", 24, 40.0), -20),
        element("STO", "degF", hours("2018-01-01", 24, 49.5), -2),
        element("RHUM", "pct", hours("2018-01-01", 24, 69.5)),
    ]
    daily = [
        element("PRCP", "in", {"2018-01-01": 0.1, "2018-01-02": None}),
        element("TAVG", "degF", {"2018-01-01": 50.0}),
        element("SRADT", "langley", {"2018-01-01": 100.0}),
    ]

    def answer(to: Handler) -> None:
        asked = {key: value[0] for key, value in parse_qs(urlsplit(to.path).query).items()}
        series = hourly if asked["duration"] == "HOURLY" else daily
        data = series if asked["beginDate"].startswith("2018") else []
        as_json([{"stationTriplet": asked["stationTriplets"], "data": data}])(to)  # type: ignore[operator]

    centre.on("/data", status(503), answer)
    return centre


def test_scan_is_written_as_our_reader_reads_it(awdb: Centre, client: Client, tmp_path: Path) -> None:
    plan = plan_fetch("scan", (-90, 30, -80, 40), "2017-06-01", "2018-02-01", client=client)
    assert names(plan) == ["2057.csv", "station-metadata.csv"]
    fetch(plan, tmp_path, client=client)
    series = read_scan(tmp_path / "2057.csv")
    assert series.sizes["time"] == 730
    assert series.attrs["station"] == "2057"
    day = series.sel(time="2018-01-01")
    assert day.depth.values.tolist() == [5.08, 50.8]
    assert day.soil_moisture.values == pytest.approx([0.205, 0.405])
    assert float(day.soil_temperature[0]) == pytest.approx(283.15)
    assert float(day.precipitation) == pytest.approx(2.54)
    assert float(day.relative_humidity) == pytest.approx(70.0)
    # 17 hours make no daily mean, and a day without any is missing.
    assert series.soil_moisture.notnull().sum() == 2
    assert "left out: SMS:-2:2" in (tmp_path / "2057.csv").read_text()
    places = read_scan_stations(tmp_path)
    assert places.loc["2057", "elevation"] == pytest.approx(243.84)
    assert sorted(places.index) == ["1", "2057"]


def test_scan_goes_on_to_later_years_in_one_file(awdb: Centre, client: Client, tmp_path: Path) -> None:
    box = (-90.0, 30.0, -80.0, 40.0)
    fetch(plan_fetch("scan", box, "2018-06-01", "2018-07-01", client=client), tmp_path, client=client)
    fetch(plan_fetch("scan", box, "2017-06-01", "2018-07-01", client=client), tmp_path, client=client)
    assert read_scan(tmp_path / "2057.csv").sizes["time"] == 730
    with pytest.raises(VadoseError, match="other days"):
        fetch(plan_fetch("scan", box, "2018-01-01", "2019-07-01", client=client), tmp_path, client=client)


def test_scan_stations_without_moisture_are_left_out(awdb: Centre, client: Client, tmp_path: Path) -> None:
    plan = plan_fetch("scan", (-90, 30, -80, 40), "2016-01-01", "2016-02-01", client=client)
    assert [p.name for p in fetch(plan, tmp_path, client=client)] == ["station-metadata.csv"]
    dry = STATION | {"stationElements": [{"elementCode": "PRCP"}]}
    awdb.on("/stations", as_json([dry]))  # type: ignore[arg-type]
    with pytest.raises(VadoseError, match="scan: nothing found"):
        plan_fetch("scan", (-90, 30, -80, 40), "2018-01-01", "2018-02-01", client=client)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([{"data": [element("SMS", "mm", {"2018-01-01 00:00": 1.0}, -2)]}], "unit 'mm3' is not known"),
        ([{"data": [{"values": []}]}], "an unknown format"),
        ({"message": "busy"}, "an unknown format"),
    ],
)
def test_a_changed_service_is_told(awdb: Centre, client: Client, tmp_path: Path, answer: object, message: str) -> None:
    text = json.dumps(answer).replace('"mm"', '"mm3"')
    awdb.on("/data", serve(text.encode(), etag=None))
    with pytest.raises(VadoseError, match=message):
        fetch(
            plan_fetch("scan", (-90, 30, -80, 40), "2018-01-01", "2018-02-01", client=client), tmp_path, client=client
        )


def test_a_service_that_speaks_no_json_is_told(awdb: Centre, client: Client) -> None:
    awdb.on("/stations", serve(b"<html>down for maintenance</html>"))
    with pytest.raises(VadoseError, match=r"SCAN stations: .*answered something that is not JSON .*maintenance"):
        plan_fetch("scan", None, "2018-01-01", "2018-02-01", client=client)


def test_every_source_names_a_service_or_collection() -> None:
    assert {"gridmet", "uscrn", "scan", "SPL3SMP_E", "MOD09GA", "landsat", "gefs"} <= set(SOURCES)
    assert all(re.fullmatch(r"[A-Z0-9_]+|[a-z0-9_]+", name) for name in SOURCES)


def test_readers_names_stand_for_their_sources() -> None:
    for name, reader in READERS.items():
        assert name in SOURCES
        assert reader in PRODUCTS
    gridded = {name for name, product in PRODUCTS.items() if product.kind == "grid"} - {"hls"}
    assert gridded <= set(READERS.values()) | set(SOURCES)
    with pytest.raises(VadoseError, match="SPL3SMP_E: give the days"):
        plan_fetch("smap_l3")
