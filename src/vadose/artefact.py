"""Artefacts are written whole or not at all, by one process at a time, and say what they were made from."""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vadose.errors import VadoseError

LARGE = 2 << 30
"""Bytes in a folder beyond which `identity` takes sizes and times of change for the contents."""
CHUNKS = "chunks.json"
"""Beside the ``zarr.json`` of an array: sizes of its chunk files by their names, as they were written."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_ROOM = 1 << 16
"""Free bytes of a full disk."""
_HERE, _EXCHANGE = -100, 2
"""``AT_FDCWD`` and ``RENAME_EXCHANGE`` of Linux."""


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a scratch path beside ``path`` to write to; it takes the name when all went well.

    After an error nothing is left behind, and an older artefact at ``path`` stays as it was. The new one takes its
    place in one step, so that one of the two is there at each moment; where a file system cannot exchange two folders
    the old one is set aside as ``.NAME.aside`` meanwhile, and the next writer puts it back after a kill between. What
    a killed process left is cleared by the next writer, too. A folder of something else is never replaced.

    Raises
    ------
    VadoseError
        When another process is writing ``path``, ``path`` is a folder with files in it and no artefact, or a file
        where a folder was written, or the disk is full.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with writing(Path(folder) / "a.txt") as scratch:
    ...         _ = scratch.write_text("whole")
    ...     sorted(p.name for p in Path(folder).iterdir())
    ['a.txt']
    """
    place = path.resolve()
    scratch, aside = (place.with_name(f".{place.name}.{ending}") for ending in (f"{os.getpid()}.partial", "aside"))
    with locked(path) as left:
        if left:
            _mend(place, aside)
        if place.is_dir() and any(place.iterdir()) and made_from(place) is None:
            raise VadoseError(f"{path}: a folder that holds something else is there; choose another, or remove it")
        try:
            yield scratch
            if scratch.is_dir():
                note_chunks(scratch)
                if place.is_file():
                    raise VadoseError(f"{path}: a file is there, and a folder is to be written; choose another name")
            if not place.is_dir():
                scratch.replace(place)
            elif not _exchange(scratch, place):
                place.rename(aside)
                scratch.rename(place)
                remove(aside)
        except OSError as error:
            if not _is_full(error, place.parent):
                raise
            raise _no_room(path, f" after {_size(scratch) / 1e6:.1f} MB were written") from error
        finally:
            remove(scratch)


@contextmanager
def locked(path: Path, of: Path | None = None) -> Iterator[bool]:
    """Keep other processes from writing ``path``; give whether the last one that did so was killed.

    The lock is held on the file ``.NAME.lock`` beside ``path`` and ends with the process, however that ends. The file
    is there as long as the lock; after a kill it stays, and the next writer takes it.

    Raises
    ------
    VadoseError
        When another process, or another part of this one, holds the lock, or the disk is full; it names ``of`` where
        that is written.
    """
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    name = place.with_name(f".{place.name}.lock")
    while True:
        left = name.exists()
        with name.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise VadoseError(f"{of or path}: another process is writing it; wait for its end") from error
            # The one before may have removed the file between its opening and its locking.
            if not name.exists() or name.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue
            try:
                yield left
            except OSError as error:
                if not _is_full(error, place.parent):
                    raise
                raise _no_room(of or path) from error
            finally:
                name.unlink()
            return


def _is_full(error: OSError, folder: Path) -> bool:
    """Whether the disk was full; NetCDF says that its files may not be written then."""
    return error.errno in _FULL or shutil.disk_usage(folder).free < _NO_ROOM


def _no_room(path: Path, after: str = "") -> VadoseError:
    free = shutil.disk_usage(path.resolve().parent).free / 1e6
    return VadoseError(
        f"{path}: the disk is full{after} ({free:.1f} MB more are free); free some space, or write to another disk"
    )


