"""Checkpoints: files of plain values and tensors, read only where they are whole and what they are taken for."""

import io
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch

from vadose.errors import VadoseError


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint as `torch.save` does: a ZIP archive, which holds a checksum (CRC-32) of each part."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    path.write_bytes(buffer.getbuffer())


def load(
    path: Path, *, needs: Collection[str], made_by: str, build: Callable[[dict[str, Any]], object] | None = None
) -> dict[str, Any]:
    """Read a checkpoint, and check that no byte of it has changed since it was written.

    Parameters
    ----------
    needs
        Keys that it has, and each of its ``members`` where it has some.
    made_by
        The command that makes such a checkpoint, for errors.
    build
        What makes the model of it, or of each member: it has to be able to.

    Raises
    ------
    VadoseError
        When there is none, the file is something else or damaged, or it was written by a version of vadose whose models
        are others.
    """
    if not path.is_file():
        raise VadoseError(f"{path}: no such checkpoint; make one with: {made_by}")
    if fault := _fault(path):
        raise VadoseError(f"{path}: not a checkpoint of vadose ({fault}); copy it again, or make it with: {made_by}")
    try:
        kept = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VadoseError(f"{path}: not a checkpoint of vadose ({reason}); make one with: {made_by}") from error
    kept = _current(kept)
    _check(kept, path, needs, made_by, build)
    return dict(kept)


def _current(kept: Any) -> Any:
    """A checkpoint of an earlier version in the form of today: ``inputs``, whatever names them, and ``blend``."""
    if not isinstance(kept, dict):
        return kept
    kept = {"inputs" if key in ("channels", "features") else key: value for key, value in kept.items()}
    if "members" in kept:
        kept["members"] = [_current(member) for member in kept["members"]]
    if kept.get("name") == "ensemble":
        kept |= {"name": "blend", "weights": None}
        kept.setdefault("inputs", kept["members"][0].get("inputs"))
    return kept


def _check(
    kept: Any, path: Path, needs: Collection[str], made_by: str, build: Callable[[dict[str, Any]], object] | None
) -> None:
    missing = [key for key in needs if not isinstance(kept, dict) or key not in kept]
    if missing:
        found = f"it holds {list(kept)[:8]}" if isinstance(kept, dict) else f"it holds a {type(kept).__name__}"
        raise VadoseError(
            f"{path}: another checkpoint, or one of an earlier version: it lacks {', '.join(missing)}, {found}; make "
            f"one with: {made_by}"
        )
    members = kept.get("members")
    for member in members or ():
        _check(member, path, needs, made_by, build)
    if members is None and build is not None:
        try:
            build(kept)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            if ":" in str(kept.get("name")):
                raise VadoseError(
                    f"{path}: its model {kept['name']!r} is one of your own; name it with --model {kept['name']}, or "
                    "in Python vd.MODELS[name] = the class"
                ) from error
            raise VadoseError(
                f"{path}: its model {kept.get('name')!r} is unknown to this version of vadose ({reason}); "
                f"make one with: {made_by}"
            ) from error


def _fault(path: Path) -> str:
    """What a file is that is no archive, or which part of it has changed; '' where nothing is wrong."""
    with path.open("rb") as file:
        begin = file.read(1024)
    if not begin:
        return "an empty file"
    if not begin.startswith(b"PK"):
        return "a text file" if _is_text(begin) else "a file of another format"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        return f"damaged or cut short: {error}"
    except Exception as error:
        return f"damaged: {type(error).__name__} {error}".rstrip()
    return f"damaged: the checksum of {damaged} differs" if damaged else ""


def _is_text(begin: bytes) -> bool:
    try:
        return all(c.isprintable() or c.isspace() for c in begin.decode("utf-8"))
    except UnicodeDecodeError:
        return False
