"""Maps as Cloud-Optimised GeoTIFFs: all layers of a day in numbers, its soil moisture in colours, styles of QGIS."""

from collections.abc import Callable, Iterator
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
from vadose.door.days import lead_days
from vadose.errors import VadoseError
from vadose.grid import Grid, grid_of
from vadose.publish.selection import rank, single_days
from vadose.variables import VARIABLES

BLOCK = 512
"""Edge of a block of a GeoTIFF."""
SAID = ("simulated", "model", "weather", "calibration", "vadose_version", "commit", "created", "inputs")
"""Attributes of a store that its GeoTIFFs repeat."""
FLAGS = ("flag_values", "flag_meanings")
MOISTURE = "soil_moisture"
STEP, MISSING = 0.0025, 255
"""Soil moisture of a step of colour [m3 m-3], up to 254 steps, and the step that stands for no value."""
RAMP = ((0.0, "f8eed6"), (0.1, "dcc68a"), (0.2, "a3b584"), (0.3, "57989a"), (0.4, "256a96"), (0.5, "0d2f5e"))
"""Soil moisture [m3 m-3] and its colour, from sand to deep water: each is darker than the one before, also in grey."""


def write_cog(
    store: Path, out: Path, *, progress: Callable[[str, float], None] = lambda what, share: None
) -> list[Path]:
    """Write each day of a store of maps as Cloud-Optimised GeoTIFFs into a folder, see `write_cogs`.

    Parameters
    ----------
    store
        As `vadose.predict.maps.downscale_maps` writes it.
    out
        Folder, made where there is none; files of the same days are replaced, each in one step.

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
    return write_cogs(maps, out, progress=progress)


def write_cogs(
    data: xr.Dataset, out: Path, *, progress: Callable[[str, float], None] = lambda what, share: None
) -> list[Path]:
    """Write each day of issue, or day, of maps as Cloud-Optimised GeoTIFFs.

    ``soil_moisture_YYYY-MM-DD.tif`` has a band for each map: of each variable, quantile, threshold and lead. A band
    says which, with its lead and valid day, and its units; float32 with NaN as nodata; overviews average the cells that
    have a value. ``..._colours.tif`` is soil moisture in steps of 0.0025 m3 m-3 (scale of the band) with a colour
    table, which programs show as it is, one of each lead; ``drought_class_...tif`` holds classes with theirs, 254 for
    none. Files hold blocks, and no large day is ever whole in memory. Beside each file of soil moisture is a style of
    its name, ``.qml``, from which QGIS takes the same colours with their values and units (`style`).

    Returns
    -------
    list of Path
        The GeoTIFFs, in order of days.
    """
    tags = {name: str(data.attrs[name]) for name in SAID if name in data.attrs}
    grid, stem = grid_of(data), MOISTURE if MOISTURE in data else str(next(iter(data.data_vars)))
    held = sorted((str(name) for name, of in data.data_vars.items() if {"y", "x"} <= set(of.dims)), key=rank)
    maps = data[held]
    axis = next((axis for axis in ("init_time", "time") if axis in maps.dims), "")
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    days = maps.sizes.get(axis, 1)
    for number, of_day in enumerate(single_days(maps, axis)):
        day = f"{pd.Timestamp(of_day[axis].values.item()):%Y-%m-%d}" if axis else ""
        bands, named = list(_bands(of_day)), tags | ({"time": day} if day else {})
        numbers = [band for band in bands if band.variable == MOISTURE or band.variable not in COLOURED]
        wanted: list[tuple[str, list[_Band], _Form]] = [(stem, numbers, NUMBERS)] if numbers else []
        several = of_day.sizes.get("lead_time", 1) > 1
        for band in (band for band in bands if band.variable in COLOURED and not band.beside):
            lead = f"_lead{band.lead:02d}" if several else ""
            wanted.append(
                (f"{band.variable}{{}}{lead}{COLOURED[band.variable].ending}", [band], COLOURED[band.variable])
            )
        for name, of_file, form in wanted:
            stamp = f"_{day}" if day else ""
            name = name.format(stamp) if "{}" in name else f"{name}{stamp}"
            files.append(out / f"{name}.tif")
            if of_file[0].variable == MOISTURE:
                with writing(files[-1].with_suffix(".qml")) as scratch:
                    scratch.write_text(style(), "utf-8")
            with writing(files[-1]) as scratch:
                _write(grid, of_file, scratch, named, form)
        progress("writing GeoTIFFs", (number + 1) / days)
    return files


class _Band(NamedTuple):
    """A map (y, x), what it is of, and what is said of it; ``beside`` is its place on further axes."""

    values: xr.DataArray
    variable: str
    beside: str
    lead: int
    name: str
    units: str
    long_name: str


class _Form(NamedTuple):
    """How values become numbers of a file: type, code of no value, values and colours of these."""

    dtype: str
    nodata: float
    resampling: str
    coded: Callable[[NDArray[Any]], NDArray[Any]]
    colours: Callable[[], dict[int, tuple[int, int, int, int]]] | None = None
    scale: float = 1.0
    ending: str = ""


def _bands(of_day: xr.Dataset) -> Iterator[_Band]:
    issued = of_day.coords.get("init_time")
    leads = [int(lead) for lead in lead_days(of_day)] if "lead_time" in of_day.coords and of_day.lead_time.ndim else [0]
    for name, values in of_day.data_vars.items():
        further = [axis for axis in map(str, values.dims) if axis not in ("lead_time", "y", "x")]
        long_name, units = str(values.attrs.get("long_name", name)), str(values.attrs.get("units", ""))
        for place in np.ndindex(*(values.sizes[axis] for axis in further)):
            chosen = values.isel(dict(zip(further, place, strict=True)))
            beside = "".join(f" {_word(of_day, axis, at)}" for axis, at in zip(further, place, strict=True))
            for k, lead in enumerate(leads):
                of_lead = chosen.isel(lead_time=k) if "lead_time" in chosen.dims else chosen
                valid = "" if issued is None else f"{pd.Timestamp(issued.values) + pd.Timedelta(days=lead):%Y-%m-%d}"
                when = f", lead {lead} d, {valid}" if lead and "lead_time" in chosen.dims else ""
                said = f"{long_name}{beside}{when}"
                yield _Band(of_lead, str(name), beside, lead, f"{name}{beside}{when}", units, said)
                if "lead_time" not in chosen.dims:
                    break


def _word(data: xr.Dataset, axis: str, at: int) -> str:
    value = data[axis].values[at] if axis in data.coords else at
    return f"{value:g}" if np.issubdtype(type(value), np.number) else str(value)


def _write(grid: Grid, bands: list[_Band], path: Path, tags: dict[str, str], form: _Form) -> None:
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
        "dtype": form.dtype,
        "nodata": form.nodata,
    }
    # The COG driver orders blocks and overviews of a raster that is whole: it only copies. The name is one that the
    # next writer clears after a kill, see `writing`.
    plain = path.with_name(path.name.replace(".partial", "0.partial"))
    try:
        with rasterio.open(plain, "w", **profile) as file:
            file.update_tags(**tags)
            for number, band in enumerate(bands, 1):
                file.set_band_description(number, band.name)
                file.set_band_unit(number, band.units)
                flags = {key: _said(band.values.attrs[key]) for key in FLAGS if key in band.values.attrs}
                file.update_tags(number, long_name=band.long_name, **flags)
                for start in range(0, rows, BLOCK):
                    values = band.values.isel(y=slice(start, start + BLOCK)).values
                    file.write(form.coded(values), number, window=Window(0, start, columns, len(values)))
            if form.colours is not None:
                file.scales = (form.scale,)
                file.write_colormap(1, form.colours())
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            compress="deflate",
            predictor="yes",
            blocksize=BLOCK,
            resampling=form.resampling,
            bigtiff="if_safer",
        )
    finally:
        remove(plain)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(map(str, np.ravel(value)))


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
        label = f"{moisture:g} {VARIABLES[MOISTURE].units}"
        item = {"value": f"{moisture:g}", "color": f"#{colour}", "alpha": "255", "label": label}
        ElementTree.SubElement(shader, "item", item)
    ElementTree.indent(page)
    return "<!DOCTYPE qgis>\n" + ElementTree.tostring(page, encoding="unicode") + "\n"


NONE = 254
"""Stands for the class 'none' of drought, -1, for a colour table has no numbers below 0."""
_CLASSES = ("ffff00", "fcd37f", "ffaa00", "e60000", "730000")
"""Colours of the US Drought Monitor, D0 to D4."""


def classes_of(classes: NDArray[Any]) -> NDArray[np.uint8]:
    """Classes of drought as numbers of a colour table: `NONE` for none, `MISSING` for unknown.

    Examples
    --------
    >>> classes_of(np.array([0, 4, -1, -128])).tolist()
    [0, 4, 254, 255]
    """
    known = np.isfinite(classes) & (classes >= -1)
    whole = np.where(known, classes, 0).astype(int)
    return np.where(known, np.where(whole < 0, NONE, whole), MISSING).astype(np.uint8)


def class_colours() -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue and opacity of each class of drought."""
    red_green_blue = [tuple(bytes.fromhex(of)) for of in _CLASSES]
    table = {k: (r, g, b, 255) for k, (r, g, b) in enumerate(red_green_blue)}
    return table | {NONE: (255, 255, 255, 255), MISSING: (0, 0, 0, 0)}


NUMBERS = _Form("float32", float("nan"), "average", lambda values: values)
COLOURED = {
    # Steps between two would be of a colour that is neither's.
    MOISTURE: _Form("uint8", MISSING, "nearest", steps_of, colours, STEP, "_colours"),
    "drought_class": _Form("uint8", MISSING, "nearest", classes_of, class_colours),
}
"""Variables that are also written in colours."""
