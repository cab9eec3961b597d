"""Landsat 4-9 Collection 2 Level 2: one scene at 30 m.

Published by the USGS: doi:10.5066/P9OGBGM6 (Landsat 8/9), 10.5066/P9C7I13B (7), 10.5066/P9IAXOVV
(4/5). A scene is a set of GeoTIFFs in UTM, one a band, and its metadata three times over (``MTL`` as json,
xml, txt): ``LC08_L2SP_PPPRRR_ACQUIRED_PROCESSED_02_T1_SR_B4.TIF``; ``L2SR`` scenes hold no temperature.

Pitfalls: scale and offset stand in the MTL alone, and there a second time, with other values, for Level 1; bands
2..5 mean other colours before Landsat 8; ``QA_PIXEL`` declares no nodata value (fill is its bit 0).
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.containers import BBox, choose, container_of
from vadose.products.dates import moment
from vadose.products.product import AtStations, Product, Twin
from vadose.products.rasters import expect_place, lattice_of, open_raster
from vadose.products.scenes import Packing, unpack
from vadose.variables import describe

FILE_NAME = re.compile(
    r"(?P<scene>(?P<sensor>L[COTE]0[4-9])_(?P<level>L2S[PR])_(?P<path>\d{3})(?P<row>\d{3})_(?P<acquired>\d{8})_\d{8}"
    r"_(?P<collection>02)_(?P<tier>T1|T2|RT))(?:_(?P<band>\w+)\.(?P<kind>tiff?|txt|xml|json))?",
    re.IGNORECASE,
)
# What is read of a scene; its name may have been changed as long as these endings stand.
MEMBER = re.compile(
    r"(?:(?P<scene>.+)_)?(?P<band>SR_B\d|ST_B\d+|QA_PIXEL|MTL)\.(?P<kind>tiff?|txt|xml|json)", re.IGNORECASE
)

_COLOURS = ("blue", "green", "red", "nir", "swir1", "swir2")
_OLI = {f"SR_B{n}": f"reflectance_{c}" for n, c in zip((2, 3, 4, 5, 6, 7), _COLOURS, strict=True)}
_TM = {f"SR_B{n}": f"reflectance_{c}" for n, c in zip((1, 2, 3, 4, 5, 7), _COLOURS, strict=True)}
_OLI["ST_B10"] = _TM["ST_B6"] = "surface_temperature"

# As the USGS documents them for all of Collection 2.
_REFLECTANCE = Packing("uint16", 0, 2.75e-05, -0.2, (7273, 43636))
_TEMPERATURE = Packing("uint16", 0, 0.00341802, 149.0, (293, 65535))

# Bits that may not be set. QA_PIXEL: 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow.
_QUALITY = {
    "clear": (0b111111, "QA_PIXEL bits 0-5 unset (no fill, cloud, cirrus, shadow or snow), counts in the valid range"),
    "no_cloud": (0b011111, "QA_PIXEL bits 0-4 unset (no fill, cloud, cirrus or shadow), counts in the valid range"),
    "all": (0, "none applied: only fill is masked"),
}
_HALF_FRAME = 1.7
"""Degrees from the centre of a frame within which the middle of its rasters lies."""

_Groups = Mapping[str, Mapping[str, str]]


def read_landsat(path: Path, *, bbox: BBox | None = None, quality: str = "clear") -> xr.Dataset:
    """Read reflectance and surface temperature of a Landsat Collection 2 Level 2 scene.

    Parameters
    ----------
    path
        Folder of one scene, or any file of it: the others are looked for beside it.
    bbox
        West, south, east, north [degree]; only this part is read.
    quality
        ``'clear'``: neither cloud, cirrus, shadow nor snow by ``QA_PIXEL``; ``'no_cloud'``: snow is kept;
        both keep only the counts the USGS documents as valid (reflectance 0..1, temperature from 150 K).
        ``'all'``: only fill is masked, ``QA_PIXEL`` is not needed.

    Returns
    -------
    xarray.Dataset
        (time, y, x) ``reflectance_blue``, ``_green``, ``_red``, ``_nir``, ``_swir1``, ``_swir2`` [1] and
        ``surface_temperature`` [K], as far as the scene holds them; float32, NaN where missing; time is that
        of the scene's centre, or the day where there is no MTL.

    Raises
    ------
    VadoseError
        When the scene cannot be told, names, MTL and place contradict each other, ``QA_PIXEL`` is missing, a band
        is damaged, scaled already or on another lattice than the first, or nothing but fill is found.

    References
    ----------
    doi:10.5066/P9OGBGM6; Vermote et al. (2016), doi:10.1016/j.rse.2016.04.008 (reflectance); Malakar et al.
    (2018), doi:10.1109/TGRS.2018.2824828 (temperature).
    """
    choose(quality, _QUALITY, "quality", path)
    scene, files = _scene(path)
    groups, source = _metadata(files)
    identity = _identity(scene, groups, path)
    names = _OLI if identity["sensor"][1] in "CO" else _TM
    bands = {band: names[band] for band in names if band in files}
    if not bands:
        raise VadoseError(f"{path}: scene {scene!r} holds none of the bands {list(names)} (found: {sorted(files)})")

    packed = {names[band]: (files[band], _packing(band, groups, source)) for band in bands}
    first = next(iter(packed.values()))[0]
    with open_raster(first) as raster:
        expect_place(first, lattice_of(raster, first).box(), _frame(identity["path"], identity["row"]))
    bits, words = _QUALITY[quality]
    dataset = unpack(packed, files.get("QA_PIXEL"), "uint16", bits, bbox, path)
    dataset = dataset.assign_coords(time=[identity["time"]])
    dataset.attrs |= {
        "product": f"{identity['sensor']}_{identity['level']}",
        "version": f"Collection 2 {identity['tier']}",
        "granule": scene or path.name,
        "quality": f"{quality}: {words}",
        "day_boundary": "instant of the overpass, about 10:00 local solar time; days are UTC",
        "scale_source": source.name if source else "no MTL beside the bands: constants of Collection 2",
    }
    if cover := groups.get("IMAGE_ATTRIBUTES", {}).get("CLOUD_COVER"):
        dataset.attrs["cloud_cover_percent"] = float(cover)
    return describe(dataset)


def is_landsat(path: Path) -> bool:
    """Whether a folder or file belongs to a Collection 2 Level 2 scene, by its name and what it holds.

    Bands carry nothing inside that names them: they are known by a name as published, or by ``_SR_B4.TIF`` and
    the like and by 16-bit counts in a projection.
    """
    try:
        if path.is_dir():
            return any(is_landsat(p) for p in sorted(path.iterdir()) if p.is_file() and MEMBER.fullmatch(p.name))
        if FILE_NAME.fullmatch(path.name) and container_of(path) == "tiff":
            return True
        found = MEMBER.fullmatch(path.name)
        if found is None:
            return False
        if found["band"].upper() == "MTL":
            return container_of(path) == "text" and "LEVEL2_PROCESSING_RECORD" in path.read_text("utf-8", "replace")
        with open_raster(path) as raster:
            return raster.crs is not None and raster.crs.is_projected and raster.dtypes == ("uint16",)
    except VadoseError:
        return False


def _scene(path: Path) -> tuple[str, dict[str, Path]]:
    """Name of the scene, and its files by band (``MTL.json`` and so on for the metadata)."""
    if not path.exists():
        raise VadoseError(f"{path}: no such file or folder")
    folder = path if path.is_dir() else path.parent
    scenes: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and (found := MEMBER.fullmatch(file.name)):
            band = found["band"].upper()
            key = f"MTL.{found['kind'].lower()}" if band == "MTL" else band
            if (band == "MTL") == (found["kind"].lower() in ("json", "xml", "txt")):
                scenes.setdefault(found["scene"] or "", {})[key] = file
    if not path.is_dir():
        member = MEMBER.fullmatch(path.name) or FILE_NAME.fullmatch(path.name)
        if member is None or (member["scene"] or "") not in scenes:
            container_of(path)  # an empty file or a web page is told as such
            raise VadoseError(
                f"{path}: the name does not end as a Landsat Collection 2 Level 2 file does (_SR_B4.TIF, _ST_B10.TIF, "
                "_QA_PIXEL.TIF, _MTL.txt); give the scene's folder or one of these"
            )
        return member["scene"] or "", scenes[member["scene"] or ""]
    if len(scenes) != 1:
        inside = f"scenes {sorted(scenes)}" if scenes else f"{sorted(p.name for p in folder.iterdir())[:8]}"
        raise VadoseError(
            f"{path}: found {inside}, expected the files of one Landsat Collection 2 Level 2 scene (..._SR_B4.TIF and "
            "others); give one scene's folder, or one file of it"
        )
    return next(iter(scenes.items()))


def _metadata(files: Mapping[str, Path]) -> tuple[_Groups, Path | None]:
    """Groups of the MTL file, whichever of the three forms is there, and where they stand."""
    for key, parse in _PARSERS.items():
        if key in files:
            container_of(files[key])
            try:
                groups = parse(files[key].read_text("utf-8"))
                groups["PRODUCT_CONTENTS"]["LANDSAT_PRODUCT_ID"]
                float(groups["IMAGE_ATTRIBUTES"].get("CLOUD_COVER", "nan"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ElementTree.ParseError) as error:
                raise VadoseError(f"{files[key]}: not a Landsat MTL file ({error}); fetch it again") from error
            if "LEVEL2_PROCESSING_RECORD" not in groups:
                raise VadoseError(
                    f"{files[key]}: metadata of Level 1 (groups {sorted(groups)}), whose scales are others; "
                    "take the Level 2 scene (L2SP or L2SR)"
                )
            return groups, files[key]
    return {}, None


def _from_odl(text: str) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    inside: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            inside = groups.setdefault(value, {})
        elif value and key != "END_GROUP":
            inside[key] = value.strip('"')
    return groups


def _from_json(text: str) -> dict[str, dict[str, str]]:
    return dict(json.loads(text)["LANDSAT_METADATA_FILE"])


def _from_xml(text: str) -> dict[str, dict[str, str]]:
    root = ElementTree.fromstring(text)
    return {group.tag: {item.tag: (item.text or "").strip() for item in group} for group in root}


_PARSERS: dict[str, Callable[[str], dict[str, dict[str, str]]]] = {
    "MTL.json": _from_json,
    "MTL.xml": _from_xml,
    "MTL.txt": _from_odl,
}


def _identity(scene: str, groups: _Groups, path: Path) -> dict[str, Any]:
    """Sensor, level, tier and time, from the MTL or else from the name of the scene."""
    image = groups.get("IMAGE_ATTRIBUTES", {})
    published = groups.get("PRODUCT_CONTENTS", {}).get("LANDSAT_PRODUCT_ID", scene)
    found = FILE_NAME.fullmatch(published) or FILE_NAME.fullmatch(scene)
    if found is None:
        raise VadoseError(
            f"{path}: neither an MTL file nor the name tells sensor and day (found scene {scene!r}); keep the names "
            "as published (LC08_L2SP_PPPRRR_YYYYMMDD_YYYYMMDD_02_T1_...) or the MTL beside the bands"
        )
    _expect_same(found, FILE_NAME.fullmatch(scene), image, path)
    if "DATE_ACQUIRED" in image and "SCENE_CENTER_TIME" in image:
        text = f"{image['DATE_ACQUIRED']}T{image['SCENE_CENTER_TIME'].rstrip('Z')}"
        time = moment(text, "ISO8601", path, "the time in its MTL")
    else:
        time = moment(found["acquired"], "%Y%m%d", path, "the day in its name")
    told = {k: found[k].upper() for k in ("sensor", "level", "tier")}
    return {"time": time.to_datetime64(), "path": int(found["path"]), "row": int(found["row"])} | told


def _expect_same(product: re.Match[str], scene: re.Match[str] | None, image: Mapping[str, str], path: Path) -> None:
    """Raise if the files' names and the MTL tell different scenes, days, paths or rows."""
    said = {
        "DATE_ACQUIRED": product["acquired"][:4] + "-" + product["acquired"][4:6] + "-" + product["acquired"][6:],
        "WRS_PATH": str(int(product["path"])),
        "WRS_ROW": str(int(product["row"])),
    }
    differ = [f"{key} {image[key]}, {said[key]} in the name" for key in said if image.get(key, said[key]) != said[key]]
    if scene and scene["scene"].upper() != product["scene"].upper():
        differ.insert(0, f"scene {product['scene']}, {scene['scene']} in the name")
    if differ:
        raise VadoseError(f"{path}: its MTL says {differ[0]}; is it the MTL of another scene?")


