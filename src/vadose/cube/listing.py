"""Which files of a folder are granules of a product: by name, else by content; scenes, versions, files beside them."""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vadose.errors import VadoseError
from vadose.products import PRODUCTS
from vadose.products.hls import FILE_NAME as HLS_SCENE
from vadose.products.landsat import FILE_NAME as LANDSAT_SCENE
from vadose.products.landsat import MEMBER as LANDSAT_MEMBER

FIXED = ("mcd12q1", "nlcd", "srtm", "3dep", "solus100", "polaris")
"""Products that do not change with the days, whatever date their names hold."""
_DATES = (
    (re.compile(r"\.A(\d{8})\.(\d{4})\."), "%Y%m%d%H%M"),  # NLDAS
    (re.compile(r"\.A(\d{7})\."), "%Y%j"),  # MODIS
    (re.compile(r"\.(\d{7}T\d{6})\.v"), "%Y%jT%H%M%S"),  # HLS
    (re.compile(r"[._](\d{8})-S(\d{6})"), "%Y%m%d%H%M%S"),  # IMERG
    (re.compile(r"_(\d{8}T\d{6})"), "%Y%m%dT%H%M%S"),
    (re.compile(r"_(\d{8})(?=[_.])"), "%Y%m%d"),
)
_YEAR = re.compile(r"_(\d{4})\.nc$")
_MONTH = re.compile(r"_(\d{4})-(\d{2})\.nc$")
# What data centres, GDAL, browsers and file managers put beside data.
_BESIDE = re.compile(
    r".*\.(?:xml|met|md5|sha\d*|json|dmrpp|idx|aux|ovr|tfw|txt|html?|jpe?g|png|csv|log|sig|part|partial|tmp|crdownload"
    r"|download|lock|ds_store)|\..*|SIMULATED.*|Thumbs\.db|desktop\.ini|.*~",
    re.IGNORECASE,
)
# What of a name tells its version, by product: of names that differ in nothing else the newest counts. Groups are
# compared in order of their names; one named 'z' that is missing counts most. The start of a half-orbit of SMAP may
# change with the version.
_MODIS = re.compile(r"\.(?P<a>\d{3})\.(?P<b>\d{13})\..*")
_NLDAS = re.compile(r"\.(?P<a>002|020)\.(?:grb|nc).*")
_VERSIONS = {
    "smap_l2": re.compile(r"(?:T\d{6})_R(?P<a>\d{5})_(?P<b>\d{3}).*"),
    "smap_l3": re.compile(r"_R(?P<a>\d{5})_(?P<b>\d{3}).*"),
    "smap_l4": re.compile(r"_V[a-z](?P<a>\d{4})_(?P<b>\d{3}).*"),
    "imerg": re.compile(r"(?<=^3B-(?:HHR|DAY))-(?P<z>[EL])|(?:\.\d{4})?\.V(?P<a>\d{2})(?P<b>[A-Z]?)\..*"),
    "nldas_noah": _NLDAS,
    "nldas_forcing": _NLDAS,
    "mod09ga": _MODIS,
    "mod11a1": _MODIS,
    "mcd12q1": _MODIS,
    "landsat": re.compile(r"(?<=_\d{8})_(?P<a>\d{8})_\d\d_(?P<b>RT|T1|T2)"),
    "hls": re.compile(r"\.v(?P<a>\d+)\.(?P<b>\d+)"),
    "sentinel1": re.compile(r"_(?P<a>\d{8}T\d{6}Z)(?=_S1[A-D]_\d+_v)|_v(?P<b>\d+)\.(?P<c>\d+)"),
    "3dep": re.compile(r"_(?P<z>\d{8})(?=\.tif$)"),
    "nlcd": re.compile(r"_(?P<a>\d{8})(?=\.)|_C(?P<b>\d+)V(?P<c>\d+)"),
}
_YEARS = {"mcd12q1": re.compile(r"\.A(\d{4})\d{3}\."), "nlcd": re.compile(r"_(\d{4})_")}
"""The year of a product that a cube holds one year of."""
_SCENES = {"landsat": (LANDSAT_SCENE, LANDSAT_MEMBER), "hls": (HLS_SCENE,)}
"""Products whose granules are many files; the first group of the file names is the scene's."""


