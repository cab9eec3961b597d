"""NASA Earthdata: granules of a collection as the catalogue (CMR) lists them, whole or cut by OPeNDAP."""

import re
import warnings
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np
import requests

from vadose.download.area import BBox, modis_tiles, needs_boxes, touching
from vadose.download.client import AgainError, Client, service
from vadose.download.cut import CUTS, Cut
from vadose.download.plan import RemoteFile, Request, part_of
from vadose.errors import VadoseError, extras
from vadose.products.hls import BANDS, FILE_NAME
from vadose.products.mod15a2h import LENGTH

# Collection -> versions, the newest first; the next is asked where one has nothing.
COLLECTIONS = {
    "SPL3SMP_E": ("006", "005"),
    "SPL3SMP": ("009", "008"),
    "SPL2SMP_E": ("006", "005"),
    "SPL4SMGP": ("008", "007"),
    "NLDAS_NOAH0125_H": ("2.0", "002"),
    "NLDAS_FORA0125_H": ("2.0", "002"),
    "GLDAS_NOAH025_3H": ("2.1",),
    "GPM_3IMERGHH": ("07", "06"),
    "GPM_3IMERGDF": ("07", "06"),
    "MOD09CMG": ("061",),
    "MYD09CMG": ("061",),
    "MOD09GA": ("061",),
    "MYD09GA": ("061",),
    "MOD11A1": ("061",),
    "MYD11A1": ("061",),
    "MCD12Q1": ("061",),
    "MCD15A3H": ("061",),
    "MOD15A2H": ("061",),
    "MYD15A2H": ("061",),
}
HLS_VERSION = "2.0"
DATA_SUFFIXES = (".h5", ".hdf5", ".rt-h5", ".nc4", ".nc", ".hdf", ".grb")
DIGESTS = {"md5": "md5", "sha1": "sha1", "sha256": "sha256", "sha512": "sha512"}
DAY = re.compile(r"(?:_|\.A|\.)(\d{8})(?=[T_.-])")
TILE_NAME = re.compile(r"\.(h\d{2}v\d{2})\.")
DAY_OF_YEAR = re.compile(r"\.A(\d{7})\.")

# Grids that OPeNDAP is asked to cut: first longitude and latitude, step [degree], and the order of dimensions.
IMERG_GRID = (-179.95, -89.95, 0.1, 3600, 1800, ("lon", "lat"))
NLDAS_GRID = (-124.9375, 25.0625, 0.125, 464, 224, ("lat", "lon"))
GLDAS_GRID = (-179.875, -59.875, 0.25, 1440, 600, ("lat", "lon"))
SUBSETS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "GPM_3IMERGHH": (IMERG_GRID, "/Grid", ("precipitation",)),
    "GPM_3IMERGDF": (IMERG_GRID, "", ("precipitation",)),
    "NLDAS_FORA0125_H": (
        NLDAS_GRID,
        "",
        ("Tair", "Qair", "PSurf", "Wind_E", "Wind_N", "LWdown", "SWdown", "Rainf"),
    ),
    "NLDAS_NOAH0125_H": (
        NLDAS_GRID,
        "",
        ("SoilM_0_10cm", "SoilM_10_40cm", "SoilM_40_100cm", "SoilT_0_10cm", "SoilT_10_40cm", "SoilT_40_100cm"),
    ),
    "GLDAS_NOAH025_3H": (
        GLDAS_GRID,
        "",
        ("SoilMoi0_10cm_inst", "SoilMoi10_40cm_inst", "SoilMoi40_100cm_inst", "Tair_f_inst", "Rainf_f_tavg"),
    ),
}
CAN_CUT = {*SUBSETS, *CUTS}
LDAS = ("NLDAS", "GLDAS")


def list_collection(client: Client, request: Request, collection: str) -> list[RemoteFile]:
    """Granules of a collection that touch the box and the days; the newest of its versions that has any."""
    if request.variables and not request.subset:
        raise VadoseError(f"{collection}: whole granules hold all variables; leave out --variable or give --subset")
    cut = _cut(request, collection) if request.subset else None
    tiles = modis_tiles(request.boxes) if len(request.boxes) > 1 else set()
    for version in (request.version,) if request.version else COLLECTIONS[collection]:
        granules = search_granules(client, request, collection, version)
        files = granule_files(granules, request, cut)
        # Of the box around places far apart the catalogue lists every tile.
        if files := [
            file for file in files if not (tile := TILE_NAME.search(file.name)) or tile[1] in tiles or not tiles
        ]:
            return files
    return []


