"""Daily maps on disk: a Zarr store that is filled tile by tile, and Cloud-Optimised GeoTIFFs made of it."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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


def create_maps(
    path: Path, grid: Grid, days: pd.DatetimeIndex, names: tuple[str, ...], *, edge: int, beside: xr.Dataset
) -> zarr.Group:
    """Make a Zarr v3 store of daily maps (time, y, x), all missing, to be filled tile by tile.

    ``lat`` is one of y and ``lon`` one of x: on a cylindrical grid a row has one latitude, a column one
    longitude, and whole maps of them would be larger than the moisture.

    Parameters
    ----------
    names
        Of `LAYERS`.
    edge
        Cells along the edge of a chunk, which holds a single day.
    beside
        Variables that are no maps, and the attributes of the store.
    """
    corner = grid.part(slice(0, 1), slice(0, 1)).coordinates()
    store = beside.assign_coords(
        {
            "time": ("time", days, {"standard_name": "time", "long_name": "day", "axis": "T"}),
            "y": ("y", grid.y, corner.y.attrs),
            "x": ("x", grid.x, corner.x.attrs),
            "lat": ("y", grid.latlon(np.arange(grid.shape[0]), 0)[0], corner.lat.attrs),
            "lon": ("x", grid.latlon(0, np.arange(grid.shape[1]))[1], corner.lon.attrs),
            "crs": corner.crs,
        }
    ).assign_attrs({**corner.attrs, "Conventions": "CF-1.11"})
    store.time.encoding = {"units": "days since 1970-01-01", "dtype": "int64"}
    store.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    group = zarr.open_group(path, mode="r+")
    for name in names:
        group.create_array(
            name,
            shape=(len(days), *grid.shape),
            chunks=(1, *(min(edge, n) for n in grid.shape)),
            dtype="float32",
            fill_value=np.float32(np.nan),
            dimension_names=("time", "y", "x"),
            attributes=LAYERS[name] | {"grid_mapping": "crs", "coordinates": "lat lon"},
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        )
    return group


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
    maps = xr.open_zarr(store, consolidated=False)
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
