"""Maps as Cloud-Optimised GeoTIFFs: all layers of a day in numbers, its soil moisture in colours, styles of QGIS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
import xarray as xr
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.windows import Window

from vadose.artefact import remove, writing
from vadose.door import by_day
from vadose.errors import VadoseError
from vadose.grid import Grid, grid_of
from vadose.predict.map_files import LAYERS, QUANTILE

BLOCK = 512
"""Edge of a block of a GeoTIFF."""
SAID = ("simulated", "model", "weather", "calibration", "vadose_version", "commit", "created", "inputs")
"""Attributes of a store that its GeoTIFFs repeat."""
STEP, MISSING = 0.0025, 255
"""Soil moisture of a step of colour [m3 m-3], up to 254 steps, and the step that stands for no value."""
RAMP = ((0.0, "f8eed6"), (0.1, "dcc68a"), (0.2, "a3b584"), (0.3, "57989a"), (0.4, "256a96"), (0.5, "0d2f5e"))
"""Soil moisture [m3 m-3] and its colour, from sand to deep water: each is darker than the one before, also in grey."""


def write_cog(
    store: Path, out: Path, *, progress: Callable[[str, float], None] = lambda what, share: None
) -> list[Path]:
    """Write each day of a store of maps as two Cloud-Optimised GeoTIFFs.

    ``soil_moisture_YYYY-MM-DD.tif`` has a band for each map of the store, described and with its units, float32 with
    NaN as nodata; overviews average the cells that have a value. ``soil_moisture_YYYY-MM-DD_colours.tif`` is soil
    moisture in steps of 0.0025 m3 m-3 (scale of the band) with a colour table, which programs show as it is. Both lie
    on EASE-Grid 2.0 (EPSG:6933). Files hold blocks, and no day is ever whole in memory. Beside each is a style of its
    name, ``.qml``, from which QGIS takes the same colours with their values and units (`style`).

    Parameters
    ----------
    store
        As `vadose.predict.maps.downscale_maps` writes it.
    out
        Folder, made where there is none; files of the same days are replaced, each in one step.

    Returns
    -------
    list of Path
        The GeoTIFFs, in order of days.

    Raises
    ------
    VadoseError
        When there is no store of maps.
    """
    if not (store / "zarr.json").exists():
        raise VadoseError(f"{store}: no store of maps there; make one with: vadose downscale")
    maps = by_day(xr.open_zarr(store, consolidated=False))
    if "soil_moisture" not in maps:
        raise VadoseError(f"{store}: holds no 'soil_moisture' but {sorted(map(str, maps.data_vars))}; not maps")
    tags = {name: str(maps.attrs[name]) for name in SAID if name in maps.attrs}
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for number, day in enumerate(pd.DatetimeIndex(maps.time.values)):
        of_day, named = maps.isel(time=number), tags | {"time": f"{day:%Y-%m-%d}"}
        for ending, write in (("", _write_numbers), ("_colours", _write_colours)):
            files.append(out / f"soil_moisture_{day:%Y-%m-%d}{ending}.tif")
            with writing(files[-1].with_suffix(".qml")) as scratch:
                scratch.write_text(style(), "utf-8")
            with writing(files[-1]) as scratch:
                write(of_day, scratch, named)
        progress("writing GeoTIFFs", (number + 1) / maps.sizes["time"])
    return files


class _Band(NamedTuple):
    """A map, what it is called, and what is said of it."""

    values: xr.DataArray
    name: str
    units: str
    long_name: str


def _write_numbers(maps: xr.Dataset, path: Path, tags: dict[str, str]) -> None:
    bands = []
    for name in (name for name in LAYERS if name in maps):
        of_layer = maps[name] if name == QUANTILE else maps[name].expand_dims("quantile")
        for k, values in enumerate(of_layer):
            share = f" {float(maps['quantile'][k]):g}" if name == QUANTILE else ""
            said = LAYERS[name]
            bands.append(_Band(values, f"{name}{share}", said["units"], f"{said['long_name']}{share}"))
    form = {"dtype": "float32", "nodata": float("nan")}
    _write(grid_of(maps), bands, path, tags, form, resampling="average")


def _write_colours(maps: xr.Dataset, path: Path, tags: dict[str, str]) -> None:
    said = LAYERS["soil_moisture"]
    band = _Band(maps.soil_moisture, "soil_moisture", said["units"], said["long_name"])
    # Steps between two would be of a colour that is neither's.
    _write(grid_of(maps), [band], path, tags, {"dtype": "uint8", "nodata": MISSING}, resampling="nearest")


def _write(
    grid: Grid, bands: list[_Band], path: Path, tags: dict[str, str], form: dict[str, Any], resampling: str
) -> None:
    left, top, step = grid.transform
    rows, columns = grid.shape
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "count": len(bands),
        "crs": grid.crs,
        "transform": Affine(step, 0.0, left, 0.0, -step, top),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "bigtiff": "if_safer",
        **form,
    }
    coloured = form["dtype"] == "uint8"
    # The COG driver orders blocks and overviews of a raster that is whole: it only copies. The name is one that the
    # next writer clears after a kill, see `writing`.
    plain = path.with_name(path.name.replace(".partial", "0.partial"))
    try:
        with rasterio.open(plain, "w", **profile) as file:
            file.update_tags(**tags)
            for number, band in enumerate(bands, 1):
                file.set_band_description(number, band.name)
                file.set_band_unit(number, band.units)
                file.update_tags(number, long_name=band.long_name)
                for start in range(0, rows, BLOCK):
                    values = band.values.isel(y=slice(start, start + BLOCK)).values
                    window = Window(0, start, columns, len(values))
                    file.write(steps_of(values) if coloured else values, number, window=window)
            if coloured:
                file.scales = (STEP,)
                file.write_colormap(1, colours())
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            compress="deflate",
            predictor="yes",
            blocksize=BLOCK,
            resampling=resampling,
            bigtiff="if_safer",
        )
    finally:
        remove(plain)


def steps_of(moisture: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Steps of colour of soil moisture, those beyond the last one in the last one.

    Examples
    --------
    >>> steps_of(np.array([0.0, 0.25, 0.9, np.nan])).tolist()
    [0, 100, 254, 255]
    """
    known = np.isfinite(moisture)
    steps = np.clip(np.round(np.where(known, moisture, 0.0) / STEP), 0, MISSING - 1)
    return np.where(known, steps, MISSING).astype(np.uint8)


