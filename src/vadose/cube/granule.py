"""A granule of a product, and what a folder of them holds."""

import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd


@dataclass(frozen=True)
class Granule:
    """A file, or the files of a scene, and the first and last day it holds; None for fixed products.

    Attributes
    ----------
    path
        What its reader is given: the file, or the first raster of a scene.
    name
        Its path below the folder of all products.
    members
        All its files.
    fault
        What is wrong with its name: a time-varying product needs a day.
    """

    path: Path
    name: str
    members: tuple[Path, ...]
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None
    fault: str = ""

    @property
    def state(self) -> list[int]:
        """Size and time of change: another file has others."""
        try:
            found = [path.stat() for path in self.members]
        except OSError:  # a link to nowhere; its reader says so
            return [0, 0]
        return [sum(one.st_size for one in found), max(one.st_mtime_ns for one in found)]

    def note(self) -> dict[str, Any]:
        """What is kept of it: state, hash of its content, days."""
        digest = hashlib.sha256()
        with suppress(OSError):  # its reader says what is wrong
            for path in self.members:
                with path.open("rb") as stream:
                    while piece := stream.read(1 << 20):
                        digest.update(piece)
        return {"state": self.state, "sha256": digest.hexdigest(), "first": _day(self.first), "last": _day(self.last)}

    def overlaps(self, first: pd.Timestamp, last: pd.Timestamp) -> bool:
        """Whether it may hold days of a period."""
        return self.first is None or self.last is None or (self.first <= last and self.last >= first)


class Listing(NamedTuple):
    """What a product's folder holds.

    Attributes
    ----------
    granules
        In order of name; of several versions the newest.
    superseded
        Names of older versions: name of the one that counts.
    strangers
        Names of files that are no granules of the product: why not.
    beside
        Numbers of the files beside granules (checksums, metadata, notes of programs) by their ending.
    """

    granules: list[Granule]
    superseded: dict[str, str]
    strangers: dict[str, str]
    beside: Counter[str]


def _day(time: pd.Timestamp | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d}"
