"""Granules to one Zarr cube: a group per grid, gaps filled from the past, provenance noted."""

from pathlib import Path

import numpy as np
import xarray as xr

from vadose import features, gapfill
from vadose.artefact import fingerprint, is_current, provenance, writing
from vadose.errors import VadoseError
from vadose.products import PRODUCTS

ANTECEDENT_DAYS = (7, 30, 90)


def build_cube(source: Path, out: Path, product: str = "conusv4f1") -> Path:
    """Read a gridded product, add what forecasts need, and write the cube.

    Added to what the product holds: ``soil_moisture_filled``, ``_observed`` and ``_age``
    (`gapfill.carry_forward`, causal), and precipitation sums over 7, 30 and 90 days.

    Parameters
    ----------
    source
        File or folder of the product as published.
    out
        Zarr store to write; left alone when it was made from the same source already.

    Raises
    ------
    VadoseError
        For an unknown product, or whatever its reader finds wrong; ``out`` is not touched then.
    """
    gridded = [name for name, p in PRODUCTS.items() if p.kind == "grid"]
    if product not in gridded:
        raise VadoseError(f"product {product!r} is not a gridded product; choose from {gridded}")
    if not source.exists():
        raise VadoseError(f"{source}: no such file or folder; give the place of the {product} data")
    inputs = {"product": product, "source": str(source), "sha256": fingerprint([source])}
    if is_current(out, **inputs):
        return out
    dataset = with_antecedents(PRODUCTS[product].read(source))
    group = f"every_{round(dataset.attrs['grid_step'] / dataset.attrs['cell_size'])}"
    km = round(dataset.attrs["cell_size"] / 1000)
    attributes = dataset.attrs | provenance(**inputs)
    with writing(out) as scratch:
        xr.Dataset(attrs=attributes).to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
        dataset.attrs = attributes
        dataset.chunk({"time": 128, "y": -1, "x": -1}).to_zarr(
            scratch, group=f"ease2_{km}km_{group}", mode="a", zarr_format=3, consolidated=False
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
