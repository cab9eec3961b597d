"""Notes about finished and unfinished files, in the folder ``.fetch`` beside them."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from vadose.download.area import holds
from vadose.download.check import check_container, check_size_and_sum, digest_of
from vadose.download.plan import RemoteFile, bare, boxes_of, part_of
from vadose.errors import VadoseError

HIDDEN = ".fetch"


def is_current(file: RemoteFile, path: Path, note: Path, verify: bool) -> bool:
    """Whether a file is there already, whole, of the newest state, and holds what is asked for.

    Raises
    ------
    VadoseError
        When another part of the published file has its name.
    """
    if not path.exists():
        return False
    known = read_note(note)
    if "part" not in known:
        return _adopt(file, path, note)
    if not _holds(known["part"], file.part):
        if _holds(file.part, known["part"]):
            return False
        raise VadoseError(
            f"{path}: exists with other days, area or variables ({_words(known['part'])}; asked for: "
            f"{_words(file.part)}); give another folder, or request all of both"
        )
    fetched = datetime.fromisoformat(known["fetched"]).date()
    if file.settled and fetched < file.settled and fetched < _today():
        return False
    whole = not (file.member or file.part)
    if file.checksum and file.checksum != known["published"]:
        return False
    if whole and file.bytes is not None and file.bytes != known["bytes"]:
        return False
    status = path.stat()
    if status.st_size != known["bytes"]:
        return False
    if status.st_mtime_ns == known["changed"] and not verify:
        return True
    return digest_of(path, "sha256") == str(known["sha256"])


def _adopt(file: RemoteFile, path: Path, note: Path) -> bool:
    """Whether a file that was brought by other means is the one wanted; it is noted if so."""
    if file.part:
        raise VadoseError(
            f"{path}: there already, but not fetched by this command, so that its days and area are not known; "
            "move it away or give another folder"
        )
    if not file.checksum and file.bytes is None:
        return False
    try:
        check_size_and_sum(file, path, {})
        check_container(file, path)
    except VadoseError:
        return False
    write_note(note, note_of(file, path, datetime.fromtimestamp(path.stat().st_mtime, UTC)))
    return True


def with_former(file: RemoteFile, path: Path, note: Path) -> RemoteFile:
    """A file to be cut to boxes, with those that the file of that name is cut to already: one scene for many places."""
    former = read_note(note).get("part", {})
    if not (file.crop and path.exists() and former.keys() == {"bbox"}) or _holds(former, file.part):
        return file
    kept = [box for box in boxes_of(former) if not any(holds(other, box) for other in file.crop)]
    boxes = (*kept, *file.crop)
    return replace(file, crop=boxes, part=part_of(boxes))


def _holds(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether one part of a published file lies within another; an entry that is missing limits nothing.

    Examples
    --------
    >>> _holds({"bbox": [-100, 30, -90, 40]}, {"bbox": [-99, 31, -95, 35], "days": ["2019-01-01", "2019-12-31"]})
    True
    >>> _holds({"days": ["2019-01-01", "2019-06-30"]}, {"days": ["2019-01-01", "2019-12-31"]})
    False
    """
    for key, limit in whole.items():
        if key not in part:
            return False
        asked = part[key]
        if key == "bbox":
            if not all(any(holds(outer, inner) for outer in boxes_of(whole)) for inner in boxes_of(part)):
                return False
        elif key == "days":
            if not (limit[0] <= asked[0] and asked[1] <= limit[1]):
                return False
        elif not set(asked) <= set(limit):
            return False
    return True


def _words(part: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {' '.join(map(str, value))}" for key, value in part.items()) or "the whole file"


def _today() -> date:
    return datetime.now(UTC).date()


def note_of(file: RemoteFile, path: Path, fetched: datetime) -> dict[str, Any]:
    """What a finished file is known again by."""
    status = path.stat()
    return {
        "url": bare(file.url),
        "bytes": status.st_size,
        "changed": status.st_mtime_ns,
        "sha256": digest_of(path, "sha256"),
        "published": file.checksum,
        "part": file.part,
        "fetched": fetched.isoformat(timespec="seconds"),
    }


def hidden(folder: Path, file: RemoteFile, ending: str) -> Path:
    """Where what belongs to a file, and is not the file, lies."""
    return folder / HIDDEN / (file.name + ending)


def read_note(path: Path) -> dict[str, Any]:
    """A note, empty where there is none or it was cut off."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def write_note(path: Path, values: Mapping[str, Any]) -> None:
    """Write a note, whole or not at all."""
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(json.dumps(values))
    os.replace(scratch, path)
