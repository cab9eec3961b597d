"""Cubes of products that are whole databases already."""

from pathlib import Path

import numpy as np
import xarray as xr

from vadose import features, gapfill
from vadose.artefact import fingerprint, is_current, provenance, writing
from vadose.cube.store import ANTECEDENT_DAYS, group_name
from vadose.errors import VadoseError
from vadose.products import PRODUCTS
from vadose.variables import describe


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
    dataset = with_antecedents(PRODUCTS[product].read(source))
    attributes = dataset.attrs | provenance(**inputs)
    with writing(out) as scratch:
        xr.Dataset(attrs=attributes).to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
        dataset.attrs = attributes
        dataset.chunk({"time": 128, "y": -1, "x": -1}).to_zarr(
            scratch, group=group_name(dataset.attrs), mode="a", zarr_format=3, consolidated=False
        )
    return out


def with_antecedents(dataset: xr.Dataset) -> xr.Dataset:
    """Add the filled moisture and the antecedent precipitation sums to a product's dataset."""
    dataset = dataset.merge(gapfill.carry_forward(dataset.soil_moisture))
    for days in ANTECEDENT_DAYS:
        name = f"precipitation_{days}d"
        dataset[name] = features.antecedent_sum(dataset.precipitation, days).astype(np.float32)
        dataset[name].attrs = {"causal": "true"}
    return describe(dataset)
