"""What a run of a service says of itself: ``status.json``."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vadose.artefact import made_from, writing
from vadose.errors import VadoseError
from vadose.operation.folder import at_work, days_of, whole

RUN_HOUR = 7
"""UTC hour from which the day's weather forecast is complete."""
RETRY = timedelta(hours=1)
"""After which a run is worthwhile when something was late or failed."""


def write_status(folder: Path, began: datetime, found: Mapping[str, Any]) -> dict[str, Any]:
    """Write what a run found, with the days there are and when another run is worthwhile; whole or not at all."""
    days = days_of(folder)
    stale = [f"{name}: {line}" for name, told in found["sources"].items() for line in told["stale"]]
    late = bool(stale or found["failed"])
    status = {
        "state": "failed" if found["failed"] else "stale" if stale else "done",
        "began": began.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "latest": f"{days[-1]}" if days else None,
        **found,
        "stale": stale,
        "next": (began + RETRY if late else next_run(began)).isoformat(timespec="minutes"),
        "days": {f"{day}": made_from(folder / f"{day}") for day in days},
    }
    with writing(folder / "status.json") as scratch:
        scratch.write_text(json.dumps(status, indent=1) + "\n")
    return status


def next_run(now: datetime) -> datetime:
    """When the next weather forecast is complete.

    Examples
    --------
    >>> next_run(datetime(2026, 11, 30, 5)), next_run(datetime(2026, 11, 30, 12))
    (datetime.datetime(2026, 11, 30, 7, 0), datetime.datetime(2026, 12, 1, 7, 0))
    """
    today = now.replace(hour=RUN_HOUR, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def read_status(folder: Path) -> dict[str, Any]:
    """What the last run of a service said of itself, and whether one is at work.

    Raises
    ------
    VadoseError
        When no run has ended in the folder, or the file is something else.
    """
    path = folder / "status.json"
    if not path.is_file():
        raise VadoseError(f"{path}: no such file; expected the folder of 'vadose daily', after a run")
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        days = found["days"].keys()
    except (ValueError, KeyError, AttributeError) as error:
        raise VadoseError(f"{path}: not a status of 'vadose daily' ({error}); run it again") from error
    return found | {"at_work": at_work(folder), "missing": [day for day in days if not whole(path.parent / day)]}
