"""Artefacts are written whole or not at all, and say what they were made from."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vadose.errors import VadoseError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a scratch path beside ``path`` to write to; it takes the name when all went well.

    After an error nothing is left behind, and an older artefact at ``path`` stays as it was. A folder of
    something else is never replaced.

    Raises
    ------
    VadoseError
        When ``path`` is a folder with files in it and no artefact.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with writing(Path(folder) / "a.txt") as scratch:
    ...         _ = scratch.write_text("whole")
    ...     sorted(p.name for p in Path(folder).iterdir())
    ['a.txt']
    """
    if path.is_dir() and any(path.iterdir()) and made_from(path) is None:
        raise VadoseError(f"{path}: a folder that holds something else is there; choose another, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    remove(scratch)
    try:
        yield scratch
    except BaseException:
        remove(scratch)
        raise
    if path.is_dir():
        remove(path)
    scratch.replace(path)  # of a file at once, so that one of the two is always there


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, folders walked in order of name."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(str(file.relative_to(path)).encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def provenance(**inputs: Any) -> dict[str, str]:
    """Attributes an artefact carries: version, commit, time of making, and its inputs as JSON."""
    return {
        "vadose_version": version("vadose"),
        "commit": _commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": json.dumps(inputs, sort_keys=True, default=str),
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
            values = json.loads(note.read_text())
            attributes = values.get(key, {}) if key else values
            return dict(json.loads(attributes["inputs"])) if "inputs" in attributes else None
    return None


def is_current(path: Path, **inputs: Any) -> bool:
    """Whether the artefact at ``path`` was made from exactly these inputs.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     note = Path(folder) / "provenance.json"
    ...     _ = note.write_text(json.dumps(provenance(seed=1)))
    ...     is_current(Path(folder), seed=1), is_current(Path(folder), seed=2)
    (True, False)
    """
    return made_from(path) == dict(json.loads(json.dumps(inputs, sort_keys=True, default=str)))
