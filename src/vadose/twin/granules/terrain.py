"""Terrain and land cover of the simulated world: SRTM v4.1, USGS 3DEP, Copernicus GLO-30, NLCD."""

from pathlib import Path

import numpy as np
import xarray as xr

from vadose.grid import Grid
from vadose.twin.granules.rasters import covered, covering, extent, layer, write_rasters

_SRTM_STEP = 1 / 1200
# Resolution of 3DEP by the first number of its names: pixels a degree; tiles overlap by 6 pixels each side.
_3DEP = {"1": 3600, "13": 10800}
NLCD = Grid(
    "+proj=aea +lat_0=23 +lon_0=-96 +lat_1=29.5 +lat_2=45.5 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs",
    (-2493045.0, 3310005.0, 30.0),
    (104424, 161190),
    30.0,
)


def write_srtm(truth: xr.Dataset, folder: Path, edition: int = 6000) -> list[Path]:
    """Write ``srtm_XX_YY.tif`` of each 5 degree tile, cut to the truth, in the edition of 6000 or 6001 pixels."""
    west, south, east, north = extent(truth)
    packed = layer(truth["elevation"], "int16", -32768)
    shift = _SRTM_STEP / 2 if edition == 6001 else 0.0
    written = []
    for xx in range(int((west + 180) // 5) + 1, int((east + 180) // 5) + 2):
        for yy in range(int((60 - north) // 5) + 1, int((60 - south) // 5) + 2):
            corner = (-180.0 + 5 * (xx - 1) - shift, 60.0 - 5 * (yy - 1) + shift, _SRTM_STEP)
            if part := covering(truth, Grid("EPSG:4326", corner, (edition, edition), _SRTM_STEP)):
                written += write_rasters(truth, part, {folder / f"srtm_{xx:02d}_{yy:02d}.tif": packed})
    return written


def write_3dep(truth: xr.Dataset, folder: Path, resolution: str = "1") -> list[Path]:
    """Write ``USGS_1_nNNwWWW.tif`` (1 arc second; '13' is a third) of each degree, cut to the truth."""
    west, south, east, north = extent(truth)
    packed = layer(truth["elevation"], "float32", -999999.0, smooth=True)
    pixels = _3DEP[resolution]
    step = 1 / pixels
    written = []
    for top in range(int(np.floor(south)) + 1, int(np.ceil(north)) + 1):
        for left in range(int(np.floor(west)), int(np.ceil(east))):
            tile = Grid("EPSG:4269", (left - 6 * step, top + 6 * step, step), (pixels + 12, pixels + 12), step)
            if part := covering(truth, tile):
                corner = f"{'n' if top >= 0 else 's'}{abs(top):02d}{'e' if left >= 0 else 'w'}{abs(left):03d}"
                written += write_rasters(truth, part, {folder / f"USGS_{resolution}_{corner}.tif": packed})
    return written


def write_glo30(truth: xr.Dataset, folder: Path) -> list[Path]:
    """Write ``Copernicus_DSM_COG_10_NLL_00_ELLL_00_DEM.tif`` of each degree up to 50, cut to the truth."""
    west, south, east, north = extent(truth)
    packed, step = layer(truth["elevation"], "float32", -32767.0, smooth=True), 1 / 3600
    written = []
    for low in range(int(np.floor(south)), int(np.ceil(north))):
        for left in range(int(np.floor(west)), int(np.ceil(east))):
            corner = (left - step / 2, low + 1 + step / 2, step)
            if part := covering(truth, Grid("EPSG:4326", corner, (3600, 3600), step)):
                name = f"{'N' if low >= 0 else 'S'}{abs(low):02d}_00_{'E' if left >= 0 else 'W'}{abs(left):03d}_00"
                written += write_rasters(truth, part, {folder / f"Copernicus_DSM_COG_10_{name}_DEM.tif": packed})
    return written


def write_nlcd(truth: xr.Dataset, folder: Path, year: int | None = None) -> list[Path]:
    """Write ``Annual_NLCD_LndCov_YEAR_CU_C1V1.tif`` of its last year, cut to the truth; background is 250."""
    year = year or int(truth.time.dt.year[-1])
    packed = layer(truth["land_cover_nlcd"], "uint8", 250)
    path = folder / f"Annual_NLCD_LndCov_{year}_CU_C1V1.tif"
    return write_rasters(truth, covered(truth, NLCD, "NLCD"), {path: packed})