def search_granules(client: Client, request: Request, collection: str, version: str) -> list[Mapping[str, Any]]:
    """Ask the catalogue, with `earthaccess`, for granules of the days asked for."""
    with extras():
        from earthaccess.search import DataGranules
    # The hours that end a day of NLDAS and GLDAS are stamped with the next day.
    last = request.last + timedelta(days=collection.startswith(LDAS))
    query = DataGranules().short_name(collection).version(version)
    query.temporal(f"{request.first:%Y-%m-%d}", f"{last:%Y-%m-%dT23:59:59Z}")
    if request.bbox:
        query.bounding_box(*request.bbox)
    query.mode(f"{service('cmr')}/search/")

    def attempt() -> list[Mapping[str, Any]]:
        # The search is public, and needs a limit of time that the library does not set.
        with requests.Session() as session, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            session.request = partial(session.request, timeout=client.timeout)  # type: ignore[method-assign]
            query.session = session
            try:
                return list(query.get_all())
            except RuntimeError as error:
                if str(error).lstrip().startswith('{"errors"'):
                    raise VadoseError(f"{collection}: the catalogue refuses the search: {str(error)[:200]}") from None
                raise AgainError("the catalogue answered an error") from None
            except (requests.RequestException, ValueError, KeyError) as error:
                raise AgainError(f"the catalogue cannot be read ({type(error).__name__})") from None

    return client.persist(f"{collection} {version}", attempt)


def list_bands(client: Client, request: Request, collection: str) -> list[RemoteFile]:
    """Bands of every tile of HLS that touches the box on the days, cut to it; a folder a granule, named as it.

    Variables are colours (`vadose.products.hls.BANDS`); the flags (Fmask) always come along.
    """
    bands = BANDS[collection.removeprefix("HLS")]
    boxes = needs_boxes(request.boxes, collection)
    if unknown := set(request.variables) - set(bands.values()):
        raise VadoseError(
            f"{collection}: no variable {', '.join(sorted(unknown))}; choose from {', '.join(bands.values())}"
        )
    wanted = {band for band, colour in bands.items() if colour in (request.variables or bands.values())} | {"Fmask"}
    files = []
    for granule in search_granules(client, request, collection, HLS_VERSION):
        extent = _outline(granule["umm"])
        within = touching(boxes, extent) if extent else boxes
        for link in granule["umm"].get("RelatedUrls", []) if within else []:
            name = link["URL"].rsplit("/", 1)[1]
            found = FILE_NAME.fullmatch(name)
            if link.get("Type") == "GET DATA" and link["URL"].startswith("http") and found and found["band"] in wanted:
                part, place = part_of(within), f"{found['tile']}/{name}"
                files.append(RemoteFile(place, link["URL"], login="earthdata", part=part, crop=within, extent=extent))
    return files


def _outline(umm: Mapping[str, Any]) -> BBox | None:
    """Box around the outline that a granule record states, if it does."""
    polygons = umm.get("SpatialExtent", {}).get("HorizontalSpatialDomain", {}).get("Geometry", {}).get("GPolygons", [])
    points = [(p["Longitude"], p["Latitude"]) for one in polygons for p in one["Boundary"]["Points"]]
    if not points:
        return None
    lon, lat = zip(*points, strict=True)
    return min(lon), min(lat), max(lon), max(lat)


