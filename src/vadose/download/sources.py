"""Which files a product has for an area and days: one small function a service."""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import product as combinations
from math import ceil, floor
from urllib.parse import urlencode

from vadose.download.client import Client, MissingError, service
from vadose.download.earthdata import COLLECTIONS, list_collection
from vadose.download.plan import BBox, Plan, RemoteFile, Request, inside, needs_box, newest
from vadose.download.scan import list_scan
from vadose.download.stac import list_scenes
from vadose.errors import VadoseError
from vadose.products import PRODUCTS

SETTLED_AFTER = timedelta(days=60)
# Variable -> its name inside the yearly file.
GRIDMET = {
    "pr": "precipitation_amount",
    "tmmx": "air_temperature",
    "tmmn": "air_temperature",
    "rmax": "relative_humidity",
    "rmin": "relative_humidity",
    "sph": "specific_humidity",
    "srad": "surface_downwelling_shortwave_flux_in_air",
    "vs": "wind_speed",
    "th": "wind_from_direction",
    "vpd": "mean_vapor_pressure_deficit",
    "pet": "potential_evapotranspiration",
    "etr": "potential_evapotranspiration",
}
SOLUS = (
    "claytotal",
    "sandtotal",
    "silttotal",
    "sandvc",
    "sandco",
    "sandmed",
    "sandfine",
    "sandvf",
    "dbovendry",
    "soc",
    "cec7",
    "ecec",
    "ec",
    "fragvol",
    "ph1to1h2o",
    "caco3",
    "gypsum",
    "sar",
    "anylithicdpt",
    "resdept_all",
)
SOLUS_DEPTHS = (0, 5, 15, 30, 60, 100, 150)
POLARIS = ("clay", "sand", "silt", "bd", "theta_s", "theta_r", "ksat", "om", "ph", "lambda", "hb", "n", "alpha")
POLARIS_DEPTHS = ("0_5", "5_15", "15_30", "30_60", "60_100", "100_200")
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


def plan_fetch(
    product: str,
    bbox: BBox | None = None,
    first: date | str | None = None,
    last: date | str | None = None,
    variables: Sequence[str] | None = None,
    *,
    subset: bool = False,
    client: Client | None = None,
) -> Plan:
    """List the files that have to be fetched, without fetching one.

    Parameters
    ----------
    product
        A key of `SOURCES`; letters may be small. A NASA collection may carry a version: ``SPL3SMP_E.005``.
        Names of `vadose.products.PRODUCTS` do as well: ``smap_l3`` is SPL3SMP_E.
    bbox
        West, south, east, north [degree].
    first, last
        Days, both taken; for forecasts the days of issue (00 UTC). Products that do not change need none.
    variables
        In the product's own names; the usual ones if not given.
    subset
        Let the server cut NASA granules to the box and variables (IMERG and NLDAS, by OPeNDAP). They have no
        published checksum then.
    client
        With another login, patience or time limits than usual.

    Returns
    -------
    Plan
        The newest release of every file.

    Raises
    ------
    VadoseError
        For an unknown product or variable, a box or days that make no sense, or when there is no file.
    """
    name, version = _named(product)
    lister, changes = SOURCES[name]
    if version and name not in COLLECTIONS:
        raise VadoseError(f"{product}: only NASA collections have versions to choose; leave out '.{version}'")
    if subset and name not in COLLECTIONS:
        raise VadoseError(f"{name}: --subset is for NASA collections; others are always subset to the box")
    if changes and (first is None or last is None):
        raise VadoseError(f"{name}: give the days (--from and --to)")
    days = [_day(day or date.today(), what) for day, what in ((first, "first day"), (last, "last day"))]
    request = Request(_box(bbox), days[0], days[1], tuple(variables or ()), version, subset)
    if request.first > request.last:
        raise VadoseError(f"{name}: first day {request.first} comes after last day {request.last}")
    files = lister(client or Client(), request)
    if not files:
        raise VadoseError(f"{name}: nothing found from {request.first} to {request.last} in box {bbox}")
    return Plan(name, tuple(newest(files)))


def _named(product: str) -> tuple[str, str]:
    # A reader's name stands for the first of its sources.
    names = {reader: name for name, reader in reversed(READERS.items())} | {name.lower(): name for name in SOURCES}
    for text, version in ((product, ""), tuple(product.partition(".")[::2])):
        if text.lower() in names:
            return names[text.lower()], version
    raise VadoseError(f"product {product!r} unknown; choose from {', '.join(sorted(SOURCES))}")


def _box(bbox: BBox | None) -> BBox | None:
    if bbox is None:
        return None
    west, south, east, north = (float(value) for value in bbox)
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise VadoseError(f"box {tuple(bbox)}: give west south east north in degrees, west < east, south < north")
    return west, south, east, north


def _day(value: date | str, what: str) -> date:
    try:
        return value if isinstance(value, date) else datetime.strptime(value, "%Y-%m-%d").date()
    except ValueError:
        raise VadoseError(f"{what} {value!r}: not a day; write YYYY-MM-DD") from None


def _chosen(request: Request, known: Sequence[str], usual: Sequence[str], product: str) -> tuple[str, ...]:
    if unknown := [name for name in request.variables if name not in known]:
        raise VadoseError(f"{product}: no variable {', '.join(unknown)}; choose from {', '.join(known)}")
    return request.variables or tuple(usual)


