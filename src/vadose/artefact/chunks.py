"""Which chunks a Zarr store holds, noted when it is written."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from vadose.errors import VadoseError

CHUNKS = "chunks.json"
"""Beside the ``zarr.json`` of an array: sizes of its chunk files by their names, as they were written."""


def files_below(folder: Path) -> dict[str, Path]:
    """Files below a folder, links followed, by their names in it; in order of name."""
    found, seen = {}, set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for path in (Path(parent, name) for name in names):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def note_chunks(folder: Path) -> None:
    """Note with each Zarr array below a folder which chunks it has, see `check_chunks`."""
    for array in _arrays(folder):
        if chunks := _chunks(array):
            scratch = array / f"{CHUNKS}.partial"
            scratch.write_text(json.dumps(chunks))
            scratch.rename(array / CHUNKS)


def check_chunks(store: Path) -> None:
    """Check that no chunk is missing from a Zarr store that was there when the store was written.

    Zarr reads a chunk that is missing as missing values: it writes none where all values are.

    Raises
    ------
    VadoseError
        When one is, with the name of the variable.
    """
    for array, noted in _noted_chunks(store):
        if missing := sorted(noted.keys() - _chunks(array).keys()):
            raise VadoseError(
                f"{store}: {len(missing)} of {len(noted)} chunks of {array.relative_to(store)} are missing, the first "
                f"{missing[0]}; copy or make the store again (if they were removed on purpose: remove {array / CHUNKS})"
            )


def _noted_chunks(folder: Path) -> Iterator[tuple[Path, dict[str, int]]]:
    for array in _arrays(folder):
        if (note := array / CHUNKS).exists():
            yield array, dict(json.loads(note.read_text()))


def _arrays(folder: Path) -> Iterator[Path]:
    """Folders of Zarr arrays below a folder."""
    for parent, folders, names in os.walk(folder):
        if "zarr.json" in names and not Path(parent, "c", "zarr.json").exists():
            folders[:] = [name for name in folders if name != "c"]
            yield Path(parent)


def _chunks(array: Path) -> dict[str, int]:
    """Sizes of the chunk files of an array by their names."""
    top = array / "c"
    files = {"c": top} if top.is_file() else {f"c/{name}": file for name, file in files_below(top).items()}
    return {name: file.stat().st_size for name, file in files.items()}


def chunks_are_as_noted(folder: Path) -> bool:
    """Whether the chunks of all arrays below a folder are as they were written, by name and size."""
    return all(_chunks(array) == noted for array, noted in _noted_chunks(folder))
