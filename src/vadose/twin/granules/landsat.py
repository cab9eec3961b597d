"""Simulated Landsat 8/9 Collection 2 Level 2 scenes and HLS tiles: a folder of files for each overpass."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import xarray as xr

from vadose.grid import Grid, mgrs_square
from vadose.twin.granules.rasters import SIMULATED, Layer, covered, write_rasters

PIXEL = 30.0
_REFLECTANCE = {
    2: "reflectance_blue",
    3: "reflectance_green",
    4: "reflectance_red",
    5: "reflectance_nir",
    6: "reflectance_swir1",
    7: "reflectance_swir2",
}
_SCALE, _OFFSET = 2.75e-05, -0.2
_SCALE_ST, _OFFSET_ST = 0.00341802, 149.0
# QA_PIXEL words as in real scenes: all confidences low but for what is found.
FILL, CLEAR, WATER, CLOUD, SNOW = 1, 21824, 21952, 22280, 30048
# Where it is cloudy the sensor sees the cloud and not the ground.
_CLOUD_REFLECTANCE, _CLOUD_TEMPERATURE = 0.5, 250.0
_SNOW_FROM = 10.0  # kg m-2 of water that cover the ground
# Landsat 8 flew path 44 on this day; the path next in number follows 7 days later, each again after 16 days.
_PATH_44 = pd.Timestamp("2014-03-18")
_SENTINEL2 = pd.Timestamp("2017-07-05")


def write_landsat(truth: xr.Dataset, folder: Path, *, satellite: str = "LC08", path_row: str = "030032") -> list[Path]:
    """Write the scenes a satellite would take of the truth's area.

    Scenes are taken on the days Landsat 8 (``LC08``) passes the WRS-2 path, every 16 days, and Landsat 9
    (``LC09``) 8 days later. They are cut to the truth's extent on the 30 m lattice of its UTM zone, pixels
    outside the truth are fill, coarser cells are repeated.
    """
    lattice = utm_lattice(truth, origin=15.0)
    written = []
    for index, day in enumerate(pd.DatetimeIndex(truth.time.values)):
        if not passes(day, satellite, int(path_row[:3])):
            continue
        today = truth.isel(time=index)
        scene = f"{satellite}_L2SP_{path_row}_{day:%Y%m%d}_{day + pd.Timedelta(days=12):%Y%m%d}_02_T1"
        home = folder / scene
        home.mkdir(parents=True, exist_ok=True)
        cloudy = today.cloud.values > 0.5
        unknown = np.isnan(today.surface_temperature.values)
        flags = np.where(today.water_fraction.values > 0.5, WATER, CLEAR)
        flags = np.where(today.snow_water_equivalent.values > _SNOW_FROM, SNOW, flags)
        flags = np.where(unknown, FILL, np.where(cloudy, CLOUD, flags))
        layers = {home / f"{scene}_QA_PIXEL.TIF": Layer(flags.astype(np.uint16), FILL, None)}
        bands = {f"SR_B{n}": (name, _CLOUD_REFLECTANCE, _SCALE, _OFFSET) for n, name in _REFLECTANCE.items()}
        bands["ST_B10"] = "surface_temperature", _CLOUD_TEMPERATURE, _SCALE_ST, _OFFSET_ST
        for band, (name, cloud, scale, offset) in bands.items():
            values = np.where(unknown, offset, np.where(cloudy, cloud, today[name].values))
            counts = np.where(unknown, 0, np.clip(np.rint((values - offset) / scale), 1, 65535)).astype(np.uint16)
            layers[home / f"{scene}_{band}.TIF"] = Layer(counts, 0, 0)
        for path in write_rasters(truth, lattice, layers):
            with rasterio.open(path, "r+") as raster:
                raster.update_tags(AREA_OR_POINT="Point")
        groups = _groups(scene, day, float(truth.lon.mean()), lattice, 100 * float(cloudy.mean()))
        (home / f"{scene}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": groups}))
        (home / f"{scene}_MTL.txt").write_text(_odl(groups))
        written.append(home)
    return written


def write_hls(truth: xr.Dataset, folder: Path, *, product: str = "L30") -> list[Path]:
    """Write HLS v2.0 granules: L30 on the days of Landsat 8, S30 every 5 days from 2017-07-05 on.

    Files are cut to the truth's extent on 30 m pixels of its UTM zone; otherwise as `write_landsat`.
    """
    bands = dict(zip(("B02", "B03", "B04", "B05", "B06", "B07"), _REFLECTANCE.values(), strict=True))
    if product == "S30":
        bands = dict(zip(("B02", "B03", "B04", "B8A", "B11", "B12"), _REFLECTANCE.values(), strict=True))
    lattice = utm_lattice(truth, origin=0.0)
    tile = _tile(truth, lattice)
    morning = pd.Timedelta(hours=(10.5 - float(truth.lon.mean()) / 15) % 24)
    written = []
    for index, day in enumerate(pd.DatetimeIndex(truth.time.values)):
        seen = passes(day, "LC08", 30) if product == "L30" else (day.normalize() - _SENTINEL2).days % 5 == 0
        if not seen:
            continue
        today = truth.isel(time=index)
        granule = f"HLS.{product}.T{tile}.{day.normalize() + morning:%Y%jT%H%M%S}.v2.0"
        cloudy, unknown = today.cloud.values > 0.5, np.isnan(today.reflectance_red.values)
        # Bits of Fmask: 1 cloud, 4 snow, 5 water, 6 low aerosol.
        flags = 64 + 2 * cloudy + 16 * (today.snow_water_equivalent.values > _SNOW_FROM)
        flags = np.where(unknown, 255, flags + 32 * (today.water_fraction.values > 0.5)).astype(np.uint8)
        layers = {folder / granule / f"{granule}.Fmask.tif": Layer(flags, 255, 255)}
        for band, name in bands.items():
            values = np.where(cloudy, _CLOUD_REFLECTANCE, today[name].values)
            counts = np.where(unknown, -9999, np.rint(np.nan_to_num(values) * 1e4)).astype(np.int16)
            layers[folder / granule / f"{granule}.{band}.tif"] = Layer(counts, -9999, -9999)
        write_rasters(truth, lattice, layers)
        written.append(folder / granule)
    return written


def _tile(truth: xr.Dataset, lattice: Grid) -> str:
    """Name of the tile of Sentinel-2 that the middle of a lattice lies in."""
    left, top, step = lattice.transform
    zone = int(lattice.crs[-2:])
    band = "CDEFGHJKLMNPQRSTUVWX"[int((float(truth.lat.mean()) + 80) // 8)]
    return f"{zone:02d}{band}{mgrs_square(zone, left + lattice.shape[1] * step / 2, top - lattice.shape[0] * step / 2)}"


def passes(day: pd.Timestamp, satellite: str, path: int) -> bool:
    """Whether a satellite flies a WRS-2 path on a day.

    Examples
    --------
    >>> passes(pd.Timestamp("2015-07-10"), "LC08", 5), passes(pd.Timestamp("2015-07-11"), "LC08", 5)
    (True, False)
    """
    return ((day.normalize() - _PATH_44).days - 7 * (path - 44) - 8 * (satellite == "LC09")) % 16 == 0


def utm_lattice(truth: xr.Dataset, origin: float) -> Grid:
    """The 30 m pixels of the UTM zone of a truth's centre that cover it; pixel edges lie on ``origin``."""
    lat, lon = float(truth.lat.mean()), float(truth.lon.mean())
    zone = int((lon + 180) // 6) + 1
    whole = Grid(
        f"EPSG:{(32600 if lat >= 0 else 32700) + zone}",
        (99990.0 + origin, 9999990.0 + origin, PIXEL),
        (333333, 30000),
        PIXEL,
    )
    return covered(truth, whole, "UTM zone")


def _groups(
    scene: str, day: pd.Timestamp, longitude: float, lattice: Grid, cloud_cover: float
) -> dict[str, dict[str, str]]:
    """The groups of an MTL file that readers look for; Level 1 holds other numbers under the same keys."""
    numbers = range(1, 8)
    moment = day.normalize() + pd.Timedelta(hours=(10.2 - longitude / 15) % 24)
    left, top, _ = lattice.transform
    right, bottom = left + PIXEL * lattice.shape[1], top - PIXEL * lattice.shape[0]
    files = {f"FILE_NAME_BAND_{n}": f"{scene}_SR_B{n}.TIF" for n in _REFLECTANCE}
    return {
        "PRODUCT_CONTENTS": {
            "simulated": SIMULATED,
            "DIGITAL_OBJECT_IDENTIFIER": "https://doi.org/10.5066/P9OGBGM6",
            "LANDSAT_PRODUCT_ID": scene,
            "PROCESSING_LEVEL": "L2SP",
            "COLLECTION_NUMBER": "02",
            "COLLECTION_CATEGORY": "T1",
            "OUTPUT_FORMAT": "GEOTIFF",
            **files,
            "FILE_NAME_BAND_ST_B10": f"{scene}_ST_B10.TIF",
            "FILE_NAME_QUALITY_L1_PIXEL": f"{scene}_QA_PIXEL.TIF",
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": f"LANDSAT_{scene[3]}",
            "SENSOR_ID": "OLI_TIRS",
            "WRS_PATH": str(int(scene[10:13])),
            "WRS_ROW": str(int(scene[13:16])),
            "DATE_ACQUIRED": f"{moment:%Y-%m-%d}",
            "SCENE_CENTER_TIME": f"{moment:%H:%M:%S.%f}0Z",
            "CLOUD_COVER": f"{cloud_cover:.2f}",
        },
        "PROJECTION_ATTRIBUTES": {
            "MAP_PROJECTION": "UTM",
            "DATUM": "WGS84",
            "UTM_ZONE": lattice.crs[-2:],
            "GRID_CELL_SIZE_REFLECTIVE": "30.00",
            "REFLECTIVE_LINES": str(lattice.shape[0]),
            "REFLECTIVE_SAMPLES": str(lattice.shape[1]),
            "CORNER_UL_PROJECTION_X_PRODUCT": f"{left + 15:.3f}",
            "CORNER_UL_PROJECTION_Y_PRODUCT": f"{top - 15:.3f}",
            "CORNER_LR_PROJECTION_X_PRODUCT": f"{right - 15:.3f}",
            "CORNER_LR_PROJECTION_Y_PRODUCT": f"{bottom + 15:.3f}",
        },
        "LEVEL2_PROCESSING_RECORD": {"LANDSAT_PRODUCT_ID": scene, "PROCESSING_LEVEL": "L2SP"},
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
            **{f"REFLECTANCE_MULT_BAND_{n}": f"{_SCALE:g}" for n in numbers},
            **{f"REFLECTANCE_ADD_BAND_{n}": f"{_OFFSET:g}" for n in numbers},
        },
        "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": {
            "TEMPERATURE_MULT_BAND_ST_B10": f"{_SCALE_ST}",
            "TEMPERATURE_ADD_BAND_ST_B10": f"{_OFFSET_ST}",
        },
        "LEVEL1_RADIOMETRIC_RESCALING": {
            **{f"REFLECTANCE_MULT_BAND_{n}": "2.0000E-05" for n in numbers},
            **{f"REFLECTANCE_ADD_BAND_{n}": "-0.100000" for n in numbers},
        },
    }


def _odl(groups: dict[str, dict[str, str]]) -> str:
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, items in groups.items():
        lines.append(f"  GROUP = {group}")
        for key, value in items.items():
            bare = value.lstrip("-").replace(".", "").replace("E-", "").replace("e-", "").isdigit()
            lines.append(f"    {key} = {value}" if bare else f'    {key} = "{value}"')
        lines.append(f"  END_GROUP = {group}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])
