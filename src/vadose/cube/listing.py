"""Which files of a folder are granules of a product: by name, else by content; scenes, versions, files beside them."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vadose.cube.granule import Granule, Listing
from vadose.cube.own_grid import own_listing
from vadose.cube.recipe import Source
from vadose.errors import VadoseError
from vadose.products import PRODUCTS

# What data centres, GDAL, browsers and file managers put beside data.
_BESIDE = re.compile(
    r".*\.(?:xml|met|md5|sha\d*|json|dmrpp|idx|aux|ovr|tfw|txt|html?|jpe?g|png|csv|log|sig|part|partial|tmp|crdownload"
    r"|download|lock|ds_store)|\..*|SIMULATED.*|Thumbs\.db|desktop\.ini|.*~",
    re.IGNORECASE,
)


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


def listing_of(folder: Path, source: Source) -> Listing:
    """The granules of a source of a recipe, or the files of one's own; errors as of `for_a_cube` and `own_listing`."""
    if source.own is not None:
        return own_listing(source.own, folder, source.product)
    return for_a_cube(folder / source.product, source.product)


def product_folders(folder: Path, products: Iterable[str]) -> list[Path]:
    """Folder of each product of a recipe.

    Raises
    ------
    VadoseError
        When there is none of that name.
    """
    folders = [folder / product for product in products]
    for place in folders:
        if not place.is_dir():
            raise VadoseError(
                f"{folder}: no folder '{place.name}' in it; put that product's granules there, or take it out of the "
                f"recipe (fetch them with: vadose fetch {place.name})"
            )
    return folders


def for_a_cube(folder: Path, product: str) -> Listing:
    """Granules that a cube can be made of: their names tell a possible day, or they are of one map.

    Raises
    ------
    VadoseError
        As `list_granules`; and when there are files of several years of a product that a cube holds one map of.
    """
    listing = list_granules(folder, product)
    year = PRODUCTS[product].year
    years = {found[1] for granule in listing.granules if year and (found := year.search(granule.path.name))}
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
    for pattern in PRODUCTS[product].scene:
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
        first, last = PRODUCTS[product].days_of(path.name)
        fault = "" if first or PRODUCTS[product].fixed else f"{path}: its name tells no day; give it its published name"
    except ValueError:
        first, last, fault = None, None, f"{path}: the date in its name is no possible day; is it as published?"
    return Granule(path, name, tuple(members), first, last, fault)


def _newest(granules: list[Granule], product: str) -> tuple[list[Granule], dict[str, str]]:
    """The newest of all versions of each granule, and the others with the name of the one that counts."""
    pattern, whole_day = PRODUCTS[product].version, PRODUCTS[product].whole_day
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
    # Half hours of a day that is there as a whole.
    whole: dict[Any, Granule] = {
        one.first: one for key, one in newest.items() if whole_day.match(key) and not one.fault
    }
    newest = {key: whole.get(one.first, one) for key, one in newest.items()}
    counts = {one.name: newest[key].name for key, of in versions.items() for _, _, one in of}
    superseded = {name: by for name, by in counts.items() if name != by}
    return [granule for granule in granules if granule.name not in superseded], superseded
