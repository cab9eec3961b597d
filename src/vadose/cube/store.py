"""The cube on disk: a Zarr v3 group per grid, written in blocks of days by anyone, by one build at a time."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from vadose.errors import VadoseError
from vadose.grid import Grid
from vadose.variables import describe

ANTECEDENT_DAYS = (7, 30, 90)
BLOCK_DAYS = 32
"""Days read and written at once. A chunk is the map of one day (benchmarks/cube_layout.py), so that no two
blocks ever touch one file."""
NOTES = ".build"
"""Folder in the store with a note for each block that is done."""


def group_name(attributes: Any) -> str:
    """Name of the group of a grid: resolution, and the step where it takes only every n-th cell."""
    step = round(attributes["grid_step"] / attributes["cell_size"])
    return f"ease2_{round(attributes['cell_size'] / 1000)}km" + (f"_every_{step}" if step > 1 else "")


def blocks_of(days: pd.DatetimeIndex) -> list[slice]:
    """Blocks of the days, counted from the first one."""
    return [slice(start, min(start + BLOCK_DAYS, len(days))) for start in range(0, len(days), BLOCK_DAYS)]


class Store:
    """A cube while it is built."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path = path
        coordinates = grid.coordinates()
        self.group = group_name(coordinates.attrs)
        self.coordinates = coordinates

    def open(self) -> zarr.Group:
        """The Zarr group of the grid."""
        return zarr.open_group(self.path / self.group, mode="r+")

    def create(self, recipe: dict[str, Any]) -> None:
        """Make the store with its coordinates, marked as half built."""
        attributes = {"state": "building", "recipe": recipe}
        xr.Dataset(attrs=attributes).to_zarr(self.path, mode="w", zarr_format=3, consolidated=False)
        self.coordinates.to_zarr(self.path, group=self.group, mode="a", zarr_format=3, consolidated=False)
        (self.path / NOTES).mkdir()

    def mark(self, **attributes: Any) -> None:
        """Write attributes of the whole store."""
        zarr.open_group(self.path, mode="r+").attrs.update(attributes)

    def attributes(self) -> dict[str, Any]:
        """Attributes of the whole store."""
        return dict(zarr.open_group(self.path, mode="r").attrs)

    def set_days(self, days: pd.DatetimeIndex) -> None:
        """Write the time axis, and lengthen the variables to it; what they hold stays."""
        group = self.open()
        values = (days - pd.Timestamp("1970-01-01")).days.to_numpy()
        if "time" in group:
            if group["time"].shape[0] == len(days):
                return
            for _name, array in group.arrays():
                if (array.metadata.dimension_names or ("",))[0] == "time":
                    array.resize((len(days), *array.shape[1:]))
            group["time"][:] = values
            return
        time = group.create_array(
            "time", shape=values.shape, dtype="int64", chunks=(100_000,), dimension_names=("time",),
            attributes={"standard_name": "time", "units": "days since 1970-01-01", "calendar": "proleptic_gregorian"},
        )  # fmt: skip
        time[:] = values

    def add(self, name: str, days: int | None) -> None:
        """Make a variable (time, y, x), or (y, x) with ``days=None``, all missing; one that is there stays."""
        group = self.open()
        if name in group:
            return
        rows, columns = self.coordinates.sizes["y"], self.coordinates.sizes["x"]
        dims = ("y", "x") if days is None else ("time", "y", "x")
        attributes = {"grid_mapping": "crs", "coordinates": "lat lon"}
        described = describe(xr.Dataset({name: ("x", np.zeros(1, np.float32))}))[name].attrs
        if days is None:
            layout: dict[str, Any] = {"shape": (rows, columns), "chunks": (rows, columns)}
        else:
            layout = {"shape": (days, rows, columns), "chunks": (1, rows, columns)}
        group.create_array(
            name, dtype="float32", fill_value=np.float32(np.nan), dimension_names=dims,
            attributes=described | attributes, compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
            **layout,
        )  # fmt: skip

    def write(self, name: str, values: NDArray[Any], days: slice | None) -> None:
        """Write a block of days of a variable, or all of a fixed one."""
        array = self.open()[name]
        array[... if days is None else days] = values

    def note(self, name: str) -> dict[str, Any]:
        """What was noted of a block that is done; {} where it is not."""
        path = self.path / NOTES / f"{name}.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def write_note(self, name: str, note: dict[str, Any]) -> None:
        """Note that a block is done; the note is whole or not there."""
        path = self.path / NOTES / f"{name}.json"
        scratch = path.with_suffix(".partial")
        scratch.write_text(json.dumps(note))
        scratch.rename(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other builds out; the lock ends with the process, however that ends."""
        with (self.path / NOTES / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise VadoseError(f"{self.path}: another build is writing to it; wait for its end") from error
            yield


def open_cube(path: Path, group: str | None = None) -> xr.Dataset:
    """Open a grid of a cube lazily; ``group`` may be left out when there is only one.

    Raises
    ------
    VadoseError
        When there is no cube at ``path``, it is half built, or there is no such grid in it.
    """
    groups = sorted(p.parent.name for p in path.glob("*/zarr.json") if (p.parent / "lat").exists())
    if not groups:
        raise VadoseError(f"{path}: no cube there; make one with: vadose build FOLDER --out {path}")
    if (group is None and len(groups) > 1) or (group is not None and group not in groups):
        raise VadoseError(f"{path}: grid {group!r} asked for, found {groups}; name one of them")
    if zarr.open_group(path, mode="r").attrs.get("state") == "building":
        raise VadoseError(f"{path}: half built; run its 'vadose build' again, it goes on where it was stopped")
    # A stored chunk is a day; pieces of memory hold many.
    cube: xr.Dataset = xr.open_zarr(path, group=group or groups[0], consolidated=False, chunks="auto")
    return cube
