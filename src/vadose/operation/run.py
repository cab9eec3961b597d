"""One run of a service."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vadose.artefact import is_current, made_from, note_inputs, remove, writing
from vadose.errors import LaterError, VadoseError
from vadose.operation.folder import alone, days_of, logged, point_at_newest, prune, sweep, whole
from vadose.operation.inputs import Parts, days_ahead, inputs_of, issue_of, known_of, parts_of, why
from vadose.operation.status import write_status
from vadose.parallel.progress import Progress, silent

if TYPE_CHECKING:
    from vadose.download.roles import Access
    from vadose.experiments.service import Daily, Where
    from vadose.outlooking import Issue

PathLike = str | os.PathLike[str]
OUTPUTS = {
    ".zarr": "zarr",
    ".csv": "csv",
    ".tif": "geotiff",
    "geotiff": "geotiff",
    ".png": "png",
    ".html": "page",
}
"""Suffix, or name of a folder, of what an outlook writes -> output of the settings."""
LOG = logging.getLogger("vadose.daily")
Make = Callable[["Where", "Issue", Path, "Access"], object]
"""Writes the outlook of places to a folder, from the cache alone."""


@dataclass
class Found:
    """What a run did and met, for its status."""

    config: str
    made: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    sources: dict[str, Any] = field(default_factory=dict)
    away: list[str] = field(default_factory=list)

    def fail(self, day: date, error: Exception) -> None:
        """Note why a day was not made."""
        self.failed[f"{day}"] = _line(error)
        LOG.error("%s: %s", day, _line(error), exc_info=None if isinstance(error, VadoseError) else error)


def daily(
    config: PathLike,
    *,
    since: date | str | None = None,
    now: datetime | None = None,
    make: Make | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Make the outlooks of today, those of days that are missing, and again those whose inputs have changed.

    Parameters
    ----------
    config
        YAML file, see `vadose.experiments.service.Daily`.
    since
        First day that is to have an outlook. Default: the oldest there is, else today; ``redo_days`` back at most.
    now
        The present time [UTC]. Default: the clock's.
    make
        What writes an outlook. Default: `vadose.outlooking.outlook`.
    progress
        Told how far the work has come.

    Returns
    -------
    dict
        The status, as in ``status.json``.

    Raises
    ------
    BusyError
        When another run is at it.
    LaterError
        When the outlook of a day could not be made for now; what was made stays, and the status says what was not.
    VadoseError
        When the file or the places in it are wrong.
    """
    from vadose import outlooking
    from vadose.download.roles import Access
    from vadose.experiments.service import load_daily

    settings = load_daily(Path(config))
    parts = {name: parts_of(where) for name, where in settings.places.items()}  # names may be wrong
    folder, found = settings.folder, Found(str(Path(config).absolute()))

    def away(line: str) -> None:
        found.away.append(line)
        LOG.warning(line)

    with alone(folder), logged(folder):
        access = Access(settings.cache, False, now or outlooking.NOW, None, away, progress)
        LOG.info("%s for %s", config, access.today)
        try:
            _work(settings, parts, access, make or _outlook(settings), since, found)
        except KeyboardInterrupt:
            LOG.warning("interrupted")
            raise
        except Exception as error:
            found.fail(access.today, error)
            write_status(folder, access.time, vars(found))
            if isinstance(error, VadoseError):
                raise LaterError(f"{_line(error)}; try again later") from error
            raise
        LOG.info("done")
        status = write_status(folder, access.time, vars(found))
    if lacking := [day for day in found.failed if not whole(folder / day)]:
        raise LaterError(f"no outlook of {', '.join(lacking)}: {found.failed[lacking[0]]}; try again later")
    return status


def _work(
    settings: "Daily",
    parts: dict[str, Parts],
    access: "Access",
    make: Make,
    since: date | str | None,
    found: Found,
) -> None:
    """Fetch, make, point ``latest`` at the newest day, and remove the oldest."""
    folder, today = settings.folder, access.today
    sweep(folder)
    known = {name: known_of(of, access) for name, of in parts.items()}

    def tell(name: str, sources: dict[str, Any]) -> None:
        found.sources.setdefault(name, sources)  # of the newest day

    for day in _wanted(settings, today, since):
        path = folder / f"{day}"
        before = made_from(path)
        try:
            issue = issue_of(day, today, list(known.values()), before)
            inputs = inputs_of(settings, parts, known, issue, access, tell)
            if is_current(path, **inputs):
                continue
            _make_day(settings, issue, inputs, access, make)
        except VadoseError as error:
            found.fail(day, error)
            continue
        found.made[f"{day}"] = why(before, inputs)
        LOG.info("%s: %s", day, found.made[f"{day}"])
        point_at_newest(folder)
    point_at_newest(folder)
    if f"{today}" not in found.failed:
        found.removed = [f"{day}" for day in prune(folder, today - timedelta(days=settings.keep_days - 1))]
        LOG.info("removed: %s", ", ".join(found.removed) or "none")


def _wanted(settings: "Daily", today: date, since: date | str | None) -> list[date]:
    """Days that should have an outlook of what is known now, the newest first."""
    first = date.fromisoformat(since) if isinstance(since, str) else since or min([*days_of(settings.folder), today])
    days = [today - timedelta(days=k) for k in range(1, min(settings.redo_days + 1, settings.keep_days))]
    return [today, *(day for day in days if day >= first)]


def _make_day(settings: "Daily", issue: "Issue", inputs: dict[str, Any], access: "Access", make: Make) -> None:
    """Write the folder of a day, whole or not at all."""
    with writing(settings.folder / f"{issue.day}") as scratch:
        for name, where in settings.places.items():
            out = scratch / name
            make(where, issue, out, replace(access, offline=True, say=lambda line: None))
            if "page" in settings.outputs:
                _write_page(out, f"Outlook of {issue.day}: {name}")
            for path in out.iterdir():
                if OUTPUTS.get(path.suffix or path.name) not in (None, *settings.outputs):
                    remove(path)
        note_inputs(scratch, **inputs)


def _write_page(out: Path, title: str) -> None:
    from vadose.viewing import view

    view([out / "outlook.zarr"], out / "page.html", title=title)


def _outlook(settings: "Daily") -> Make:
    """`vadose.outlooking.outlook` with the settings of the file."""

    def make(where: "Where", issue: "Issue", out: Path, access: "Access") -> object:
        from vadose.outlooking import outlook

        return outlook(
            **where.asked(),  # type: ignore[arg-type]
            ahead=replace(days_ahead(settings), issue=issue),
            networks=settings.networks,
            offline=access.offline,
            cache=access.cache,
            out=out,
            now=access.now,
            progress=access.progress,
        )

    return make


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
