"""Simulated MODIS leaf area index and FPAR: MCD15A3H composites of four days in HDF-EOS2 (HDF4)."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.twin.granules.hdf_eos import (
    CELLS_500M,
    Field,
    Tile,
    constant,
    cropped,
    described,
    tile_of,
    tiles_of,
    write_tile,
)

GRID = "MOD_Grid_MCD15A3H"
# IGBP class -> code in place of a value.
LEAFLESS = {11: 251, 13: 250, 15: 252, 16: 253, 17: 254}


def write_mod15a2h(truth: xr.Dataset, folder: Path, subset: bool = False) -> list[Path]:
    """Write the MCD15A3H composites of 4 days that hold a day of the truth, for each tile the truth touches.

    A cell has the leaves of the first of the composite's days without cloud; under cloud on all of them, those of its
    last day by the back-up algorithm. Cities, wetland, snow, barren ground and water have the codes of their classes.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with daily ``leaf_area_index`` and ``cloud``, and ``land_cover`` (IGBP 1..17).
    subset
        Only the rows and columns the truth reaches, as subset services cut them.
    """
    paths = []
    days = pd.DatetimeIndex(truth.time.values)
    starts = days - pd.to_timedelta((days.day_of_year - 1) % 4, unit="D")
    for coarse in tiles_of(truth):
        tile = tile_of(truth, coarse.h, coarse.v, CELLS_500M)
        tile = cropped(coarse, tile)[1] if subset else tile
        for start in starts.unique():
            fields = _leaves(truth.isel(time=starts == start), tile)
            paths.append(write_tile(folder, "MCD15A3H", "terra", start, tile, {GRID: CELLS_500M}, fields))
    return paths


def _leaves(days: xr.Dataset, tile: Tile) -> dict[str, Field]:
    """Fields of the composite of some days."""
    cloudy, cover = days.cloud.values > 0.5, days.land_cover.values
    best = np.where((~cloudy).any(axis=0), (~cloudy).argmax(axis=0), len(cloudy) - 1)[None]
    hidden, leaves = cloudy.all(axis=0), np.take_along_axis(days.leaf_area_index.values, best, axis=0)[0]
    codes = np.full(leaves.shape, 255, "uint8")
    for igbp, code in LEAFLESS.items():
        codes[cover == igbp] = code
    known = np.isfinite(leaves) & (codes == 255)
    fields = {}
    for name, values, scale, long_name in (
        ("Fpar_500m", np.clip(1 - np.exp(-0.5 * leaves), 0, 0.95), 0.01, "MCD15A3H MODIS/Terra+Aqua Gridded 500M FPAR"),
        ("Lai_500m", leaves, 0.1, "MCD15A3H MODIS/Terra+Aqua Gridded 500M Leaf Area Index LAI"),
    ):
        counts = np.where(known, np.rint(np.nan_to_num(values) / scale), codes).astype("uint8")
        said = described("uint8", 255, (0, 100), long_name, scale=scale) | {"add_offset": np.float64(0)}
        fields[name] = Field(tile.spread(counts, 255), GRID, said)
    # Significant clouds and the back-up algorithm, or the main one under a clear sky.
    flags = np.where(known, np.where(hidden, 0b01101001, 0), 0b10000001).astype("uint8")
    said = described("uint8", 255, (0, 254), "MCD15A3H QC for FPAR and LAI")
    fields["FparLai_QC"] = Field(tile.spread(flags, 255), GRID, said)
    extra = described("uint8", 255, (0, 254), "MCD15A3H pass-through QC for FPAR and LAI")
    fields["FparExtra_QC"] = constant(tile, GRID, 0, extra)
    for name, scale in (("FparStdDev_500m", 0.01), ("LaiStdDev_500m", 0.1)):
        said = described("uint8", 255, (0, 100), f"MCD15A3H standard deviation of {name[:4]}", scale=scale)
        fields[name] = constant(tile, GRID, 2, said)
    return fields
