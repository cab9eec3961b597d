"""How a role reaches its sources: cache, clock and client, and what is said of sources that did not serve."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import xarray as xr
from filelock import FileLock, Timeout

from vadose.artefact import writing
from vadose.download.client import Client
from vadose.download.plan import size_text
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress, silent

T = TypeVar("T")
LONGEST_WAIT = 600.0
"""How long a run waits for another that fills the same part of the cache [s]."""


def cache_folder() -> Path:
    """Folder of the cache: ``VADOSE_CACHE``, else ``~/.cache/vadose``."""
    return Path(os.environ.get("VADOSE_CACHE") or Path.home() / ".cache" / "vadose")


def cache_size(folder: Path | None = None) -> str:
    """Size and place of the cache, for people.

    Examples
    --------
    >>> cache_size(Path("/nowhere"))
    '0 bytes in /nowhere'
    """
    folder = folder or cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size_text(size)} in {folder}"


@dataclass(frozen=True)
class Access:
    """Where data are kept, and how they are asked for.

    Parameters
    ----------
    cache
        Folder of the local cache; `cache_folder` if not given.
    offline
        Use the cache alone.
    now
        The present time [UTC]; the clock if not given.
    client
        With other patience than usual.
    say
        Called with one line for each source that did not serve, and each copy that was kept or refused.
    progress
        Called with what is done and the share of it.
    """

    cache: Path | None = None
    offline: bool = False
    now: datetime | None = None
    client: Client | None = None
    say: Callable[[str], None] = field(default=lambda line: None)
    progress: Progress = silent

    @cached_property
    def folder(self) -> Path:
        """Folder of the cache."""
        return self.cache or cache_folder()

    @cached_property
    def time(self) -> datetime:
        """The present time [UTC]."""
        return self.now.replace(tzinfo=UTC) if self.now else datetime.now(UTC)

    @property
    def today(self) -> date:
        """The present day [UTC]."""
        return self.time.date()

    @cached_property
    def ask(self) -> Client:
        """The client; one that gives up sooner than for a long download, as there are other sources."""
        return self.client or Client(tries=3)


class Tried:
    """What happened to the sources of a role, a line each; what a result says of it is its attribute ``tried``."""

    def __init__(self, role: str, access: Access) -> None:
        self.role, self.access = role, access
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Say a line once."""
        if (line := " ".join(line.split())) not in self.lines:
            self.lines.append(line)
            self.access.say(f"{self.role}: {line}")

    def first(self, sources: Mapping[str, Callable[[], T]]) -> tuple[str, T]:
        """The first source that serves, and what it gave.

        Raises
        ------
        VadoseError
            When none does; the error names the cause of each.
        """
        causes = []
        for name, source in sources.items():
            try:
                return name, source()
            except VadoseError as error:
                causes.append(f"{name}: {' '.join(str(error).split())}")
                self.note(causes[-1])
        raise VadoseError(f"{self.role}: no source could serve it. {'. '.join(causes)}")

    def attributes(self, **more: str) -> dict[str, str]:
        """Attributes that every result has, and more."""
        return {"tried": "\n".join(self.lines), "offline": str(self.access.offline).lower()} | more


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Fill a part of the cache alone; others that want to fill it wait.

    Raises
    ------
    VadoseError
        When the folder cannot be written, or another run holds it for too long.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=LONGEST_WAIT):
            yield folder
    except Timeout:
        raise VadoseError(
            f"{folder}: another run has been filling it for {LONGEST_WAIT:g} s; try again later"
        ) from None
    except OSError as error:
        raise VadoseError(
            f"{folder}: cannot be written ({error.strerror}); set VADOSE_CACHE to another folder"
        ) from error


def keep(dataset: xr.Dataset, path: Path, access: Access) -> xr.Dataset:
    """Put a dataset in the cache, whole or not at all, with the time it was fetched."""
    kept = dataset.assign_attrs(fetched=access.time.isoformat(timespec="seconds"))
    encoding = {name: {"zlib": True, "complevel": 1} for name, values in kept.data_vars.items() if values.ndim}
    with writing(path) as scratch:
        kept.to_netcdf(scratch, engine="netcdf4", encoding=encoding)
    return kept


def kept(path: Path) -> xr.Dataset | None:
    """A dataset of the cache; None where there is none, or it cannot be read."""
    if not path.exists():
        return None
    try:
        with xr.open_dataset(path, engine="netcdf4") as dataset:
            return dataset.load()
    except (OSError, ValueError):
        return None


def age(dataset: xr.Dataset, access: Access) -> str:
    """How old a copy is, for people.

    Examples
    --------
    >>> copy = xr.Dataset(attrs={"fetched": "2026-11-28T06:00:00+00:00"})
    >>> age(copy, Access(now=datetime(2026, 11, 30, 8)))
    '2 days'
    """
    hours = int((access.time - datetime.fromisoformat(dataset.attrs["fetched"])).total_seconds() // 3600)
    number, unit = (hours, "hour") if hours < 48 else (hours // 24, "day")
    return f"{number} {unit}{'' if number == 1 else 's'}"
