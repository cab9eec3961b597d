"""Maps of a place before and after rain, from granules, by a network trained on all station-days."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import xarray as xr

from vadose.artefact import identity
from vadose.cube import build_from_granules, open_cube
from vadose.door import as_cube, by_day
from vadose.errors import VadoseError
from vadose.experiments.cube import load_cube
from vadose.experiments.downscaling import DownscalingRun, Place
from vadose.parallel.progress import Progress
from vadose.parallel.workers import cores
from vadose.predict.coarse import as_coarse, with_last_values
from vadose.predict.maps import downscale_maps
from vadose.reports.xu_2025 import FineMaps

FIELD = "soil_moisture_smap_l4"
AROUND = 0.15
"""Degrees of the coarse cube around the place: the nearest cells of 9 km to every pixel are in it."""


def map_place(
    place: Place, run: DownscalingRun, model: Path, granules: Path, out: Path, progress: Progress
) -> FineMaps | str:
    """Build the two cubes of a place and map its two days.

    Parameters
    ----------
    model
        Checkpoint of ``place.run``.
    granules
        Folder of a folder a product.
    out
        Takes ``fine.zarr``, ``coarse.zarr`` and ``maps.zarr``.

    Returns
    -------
    FineMaps or str
        Maps of both days beside the coarse soil moisture, or why there are none.
    """
    first, last = place.days
    west, south, east, north = place.bbox
    around = (west - AROUND, south - AROUND, east + AROUND, north + AROUND)
    begin = first - timedelta(days=run.days + run.ends)
    cubes = {}
    try:
        for name, box, day in (("fine", place.bbox, first), ("coarse", around, begin)):
            recipe = load_cube(getattr(place, name)).of(box, (f"{day}", f"{last}"))
            path = build_from_granules(granules, out / f"{name}.zarr", recipe, workers=cores(), progress=progress)
            cubes[name] = open_cube(path)
        fine = with_last_values(as_cube(cubes["fine"], "the fine cube"))
        coarse = as_coarse(cubes["coarse"], "the coarse cube", None, FIELD)
        made_of = {"data": identity(out / "fine.zarr", out / "coarse.zarr")}
        days, store = pd.DatetimeIndex(place.days), out / "maps.zarr"
        maps = downscale_maps(model, fine, coarse, days, store, made_of=made_of, progress=progress)
    except VadoseError as error:
        progress(f"no maps of the place: {error}", 1.0)
        return f"no maps of the place: {error}"
    return FineMaps(by_day(xr.open_zarr(maps, consolidated=False)), coarse.get(FIELD), (f"{first}", f"{last}"))
