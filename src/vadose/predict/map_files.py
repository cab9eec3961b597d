"""Daily maps on disk: a Zarr store that is filled tile by tile, and Cloud-Optimised GeoTIFFs made of it."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
import xarray as xr
import zarr
from rasterio import Affine
from rasterio.windows import Window
from zarr.codecs import BloscCodec

from vadose.artefact import writing
from vadose.artefact.predictions import DIMS, write_predictions
from vadose.door import by_day
from vadose.errors import VadoseError
from vadose.grid import Grid, grid_of
from vadose.variables import VARIABLES

LAYERS: dict[str, dict[str, Any]] = {
    "soil_moisture": VARIABLES["soil_moisture"].attributes(),
    "soil_moisture_std": {"long_name": "standard deviation of the estimate of soil moisture", "units": "m3 m-3"},
    "outside_training": {
        "long_name": "distance of the features from those of training, above 1 outside of their domain",
        "units": "1",
    },
}
"""Maps a store may hold, and their attributes."""
BLOCK = 512
"""Edge of a block of a GeoTIFF."""
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
        Cells along the edge of a chunk, which holds a single day.
    beside
        Variables that are no maps (time, ...), and the attributes of the store.
    """
    issued = beside.attrs.get("init_time")
    init = pd.DatetimeIndex([issued]) if issued else days
    leads = days - init[0] if issued else pd.to_timedelta([0], unit="D")
    shape, chunks = (len(init), len(leads), *grid.shape), (1, 1, *(min(edge, n) for n in grid.shape))
    empty = da.full(shape, np.nan, np.float32, chunks=chunks)
    along = {name: [*DIMS[:2], *of.dims[1:]] for name, of in beside.data_vars.items()}
    store = xr.Dataset(
        {name: (DIMS, empty, LAYERS[name]) for name in names}
        | {name: (along[name], of.values.reshape(*shape[:2], -1), of.attrs) for name, of in beside.data_vars.items()},
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
    for name in names:
        store[name].encoding = {"compressors": (BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),)}
    write_predictions(path, store, TITLE, chunks=dict(zip(DIMS, chunks, strict=True)), empty=True)
    return open_maps(path)


def open_maps(path: Path) -> zarr.Group:
    """Open a store of maps to be filled; what was noted of its metadata when it was made is no longer looked at."""
    return zarr.open_group(path, mode="r+", use_consolidated=False)


def place_of(array: zarr.Array[Any], day: int) -> tuple[int, int]:
    """Day of issue and lead of the map of a day, in the order of the days."""
    return divmod(day, int(array.shape[1]))


def write_cog(
    store: Path, out: Path, *, progress: Callable[[str, float], None] = lambda what, share: None
) -> list[Path]:
    """Write each day of a store of maps as a Cloud-Optimised GeoTIFF, ``soil_moisture_YYYY-MM-DD.tif``.

    A band a map of the store, float32 with NaN as nodata, on EASE-Grid 2.0 (EPSG:6933); overviews average the
    cells that have a value. Files hold blocks, and no day is ever whole in memory.

    Parameters
    ----------
    store
        As `vadose.predict.maps.downscale_maps` writes it.
    out
        Folder, made where there is none; files of the same days are replaced.

    Returns
    -------
    list of Path
        The files, in order of days.

    Raises
    ------
    VadoseError
        When there is no store of maps.
    """
    if not (store / "zarr.json").exists():
        raise VadoseError(f"{store}: no store of maps there; make one with: vadose downscale")
    maps = by_day(xr.open_zarr(store, consolidated=False))
    names = [name for name in LAYERS if name in maps]
    if "soil_moisture" not in names:
        raise VadoseError(f"{store}: holds no 'soil_moisture' but {sorted(map(str, maps.data_vars))}; not maps")
    tags = {
        name: str(maps.attrs[name])
        for name in ("simulated", "vadose_version", "commit", "created", "inputs")
        if name in maps.attrs
    }
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for number, day in enumerate(pd.DatetimeIndex(maps.time.values)):
        files.append(out / f"soil_moisture_{day:%Y-%m-%d}.tif")
        with writing(files[-1]) as scratch:
            _write_day(maps[names].isel(time=number), scratch, tags | {"time": f"{day:%Y-%m-%d}"})
        progress("writing GeoTIFFs", (number + 1) / maps.sizes["time"])
    return files


def _write_day(maps: xr.Dataset, path: Path, tags: dict[str, str]) -> None:
    grid = grid_of(maps)
    left, top, step = grid.transform
    rows, columns = grid.shape
    names = list(map(str, maps.data_vars))
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "count": len(names),
        "dtype": "float32",
        "nodata": float("nan"),
        "crs": grid.crs,
        "transform": Affine(step, 0.0, left, 0.0, -step, top),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "bigtiff": "if_safer",
    }
    # The COG driver orders blocks and overviews of a raster that is whole: it only copies.
    with TemporaryDirectory(dir=path.parent, prefix=".cog-") as folder:
        plain = Path(folder) / "plain.tif"
        with rasterio.open(plain, "w", **profile) as file:
            file.update_tags(**tags)
            for band, name in enumerate(names, 1):
                file.set_band_description(band, name)
                file.set_band_unit(band, LAYERS[name]["units"])
                for start in range(0, rows, BLOCK):
                    values = maps[name].isel(y=slice(start, start + BLOCK)).values
                    file.write(values, band, window=Window(0, start, columns, len(values)))
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            compress="deflate",
            predictor="yes",
            blocksize=BLOCK,
            resampling="average",
            bigtiff="if_safer",
        )