def _mend(place: Path, aside: Path) -> None:
    """Remove what killed writers left, and put back what one had set aside."""
    for path in list(place.parent.iterdir()):
        if re.fullmatch(rf"\.{re.escape(place.name)}\.\d+\.partial", path.name):
            remove(path)
    if aside.exists() and not place.exists():
        aside.rename(place)
    remove(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return call is not None and call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def identity(*of: Path | xr.Dataset | xr.DataArray) -> str:
    """Hash of what files, folders and data sets hold: another one after any change of a value, name or attribute.

    Of a file it is that of its contents, wherever it lies; of a folder that of the names and contents of all its
    files. Of a folder of more than `LARGE` bytes the chunks of arrays and other files count by name, size and time of
    change, and only its metadata (``*.json``) by contents: a copy of it is another one. Changes of a folder that are
    complete but not yet moved into it (`complete`) belong to it. Of a data set it is that of names, dimensions, types,
    attributes and values, which are read for it block by block.

    Raises
    ------
    VadoseError
        When there is no such file or folder.

    Examples
    --------
    >>> field = xr.Dataset({"soil_moisture": ("y", [0.1, 0.2])})
    >>> identity(field) == identity(field.copy(deep=True)), identity(field) == identity(field + 0.1)
    (True, False)
    """
    digest = hashlib.sha256()
    for one in of:
        if not isinstance(one, Path):
            for part in _parts_of_data(one):
                digest.update(part)
            continue
        if not one.exists():
            raise VadoseError(f"{one}: no such file or folder")
        files = _files(one) | _files(complete(one)) if one.is_dir() else {"": one}
        large = one.is_dir() and sum(file.stat().st_size for file in files.values()) > LARGE
        for name, file in files.items():
            status = file.stat()
            digest.update(f"{name}\n{status.st_size}\n".encode())
            if large and file.suffix != ".json":
                digest.update(f"{status.st_mtime_ns}\n".encode())
                continue
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:32]


def complete(path: Path) -> Path:
    """Where complete changes of a folder lie until they have been moved into it, see `vadose.cube.journal`."""
    place = path.resolve()  # on the disk of the folder, where it is a link
    return place.with_name(f".{place.name}.complete")


def _files(folder: Path) -> dict[str, Path]:
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


def _parts_of_data(data: xr.Dataset | xr.DataArray) -> Iterator[bytes | memoryview]:
    dataset = data.to_dataset(name="values") if isinstance(data, xr.DataArray) else data
    yield _as_json(dataset.attrs).encode()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        yield _as_json([name, variable.dims, variable.shape, str(variable.dtype), variable.attrs]).encode()
        ends = np.cumsum(variable.chunks[0]) if variable.chunks and variable.dims else [None]
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            values = np.ascontiguousarray(variable[start:stop].values if variable.dims else variable.values)
            text = values.dtype.kind in "OT"
            yield _as_json(values.tolist()).encode() if text else values.reshape(-1).view(np.uint8).data


def _as_json(values: Any) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def provenance(**inputs: Any) -> dict[str, str]:
    """Attributes an artefact carries: version, commit, time of making, and its inputs as JSON."""
    return {
        "vadose_version": version("vadose"),
        "commit": _commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": _as_json(inputs),
    }


def note_inputs(folder: Path, **inputs: Any) -> None:
    """Write ``provenance.json`` into a folder: it is an artefact, made from these inputs."""
    (folder / "provenance.json").write_text(json.dumps(provenance(**inputs), indent=1))


def _commit() -> str:
    """Commit of the checkout this package runs from, '' when it is an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def made_from(path: Path) -> dict[str, Any] | None:
    """Inputs noted in an artefact by `provenance`, or None where there is no whole artefact.

    A Zarr store carries them in its attributes, a folder in ``provenance.json``.
    """
    for note, key in ((path / "zarr.json", "attributes"), (path / "provenance.json", None)):
        if note.exists():
            try:
                values = json.loads(note.read_text())
                return dict(json.loads((values.get(key, {}) if key else values)["inputs"]))
            except (ValueError, KeyError, TypeError):
                return None
    return None


def is_current(path: Path, **inputs: Any) -> bool:
    """Whether the artefact at ``path`` was made from exactly these inputs, and its chunks are as they were written.

    What something was made from is to be told by its `identity`: attributes may stay when values change.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     note = Path(folder) / "provenance.json"
    ...     _ = note.write_text(json.dumps(provenance(seed=1)))
    ...     is_current(Path(folder), seed=1), is_current(Path(folder), seed=2)
    (True, False)
    """
    if made_from(path) != dict(json.loads(_as_json(inputs))):
        return False
    return all(_chunks(array) == noted for array, noted in _noted_chunks(path))


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
    files = {"c": top} if top.is_file() else {f"c/{name}": file for name, file in _files(top).items()}
    return {name: file.stat().st_size for name, file in files.items()}


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else _files(path).values()
    return sum(file.stat().st_size for file in files)
