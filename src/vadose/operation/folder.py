"""The folder of a service: one run at a time, a folder a day, the link ``latest`` and a log."""

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from logging.handlers import RotatingFileHandler
from pathlib import Path

from vadose.artefact import locked, made_from, remove, writing
from vadose.errors import BusyError, VadoseError

LOG = logging.getLogger("vadose.daily")
_LOCK = "run"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one run."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / _LOCK))
        except VadoseError as error:
            raise BusyError(f"{folder}: another run is at work; this one does nothing") from error
        yield


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Keep what is logged in ``daily.log``, with times in UTC; four files of 1 MB at most."""
    handler = RotatingFileHandler(folder / "daily.log", maxBytes=1_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    handler.formatter.converter = time.gmtime  # type: ignore[union-attr]
    level, LOG.level = LOG.level, logging.INFO
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.level = level
        handler.close()


def at_work(folder: Path) -> bool:
    """Whether a run holds the folder."""
    if not (folder / f".{_LOCK}.lock").exists():
        return False
    try:
        with locked(folder / _LOCK):
            return False
    except VadoseError:
        return True


def days_of(folder: Path) -> list[date]:
    """Days that have an outlook."""
    named = [path for path in folder.glob("????-??-??") if re.fullmatch(r"\d{4}-\d\d-\d\d", path.name)]
    return sorted(date.fromisoformat(path.name) for path in named if whole(path))


def whole(path: Path) -> bool:
    """Whether a day is there; one that was being written when a run was killed is not."""
    return made_from(path) is not None


def sweep(folder: Path) -> None:
    """Remove what killed runs left half-written; to be called by the one that holds the folder."""
    for path in [*folder.glob(".????-??-??.*.partial"), *folder.glob(".status.json.*.partial")]:
        remove(path)


def point_at_newest(folder: Path) -> None:
    """Let ``latest`` be the newest day: a link, or a copy where there are no links."""
    days = days_of(folder)
    if not days:
        return
    newest, scratch = f"{days[-1]}", folder / ".latest.new"
    if (folder / "latest").is_symlink() and os.readlink(folder / "latest") == newest:
        return
    remove(scratch)
    try:
        scratch.symlink_to(newest, target_is_directory=True)
        scratch.replace(folder / "latest")
    except OSError:
        remove(scratch)
        with writing(folder / "latest") as copy:
            shutil.copytree(folder / newest, copy)


def prune(folder: Path, first: date) -> list[date]:
    """Remove the days before one, and what killed runs left of them."""
    old = [day for day in days_of(folder) if day < first]
    for day in old:
        for path in [folder / f"{day}", *folder.glob(f".{day}.*")]:
            remove(path)
    return old