def colours() -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue and opacity of each step."""
    at, ends = zip(*((value, [int(of[k : k + 2], 16) for k in (0, 2, 4)]) for value, of in RAMP), strict=True)
    moisture = STEP * np.arange(MISSING)
    red, green, blue = (np.interp(moisture, at, of).round().astype(int).tolist() for of in zip(*ends, strict=True))
    table = {step: (*of, 255) for step, of in enumerate(zip(red, green, blue, strict=True))}
    return table | {MISSING: (0, 0, 0, 0)}


def style() -> str:
    """Style of QGIS 3 for soil moisture in band 1: the colours of `RAMP`, each with its value and units in the legend.

    QGIS applies the scale of a band, so that one style holds for numbers and for steps of colour.
    """
    low, high = (f"{RAMP[k][0]:g}" for k in (0, -1))
    page = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    of_band = {"type": "singlebandpseudocolor", "band": "1", "opacity": "1", "alphaBand": "-1"}
    of_band |= {"classificationMin": low, "classificationMax": high}
    renderer = ElementTree.SubElement(ElementTree.SubElement(page, "pipe"), "rasterrenderer", of_band)
    way = {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0"}
    ends = {"minimumValue": low, "maximumValue": high}
    shader = ElementTree.SubElement(ElementTree.SubElement(renderer, "rastershader"), "colorrampshader", way | ends)
    for moisture, colour in RAMP:
        label = f"{moisture:g} {LAYERS['soil_moisture']['units']}"
        item = {"value": f"{moisture:g}", "color": f"#{colour}", "alpha": "255", "label": label}
        ElementTree.SubElement(shader, "item", item)
    ElementTree.indent(page)
    return "<!DOCTYPE qgis>\n" + ElementTree.tostring(page, encoding="unicode") + "\n"
