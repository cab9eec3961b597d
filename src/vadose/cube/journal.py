"""Changes of a store become visible all at once: they are written beside it, and moved in when they are complete.

A writer puts every new or changed file of ``cube.zarr`` into ``.cube.zarr.building`` and reads through that folder to
the store below it (`Layered`). When all is written the folder is renamed to ``.cube.zarr.complete``: from that moment
the state of the store is the new one, and readers see it through that folder until its files have been moved in. So a
process may be killed at any moment, and what it costs is proportional to what has changed, not to the store: a copy of
the store by hard links takes seconds and its removal minutes for 20,000 chunks.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from vadose.artefact import CHUNKS, complete

GONE = ".gone"
"""Ending of an empty file that says that the file of this name in the store below is deleted."""
_PARTIAL = ".partial"
_ABOUT = ".about.json"
_ROOT = "zarr.json"


def building(path: Path) -> Path:
    """Where changes of a store are written."""
    return complete(path).with_suffix(".building")


def begin(path: Path, cut: bool, **about: Any) -> None:
    """Start to change a store, or to make one, or go on with it; what is said ``about`` it is told by `resumable`.

    With ``cut`` something of the store goes away.
    """
    top = building(path)
    cut |= bool(_about(top).get("cut"))
    top.mkdir(parents=True, exist_ok=True)
    _write(top / _ABOUT, {"base": state(path), "cut": cut} | about)


def resumable(path: Path) -> dict[str, Any] | None:
    """What was said about changes that may go on; None where none were begun, or of another state of the store."""
    about = _about(building(path))
    return about if about and about["base"] == state(path) else None


def commit(path: Path) -> None:
    """Make the changes the state of the store: at once for readers, then file by file in its folder."""
    _note_chunks(path)
    building(path).rename(complete(path))
    settle(path)


def _note_chunks(path: Path) -> None:
    """Note which chunks the changed arrays have, see `vadose.artefact.check_chunks`."""
    top = building(path)
    changes: dict[str, dict[str, int | None]] = {}
    for file in (Path(folder) / name for folder, _, names in os.walk(top) for name in names):
        array, _, chunk = f"{file.relative_to(top).as_posix()}/".partition("/c/")
        if chunk and not file.name.endswith(_PARTIAL):
            name, gone = f"c/{chunk}".rstrip("/").removesuffix(GONE), file.name.endswith(GONE)
            changes.setdefault(array, {}).setdefault(name, None)
            if not gone:
                changes[array][name] = file.stat().st_size
    for array, sizes in changes.items():
        if (top / array / f"{_ROOT}{GONE}").exists() and not (top / array / _ROOT).exists():
            continue
        noted: dict[str, int | None] = {}
        if (note := path / array / CHUNKS).exists():
            noted = json.loads(note.read_text())
        elif (path / array).exists():
            below = (file for file in (path / array / "c").rglob("*") if file.is_file())
            noted = {file.relative_to(path / array).as_posix(): file.stat().st_size for file in below}
        left = {name: size for name, size in sorted((noted | sizes).items()) if size is not None}
        _write(top / array / CHUNKS, left)


def settle(path: Path) -> None:
    """Move complete changes into the store, those of a process that was killed over it too."""
    top = complete(path)
    if pending(path):
        if not path.exists() or not any(path.iterdir()):
            top.replace(path)
            (path / _ABOUT).unlink()
            return
        files = [Path(folder) / name for folder, _, names in os.walk(top) for name in names]
        marks = (file for file in files if file.name.endswith(GONE))
        # What makes a folder an array or a group goes last.
        for mark in sorted(marks, key=lambda mark: mark.name.startswith(_ROOT)):
            deleted = mark.with_name(mark.name.removesuffix(GONE))
            if not deleted.exists():
                _delete(path / deleted.relative_to(top))
            mark.unlink()
        # The root's attributes come last: as long as they are here, there may be more to move.
        for file in sorted(files, key=lambda file: file == top / _ROOT):
            if not file.name.endswith((GONE, _PARTIAL, _ABOUT)):
                target = path / file.relative_to(top)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
    if top.exists():
        shutil.rmtree(top)


def _delete(file: Path) -> None:
    """Delete a file, and the folders that are empty then."""
    file.unlink(missing_ok=True)
    with suppress(OSError):
        os.removedirs(file.parent)


def pending(path: Path) -> bool:
    """Whether there are complete changes that are still to be moved in."""
    about = _about(complete(path))
    return bool(about) and (complete(path) / _ROOT).exists() and about["base"] == state(path)


def _about(top: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads((top / _ABOUT).read_text()))
    return {}


def state(path: Path) -> list[int] | None:
    """What tells one state of a store from another: its root's attributes are written anew each time."""
    with suppress(OSError):
        found = (path / _ROOT).stat()
        return [found.st_ino, found.st_size, found.st_mtime_ns]
    return None


def _write(file: Path, content: object) -> None:
    scratch = file.with_name(file.name + _PARTIAL)
    scratch.write_text(json.dumps(content))
    scratch.rename(file)


class Layered(LocalStore):  # type: ignore[misc]  # Zarr's types are not seen by mypy
    """A Zarr store of the files in ``root`` and, below these, of those in ``base``; written is to ``root`` alone."""

    def __init__(self, root: Path, base: Path, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self.base = LocalStore(base, read_only=True)

    def with_read_only(self, read_only: bool = False) -> "Layered":
        """The same store, to be read only or not."""
        return Layered(self.root, self.base.root, read_only=read_only)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layered) and (self.root, self.base) == (other.root, other.base)

    __hash__ = None  # type: ignore[assignment]

    def below(self, key: str) -> bool:
        """Whether a file is that of the store below."""
        return not (self.root / key).exists() and not (self.root / f"{key}{GONE}").exists()

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of a file."""
        found = await super().get(key, prototype, byte_range)
        if found is None and self.below(key) and self.base.root.exists():
            found = await self.base.get(key, prototype, byte_range)
        return found

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Bytes of parts of files."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return await super().exists(key) or (self.below(key) and await self.base.exists(key))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a file that neither store has: a new array has the groups above it written where they are missing."""
        if not await self.exists(key):
            await super().set(key, value)

    async def delete(self, key: str) -> None:
        """Delete a file."""
        if await self.base.exists(key):
            mark = self.root / f"{key}{GONE}"
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all files in a folder."""
        for key in [key async for key in self.list_prefix(prefix)]:
            await self.delete(key)

    async def list(self) -> AsyncIterator[str]:
        """Names of all files."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Names of the files in a folder and below it."""
        async for key in super().list_prefix(prefix):
            if not key.endswith((GONE, _PARTIAL)):
                yield key
        async for key in self.base.list_prefix(prefix):
            if self.below(key):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of the files and folders in a folder."""
        names = [name async for name in super().list_dir(prefix)] + [name async for name in self.base.list_dir(prefix)]
        for name in dict.fromkeys(names):
            own = self.root / prefix / name
            marks = (own.with_name(f"{name}{GONE}"), own / f"{_ROOT}{GONE}")
            below = (self.base.root / prefix / name).exists() and not any(mark.exists() for mark in marks)
            # A folder of nothing but marks is none.
            deleted = not below and not (own / _ROOT).exists() and not own.is_file()
            if not deleted and not name.endswith((GONE, _PARTIAL, _ABOUT)):
                yield name
