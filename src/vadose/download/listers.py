"""Which files a service has for an area and days: one small function each."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import product as combinations
from typing import Any
from urllib.parse import urlencode

from vadose.download.area import BBox, inside, needs_boxes, square_degrees, tiles_of_degrees, touching
from vadose.download.client import Client, MissingError, service
from vadose.download.plan import RemoteFile, Request, part_of
from vadose.errors import VadoseError
from vadose.products.gridmet import FIELDS
from vadose.products.polaris import DEPTHS as POLARIS_DEPTHS
from vadose.products.polaris import PROPERTIES as POLARIS
from vadose.products.soilgrids import DEPTHS as SOILGRIDS_DEPTHS
from vadose.products.soilgrids import PROPERTIES as SOILGRIDS
from vadose.products.soilgrids import TILE
from vadose.products.solus import DEPTHS as SOLUS_DEPTHS
from vadose.products.solus import PROPERTIES, WITHOUT_DEPTH

SETTLED_AFTER = timedelta(days=60)
# Variable -> its name inside the yearly file.
GRIDMET = {name: field.yearly for name, field in FIELDS.items()}
GRIDMET_WHOLE = 130.0
"""Square degrees from which on the part, which the server does not pack, is larger than the published file."""
# Name of a forecast variable in wgrib2 indices, with its level.
MESSAGES = {
    "APCP": ":APCP:surface:",
    "TMP": ":TMP:2 m above ground:",
    "RH": ":RH:2 m above ground:",
    "SPFH": ":SPFH:2 m above ground:",
    "DSWRF": ":DSWRF:surface:",
    "DLWRF": ":DLWRF:surface:",
    "UGRD": ":UGRD:10 m above ground:",
    "VGRD": ":VGRD:10 m above ground:",
    "PRES": ":PRES:surface:",
}
NLCD_RELEASES = (2, 1, 0)
HYDROBLOCKS_RECORD = "5206725"


def _chosen(request: Request, known: Sequence[str], usual: Sequence[str], product: str) -> tuple[str, ...]:
    if unknown := [name for name in request.variables if name not in known]:
        raise VadoseError(f"{product}: no variable {', '.join(unknown)}; choose from {', '.join(known)}")
    return request.variables or tuple(usual)


def list_gridmet(client: Client, request: Request) -> list[RemoteFile]:
    """A file for each variable and year; cut to the box by the server, whole without one or for a large one.

    The last two months are provisional and rewritten, so that a year is settled only 60 days after its end.
    """
    files = []
    for variable, year in combinations(_chosen(request, tuple(GRIDMET), tuple(GRIDMET), "gridmet"), request.years):
        name, part = f"{variable}_{year}.nc", {}
        url = f"{service('gridmet')}/{name}"
        if request.bbox and square_degrees((request.bbox,), request.bbox) < GRIDMET_WHOLE:
            west, south, east, north = request.bbox
            asked = {
                "var": GRIDMET[variable],
                "north": north,
                "south": south,
                "west": west,
                "east": east,
                "time_start": f"{year}-01-01T00:00:00Z",
                "time_end": f"{year}-12-31T00:00:00Z",
                "accept": "netcdf",  # netCDF-3; the server fails at netCDF-4
            }
            url = f"{service('gridmet_subset')}/{variable}/{name}?{urlencode(asked)}"
            part = part_of([request.bbox])
        files.append(RemoteFile(name, url, part=part, settled=date(year, 12, 31) + SETTLED_AFTER))
    return files


def list_uscrn(client: Client, request: Request) -> list[RemoteFile]:
    """Daily files (CRND0103) of the stations in the box, a folder a year."""
    stations = _uscrn_places(client) if request.bbox else {}
    files = []
    for year in request.years:
        folder = f"{service('uscrn')}/daily01/{year}"
        page = client.ask(f"{folder}/", f"USCRN {year}").decode("latin-1")
        for name in sorted(set(re.findall(rf'href="(CRND0103-{year}-[A-Z]{{2}}_[^"/]+\.txt)"', page))):
            place = stations.get(name.removeprefix(f"CRND0103-{year}-").removesuffix(".txt"))
            if request.bbox is None or (place and inside(request.boxes, *place)):
                settled = date(year, 12, 31) + SETTLED_AFTER
                files.append(RemoteFile(f"{year}/{name}", f"{folder}/{name}", settled=settled))
    return files


def _uscrn_places(client: Client) -> dict[str, tuple[float, float]]:
    """Latitude and longitude of stations, by the name that their files carry."""
    url = f"{service('uscrn')}/stations.tsv"
    header, *lines = client.ask(url, "USCRN stations").decode("latin-1").splitlines() or [""]
    columns = header.strip().upper().split("\t")
    try:
        rows = [dict(zip(columns, line.split("\t"), strict=False)) for line in lines if line.strip()]
        return {
            "_".join(row[key].strip() for key in ("STATE", "LOCATION", "VECTOR")).replace(" ", "_"): (
                float(row["LATITUDE"]),
                float(row["LONGITUDE"]),
            )
            for row in rows
        }
    except (KeyError, ValueError) as error:
        raise VadoseError(f"USCRN stations: {url} has changed its format ({error}); fetch without a box") from error


def list_solus(client: Client, request: Request) -> list[RemoteFile]:
    """Predictions of each property at each depth point, cut to the box; ``soc_5`` is one depth only."""
    deep = [name for name in PROPERTIES if name not in WITHOUT_DEPTH]
    known = [*PROPERTIES, *(f"{name}_{depth}" for name in deep for depth in SOLUS_DEPTHS)]
    files = []
    for chosen in _chosen(request, known, ("claytotal", "sandtotal", "silttotal", "dbovendry", "soc"), "solus"):
        whole = chosen in deep
        for layer in [f"{chosen}_{depth}" for depth in SOLUS_DEPTHS] if whole else [chosen]:
            name = f"{layer}_cm_p.tif"
            files.append(_raster(name, f"{service('solus')}/{name}", request.boxes))
    return files


def list_polaris(client: Client, request: Request) -> list[RemoteFile]:
    """Means of each property and layer in tiles of one degree, in folders as published; the sea has none."""
    tiles = tiles_of_degrees(needs_boxes(request.boxes, "polaris"))
    files = []
    known = [*POLARIS, *(f"{name}_{depth}" for name in POLARIS for depth in POLARIS_DEPTHS)]
    for chosen in _chosen(request, known, ("clay", "sand", "silt", "bd"), "polaris"):
        layers = [(n, d) for n in POLARIS for d in POLARIS_DEPTHS if chosen in (n, f"{n}_{d}")]
        for (name, depth), (lat, lon) in combinations(layers, tiles):
            path = f"{name}/mean/{depth}/lat{lat}{lat + 1}_lon{lon}{lon + 1}.tif"
            files.append(RemoteFile(path, f"{service('polaris')}/{path}", optional=True))
    return files


def list_soilgrids(client: Client, request: Request) -> list[RemoteFile]:
    """Means of each property and layer in tiles of five degrees, which the coverage service makes on one lattice.

    A raster lies in the Homolosine projection on the server, and in degrees here.
    """
    tiles = tiles_of_degrees(needs_boxes(request.boxes, "soilgrids"), TILE)
    known = [f"{name}_{depth}" for name in SOILGRIDS for depth in SOILGRIDS_DEPTHS]
    usual = [f"{name}_{depth}" for name in ("clay", "sand", "silt", "bdod") for depth in SOILGRIDS_DEPTHS]
    files = []
    for layer, (lat, lon) in combinations(_chosen(request, known, usual, "soilgrids"), tiles):
        tile = (float(lon), float(lat), float(lon + TILE), float(lat + TILE))
        degrees = "http://www.opengis.net/def/crs/EPSG/0/4326"
        asked = [
            ("map", f"/map/{layer.partition('_')[0]}.map"),
            ("SERVICE", "WCS"),
            ("VERSION", "2.0.1"),
            ("REQUEST", "GetCoverage"),
            ("COVERAGEID", f"{layer}_mean"),
            ("FORMAT", "image/tiff"),
            ("SUBSET", f"long({lon},{lon + TILE})"),
            ("SUBSET", f"lat({lat},{lat + TILE})"),
            ("SUBSETTINGCRS", degrees),
            ("OUTPUTCRS", degrees),
            ("SCALESIZE", f"long({480 * TILE}),lat({480 * TILE})"),
        ]
        # Whole tiles: a cut to the box would lie on a lattice of its own.
        url, size = f"{service('soilgrids')}?{urlencode(asked)}", 2 * (480 * TILE) ** 2
        files.append(RemoteFile(f"{layer}_mean_{_corner(lat, lon)}.tif", url, part=part_of([tile]), about=size))
    return files


def list_glo30(client: Client, request: Request) -> list[RemoteFile]:
    """Tiles of one degree named after their south-west corner, cut to the box; the sea has none."""
    boxes, files = needs_boxes(request.boxes, "glo30"), []
    for south, west in tiles_of_degrees(boxes):
        corner = f"{'N' if south >= 0 else 'S'}{abs(south):02d}_00_{'E' if west >= 0 else 'W'}{abs(west):03d}_00"
        name, tile = f"Copernicus_DSM_COG_10_{corner}_DEM", (west, south, west + 1, south + 1)
        url = f"{service('glo30')}/{name}/{name}.tif"
        files.append(_raster(f"{name}.tif", url, touching(boxes, tile), optional=True, extent=tile))
    return files


def list_srtm(client: Client, request: Request) -> list[RemoteFile]:
    """CGIAR tiles of five degrees, taken out of their archives; the sea has none."""
    tiles = tiles_of_degrees(needs_boxes(request.boxes, "srtm"), 5)
    names = [f"srtm_{(lon + 180) // 5 + 1:02d}_{(55 - lat) // 5 + 1:02d}" for lat, lon in tiles if -60 <= lat < 60]
    return [
        RemoteFile(f"{name}.tif", f"{service('srtm')}/{name}.zip", optional=True, member=f"{name}.tif")
        for name in sorted(names)
    ]


def list_3dep(client: Client, request: Request, step: str) -> list[RemoteFile]:
    """Tiles of one degree named after their north-west corner, cut to the box; the sea has none."""
    boxes, files = needs_boxes(request.boxes, "3dep"), []
    for south, west in tiles_of_degrees(boxes):
        corner, tile = _corner(south + 1, west), (west, south, west + 1, south + 1)
        name = f"USGS_{step}_{corner}.tif"
        # Tiles share a rim of six pixels, so that a box cut by tile loses nothing at the seams.
        url = f"{service('3dep')}/{step}/TIFF/current/{corner}/{name}"
        files.append(_raster(name, url, touching(boxes, tile), optional=True, extent=tile))
    return files


def list_nlcd(client: Client, request: Request) -> list[RemoteFile]:
    """Annual NLCD land cover of each year, the newest release, cut to the box after unpacking."""
    files = []
    for year in request.years:
        for release in NLCD_RELEASES:
            name = f"Annual_NLCD_LndCov_{year}_CU_C1V{release}"
            url = f"{service('nlcd')}/{name}.zip"
            if not _exists(client, url, name):
                continue
            part = part_of(request.boxes)
            files.append(RemoteFile(f"{name}.tif", url, part=part, member=f"{name}.tif", crop=request.boxes))
            break
    return files


def list_forecasts(client: Client, request: Request, model: str) -> list[RemoteFile]:
    """Steps of every forecast issued at 00 UTC, only the messages wanted; a folder a day.

    GEFS: mean of the ensemble, 0.25 degree, every 3 hours to 240. GFS: 0.25 degree, every 3 hours to 384.
    """
    usual = ("APCP", "TMP", "RH", "DSWRF", "DLWRF", "UGRD", "VGRD", "PRES")
    messages = tuple(MESSAGES[name] for name in _chosen(request, tuple(MESSAGES), usual, model))
    files = []
    for k in range((request.last - request.first).days + 1):
        day = f"{request.first + timedelta(days=k):%Y%m%d}"
        for hour in range(3, (240 if model == "gefs" else 384) + 1, 3):
            inner, name = (
                ("atmos/pgrb2sp25", f"geavg.t00z.pgrb2s.0p25.f{hour:03d}")
                if model == "gefs"
                else ("atmos", f"gfs.t00z.pgrb2.0p25.f{hour:03d}")
            )
            url = f"{service(model)}/{model}.{day}/00/{inner}/{name}"
            files.append(
                RemoteFile(f"{model}.{day}/{name}", url, messages=messages, part={"variables": sorted(messages)})
            )
    return files


def list_hydroblocks(client: Client, request: Request) -> list[RemoteFile]:
    """All files of the Zenodo record, with their checksums."""
    record = client.ask_json(f"{service('zenodo')}/records/{HYDROBLOCKS_RECORD}", "smap_hydroblocks")
    try:
        return [
            RemoteFile(file["key"], file["links"]["self"], int(file["size"]), str(file["checksum"]))
            for file in record["files"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise VadoseError(f"smap_hydroblocks: the Zenodo record has changed its format ({error!r})") from error


def _corner(lat: int, lon: int) -> str:
    return f"{'n' if lat >= 0 else 's'}{abs(lat):02d}{'e' if lon >= 0 else 'w'}{abs(lon):03d}"


def _raster(name: str, url: str, boxes: tuple[BBox, ...], **more: Any) -> RemoteFile:
    return RemoteFile(name, url, part=part_of(boxes), crop=boxes, **more)


def _exists(client: Client, url: str, name: str) -> bool:
    def attempt() -> bool:
        with client.open(url, name, headers={"Range": "bytes=0-0"}):
            return True

    try:
        return client.persist(name, attempt)
    except MissingError:
        return False