def list_gridmet(client: Client, request: Request) -> list[RemoteFile]:
    """A file for each variable and year; cut to the box by the server, whole as published without one.

    The last two months are provisional and rewritten, so that a year is settled only 60 days after its end.
    """
    files = []
    for variable, year in combinations(_chosen(request, tuple(GRIDMET), tuple(GRIDMET), "gridmet"), request.years):
        name, part = f"{variable}_{year}.nc", {}
        url = f"{service('gridmet')}/{name}"
        if request.bbox:
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
            part = {"bbox": list(request.bbox)}
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
            if request.bbox is None or (place and inside(request.bbox, *place)):
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
    known = [*SOLUS, *(f"{name}_{depth}" for name in SOLUS[:-2] for depth in SOLUS_DEPTHS)]
    files = []
    for chosen in _chosen(request, known, ("claytotal", "sandtotal", "silttotal", "dbovendry", "soc"), "solus"):
        whole = chosen in SOLUS[:-2]
        for layer in [f"{chosen}_{depth}" for depth in SOLUS_DEPTHS] if whole else [chosen]:
            name = f"{layer}_cm_p.tif"
            files.append(_raster(name, f"{service('solus')}/{name}", request.bbox))
    return files


def list_polaris(client: Client, request: Request) -> list[RemoteFile]:
    """Means of each property and layer in tiles of one degree, in folders as published; the sea has none."""
    west, south, east, north = needs_box(request.bbox, "polaris")
    files = []
    known = [*POLARIS, *(f"{name}_{depth}" for name in POLARIS for depth in POLARIS_DEPTHS)]
    for chosen in _chosen(request, known, ("clay", "sand", "silt", "bd"), "polaris"):
        layers = [(n, d) for n in POLARIS for d in POLARIS_DEPTHS if chosen in (n, f"{n}_{d}")]
        for (name, depth), lat, lon in combinations(
            layers, range(floor(south), ceil(north)), range(floor(west), ceil(east))
        ):
            path = f"{name}/mean/{depth}/lat{lat}{lat + 1}_lon{lon}{lon + 1}.tif"
            files.append(RemoteFile(path, f"{service('polaris')}/{path}", optional=True))
    return files


def list_srtm(client: Client, request: Request) -> list[RemoteFile]:
    """CGIAR tiles of five degrees, taken out of their archives; the sea has none."""
    west, south, east, north = needs_box(request.bbox, "srtm")
    columns = range(floor((west + 180) / 5) + 1, min(ceil((east + 180) / 5), 72) + 1)
    rows = range(max(floor((60 - north) / 5), 0) + 1, min(ceil((60 - south) / 5), 24) + 1)
    return [
        RemoteFile(
            f"srtm_{x:02d}_{y:02d}.tif",
            f"{service('srtm')}/srtm_{x:02d}_{y:02d}.zip",
            optional=True,
            member=f"srtm_{x:02d}_{y:02d}.tif",
        )
        for x, y in combinations(columns, rows)
    ]


def list_3dep(client: Client, request: Request, step: str) -> list[RemoteFile]:
    """Tiles of one degree named after their north-west corner, cut to the box; the sea has none."""
    west, south, east, north = needs_box(request.bbox, "3dep")
    files = []
    for lat, lon in combinations(range(floor(south) + 1, ceil(north) + 1), range(floor(west), ceil(east))):
        corner = f"{'n' if lat >= 0 else 's'}{abs(lat):02d}{'e' if lon >= 0 else 'w'}{abs(lon):03d}"
        name = f"USGS_{step}_{corner}.tif"
        # Tiles share a rim of six pixels, so that a box cut by tile loses nothing at the seams.
        files.append(
            _raster(name, f"{service('3dep')}/{step}/TIFF/current/{corner}/{name}", request.bbox, optional=True)
        )
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
            part = {"bbox": list(request.bbox)} if request.bbox else {}
            files.append(RemoteFile(f"{name}.tif", url, part=part, member=f"{name}.tif", crop=request.bbox))
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


def _raster(name: str, url: str, bbox: BBox | None, optional: bool = False) -> RemoteFile:
    return RemoteFile(name, url, part={"bbox": list(bbox)} if bbox else {}, crop=bbox, optional=optional)


def _exists(client: Client, url: str, name: str) -> bool:
    def attempt() -> bool:
        with client.open(url, name, headers={"Range": "bytes=0-0"}):
            return True

    try:
        return client.persist(name, attempt)
    except MissingError:
        return False


Lister = Callable[[Client, Request], list[RemoteFile]]
# Product -> the function that lists its files, and whether it needs days.
SOURCES: dict[str, tuple[Lister, bool]] = {
    "gridmet": (list_gridmet, True),
    "uscrn": (list_uscrn, True),
    "scan": (list_scan, True),
    "solus": (list_solus, False),
    "polaris": (list_polaris, False),
    "srtm": (list_srtm, False),
    "3dep_1": (partial(list_3dep, step="1"), False),
    "3dep_13": (partial(list_3dep, step="13"), False),
    "nlcd": (list_nlcd, True),
    "landsat": (partial(list_scenes, product="landsat"), True),
    "sentinel1": (partial(list_scenes, product="sentinel1"), True),
    "gefs": (partial(list_forecasts, model="gefs"), True),
    "gfs": (partial(list_forecasts, model="gfs"), True),
    "smap_hydroblocks": (list_hydroblocks, False),
    **{name: (partial(list_collection, collection=name), True) for name in COLLECTIONS},
}
READERS = {source: name for name, product in PRODUCTS.items() for source in product.sources}
"""Source -> its product in `vadose.products.PRODUCTS`, whose reader reads it; folders are named after it."""
