"""Scenes of many files, a band each: counts on one lattice, masked by a band of flags."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import NeedsError, VadoseError, nothing_here
from vadose.products.containers import BBox, simulated_mark
from vadose.products.rasters import open_raster, read_raster


@dataclass(frozen=True)
class Packing:
    """How a band's counts stand for values; ``valid`` are the first and last count that mean something."""

    dtype: str
    fill: int
    scale: float
    offset: float
    valid: tuple[int, int]


_FILLS = {"uint16": 0, "int16": -9999, "uint8": 255}
"""Fill of the types that counts and flags come in."""
_LEAST_COUNT = 500
"""Some count of a band is larger, but no scaled value is: reflectance reaches 1.6, temperature 400 K."""


def unpack(
    bands: Mapping[str, tuple[Path, Packing]],
    flags: Path | None,
    flags_dtype: str,
    bits: int,
    bbox: BBox | None,
    path: Path,
) -> xr.Dataset:
    """Bands as values (time, y, x), NaN where they are fill, and, with any bits, where flagged or out of range."""
    first: xr.Dataset | None = None
    bad: NDArray[np.bool_] | None = None
    if bits:
        if flags is None:
            raise NeedsError(
                f"{path}: no {'QA_PIXEL' if flags_dtype == 'uint16' else 'Fmask'} band beside the others, so clouds "
                "cannot be masked; fetch it, or read with quality='all'",
                instead={"quality": "all"},
            )
        stored, first = _counts(flags, bbox, flags_dtype)
        bad = (stored & bits) != 0
    dataset = xr.Dataset()
    empty, most_fill, invalid = True, 0, {}
    for name, (file, packing) in bands.items():
        counts, coordinates = _counts(file, bbox, packing.dtype, _LEAST_COUNT)
        first = coordinates if first is None else first
        _expect_lattice(file, coordinates, first)
        missing = counts == packing.fill
        most_fill = max(most_fill, int(missing.sum()))
        empty &= bool(missing.all())
        if bad is not None:
            outside = ~bad & ~missing & ((counts < packing.valid[0]) | (counts > packing.valid[1]))
            invalid[name] = int(outside.sum())
            missing |= bad | outside
        values = counts.astype(np.float32) * np.float32(packing.scale) + np.float32(packing.offset)
        values[missing] = np.nan
        dataset[name] = ("time", "y", "x"), values[None]
    if empty:
        raise nothing_here(bbox)(f"{path}: holds nothing but fill here; choose another scene, file or box")
    dataset = dataset.assign_coords(first.coords if first is not None else {})
    with open_raster(next(iter(bands.values()))[0]) as raster:
        dataset.attrs |= {"simulated": simulated_mark(raster.tags()), "pixels_fill": most_fill}
    if bad is not None:
        dataset.attrs["pixels_flagged"] = int(bad.sum())
        dataset.attrs["pixels_outside_valid_range"] = ", ".join(f"{k} {v}" for k, v in invalid.items())
    return dataset


def _counts(path: Path, bbox: BBox | None, dtype: str, least: int = 0) -> tuple[NDArray[Any], xr.Dataset]:
    """Counts of a band as stored, or as whole numbers in floats, of which some reach ``least``."""
    values, coordinates, _ = read_raster(path, bbox)
    if values.dtype.kind == "f":
        values = _whole(values, dtype, least, path)
    if values.dtype != dtype:
        raise VadoseError(
            f"{path}: found {values.dtype} values, the product stores {dtype} counts; scaled already, or another "
            "product? Take the file as published"
        )
    if "x" not in coordinates.dims:
        raise VadoseError(f"{path}: on a latitude-longitude grid, the product is in UTM; use the published file")
    return values, coordinates


def _whole(values: NDArray[np.floating], dtype: str, least: int, path: Path) -> NDArray[Any]:
    """Floats, which libraries make of counts, as the counts; NaN, which they make of fill, as fill."""
    fill, limits = _FILLS[dtype], np.iinfo(dtype)
    present = values[~(np.isnan(values) | (values == fill))]
    inside = (present >= limits.min) & (present <= limits.max) & (present == np.rint(present))
    if present.size and not (inside.all() and np.abs(present).max() >= least):
        raise VadoseError(
            f"{path}: found {values.dtype} values such as {present[0]:g}, the product stores {dtype} counts; scaled or "
            "resampled already? Take the file as published"
        )
    return np.where(np.isnan(values), fill, values).astype(dtype)


def _expect_lattice(path: Path, found: xr.Dataset, first: xr.Dataset) -> None:
    same = found.sizes == first.sizes and found.crs.attrs["crs_wkt"] == first.crs.attrs["crs_wkt"]
    if not (same and np.allclose(found.x, first.x, atol=1) and np.allclose(found.y, first.y, atol=1)):
        raise VadoseError(
            f"{path}: lies on another lattice ({dict(found.sizes)}, from x {float(found.x[0]):.0f}, y "
            f"{float(found.y[0]):.0f}) than the scene's first band ({dict(first.sizes)}, from x "
            f"{float(first.x[0]):.0f}, y {float(first.y[0]):.0f}); do all files belong to one scene?"
        )
