"""Landsat 4-9 Collection 2 Level 2, and Harmonized Landsat Sentinel-2 (HLS): one scene or tile at 30 m.

Landsat is published by the USGS: doi:10.5066/P9OGBGM6 (Landsat 8/9), 10.5066/P9C7I13B (7), 10.5066/P9IAXOVV
(4/5). A scene is a set of GeoTIFFs in UTM, one a band, and its metadata three times over (``MTL`` as json,
xml, txt): ``LC08_L2SP_PPPRRR_ACQUIRED_PROCESSED_02_T1_SR_B4.TIF``; ``L2SR`` scenes hold no temperature.
HLS v2.0 is published by NASA: doi:10.5067/HLS/HLSL30.002 (from Landsat 8/9), 10.5067/HLS/HLSS30.002 (from
Sentinel-2): ``HLS.L30.T14TML.2020209T155956.v2.0.B04.tif`` on the tiles of Sentinel-2.

Pitfalls: Landsat's scale and offset stand in the MTL alone, and there a second time, with other values, for
Level 1; bands 2..5 mean other colours before Landsat 8, and B05..B07 others in S30 than in L30; ``QA_PIXEL``
declares no nodata value (fill is its bit 0); the thermal bands of HLS are brightness temperatures at the top
of the atmosphere and are not read.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import NeedsError, VadoseError
from vadose.products.containers import BBox, choose, container_of, simulated_mark
from vadose.products.rasters import open_raster, read_raster
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

HLS_FILE_NAME = re.compile(
    r"(?P<tile>HLS\.(?P<product>[LS]30)\.T\w{5}\.(?P<day>\d{7})(?P<clock>T\d{6})\.v(?P<version>\d+\.\d+))"
    r"(?:\.(?P<band>B\w\w|Fmask|S[ZA]A|V[ZA]A)\.tif|\.\w+(?:\.xml)?)?"
)
_L30 = {f"B0{n}": f"reflectance_{c}" for n, c in zip((2, 3, 4, 5, 6, 7), _COLOURS, strict=True)}
# Near infrared of S30 is the narrow band, whose response is that of Landsat.
_S30 = {b: f"reflectance_{c}" for b, c in zip(("B02", "B03", "B04", "B8A", "B11", "B12"), _COLOURS, strict=True)}


@dataclass(frozen=True)
class _Packing:
    """How a band's counts stand for values; ``valid`` are the first and last count that mean something."""

    dtype: str
    fill: int
    scale: float
    offset: float
    valid: tuple[int, int]


# As the USGS documents them for all of Collection 2, and NASA for HLS. HLS gives no range: reflectance up to 0
# is taken as invalid, as in NASA's vegetation indices of it, and above 1.6 no reflectance is retrieved.
_REFLECTANCE = _Packing("uint16", 0, 2.75e-05, -0.2, (7273, 43636))
_TEMPERATURE = _Packing("uint16", 0, 0.00341802, 149.0, (293, 65535))
_HLS = _Packing("int16", -9999, 0.0001, 0.0, (1, 16000))

# Bits that may not be set. QA_PIXEL: 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow.
_QUALITY = {
    "clear": (0b111111, "QA_PIXEL bits 0-5 unset (no fill, cloud, cirrus, shadow or snow), counts in the valid range"),
    "no_cloud": (0b011111, "QA_PIXEL bits 0-4 unset (no fill, cloud, cirrus or shadow), counts in the valid range"),
    "all": (0, "none applied: only fill is masked"),
}
# Fmask: 1 cloud, 2 beside cloud or shadow, 3 cloud shadow, 4 snow; 255 is fill.
_HLS_QUALITY = {
    "clear": (0b11110, "Fmask bits 1-4 unset (no cloud, its surroundings, shadow or snow), counts in the valid range"),
    "no_cloud": (0b01110, "Fmask bits 1-3 unset (no cloud, its surroundings or shadow), counts in the valid range"),
    "all": (0, "none applied: only fill is masked"),
}

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
        When the scene cannot be told, ``QA_PIXEL`` is missing, a band is damaged, scaled already or on
        another lattice than the first, or nothing but fill is found.

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
    bits, words = _QUALITY[quality]
    dataset = _unpack(packed, files.get("QA_PIXEL"), "uint16", bits, bbox, path)
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


