"""Granules to one Zarr cube: a group per grid, gaps filled from the past, provenance noted."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from dataclasses import field as default
from functools import partial
from inspect import signature
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose import features, gapfill
from vadose.artefact import fingerprint, is_current, provenance, writing
from vadose.errors import OutsideError, VadoseError
from vadose.grid import Grid, ease_grid
from vadose.products import PRODUCTS
from vadose.products.containers import BBox
from vadose.resample import METHODS, Sums, area_sums, class_sums, majority, resample
from vadose.variables import VARIABLES, describe

ANTECEDENT_DAYS = (7, 30, 90)
MARGIN = 0.5
"""Degrees read beyond the grid, so that interpolation at its edge has neighbours."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Source:
    """What a cube takes from a product: names of its reader -> names in the cube, and how it is resampled."""

    product: str
    variables: Mapping[str, str]
    resampling: str
    options: Mapping[str, Any] = default(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a cube is made of: its grid, its days, and the products it takes."""

    resolution: str
    bbox: BBox
    first: str
    last: str
    sources: tuple[Source, ...]

    @property
    def grid(self) -> Grid:
        """The part of the EASE-Grid 2.0 the cube lies on."""
        return ease_grid(self.resolution).bounding_box(*self.bbox)


def build_cube(source: Path, out: Path, product: str = "conusv4f1") -> Path:
    """Write the cube of a product that is a whole database already.

    Added to what it holds: ``soil_moisture_filled``, ``_observed`` and ``_age``
    (`gapfill.carry_forward`, causal), and precipitation sums over 7, 30 and 90 days.

    Parameters
    ----------
    source
        Folder of the database as published.
    out
        Zarr store to write; left alone when it was made from the same source already.

    Raises
    ------
    VadoseError
        For another product, or whatever its reader finds wrong; ``out`` is not touched then.
    """
    databases = [name for name, p in PRODUCTS.items() if p.kind == "database"]
    if product not in databases:
        raise VadoseError(f"product {product!r} is not a database; choose from {databases}, or give a recipe")
    if not source.exists():
        raise VadoseError(f"{source}: no such file or folder; give the place of the {product} data")
    inputs = {"product": product, "source": str(source), "sha256": fingerprint([source])}
    if is_current(out, **inputs):
        return out
    return _write(with_antecedents(PRODUCTS[product].read(source)), out, inputs)


def build_from_granules(
    folder: Path, out: Path, recipe: Recipe, *, workers: int = 1, progress: Progress = lambda what, share: None
) -> Path:
    """Read granules of many products, bring them onto one grid, and write the cube.

    ``folder`` holds a folder a product, named as in `vadose.products.PRODUCTS`, such as ``smap_l3`` and
    ``gridmet``, with the granules anywhere below. Days are those of each product (its ``day_boundary`` is
    noted with the variable). Soil moisture is filled from the past and precipitation summed as in
    `build_cube`; ``mask`` marks the cells where every fixed variable has a value.

    Parameters
    ----------
    out
        Zarr store to write; left alone when it was made from the same granules and recipe already.
    workers
        Processes that read, where a product has many granules.

    Raises
    ------
    VadoseError
        When a folder, a variable or every granule of the area is missing, two granules hold the same
        place and day, or a reader finds one wrong; ``out`` is not touched then.
    """
    for source in recipe.sources:
        if source.product not in PRODUCTS or PRODUCTS[source.product].kind != "grid":
            known = [name for name, product in PRODUCTS.items() if product.kind == "grid"]
            raise VadoseError(f"recipe: {source.product!r} is no gridded product; choose from {known}")
        if source.resampling not in METHODS:
            raise VadoseError(f"recipe: resampling {source.resampling!r} unknown; choose from {list(METHODS)}")
        if not (folder / source.product).is_dir():
            raise VadoseError(
                f"{folder}: no folder '{source.product}' in it; put that product's granules there, or take it "
                f"out of the recipe (fetch them with: vadose fetch {source.product})"
            )
    folders = [folder / source.product for source in recipe.sources]
    inputs = {"recipe": asdict(recipe), "granules": {f.name: fingerprint([f]) for f in folders}}
    if is_current(out, **inputs):
        return out
    grid = recipe.grid
    days = pd.date_range(recipe.first, recipe.last)
    dataset = grid.coordinates().assign_coords(time=days)
    simulated = False
    for source in recipe.sources:
        for name, variable in _take(folder / source.product, grid, days, source, workers, progress):
            simulated |= variable.attrs["simulated"] == "true"
            dataset[name] = variable
    fixed = [v for v in dataset.data_vars.values() if "time" not in v.dims]
    mask = np.logical_and.reduce([np.isfinite(v.values) for v in fixed]) if fixed else np.ones(grid.shape, bool)
    dataset["mask"] = ("y", "x"), mask, {"long_name": "every fixed variable has a value"}
    dataset.attrs |= {
        "dataset": " + ".join(source.product for source in recipe.sources),
        "layer": "0-10 cm",
        "layer_note": "SMAP L-band retrieval, representative of about 0-5 cm",
        "day_boundary": "each product's own, see the variables",
        "simulated": "true" if simulated else "false",
    }
    dataset = describe(dataset)
    return _write(with_antecedents(dataset) if "soil_moisture" in dataset else dataset, out, inputs)


def _take(
    folder: Path, grid: Grid, days: pd.DatetimeIndex, source: Source, workers: int, progress: Progress
) -> Iterator[tuple[str, xr.Variable]]:
    """The variables a source gives, on the grid; (time, y, x) with NaN on days without a granule."""
    daily: dict[str, dict[pd.Timestamp, Cells]] = defaultdict(dict)
    fixed: dict[str, Cells] = {}
    attributes: dict[str, Any] = {}
    granules, outside = list(_granules(folder, source.product)), 0
    job = partial(_on_grid, grid=grid, first=days[0], last=days[-1], source=source)
    with _mapping(workers if len(granules) >= 64 else 1) as over:
        for number, (granule, found) in enumerate(zip(granules, over(job, granules), strict=True), 1):
            progress(f"reading {source.product}", number / len(granules))
            if found is None:
                outside += 1
                continue
            attributes = attributes or found[0]
            for name, day, sums in found[1]:
                if day is None:
                    fixed[name] = _joined(fixed.get(name), sums, granule)
                else:
                    daily[name][day] = _joined(daily[name].get(day), sums, granule)
    if missing := [theirs for theirs, ours in source.variables.items() if ours not in daily and ours not in fixed]:
        raise VadoseError(
            f"{folder}: {len(granules)} granules, {outside} of them outside the grid, and none with {missing} "
            f"between {days[0]:%Y-%m-%d} and {days[-1]:%Y-%m-%d}"
        )
    attributes |= {"resampling": source.resampling, "granules": len(granules) - outside}
    for name, sums in fixed.items():
        yield name, xr.Variable(("y", "x"), _finished(sums, name), attributes)
    for name, of_day in daily.items():
        values = np.full((len(days), *grid.shape), np.nan, np.float32)
        for day, sums in of_day.items():
            values[days.get_loc(day)] = _finished(sums, name)
        yield name, xr.Variable(("time", "y", "x"), values, attributes)


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """``map``, in processes of their own where there are several workers."""
    if workers < 2:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield partial(pool.map, chunksize=8)


Found = tuple[dict[str, Any], list[tuple[str, pd.Timestamp | None, "Cells"]]]


def _on_grid(granule: Path, *, grid: Grid, first: pd.Timestamp, last: pd.Timestamp, source: Source) -> Found | None:
    """What a granule gives: its attributes and, for each variable and day, its sums; None if it lies outside."""
    read, options = PRODUCTS[source.product].read, dict(source.options)
    if "variables" in signature(read).parameters:
        options["variables"] = list(source.variables)
    try:
        found = read(granule, bbox=_with_margin(grid), **options)
    except OutsideError:
        return None
    given: list[tuple[str, pd.Timestamp | None, Cells]] = []
    for theirs, ours in source.variables.items():
        # A product of many files, such as one a property, need not hold every variable in each.
        if theirs not in found:
            continue
        field = found[theirs]
        if "time" not in field.dims:
            given.append((ours, None, _sums(field, grid, source.resampling)))
            continue
        field = field.sel(time=slice(first, last + pd.Timedelta(hours=23, minutes=59)))
        of_days = _each(field, grid, source.resampling) if field.sizes["time"] else ()
        given += [(ours, day, sums) for day, sums in zip(field.indexes["time"].normalize(), of_days, strict=True)]
    return {key: found.attrs[key] for key in KEPT if key in found.attrs}, given


KEPT = ("product", "version", "quality", "day_boundary", "simulated")
"""What a granule's attributes say of its product, noted with each variable of the cube."""


def _granules(folder: Path, product: str) -> Iterator[Path]:
    """Files of a product's folder, those named as published if any are, in order of name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "SIMULATED")))
    named = [p for p in files if PRODUCTS[product].file_name.match(p.name)]
    if not files:
        raise VadoseError(f"{folder}: no file in it; the granules of {product} belong there")
    yield from named or files


def _with_margin(grid: Grid) -> BBox:
    rows, columns = grid.shape
    south, west = grid.latlon(rows - 1, 0)
    north, east = grid.latlon(0, columns - 1)
    return float(west) - MARGIN, float(south) - MARGIN, float(east) + MARGIN, float(north) + MARGIN


Cells = Sums | dict[float, Sums]
"""Sums of a field on the grid, those of every class for classes."""


def _sums(field: xr.DataArray, grid: Grid, method: str) -> Cells:
    if method == "majority":
        return class_sums(field, grid)
    if method == "mean":
        return area_sums(field, grid)
    values = resample(field, grid, method)
    return Sums(np.nan_to_num(values), np.isfinite(values).astype(float))


def _each(field: xr.DataArray, grid: Grid, method: str) -> Iterator[Cells]:
    """Sums of each time; fields of numbers are brought onto the grid all at once."""
    if method == "majority":
        yield from (_sums(field.isel(time=i), grid, method) for i in range(field.sizes["time"]))
        return
    sums = _sums(field.transpose("time", ...), grid, method)
    assert isinstance(sums, Sums)
    yield from (Sums(*one) for one in zip(sums.values, sums.weight, strict=True))


def _joined(before: Cells | None, sums: Cells, granule: Path) -> Cells:
    """Sums with those of other tiles added; refused where two granules hold the same place."""
    if isinstance(sums, dict) or isinstance(before, dict):
        first, second = before or {}, sums
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        if not (first and second):
            return first or second
        return {c: _added(first, second, c) for c in {*first, *second}}
    # Tiles may share a row of pixels; more is the same place twice.
    if before is not None and ((before.weight > 0.5) & (sums.weight > 0.5)).any():
        raise VadoseError(
            f"{granule}: holds places and a day that another granule in its folder holds too; keep the newest "
            "version of each"
        )
    return sums if before is None else before + sums


def _added(first: dict[float, Sums], second: dict[float, Sums], c: float) -> Sums:
    """Sums of one class; a tile without it has none of it on all it covers."""

    def of(sums: dict[float, Sums]) -> Sums:
        any_class = next(iter(sums.values()))
        return sums.get(c, Sums(np.zeros_like(any_class.values), any_class.weight))

    return of(first) + of(second)


def _finished(sums: Cells, name: str) -> NDArray[np.float32]:
    """Values of the cells; what bicubic interpolation overshoots is cut at the variable's valid range."""
    if isinstance(sums, dict):
        return majority(sums)
    known = VARIABLES.get(name)
    return sums.mean().clip(*known.valid_range) if known else sums.mean()


def _write(dataset: xr.Dataset, out: Path, inputs: dict[str, Any]) -> Path:
    step = round(dataset.attrs["grid_step"] / dataset.attrs["cell_size"])
    group = f"ease2_{round(dataset.attrs['cell_size'] / 1000)}km" + (f"_every_{step}" if step > 1 else "")
    attributes = dataset.attrs | provenance(**inputs)
    with writing(out) as scratch:
        xr.Dataset(attrs=attributes).to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
        dataset.attrs = attributes
        dataset.chunk({"time": 128, "y": -1, "x": -1}).to_zarr(
            scratch, group=group, mode="a", zarr_format=3, consolidated=False
        )
    return out


def with_antecedents(dataset: xr.Dataset) -> xr.Dataset:
    """Add the filled moisture and the antecedent precipitation sums to a product's dataset."""
    dataset = dataset.merge(gapfill.carry_forward(dataset.soil_moisture))
    for days in ANTECEDENT_DAYS:
        name = f"precipitation_{days}d"
        dataset[name] = features.antecedent_sum(dataset.precipitation, days).astype(np.float32)
        dataset[name].attrs = {"units": "kg m-2", "long_name": f"precipitation of {days} days up to the day"}
    return dataset


def open_cube(path: Path, group: str | None = None) -> xr.Dataset:
    """Open a grid of a cube lazily; ``group`` may be left out when there is only one.

    Raises
    ------
    VadoseError
        When there is no cube at ``path``, or no such grid in it.
    """
    groups = sorted(p.parent.name for p in path.glob("*/zarr.json") if (p.parent / "lat").exists())
    if not groups:
        raise VadoseError(f"{path}: no cube there; make one with: vadose build FOLDER --out {path}")
    if (group is None and len(groups) > 1) or (group is not None and group not in groups):
        raise VadoseError(f"{path}: grid {group!r} asked for, found {groups}; name one of them")
    cube: xr.Dataset = xr.open_zarr(path, group=group or groups[0], consolidated=False)
    return cube