def _frame(path: int, row: int) -> BBox:
    """About where a frame of WRS-2 lies, some 40 km more to each side than its 185 km: west, south, east, north.

    233 paths from 64.60 W at the descending node, row 60, westward; 248 rows an orbit inclined by 98.2 degrees.

    Examples
    --------
    >>> [round(side) for side in _frame(44, 34)]
    [-124, 36, -120, 39]
    """
    along, tilt = np.radians((row - 60) * 360 / 248), np.radians(98.2)
    lat = float(np.degrees(-np.arcsin(np.sin(along) * np.sin(tilt))))
    past = np.degrees(np.arctan2(np.cos(tilt) * np.sin(along), np.cos(along))) - (row - 60) / 248 * 16 * 360 / 233
    lon = float((-64.60 - (path - 1) * 360 / 233 + past + 180) % 360 - 180)
    across = _HALF_FRAME / max(float(np.cos(np.radians(lat))), 0.1)
    return lon - across, lat - _HALF_FRAME, lon + across, lat + _HALF_FRAME


def _packing(band: str, groups: _Groups, source: Path | None) -> Packing:
    """Packing of a Landsat band, as documented; an MTL's Level 2 group has to say the same."""
    packing = _REFLECTANCE if band.startswith("SR") else _TEMPERATURE
    if source is None:
        return packing
    if band.startswith("SR"):
        group, stem, ending = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE", band.removeprefix("SR_B")
    else:
        group, stem, ending = "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", "TEMPERATURE", band
    keys = f"{stem}_MULT_BAND_{ending}", f"{stem}_ADD_BAND_{ending}"
    try:
        found = [float(groups[group][key]) for key in keys]
    except (KeyError, ValueError) as error:
        raise VadoseError(
            f"{source}: no usable {keys[0]} and {keys[1]} in group {group} ({error}); is it this scene's MTL?"
        ) from error
    if not np.allclose(found, [packing.scale, packing.offset], rtol=1e-4):
        raise VadoseError(
            f"{source}: {keys[0]} and {keys[1]} are {found[0]:g} and {found[1]:g}, expected {packing.scale:g} and "
            f"{packing.offset:g} as in all of Collection 2; is the MTL damaged?"
        )
    return packing


PRODUCT = Product(
    "Landsat Collection 2 Level 2 reflectance and surface temperature, 30 m",
    "grid",
    "10.5066/P9OGBGM6",
    read_landsat,
    is_landsat,
    FILE_NAME,
    "up to 26 days",
    version=re.compile(r"(?<=_\d{8})_(?P<a>\d{8})_\d\d_(?P<b>RT|T1|T2)"),
    scene=(FILE_NAME, MEMBER),
    sources=("landsat",),
    stations=AtStations(inputs=tuple(f"reflectance_{colour}" for colour in _COLOURS), reach=100, overpasses=True),
    twin=Twin("landsat.write_landsat", "county"),
)
