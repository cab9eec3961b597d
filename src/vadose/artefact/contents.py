"""What an artefact holds and was made from: a hash of contents, and a note of its inputs."""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact.chunks import chunks_are_as_noted, files_below
from vadose.artefact.remembered import remembered
from vadose.errors import VadoseError

_COPIED = 1 << 26
"""Bytes of a part of an array that are copied, or read, at once."""
LARGE = 2 << 30
"""Bytes in a folder beyond which `identity` takes sizes and times of change for the contents."""


def identity(*of: Path | xr.Dataset | xr.DataArray) -> str:
    """Hash of what files, folders and data sets hold: another one after any change of a value, name or attribute.

    Of a file it is that of its contents, wherever it lies; of a folder that of the names and contents of all its
    files. Of a folder of more than `LARGE` bytes the chunks of arrays and other files count by name, size and time of
    change, and only its metadata (``*.json``) by contents: a copy of it is another one. Changes of a folder that are
    complete but not yet moved into it (`complete`) belong to it. Files that have not changed since are not read again,
    see `vadose.artefact.remembered.remembered`. Of a data set it is that of names, dimensions, types,
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
    paths = [one for one in of if isinstance(one, Path)]
    for path in paths:
        if not path.exists():
            raise VadoseError(f"{path}: no such file or folder")
    if len(paths) < len(of):
        return _hashed(of)
    return remembered(
        lambda: _hashed(of), lambda: [file.absolute() for path in paths for file in _files(path).values()]
    )


def _files(path: Path) -> dict[str, Path]:
    return files_below(path) | files_below(complete(path)) if path.is_dir() else {"": path}


def _hashed(of: Sequence[Path | xr.Dataset | xr.DataArray]) -> str:
    digest = hashlib.sha256()
    for one in of:
        if not isinstance(one, Path):
            for part in _parts_of_data(one):
                digest.update(part)
            continue
        files = _files(one)
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


def _parts_of_data(data: xr.Dataset | xr.DataArray) -> Iterator[bytes | memoryview]:
    dataset = data.to_dataset(name="values") if isinstance(data, xr.DataArray) else data
    yield _as_json(dataset.attrs).encode()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        yield _as_json([name, variable.dims, variable.shape, str(variable.dtype), variable.attrs]).encode()
        ends: Any = np.cumsum(variable.chunks[0]) if variable.chunks and variable.dims else [None]
        if variable.chunks and variable.dtype.kind not in "OT":  # small blocks together: each has a cost of its own
            rows = max(1, _COPIED * len(variable) // max(1, variable.nbytes))
            ends = ends[np.flatnonzero(np.diff((ends - 1) // rows, append=-2))]
        for start, stop in zip([0, *ends[:-1]], ends, strict=True):
            values = variable[start:stop].values if variable.dims else variable.values
            if values.dtype.kind in "OT":
                yield _as_json(values.tolist()).encode()
            else:
                yield from _bytes(values)


def _bytes(values: NDArray[Any]) -> Iterator[memoryview]:
    """Bytes of the values in their order; a large part of another array is copied piece by piece."""
    if values.nbytes > _COPIED and values.ndim > 1 and not values.flags.c_contiguous:
        for part in values:
            yield from _bytes(part)
    else:
        yield np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _as_json(values: object) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def provenance(**inputs: Any) -> dict[str, str]:
    """Attributes an artefact carries: version, commit, time of making, and its inputs as JSON."""
    return {
        "vadose_version": version("vadose"),
        "commit": commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": _as_json(inputs),
    }


def note_inputs(folder: Path, **inputs: Any) -> None:
    """Write ``provenance.json`` into a folder: it is an artefact, made from these inputs."""
    (folder / "provenance.json").write_text(json.dumps(provenance(**inputs), indent=1))


def commit() -> str:
    """Commit of the checkout this package runs from, '' when it is an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def made_from(path: Path) -> dict[str, Any] | None:
    """Inputs noted in an artefact by `provenance`, or None where there is no whole artefact.

    A Zarr store carries them in its attributes (``zarr.json``, of format 2 ``.zattrs``), a folder in
    ``provenance.json``.
    """
    notes = {"zarr.json": "attributes", ".zattrs": None, "provenance.json": None}
    for note, key in ((path / name, key) for name, key in notes.items()):
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
    return chunks_are_as_noted(path)
