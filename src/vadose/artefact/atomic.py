"""Artefacts are written whole or not at all, by one process at a time."""

import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vadose.artefact.chunks import files_below, note_chunks
from vadose.artefact.contents import made_from
from vadose.errors import VadoseError

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
            raise VadoseError(f"{path}: the folder exists and holds something else; choose another, or remove it")
        try:
            yield scratch
            if scratch.is_dir():
                from vadose.artefact.predictions import consolidate_below

                note_chunks(scratch)
                consolidate_below(scratch)
                if place.is_file():
                    raise VadoseError(f"{path}: a file of this name exists; choose another name for the folder")
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
    from filelock import FileLock, Timeout  # 60 ms that reading need not take

    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    name = place.with_name(f".{place.name}.lock")
    left = name.exists()
    lock = FileLock(name)
    try:
        # For a moment: the one before may be removing the file.
        lock.acquire(timeout=0.1, poll_interval=0.02)
    except Timeout as error:
        raise VadoseError(f"{of or path}: another process is writing it; wait until it ends") from error
    try:
        yield left
    except OSError as error:
        if not _is_full(error, place.parent):
            raise
        raise _no_room(of or path) from error
    finally:
        # Before the lock is let go: the file of the next one stays. Windows removes it with the lock.
        with suppress(PermissionError):
            name.unlink()
        lock.release()


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
    call = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return call is not None and call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else files_below(path).values()
    return sum(file.stat().st_size for file in files)