@dataclass(frozen=True)
class Granule:
    """A file, or the files of a scene, and the first and last day it holds; None for fixed products.

    Attributes
    ----------
    path
        What its reader is given: the file, or the first raster of a scene.
    name
        Its path below the folder of all products.
    members
        All its files.
    fault
        What is wrong with its name: a time-varying product needs a day.
    """

    path: Path
    name: str
    members: tuple[Path, ...]
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None
    fault: str = ""

    @property
    def state(self) -> list[int]:
        """Size and time of change: another file has others."""
        try:
            found = [path.stat() for path in self.members]
        except OSError:  # a link to nowhere; its reader says so
            return [0, 0]
        return [sum(one.st_size for one in found), max(one.st_mtime_ns for one in found)]

    def note(self) -> dict[str, Any]:
        """What is kept of it: state, hash of its content, days."""
        digest = hashlib.sha256()
        with suppress(OSError):  # its reader says what is wrong
            for path in self.members:
                with path.open("rb") as stream:
                    while piece := stream.read(1 << 20):
                        digest.update(piece)
        return {"state": self.state, "sha256": digest.hexdigest(), "first": _day(self.first), "last": _day(self.last)}

    def overlaps(self, first: pd.Timestamp, last: pd.Timestamp) -> bool:
        """Whether it may hold days of a period."""
        return self.first is None or self.last is None or (self.first <= last and self.last >= first)


class Listing(NamedTuple):
    """What a product's folder holds.

    Attributes
    ----------
    granules
        In order of name; of several versions the newest.
    superseded
        Names of older versions: name of the one that counts.
    strangers
        Names of files that are no granules of the product: why not.
    beside
        Numbers of the files beside granules (checksums, metadata, notes of programs) by their ending.
    """

    granules: list[Granule]
    superseded: dict[str, str]
    strangers: dict[str, str]
    beside: Counter[str]


def _day(time: pd.Timestamp | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d}"


def list_granules(folder: Path, product: str) -> Listing:
    """Granules of a product in a folder and all below it; links are followed.

    A file is a granule if it is named as published, else if it holds the product. All files of a Landsat or HLS
    scene are one granule. Of several versions of a granule the newest counts.

    Raises
    ------
    VadoseError
        When there is no file, or a folder cannot be read.
    """
    scenes: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    strangers: dict[str, str] = {}
    beside: Counter[str] = Counter()
    for path in _files(folder):
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        if not path.name.startswith(".") and (scene := _scene(path, product)):
            scenes[path.parent, scene].append(path)
        elif _BESIDE.fullmatch(path.name):
            if not path.name.startswith(("SIMULATED", ".vadose")):
                beside[path.suffix or path.name] += 1
        elif PRODUCTS[product].file_name.match(path.name) or _holds(path, product):
            scenes[path, ""].append(path)
        else:
            strangers[name] = f"{path}: neither named as {PRODUCTS[product].title} is published nor holding it"
    if not scenes and not strangers:
        raise VadoseError(f"{folder}: no file in it; the granules of {product} belong there")
    found = []
    for (place, scene), members in scenes.items():
        name = f"{folder.name}/{(place / scene).relative_to(folder).as_posix()}"
        found.append(_granule(members, name, product))
    granules, superseded = _newest(sorted(found, key=lambda granule: granule.name), product)
    return Listing(granules, superseded, strangers, beside)


