"""The cube on disk: a Zarr v3 store of one grid, written in blocks of days by anyone, by one build at a time."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numcodecs import BitRound
from numpy.typing import NDArray
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

from vadose.artefact import check_chunks, complete, identity
from vadose.artefact.predictions import as_stored, beside_arrays, on_axes, on_cells
from vadose.cube import journal
from vadose.door import CUBE, as_cube
from vadose.errors import VadoseError
from vadose.grid import Grid
from vadose.variables import variable

ANTECEDENT_DAYS = (7, 14, 30, 90)
BLOCK_DAYS = 32
"""Days read and written at once. A chunk is the map of one day (benchmarks/cube_layout.py), so that no two
blocks ever touch one file."""
NOTES = ".build"
"""Folder in the store with a note for each block that is done."""
MANTISSA_BITS = {"K": 12, "Pa": 14, "day": 23}
"""Bits of the mantissa (of 23) kept of daily variables, by their unit: what is measured from far off its usual
values needs more."""
OTHER_BITS = 10
"""Bits kept in other units: a rounding error of at most 0.05 %, and classes and counts up to 2048 exact."""
READ_AGAIN = 50
"""How often a cube is opened again whose build became complete meanwhile."""
_Read = TypeVar("_Read")
_EXPECTED = (
    "expected a cube, made with: vadose build FOLDER --out CUBE, or written by xarray as a Zarr store "
    "(dataset.to_zarr('cube.zarr')), with "
    f"(time, y, x), lat, lon and mask (y, x) and the attributes {', '.join(CUBE)}"
)
_EPOCH = pd.Timestamp("1970-01-01")
_DAYS = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}


def groups_of(*folders: Path) -> list[str]:
    """Groups that hold a grid: '' is the store itself, another one that of a cube of an earlier version."""
    there = {lat.parent.relative_to(folder).name for folder in folders for lat in folder.glob("*/lat")}
    return sorted(there | {"" for folder in folders if (folder / "lat").exists()})


def blocks_of(days: pd.DatetimeIndex) -> list[slice]:
    """Blocks of the days, counted from the first one."""
    return [slice(start, min(start + BLOCK_DAYS, len(days))) for start in range(0, len(days), BLOCK_DAYS)]


class Store:
    """A cube while it is built, see `vadose.cube.journal`; ``exact`` keeps every bit of its values."""

    def __init__(self, path: Path, grid: Grid, exact: bool = False) -> None:
        self.path, self.exact = path, exact
        self.coordinates = grid.coordinates()
        self.group = next(iter(groups_of(journal.building(path), path)), "")

    @property
    def files(self) -> LocalStore:
        """The files of the store, with the changes begun."""
        top = journal.building(self.path)
        return journal.Layered(top, self.path) if top.exists() else LocalStore(self.path)

    def open(self) -> zarr.Group:
        """The Zarr group of the grid."""
        return zarr.open_group(self.files, path=self.group, mode="r+", use_consolidated=False)

    def create(self, recipe: Mapping[str, object]) -> None:
        """Make the store with its coordinates; one whose making was stopped is made again."""
        on_axes(self.coordinates).to_zarr(self.files, group=self.group, mode="a", zarr_format=3, consolidated=False)
        self.mark(recipe=json.dumps(recipe))

    def mark(self, **attributes: Any) -> None:
        """Write attributes of the whole store."""
        zarr.open_group(self.files, mode="r+", use_consolidated=False).attrs.update(attributes)

    def consolidate(self) -> None:
        """Note the metadata of all arrays at the root, where `xarray.open_zarr` looks first."""
        if not self.group:
            with beside_arrays():
                zarr.consolidate_metadata(self.files)

    def attributes(self) -> dict[str, Any]:
        """Attributes of the whole store, {} where there is none."""
        there = (folder / "zarr.json" for folder in (journal.building(self.path), self.path))
        return dict(zarr.open_group(self.files, mode="r").attrs) if any(file.exists() for file in there) else {}

    def days(self) -> int:
        """Length of the time axis."""
        if not self.attributes():
            return 0
        group = self.open()
        return int(group["time"].shape[0]) if "time" in group else 0

    def set_days(self, days: pd.DatetimeIndex) -> None:
        """Write the time axis, and lengthen the variables to it; what they hold stays."""
        group = self.open()
        values = (days - _EPOCH).days.to_numpy()
        if "time" not in group:
            time = {
                "standard_name": "time",
                "long_name": "day",
                "axis": "T",
                "bounds": "time_bnds",
                "units_metadata": "leap_seconds: none",
            }
            group.create_array(
                "time", shape=(0,), dtype="int64", chunks=(100_000,), dimension_names=("time",), attributes=time | _DAYS
            )
            group.create_array(
                "time_bnds",
                shape=(0, 2),
                dtype="int64",
                chunks=(100_000, 2),
                dimension_names=("time", "bnds"),
                attributes=_DAYS,
            )
        with beside_arrays():
            arrays = dict(group.arrays())
        for array in arrays.values():
            if (array.metadata.dimension_names or ("",))[0] == "time" and array.shape[0] != len(days):
                array.resize((len(days), *array.shape[1:]))
        group["time"][:] = values
        group["time_bnds"][:] = values[:, None] + [0, 1]

    def add(self, name: str, days: int | None) -> None:
        """Make a variable (time, y, x), or (y, x) with ``days=None``, all missing; one that is there stays."""
        group = self.open()
        if name in group:
            return
        rows, columns = self.coordinates.sizes["y"], self.coordinates.sizes["x"]
        if days is None:
            self._create(name, ("y", "x"), (rows, columns), (rows, columns), _described(name))
            return
        bits = self._bits(name)
        rounded = {} if bits is None else {"mantissa_bits": bits}
        self._create(name, ("time", "y", "x"), (days, rows, columns), (1, rows, columns), _described(name) | rounded)

    def _create(
        self,
        name: str,
        dims: tuple[str, ...],
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        attrs: Mapping[str, object],
    ) -> None:
        self.open().create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype="float32",
            fill_value=np.float32(np.nan),
            dimension_names=dims,
            attributes={**attrs, "grid_mapping": "crs", "coordinates": "lat lon"},
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        )

    def _bits(self, name: str) -> int | None:
        """Bits of the mantissa that are kept of a daily variable; None for all."""
        known = variable(name)
        return None if self.exact or known is None else MANTISSA_BITS.get(known.units, OTHER_BITS)

    def rounded(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of a daily variable as they are stored."""
        bits = self._bits(name)
        if bits is None:
            return values
        codec = BitRound(keepbits=bits)
        made: NDArray[np.float32] = codec.decode(codec.encode(np.ascontiguousarray(values, np.float32)))
        return made.reshape(values.shape)

    def write(self, name: str, values: NDArray[np.float32], days: slice | None) -> None:
        """Write days of a variable, or all of a fixed one; days that hold these values already are not touched."""
        array = self.open()[name]
        if days is None:
            array[...] = values
            return
        there = array[days]
        differ = np.flatnonzero(((there != values) & ~(np.isnan(there) & np.isnan(values))).any(axis=(1, 2)))
        # Days that follow each other are written in one call: each call waits for the thread that writes.
        for run in np.split(differ, np.flatnonzero(np.diff(differ) > 1) + 1):
            if run.size:
                array[days.start + run[0] : days.start + run[-1] + 1] = values[run[0] : run[-1] + 1]

    def write_fractions(self, name: str, classes: NDArray[np.float32], shares: NDArray[np.float32]) -> None:
        """Write the share of each class of a fixed variable as ``<name>_fraction`` (<name>_class, y, x)."""
        group, dimension = self.open(), f"{name}_class"
        for stale in (f"{name}_fraction", dimension):
            if stale in group:
                del group[stale]
        known = variable(name)
        of = known.long_name if known else name
        group.create_array(
            dimension,
            data=classes.astype(np.int16),
            dimension_names=(dimension,),
            attributes={"long_name": f"{of}, class", "units": "1"},
        )
        described = {"long_name": f"{of}, share of each class", "units": "1", "valid_range": [0.0, 1.0]}
        self._create(f"{name}_fraction", (dimension, "y", "x"), shares.shape, shares.shape, described)
        group[f"{name}_fraction"][:] = shares

    def find(self, name: str) -> Path | None:
        """A file beside the arrays; None where there is none."""
        top = journal.building(self.path) / name
        deleted = top.with_name(f"{top.name}{journal.GONE}").exists()
        return next((file for file in (top, *([] if deleted else [self.path / name])) if file.exists()), None)

    def find_beside(self, note: str) -> Path | None:
        """Arrays kept beside a note; None where there are none."""
        return self.find(f"{NOTES}/{note}.npz")

    def write_beside(self, note: str, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep arrays beside a note, whole or not at all."""
        place = self.place(f"{NOTES}/{note}.npz")
        scratch = place.with_name(f"{place.stem}.partial.npz")
        np.savez(scratch, **arrays)  # type: ignore[arg-type]
        scratch.rename(place)

    def place(self, name: str) -> Path:
        """Where a file beside the arrays is written to."""
        place = journal.building(self.path) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def forget(self, name: str) -> None:
        """Delete a file beside the arrays."""
        place = self.place(name)
        place.with_name(f"{place.name}{journal.GONE}").touch()
        place.unlink(missing_ok=True)

    def notes(self) -> list[str]:
        """Names of the notes."""
        folders = (journal.building(self.path) / NOTES, self.path / NOTES)
        return [n for n in sorted({p.stem for folder in folders for p in folder.glob("*.json")}) if self.note(n)]

    def note(self, name: str) -> dict[str, Any]:
        """What was noted of a block that is done; {} where it is not."""
        file = self.find(f"{NOTES}/{name}.json")
        return dict(json.loads(file.read_text())) if file else {}

    def write_note(self, name: str, note: Mapping[str, object]) -> None:
        """Note that a block is done; the note is whole or not there."""
        self.write_text(f"{NOTES}/{name}.json", json.dumps(note))

    def write_text(self, name: str, text: str) -> None:
        """Write a file beside the arrays, whole or not at all."""
        place = self.place(name)
        scratch = place.with_name(f"{place.name}.partial")
        scratch.write_text(text)
        scratch.rename(place)


def _described(name: str) -> dict[str, object]:
    known = variable(name)
    return known.attributes() if known else {}


def is_cube(path: Path) -> bool:
    """Whether there is a cube, complete or being built: a store with the place and the mask of its cells."""
    folders = [folder for folder in (journal.building(path), complete(path), path) if folder.is_dir()]
    return any((folder / group / "mask").exists() for folder in folders for group in groups_of(*folders))


def open_cube(path: Path, group: str | None = None) -> xr.Dataset:
    """Open a grid of a cube lazily; ``group`` may be left out when there is only one.

    While a cube is built anew, and after a build that was stopped, this is its last complete state.

    Raises
    ------
    VadoseError
        When there is no cube at ``path``, its first build is not complete, it lacks a chunk, there is no such grid in
        it, or it cannot be brought into our form (`vadose.door.as_cube`).
    """
    return _of_one_state(path, lambda folders: _opened(path, folders, group))


def open_identified(path: Path) -> tuple[xr.Dataset, str]:
    """`open_cube`, and the `vadose.artefact.identity` of the state that is opened.

    Raises
    ------
    VadoseError
        As `open_cube`.
    """
    return _of_one_state(path, lambda folders: (_opened(path, folders, None), identity(path)))


def _of_one_state(path: Path, read: Callable[[list[Path]], _Read]) -> _Read:
    """What is read of the folders of a cube, in one state of it."""
    if path.is_file():
        raise VadoseError(f"{path}: a file; {_EXPECTED}")
    for _ in range(READ_AGAIN):
        folders = [folder for folder in (complete(path),) if journal.pending(path)] + [path]
        state = journal.state(path)
        try:
            found = read(folders)
        except (OSError, KeyError, ValueError, VadoseError) as error:
            # A build may have become complete meanwhile; what is wrong with the files themselves stays so.
            moved = isinstance(error, FileNotFoundError) and len(folders) > 1
            if not moved and journal.state(path) == state and journal.pending(path) == (len(folders) > 1):
                raise
            continue
        if journal.state(path) == state and journal.pending(path) == (len(folders) > 1):
            return found
    raise VadoseError(f"{path}: it changes while it is opened; open it again after its build")


def _opened(path: Path, folders: list[Path], group: str | None) -> xr.Dataset:
    is_store = any((folder / name).exists() for folder in folders for name in ("zarr.json", ".zgroup"))
    groups = groups_of(*folders) if is_store else []
    if not groups:
        begun = journal.building(path).exists()
        if begun:
            raise VadoseError(f"{path}: half built, and never complete; run its 'vadose build' again, it resumes")
        if not path.exists():
            raise VadoseError(f"{path}: no cube there; make one with: vadose build FOLDER --out {path}")
        kind = "Zarr store that is no cube" if is_store else "folder without a Zarr store"
        raise VadoseError(f"{path}: a {kind}; {_EXPECTED}")
    if (group is None and len(groups) > 1) or (group is not None and group not in groups):
        raise VadoseError(f"{path}: grid {group!r} asked for, found {groups}; name one of them")
    files: Any = journal.Layered(folders[0], path, read_only=True) if len(folders) > 1 else path
    if zarr.open_group(files, mode="r").attrs.get("state") == "building":
        raise VadoseError(f"{path}: half built; run its 'vadose build' again, it resumes")
    group = groups[0] if group is None else group
    if len(folders) == 1:
        check_chunks(path / group)
    with beside_arrays():
        cube: xr.Dataset = xr.open_zarr(files, group=group, consolidated=False, chunks=None, decode_coords="all")
    if "station" not in cube:  # names of stations cannot be cut into pieces
        cube = on_cells(cube).chunk("auto")  # a stored chunk is a day; pieces of memory hold many
    return as_stored(as_cube(as_stored(cube), str(path), CUBE))