def granule_files(
    granules: Iterable[Mapping[str, Any]], request: Request, cut: Mapping[str, Any] | None = None
) -> list[RemoteFile]:
    """The data file of each granule record (UMM-G), with the size and checksum that it states."""
    files = []
    for granule in granules:
        umm = granule["umm"]
        related = umm.get("RelatedUrls", [])
        links = [
            link["URL"]
            for link in related
            if link.get("Type") == "GET DATA"
            and link["URL"].startswith("http")
            and link["URL"].lower().endswith(DATA_SUFFIXES)
        ]
        if not links:
            continue
        name = links[0].rsplit("/", 1)[1]
        if not _within(name, request):
            continue
        stated = _stated(umm.get("DataGranule", {}).get("ArchiveAndDistributionInformation", []), name)
        if cut is None:
            size = stated.get("SizeInBytes")
            files.append(
                RemoteFile(
                    name, links[0], int(size) if size else None, _checksum(stated.get("Checksum", {})), "earthdata"
                )
            )
            continue
        dap = [link["URL"] for link in related if str(link.get("Subtype", "")).upper() == "OPENDAP DATA"]
        if not dap:
            raise VadoseError(
                f"{name}: the catalogue names no OPeNDAP service for it; fetch whole granules: leave out --subset, or "
                "with a recipe add --as-printed"
            )
        url, part = dap[0].removesuffix(".html"), cut["part"]
        if "place" in cut:
            # An answer is netCDF-4 whatever the granule is.
            name += ".nc4" if name.endswith(".hdf") else ""
            asked = Cut(url, cut["fields"], cut["place"], cut["paths"])
            files.append(RemoteFile(name, url, login="earthdata", part=part, cut=asked))
            continue
        url += f".dap.nc4?dap4.ce={quote(cut['constraint'], safe='')}"
        files.append(RemoteFile(name, url, login="earthdata", part=part))
    return files


def _stated(entries: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    flat = [one for entry in entries for one in (entry.get("Files") or [entry])]
    named = [entry for entry in flat if entry.get("Name") == name]
    return named[0] if named else flat[0] if len(flat) == 1 else {}


def _checksum(stated: Mapping[str, str]) -> str:
    method = DIGESTS.get(stated.get("Algorithm", "").lower().replace("-", ""), "")
    return f"{method}:{stated['Value'].lower()}" if method else ""


def _within(name: str, request: Request) -> bool:
    """Whether the day a granule is named after is asked for: the catalogue also lists neighbours that touch it."""
    if found := DAY_OF_YEAR.search(name):
        day = datetime.strptime(found[1], "%Y%j").date()
        length = LENGTH.get(name.partition(".")[0], 1)
        last = date(day.year, 12, 31) if name.startswith("MCD12") else day + timedelta(days=length - 1)
        return day <= request.last and last >= request.first
    if not (found := DAY.search(name)):
        return True
    day = datetime.strptime(found[1], "%Y%m%d").date()
    if name.startswith(LDAS):
        # Stamps end an hour: a day's sums are in the files of 01:00 to 00:00 of the next day.
        midnight = f".A{request.last + timedelta(days=1):%Y%m%d}.0000." in name
        return request.first <= day <= request.last or midnight
    return request.first <= day <= request.last


def _cut(request: Request, collection: str) -> dict[str, Any]:
    """DAP4 constraint of the box, in the indices of the product's fixed grid."""
    if collection not in CAN_CUT:
        raise VadoseError(f"{collection}: the server cannot subset it; leave out --subset (can: {sorted(CAN_CUT)})")
    if request.bbox is None:
        raise VadoseError(f"{collection}: --subset needs a box")
    if collection in CUTS:
        place_of, fields_of, usual = CUTS[collection]
        chosen = request.variables or usual
        part = {"bbox": list(request.bbox), "variables": sorted(chosen)}
        return {"part": part, "fields": fields_of(chosen), "place": place_of(request.bbox), "paths": {}}
    (lon0, lat0, step, columns, rows, order), group, usual = SUBSETS[collection]
    west, south, east, north = request.bbox
    index = {
        "lon": _indices(west, east, lon0, step, columns),
        "lat": _indices(south, north, lat0, step, rows),
    }
    if not all(index.values()):
        raise VadoseError(f"{collection}: box {request.bbox} holds no cell centre of its grid")
    variables = request.variables or usual
    names = {name if name.startswith("/") else f"{group}/{name}": None for name in variables}
    constraint = [f"{name}[0]" + "".join(index[dim] for dim in order) for name in names]
    constraint += [f"{group}/{dim}{index[dim]}" for dim in ("lon", "lat")] + [f"{group}/time"]
    return {
        "constraint": ";".join(constraint),
        "part": {"bbox": list(request.bbox), "variables": sorted(variables)},
    }


def _indices(low: float, high: float, first: float, step: float, count: int) -> str:
    begin = max(int(np.ceil((low - first) / step - 1e-6)), 0)
    end = min(int(np.floor((high - first) / step + 1e-6)), count - 1)
    return f"[{begin}:1:{end}]" if begin <= end else ""
