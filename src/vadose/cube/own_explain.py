"""Draft of a recipe for gridded data of your own, to be corrected by hand."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from vadose.cube.own_grid import RASTERS, files_of, opened
from vadose.cube.recipe import NAME, RESERVED
from vadose.door.grids import located, timed
from vadose.door.names import is_numeric, named
from vadose.door.own import Own, Quantity, day_in_name
from vadose.door.stores import address_of
from vadose.door.values import conversion
from vadose.errors import VadoseError
from vadose.grid import METRES_A_DEGREE
from vadose.resample.raster import DEGREES, transformer
from vadose.variables import variable

_RESOLUTIONS = {"36km": 36e3, "9km": 9e3, "3km": 3e3, "1km": 1e3, "100m": 100.0}
_HELP = """\
    # own: path: mine/*.nc            # file, pattern, store or address; without it what vadose build is given
    #      axes: {time: date, y: south_north, x: west_east, lat: XLAT, lon: XLONG}
    #      select: {depth: 0.05}      # one of a further dimension
    #      crs: EPSG:32614            # of x and y
    #      time_format: '%d/%m/%Y'    # of text; of numbers 'days since 2020-01-01'; of names of files 'sm_%Y%m%d'
    #      delay: 2                   # days after its day on which a value is known
    # of a variable: missing: -9999, scale: 0.001, offset: 0, of_day: mean (sum, max, min) of the hours of a day"""


def explain_grid(path: Path) -> str:
    """What the variables of a grid are taken for, as YAML text to be corrected (`vadose.experiments.cube.CubeConfig`).

    Raises
    ------
    VadoseError
        When it cannot be read, or holds no grid whose place is known.
    """
    files = list(files_of(address_of(path), path.stem))
    first, last = (_variables(file) for file in (files[0], files[-1]))
    taken = {name: of for name, of in first.items() if isinstance(of, _Taken)}
    if not taken:
        why = "; ".join(f"{name}: {of}" for name, of in list(first.items())[:4])
        raise VadoseError(f"{path}: no grid that is understood ({why or 'no variable of two dimensions'})")
    ends = [last[name] for name in taken]
    days = sorted(day for of in (*taken.values(), *ends) if isinstance(of, _Taken) for day in of.days)
    west, south, east, north = next(iter(taken.values())).box
    step = next(iter(taken.values())).step
    resolution = min(_RESOLUTIONS, key=lambda name: abs(np.log(_RESOLUTIONS[name] / step)))
    key = re.sub(r"\W+", "_", path.stem).strip("_") or "mine"
    lines = [
        f"# What {path.name} holds, as far as names, CF attributes and units tell. Correct it, then:",
        f"#   vadose build {path} --recipe THIS_FILE --out cube.zarr",
        "kind: cube",
        f"resolution: {resolution}  # of {', '.join(_RESOLUTIONS)}; the data have {step / 1000:.3g} km",
        f"bbox: [{west:.5g}, {south:.5g}, {east:.5g}, {north:.5g}]",
        f"first: {days[0] if days else 'YYYY-MM-DD'}",
        f"last: {days[-1] if days else 'YYYY-MM-DD'}",
        "# training: {first: , last: }  # days that the statistics of the cube are of",
        "products:",
    ]
    for static in (False, True):
        some = {name: of for name, of in taken.items() if of.static == static}
        lines += list(_source(f"{key}_static" if static else key, some, static)) if some else []
    for name, of in first.items():
        lines += [f"    # {_flow(name)}: {{variable: , unit: }}  # {of}"] if isinstance(of, str) else []
    return "\n".join([*lines, _HELP]) + "\n"


class _Taken:
    """What a variable is taken for, its days, box [degree] and step [m]."""

    def __init__(self, quantity: Quantity, note: str, grid: xr.Dataset, static: bool) -> None:
        self.quantity, self.note, self.static = quantity, note, static
        self.days = [] if static else [f"{day:%Y-%m-%d}" for day in grid.indexes["time"][[0, -1]]]
        if "lat" in grid.coords:
            lat, lon = grid.lat.values, grid.lon.values
        else:
            x, y = np.meshgrid(grid.x.values[[0, -1]], grid.y.values)
            lon, lat = transformer(grid.crs.attrs["crs_wkt"], DEGREES).transform(x, y)
        self.box = tuple(float(end(of)) for end in (np.nanmin, np.nanmax) for of in (lon, lat))
        self.step = (self.box[3] - self.box[1]) / max(len(lat) - 1, 1) * METRES_A_DEGREE


def _variables(path: Path) -> dict[str, "_Taken | str"]:
    """Each variable of a file, or why it is not taken."""
    place = address_of(path)
    static = path.suffix.lower() in RASTERS and not _has_day(path)
    data = opened(path, Own({"band_1": Quantity("band_1")}, static=static))
    found: dict[str, _Taken | str] = {}
    for name in (str(of) for of, values in data.data_vars.items() if is_numeric(values)):
        ours = named(data[name]) or re.sub(r"\W+", "_", name).strip("_")
        unit, known = data[name].attrs.get("units"), variable(ours)
        if not NAME.fullmatch(ours) or ours in RESERVED:
            found[name] = f"call it otherwise than {ours!r}"
            continue
        if known and known.units != "1" and (unit is None or conversion(str(unit), known.units) is None):
            wrong = "has no unit; expected" if unit is None else f"its unit {unit!r} is none of"
            found[name] = f"it may be {ours}, but {wrong} {known.units}"
            continue
        taken = [of.quantity.variable for of in found.values() if isinstance(of, _Taken)]
        quantity = Quantity(f"{ours}_{name}" if ours in taken else ours)
        note = "" if known else "not of the vocabulary: kept as it is"
        note = f"{ours} as well as a variable above" if ours in taken else note
        try:
            found[name] = _of_grid(data, Own({name: quantity}), note, place)
        except VadoseError as error:
            found[name] = str(error).removeprefix(f"{place}: ")
    return found


def _of_grid(data: xr.Dataset, own: Own, note: str, place: str) -> _Taken:
    (quantity,) = own.variables.values()
    try:
        return _Taken(quantity, note, located(timed(data, own, place), own, place), static=False)
    except VadoseError as error:
        if "have no time" not in str(error):
            raise
    own = replace(own, static=True)
    return _Taken(quantity, note, located(timed(data, own, place), own, place), static=True)


def _has_day(path: Path) -> bool:
    try:
        day_in_name(path.name, Own({}), str(path))
    except VadoseError:
        return False
    return True


def _source(key: str, some: dict[str, _Taken], static: bool) -> Iterator[str]:
    yield f"  {key}:"
    classes = all(of.quantity.variable.startswith("land_cover") for of in some.values())
    yield f"    resampling: {'majority' if classes else 'mean'}  # or nearest, bilinear, bicubic, majority"
    if not static:
        yield "    gaps: missing  # or last_value: the last value of each day and its age"
    yield "    own:"
    if static:
        yield "      static: true"
    yield "      variables:"
    for name, of in some.items():
        note = f"  # {of.note}" if of.note else ""
        yield f"        {_flow(name)}: {{variable: {of.quantity.variable}}}{note}"


def _flow(value: str) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