def read_hls(path: Path, *, bbox: BBox | None = None, quality: str = "clear") -> xr.Dataset:
    """Read reflectance of an HLS v2.0 tile, L30 or S30; as `read_landsat`, with ``Fmask`` for quality.

    Parameters
    ----------
    path
        Folder of one granule, or any file of it.
    bbox
        West, south, east, north [degree]; only this part is read.
    quality
        ``'clear'``, ``'no_cloud'`` (keeps snow): pixels beside cloud or shadow are masked too, and
        reflectance up to 0 or above 1.6; ``'all'``: only fill is masked.

    Returns
    -------
    xarray.Dataset
        (time, y, x) ``reflectance_blue`` .. ``reflectance_swir2`` [1], adjusted to nadir view, as far as
        the granule holds them; float32, NaN where missing; time is that in the granule's name.

    Raises
    ------
    VadoseError
        When the granule cannot be told, ``Fmask`` is missing, or a band is damaged or not as published.

    References
    ----------
    Claverie et al. (2018), doi:10.1016/j.rse.2018.09.002; doi:10.5067/HLS/HLSL30.002, HLSS30.002.
    """
    choose(quality, _HLS_QUALITY, "quality", path)
    if not path.exists():
        raise VadoseError(f"{path}: no such file or folder")
    folder = path if path.is_dir() else path.parent
    wanted = None if path.is_dir() else HLS_FILE_NAME.fullmatch(path.name)
    named = [m for p in sorted(folder.iterdir()) if (m := HLS_FILE_NAME.fullmatch(p.name)) and m["band"]]
    tiles = sorted({m["tile"] for m in named if wanted is None or m["tile"] == wanted["tile"]})
    if len(tiles) != 1 or (path.is_file() and wanted is None):
        raise VadoseError(
            f"{path}: found {tiles or 'no file'} named as HLS v2.0 is (HLS.L30.T14TML.2020209T155956.v2.0.B04.tif), "
            "expected one granule; give its folder, or one file of it"
        )
    files = {m["band"]: folder / m.string for m in named if m["tile"] == tiles[0]}
    found = next(m for m in named if m["tile"] == tiles[0])
    names = _L30 if found["product"] == "L30" else _S30
    packed = {name: (files[band], _HLS) for band, name in names.items() if band in files}
    if not packed:
        raise VadoseError(f"{path}: {tiles[0]} holds none of the bands {list(names)} (found: {sorted(files)})")
    bits, words = _HLS_QUALITY[quality]
    dataset = _unpack(packed, files.get("Fmask"), "uint8", bits, bbox, path)
    try:
        moment = datetime.strptime(found["day"] + found["clock"], "%Y%jT%H%M%S")
    except ValueError as error:
        raise VadoseError(f"{path}: {found['day'] + found['clock']!r} in the name is no day and time") from error
    dataset = dataset.assign_coords(time=[np.datetime64(moment, "ns")])
    dataset.attrs |= {
        "product": f"HLS{found['product']}",
        "version": found["version"],
        "granule": tiles[0],
        "quality": f"{quality}: {words}",
        "day_boundary": "overpass, about 10:30 local solar time; days are UTC",
        "scale_source": "constants of HLS v2.0",
    }
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


