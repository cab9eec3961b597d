"""Observations around the days of a cube, and lines between observations.

The first days of a cube take the last value seen before them, and with lines between observations the last days take
the next value seen after them. What is kept of the days around is that value and how many days it lies from the cube.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.cube.granule import Granule
from vadose.cube.granules import Block, read_block
from vadose.cube.recipe import Recipe, Source
from vadose.cube.store import Store, blocks_of
from vadose.gapfill import carry_forward

Floats = NDArray[np.float32]
Seen = dict[str, Floats]
"""``filled``, the value seen last (or next), and ``age``, days since then (or until then), (y, x)."""


def read_margin(
    granules: list[Granule], recipe: Recipe, source: Source, margin: str
) -> tuple[dict[str, Floats], Block]:
    """The values nearest to the cube among those of the days before or after it, and their ages; for `np.savez`."""
    found = read_block(granules, recipe.grid, recipe.margins(source)[margin], source)
    edge = recipe.days[0] - pd.Timedelta(days=1) if margin == "before" else recipe.days[-1] + pd.Timedelta(days=1)
    nearest: dict[str, Floats] = {}
    for name, fields in found.daily.items():
        value, age = np.full((2, *recipe.grid.shape), np.nan, np.float32)
        for day in sorted(fields, reverse=margin == "after"):
            there = np.isfinite(fields[day])
            value[there], age[there] = fields[day][there], abs((day - edge).days)
        nearest |= {f"{name}.filled": value, f"{name}.age": age}
    return nearest, found


def margin_name(source: Source, margin: str) -> str:
    """Name of the note, and of the file, of the days before or after the cube."""
    return f"{source.product}-{margin}"


def value_before(store: Store, recipe: Recipe, name: str) -> Seen:
    """Value of a variable seen last before the first day, and its age on the day before; {} if none was read."""
    return _seen(store, recipe, name, "before")


def _seen(store: Store, recipe: Recipe, name: str, margin: str) -> Seen:
    source = next(source for source in recipe.sources if name in source.variables.values())
    place = store.find_beside(margin_name(source, margin)) if margin in recipe.margins(source) else None
    if place is None:
        return {}
    with np.load(place) as kept:
        return {part: kept[f"{name}.{part}"] for part in ("filled", "age") if f"{name}.{part}" in kept}


def interpolated(store: Store, recipe: Recipe) -> Iterator[tuple[slice, dict[str, Floats]]]:
    """Variables on straight lines in time between observations, block by block; NaN where there is none on a side."""
    blocks = blocks_of(recipe.days)
    for name in recipe.interpolated:
        values = store.open()[name]
        # What is seen next after each block, found from the last one on.
        ahead = [_seen(store, recipe, name, "after")]
        for block in reversed(blocks[1:]):
            ahead.append(_last(_carried(values[block][::-1], ahead[-1])))
        behind = _seen(store, recipe, name, "before")
        for block, next_seen in zip(blocks, reversed(ahead), strict=True):
            last, following = _carried(values[block], behind), _carried(values[block][::-1], next_seen)
            behind = _last(last)
            before, since = last.filled.values, last.age.values
            after, until = following.filled.values[::-1], following.age.values[::-1]
            share = np.divide(since, since + until, out=np.zeros_like(since), where=since > 0)
            yield block, {f"{name}_filled": (before + share * (after - before)).astype(np.float32)}


def _carried(values: Floats, before: Seen) -> xr.Dataset:
    """Last values and their ages, in the order of the values."""
    carried = carry_forward(xr.DataArray(values, dims=("time", "y", "x"), name="of"), **before)
    return carried.rename(of_filled="filled", of_age="age")[["filled", "age"]]


def _last(carried: xr.Dataset) -> Seen:
    return {str(name): values.values[-1] for name, values in carried.items()}
