"""Daily maps on disk: a Zarr store that is filled tile by tile."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

from vadose.artefact.predictions import DIMS, write_predictions
from vadose.grid import Grid
from vadose.predict.calibration import QUANTILES
from vadose.variables import VARIABLES

LAYERS: dict[str, dict[str, Any]] = {
    "soil_moisture": VARIABLES["soil_moisture"].attributes(),
    "soil_moisture_std": VARIABLES["soil_moisture_std"].attributes()
    | {"long_name": "standard deviation of the estimate of soil moisture"},
    "soil_moisture_quantile": VARIABLES["soil_moisture"].attributes() | {"long_name": "quantile of soil moisture"},
    "outside_training": {
        "long_name": "distance of the features from those of training, above 1 outside of their domain",
        "units": "1",
    },
}
"""Maps a store may hold, and their attributes."""
QUANTILE = "soil_moisture_quantile"
CHUNK = 256
"""Longest edge of a chunk: a series of a pixel takes 20 ms instead of 800, a map as long as with chunks of a tile."""
TITLE = "volumetric soil moisture, daily maps"


def create_maps(
    path: Path, grid: Grid, days: pd.DatetimeIndex, names: tuple[str, ...], *, edge: int, beside: xr.Dataset
) -> zarr.Group:
    """Make a store of daily maps (init_time, lead_time, y, x), all missing, to be filled tile by tile, see `place_of`.

    A map of a day is at lead 0 of the day itself; where the attributes name an ``init_time`` maps are of the days ahead
    of that one. ``lat`` is one of y and ``lon`` one of x: on a cylindrical grid a row has one latitude, a column one
    longitude, and whole maps of them would be larger than the moisture.

    Parameters
    ----------
    names
        Of `LAYERS`.
    edge
        Cells along the edge of what is written at once, a day of it: one or several chunks.
    beside
        Variables that are no maps (time, ...), and the attributes of the store.
    """
    issued = beside.attrs.get("init_time")
    init = pd.DatetimeIndex([issued]) if issued else days
    leads = days - init[0] if issued else pd.to_timedelta([0], unit="D")
    sizes = dict(zip(DIMS, (len(init), len(leads), *grid.shape), strict=True))
    chunks = dict(zip(DIMS, (1, 1, *(min(edge, n) for n in grid.shape)), strict=True))
    if QUANTILE in names:
        sizes, chunks = sizes | {"quantile": len(QUANTILES)}, chunks | {"quantile": 1}
        beside = beside.assign_coords(quantile=list(QUANTILES))
    layers = {}
    for name in names:
        dims = (*DIMS[:2], *(("quantile",) if name == QUANTILE else ()), *DIMS[2:])
        of_layer = da.full([sizes[of] for of in dims], np.nan, dtype=np.float32, chunks=[chunks[of] for of in dims])
        layers[name] = (dims, of_layer, LAYERS[name])
    along = {name: [*DIMS[:2], *of.dims[1:]] for name, of in beside.data_vars.items()}
    shape = len(init), len(leads), -1
    store = xr.Dataset(
        layers | {name: (along[name], of.values.reshape(shape), of.attrs) for name, of in beside.data_vars.items()},
        coords={
            "init_time": init,
            "lead_time": leads,
            "y": grid.y,
            "x": grid.x,
            "lat": ("y", grid.latlon(np.arange(grid.shape[0]), 0)[0]),
            "lon": ("x", grid.latlon(0, np.arange(grid.shape[1]))[1]),
            **beside.coords,
        },
        attrs=grid.part(slice(0, 1), slice(0, 1)).coordinates().attrs | beside.attrs,
    )
    stored = next(cells for cells in range(min(edge, CHUNK), 0, -1) if edge % cells == 0)
    for name in names:
        of_chunk = tuple(min(stored, sizes[of]) if of in ("y", "x") else 1 for of in store[name].dims)
        codec = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
        store[name].encoding = {"compressors": (codec,), "chunks": of_chunk}
    write_predictions(path, store, TITLE, chunks=chunks, empty=True)
    return open_maps(path)


def open_maps(path: Path) -> zarr.Group:
    """Open a store of maps to be filled; what was noted of its metadata when it was made is no longer looked at."""
    return zarr.open_group(path, mode="r+", use_consolidated=False)


def place_of(array: zarr.Array[Any], day: int) -> tuple[int, int]:
    """Day of issue and lead of the map of a day, in the order of the days."""
    return divmod(day, int(array.shape[1]))