def is_hls(path: Path) -> bool:
    """Whether a folder or file belongs to an HLS granule, by its name as published."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        named = [p for p in files if (m := HLS_FILE_NAME.fullmatch(p.name)) and m["band"]]
        return bool(named) and container_of(named[0]) == "tiff"
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
            except (ValueError, KeyError, TypeError, AttributeError, ElementTree.ParseError) as error:
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
    day = found["acquired"]
    moment = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    if "DATE_ACQUIRED" in image and "SCENE_CENTER_TIME" in image:
        moment = f"{image['DATE_ACQUIRED']}T{image['SCENE_CENTER_TIME'].rstrip('Z')}"
    try:
        time = np.datetime64(moment, "ns")
    except ValueError as error:
        raise VadoseError(f"{path}: {moment!r} is no time; is the name or the MTL damaged?") from error
    return {"time": time} | {k: found[k].upper() for k in ("sensor", "level", "tier")}


def _unpack(
    bands: Mapping[str, tuple[Path, _Packing]],
    flags: Path | None,
    flags_dtype: str,
    bits: int,
    bbox: BBox | None,
    path: Path,
) -> xr.Dataset:
    """Bands as values (time, y, x), NaN where they are fill, and, with any bits, where flagged or out of range."""
    first: xr.Dataset | None = None
    bad: NDArray[np.bool_] | None = None
    if bits:
        if flags is None:
            raise NeedsError(
                f"{path}: no {'QA_PIXEL' if flags_dtype == 'uint16' else 'Fmask'} band beside the others, so clouds "
                "cannot be masked; fetch it, or read with quality='all'",
                instead={"quality": "all"},
            )
        stored, first = _counts(flags, bbox, flags_dtype)
        bad = (stored & bits) != 0
    dataset = xr.Dataset()
    empty, most_fill, invalid = True, 0, {}
    for name, (file, packing) in bands.items():
        counts, coordinates = _counts(file, bbox, packing.dtype)
        first = coordinates if first is None else first
        _expect_lattice(file, coordinates, first)
        missing = counts == packing.fill
        most_fill = max(most_fill, int(missing.sum()))
        empty &= bool(missing.all())
        if bad is not None:
            outside = ~bad & ~missing & ((counts < packing.valid[0]) | (counts > packing.valid[1]))
            invalid[name] = int(outside.sum())
            missing |= bad | outside
        values = counts.astype(np.float32) * np.float32(packing.scale) + np.float32(packing.offset)
        values[missing] = np.nan
        dataset[name] = ("time", "y", "x"), values[None]
    if empty:
        raise VadoseError(f"{path}: holds nothing but fill here; take another scene, file or box")
    dataset = dataset.assign_coords(first.coords if first is not None else {})
    with open_raster(next(iter(bands.values()))[0]) as raster:
        dataset.attrs |= {"simulated": simulated_mark(raster.tags()), "pixels_fill": most_fill}
    if bad is not None:
        dataset.attrs["pixels_flagged"] = int(bad.sum())
        dataset.attrs["pixels_outside_valid_range"] = ", ".join(f"{k} {v}" for k, v in invalid.items())
    return dataset


def _counts(path: Path, bbox: BBox | None, dtype: str) -> tuple[NDArray[Any], xr.Dataset]:
    """Counts of a band as stored; floats have been scaled or resampled by someone, so they are refused."""
    values, coordinates, _ = read_raster(path, bbox)
    if values.dtype != dtype:
        raise VadoseError(
            f"{path}: found {values.dtype} values, the product stores {dtype} counts; scaled already, or another "
            "product? Take the file as published"
        )
    if "x" not in coordinates.dims:
        raise VadoseError(f"{path}: on a latitude-longitude grid, the product is in UTM; take the file as published")
    return values, coordinates


def _expect_lattice(path: Path, found: xr.Dataset, first: xr.Dataset) -> None:
    same = found.sizes == first.sizes and found.crs.attrs["crs_wkt"] == first.crs.attrs["crs_wkt"]
    if not (same and np.allclose(found.x, first.x, atol=1) and np.allclose(found.y, first.y, atol=1)):
        raise VadoseError(
            f"{path}: lies on another lattice ({dict(found.sizes)}, from x {float(found.x[0]):.0f}, y "
            f"{float(found.y[0]):.0f}) than the scene's first band ({dict(first.sizes)}, from x "
            f"{float(first.x[0]):.0f}, y {float(first.y[0]):.0f}); do all files belong to one scene?"
        )


def _packing(band: str, groups: _Groups, source: Path | None) -> _Packing:
    """Packing of a Landsat band: by the MTL's Level 2 group, or as documented where there is no MTL."""
    packing = _REFLECTANCE if band.startswith("SR") else _TEMPERATURE
    if source is None:
        return packing
    if band.startswith("SR"):
        group, stem, ending = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE", band.removeprefix("SR_B")
    else:
        group, stem, ending = "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", "TEMPERATURE", band
    keys = f"{stem}_MULT_BAND_{ending}", f"{stem}_ADD_BAND_{ending}"
    try:
        scale, offset = (float(groups[group][key]) for key in keys)
    except (KeyError, ValueError) as error:
        raise VadoseError(
            f"{source}: no usable {keys[0]} and {keys[1]} in group {group} ({error}); is it this scene's MTL?"
        ) from error
    return replace(packing, scale=scale, offset=offset)
