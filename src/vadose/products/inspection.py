"""What a file or folder holds: product, version, time, grid, variables, units, share of valid values."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS

from vadose.errors import NeedsError, VadoseError, nearest
from vadose.grid import transformer_to
from vadose.products import PRODUCTS, identify
from vadose.products.containers import BBox
from vadose.products.ranges import outside_counts


@dataclass(frozen=True)
class Content:
    """One variable of a file: shares of values that are there and that are of good quality, and the latters' range."""

    name: str
    units: str
    dims: str
    there: float
    valid: float
    low: float
    high: float


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found; ``facts`` are pairs of a word and what is to be said, in order."""

    product: str
    facts: dict[str, str]
    variables: tuple[Content, ...]


def inspect(path: Path, *, product: str | None = None, bbox: BBox | None = None, **options: Any) -> Inspection:
    """Say what a file or folder holds, read as the product it is.

    Parameters
    ----------
    product
        Name in `vadose.products.PRODUCTS`; recognised by name and content when left out.
    bbox
        Look at this box only (west, south, east, north); gridded products.
    options
        Passed on to the product's reader.

    Raises
    ------
    VadoseError
        When there is nothing, of no known product, or the reader finds it wrong.
    """
    if product is not None and product not in PRODUCTS:
        raise VadoseError(f"product {product!r} unknown{nearest(product, PRODUCTS)}")
    name = product or identify(path)
    known = PRODUCTS[name]
    if bbox is not None:
        if known.kind != "grid":
            raise VadoseError(f"{path}: {known.title} is no gridded product; leave out the box")
        options["bbox"] = bbox
    parts, lacking = _look(path, known.read, options)
    if not parts:
        raise VadoseError(f"{path}: {known.title} with nothing in it")
    first = parts[0]
    said = {"product": str(first.attrs.get("product", name)), "title": known.title}
    said |= {key: str(first.attrs[key]) for key in ("version", "granule", "network", "station") if key in first.attrs}
    if len(parts) > 1:
        said["stations"] = str(len(parts))
        said.pop("station", None)
    said["time"] = _times(parts)
    said |= _place(first, parts)
    told = {"quality", "overpass", "left_out", "day_boundary", "simulated", "undeclared_fill"}
    said |= {
        key.replace("_", " "): str(first.attrs[key]) for key in first.attrs if key in told or str(key).endswith("_note")
    }
    said["outside range"] = ", ".join(f"{count} of {name}, missing" for name, count in outside_counts(parts).items())
    said["lacking"] = "; ".join(lacking)
    contents = _contents(parts)
    if "quality" in signature(known.read).parameters and "quality" not in options:
        # What the quality rule leaves out is there all the same: a cloudy scene is no empty file.
        there = {c.name: c.valid for c in _contents(_parts(known.read(path, quality="all", **options)))}
        contents = tuple(replace(c, there=there[c.name]) for c in contents)
    return Inspection(name, {key: text for key, text in said.items() if text}, contents)


Parts = xr.Dataset | list[xr.Dataset]
"""What readers give: a data set, or one of each station."""


def _look(path: Path, read: Callable[..., Parts], options: dict[str, object]) -> tuple[list[xr.Dataset], list[str]]:
    """What a reader gives, and what had to be left out for it, which is added to the options."""
    lacking: list[str] = []
    while True:
        try:
            return _parts(read(path, **options)), lacking
        except NeedsError as error:
            if error.instead.keys() <= options.keys():
                raise
            # A file alone, or the middle of a large one, is worth a look all the same; what is left out is said.
            options |= error.instead
            lacking.append(str(error))
        except VadoseError as error:
            if not lacking:
                raise
            raise VadoseError(
                f"{'; '.join(lacking)}; a look without it says: {str(error).removeprefix(f'{path}: ')}"
            ) from error


def _parts(found: Parts) -> list[xr.Dataset]:
    """Stations come as a list, or alone."""
    return found if isinstance(found, list) else [found]


def _times(parts: list[xr.Dataset]) -> str:
    times = [p.time.values for p in parts if "time" in p.coords and p.time.size]
    if not times:
        return "none (fixed in time)" if not any("time" in p.coords for p in parts) else "no day"
    flat = np.concatenate([np.atleast_1d(t) for t in times])
    first, last = (np.datetime_as_string(t, unit="m").removesuffix("T00:00") for t in (flat.min(), flat.max()))
    count = len(np.unique(flat))
    return f"{first} UTC" if count == 1 else f"{first} to {last} ({count} times)"


def _place(first: xr.Dataset, parts: list[xr.Dataset]) -> dict[str, str]:
    """Projection, size and extent of a grid, or where a station is."""
    if "crs" not in first.coords:
        places = [(float(p.attrs["lat"]), float(p.attrs["lon"])) for p in parts if "lat" in p.attrs]
        if len(places) == 1:
            return {"place": f"lat {places[0][0]:.4f}, lon {places[0][1]:.4f}"}
        if places:
            lat, lon = np.array(places).T
            return {"place": f"lat {lat.min():.2f} to {lat.max():.2f}, lon {lon.min():.2f} to {lon.max():.2f}"}
        return {}
    crs = CRS.from_cf(first.crs.attrs)
    row, column = ("y", "x") if "y" in first.dims else ("lat", "lon")
    y, x = first[row].values, first[column].values
    steps = [abs(float(axis[1] - axis[0])) if len(axis) > 1 else np.nan for axis in (y, x)]
    unit = "degree" if crs.is_geographic else "m"
    half = [step / 2 if np.isfinite(step) else 0.0 for step in steps]
    bounds = (x.min() - half[1], y.min() - half[0], x.max() + half[1], y.max() + half[0])
    if not crs.is_geographic:
        bounds = transformer_to(crs.to_wkt()).transform_bounds(*bounds, direction="INVERSE")
    west, south, east, north = bounds
    authority = crs.to_authority()
    name = crs.coordinate_operation.method_name if crs.name == "unknown" and crs.coordinate_operation else crs.name
    label = name + (f" ({':'.join(authority)})" if authority else "")
    size = f" of {steps[0]:.6g} x {steps[1]:.6g} {unit}" if np.isfinite(steps).all() else ""
    return {
        "grid": f"{len(y)} x {len(x)} cells{size}, {label}",
        "extent": f"west {west:.4f}, south {south:.4f}, east {east:.4f}, north {north:.4f}",
    }


def _contents(parts: list[xr.Dataset]) -> tuple[Content, ...]:
    names = dict.fromkeys(str(name) for part in parts for name in part.data_vars)
    contents = []
    for name in names:
        holders = [part[name] for part in parts if name in part]
        if not np.issubdtype(holders[0].dtype, np.number) and holders[0].dtype != bool:
            continue
        total = sum(values.size for values in holders)
        finite = [values.values[np.isfinite(values.values)] for values in holders]
        count = sum(values.size for values in finite)
        low = min((float(v.min()) for v in finite if v.size), default=np.nan)
        high = max((float(v.max()) for v in finite if v.size), default=np.nan)
        dims = ", ".join(map(str, holders[0].dims))
        share = count / max(total, 1)
        contents.append(Content(name, str(holders[0].attrs.get("units", "")), dims, share, share, low, high))
    return tuple(contents)