def for_a_cube(folder: Path, product: str) -> Listing:
    """Granules that a cube can be made of: their names tell a possible day, or they are of one map.

    Raises
    ------
    VadoseError
        As `list_granules`; and when there are files of several years of a product that a cube holds one map of.
    """
    listing = list_granules(folder, product)
    names = [granule.path.name for granule in listing.granules if product in _YEARS]
    years = {year[1] for name in names if (year := _YEARS[product].search(name))}
    if len(years) > 1:
        raise VadoseError(
            f"{folder}: files of the years {', '.join(sorted(years))}; a cube holds one map of {product}, keep the "
            "files of one year"
        )
    faults = {granule.name: granule.fault for granule in listing.granules if granule.fault}
    granules = [granule for granule in listing.granules if not granule.fault]
    return listing._replace(granules=granules, strangers=listing.strangers | faults)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder in order of name, those of linked folders too, no folder twice."""
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        raise VadoseError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            seen.add(real)
            yield from (Path(place) / name for name in sorted(names))


def _scene(path: Path, product: str) -> str:
    """What the files of a scene share of their names; '' for products of single files."""
    for pattern in _SCENES.get(product, ()):
        if found := pattern.fullmatch(path.name):
            return found[1] or "."
    return ""


def _holds(path: Path, product: str) -> bool:
    try:
        return PRODUCTS[product].holds(path)
    except VadoseError:
        return False


def _granule(members: list[Path], name: str, product: str) -> Granule:
    # A raster says where a scene lies.
    path = min(members, key=lambda member: (not member.suffix.lower().startswith(".tif"), member.name))
    try:
        first, last = days_of(path.name, product)
        fault = "" if first or product in FIXED else f"{path}: its name tells no day; give it its published name"
    except ValueError:
        first, last, fault = None, None, f"{path}: the date in its name is no possible day; is it as published?"
    return Granule(path, name, tuple(members), first, last, fault)


def _newest(granules: list[Granule], product: str) -> tuple[list[Granule], dict[str, str]]:
    """The newest of all versions of each granule, and the others with the name of the one that counts."""
    pattern = _VERSIONS.get(product)
    if pattern is None:
        return granules, {}
    versions: dict[str, list[tuple[list[str], str, Granule]]] = defaultdict(list)
    for granule in granules:
        name = granule.name.rpartition("/")[2]
        groups = {key: value for found in pattern.finditer(name) for key, value in found.groupdict().items() if value}
        absent = {"z": "~"}  # after all digits and letters
        version = [groups[k].zfill(9) if k in groups else absent.get(k, "") for k in sorted(pattern.groupindex)]
        versions[pattern.sub("", name)].append((version, granule.name, granule))
    newest = {key: max(of, key=lambda one: one[:2])[2] for key, of in versions.items()}
    if product == "imerg":
        # Half hours of a day that is there as a whole.
        whole: dict[Any, Granule] = {
            one.first: one for key, one in newest.items() if key.startswith("3B-DAY") and not one.fault
        }
        newest = {key: whole.get(one.first, one) for key, one in newest.items()}
    counts = {one.name: newest[key].name for key, of in versions.items() for _, _, one in of}
    superseded = {name: by for name, by in counts.items() if name != by}
    return [granule for granule in granules if granule.name not in superseded], superseded


def days_of(name: str, product: str) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """First and last day of a granule by its published name; ValueError where the date in it cannot be.

    Examples
    --------
    >>> days_of("SMAP_L3_SM_P_E_20190701_R18290_001.h5", "smap_l3")[0]
    Timestamp('2019-07-01 00:00:00')
    >>> [str(day.date()) for day in days_of("tmmx_2019.nc", "gridmet")]
    ['2019-01-01', '2019-12-31']
    """
    if product in FIXED:
        return None, None
    for pattern, form in _DATES:
        if found := pattern.search(name):
            time = pd.Timestamp(datetime.strptime("".join(found.groups()), form))
            if product == "nldas_forcing":
                # Stamps are the ends of hours: 00:00 closes the day before.
                time -= pd.Timedelta(hours=1)
            return time.normalize(), time.normalize()
    if found := _MONTH.search(name):
        month = pd.Period(f"{found[1]}-{found[2]}")
        return month.start_time, month.end_time.normalize()
    if found := _YEAR.search(name):
        return pd.Timestamp(int(found[1]), 1, 1), pd.Timestamp(int(found[1]), 12, 31)
    return None, None
