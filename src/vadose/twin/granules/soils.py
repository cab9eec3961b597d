"""Soil maps of the simulated world: SOLUS100, POLARIS and SoilGrids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from vadose.grid import Grid
from vadose.products.soilgrids import PROPERTIES as SOILGRIDS
from vadose.products.soilgrids import TILE
from vadose.twin.granules.rasters import Layer, covered, covering, extent, layer, write_rasters

SOLUS = Grid("EPSG:5070", (-2540000.0, 3258000.0, 100.0), (31390, 49810), 100.0)
# Property -> variable of the truth, factor to what the file stores, type. Only the texture's type and nodata
# are known from the published files; 16 bits are the least that hold the other two.
_SOLUS = {
    "claytotal": ("clay_fraction", 100.0, "uint8"),
    "sandtotal": ("sand_fraction", 100.0, "uint8"),
    "silttotal": ("silt_fraction", 100.0, "uint8"),
    "dbovendry": ("bulk_density", 100.0, "uint16"),
    "soc": ("organic_carbon", 1000.0, "uint16"),
}
POLARIS_STEP = 0.00027777777777515666
_POLARIS = {
    "clay": ("clay_fraction", 100.0),
    "sand": ("sand_fraction", 100.0),
    "silt": ("silt_fraction", 100.0),
    "bd": ("bulk_density", 1.0),
    "theta_s": ("porosity", 1.0),
    "om": ("organic_carbon", 1.724),  # van Bemmelen: organic matter for each part of carbon
}


def write_solus(
    truth: xr.Dataset,
    folder: Path,
    properties: Sequence[str] = tuple(_SOLUS),
    depths: Sequence[int] = (5, 30, 60),
    statistic: str = "p",
) -> list[Path]:
    """Write ``{property}_{depth}_cm_{statistic}.tif``, cut to the truth; every depth has the truth's one value."""
    files: dict[Path, Layer] = {}
    for name in properties:
        variable, factor, dtype = _SOLUS[name]
        packed = layer(truth[variable], dtype, float(np.iinfo(dtype).max), factor=factor)
        files |= {folder / f"{name}_{depth}_cm_{statistic}.tif": packed for depth in depths}
    return write_rasters(truth, covered(truth, SOLUS, "SOLUS100"), files)


def write_polaris(
    truth: xr.Dataset,
    folder: Path,
    properties: Sequence[str] = tuple(_POLARIS),
    depths: Sequence[str] = ("0_5", "5_15", "15_30", "30_60", "60_100", "100_200"),
    statistic: str = "mean",
) -> list[Path]:
    """Write ``{property}/{statistic}/{depth}/latSN_lonWE.tif`` for each tile of 1 degree, cut to the truth.

    Missing is -9999 and no tag says so; ``om`` is a decimal logarithm.
    """
    written = []
    layers = {name: _polaris(truth, name) for name in properties}
    first, south, last, top = extent(truth)
    for north in range(int(np.floor(south)) + 1, int(np.ceil(top)) + 1):
        for west in range(int(np.floor(first)), int(np.ceil(last))):
            tile = Grid("EPSG:4326", (float(west), float(north), POLARIS_STEP), (3600, 3600), POLARIS_STEP)
            if part := covering(truth, tile):
                name = f"lat{north - 1}{north}_lon{west}{west + 1}.tif"
                files = {
                    folder / prop / statistic / depth / name: packed
                    for prop, packed in layers.items()
                    for depth in depths
                }
                written += write_rasters(truth, part, files)
    return written


def write_soilgrids(
    truth: xr.Dataset,
    folder: Path,
    properties: Sequence[str] = ("clay", "sand", "silt", "bdod"),
    depths: Sequence[str] = ("0-5cm", "15-30cm", "60-100cm"),
) -> list[Path]:
    """Write ``{property}_{depth}_mean_nLATeLON.tif`` of 5 degrees, cut to the truth; missing is 0, undeclared."""
    written = []
    west, south, east, north = extent(truth)
    for lat in range(int(south // TILE) * TILE, int(np.ceil(north)), TILE):
        for lon in range(int(west // TILE) * TILE, int(np.ceil(east)), TILE):
            tile = Grid("EPSG:4326", (float(lon), float(lat + TILE), 1 / 480), (480 * TILE, 480 * TILE), 1 / 480)
            if part := covering(truth, tile):
                corner = f"{'n' if lat >= 0 else 's'}{abs(lat):02d}{'e' if lon >= 0 else 'w'}{abs(lon):03d}"
                files: dict[Path, Layer] = {}
                for name in properties:
                    variable, factor = SOILGRIDS[name]
                    packed = layer(truth[variable], "int16", 0, factor=1 / factor, tagged=False)
                    files |= {folder / f"{name}_{depth}_mean_{corner}.tif": packed for depth in depths}
                written += write_rasters(truth, part, files)
    return written


def _polaris(truth: xr.Dataset, name: str) -> Layer:
    variable, factor = _POLARIS[name]
    if name != "om":
        return layer(truth[variable], "float32", -9999.0, factor=factor, tagged=False)
    carbon: xr.DataArray = truth[variable].copy(data=np.log10(np.maximum(truth[variable].values * factor, 1e-3)))
    return layer(carbon, "float32", -9999.0, tagged=False)
