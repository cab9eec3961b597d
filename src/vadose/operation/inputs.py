"""What the outlooks of a day are made from: fetched, and told apart by what it holds."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from vadose.artefact import identity, provenance
from vadose.errors import VadoseError

if TYPE_CHECKING:
    import xarray as xr

    from vadose.download.roles import Access
    from vadose.experiments.service import Daily, Where
    from vadose.outlooking.weather import Ahead, Issue
    from vadose.predict.outlook.where import Place, Region

Box = tuple[float, float, float, float]
Asked = Box | list[tuple[float, float]]
LAG = 2
"""Days from the newest weather to the day of issue when nothing is late."""
COMPARED = 75
"""Days of weather up to an outlook that are compared with those it was made from; older ones are final."""
_NAMES = {
    "settings": "the settings",
    "weather": "the past weather",
    "newest_day": "the newest day of weather",
    "ahead": "the weather forecast",
    "run": "the run of the weather forecast",
    "ground": "soil, terrain or cover",
}


@dataclass(frozen=True)
class Parts:
    """What the sources are asked for, for one outlook: as the outlook itself asks them later.

    Attributes
    ----------
    past
        For past weather.
    around
        For ground and weather ahead; the first tells which run.
    where
        For what stands beside the outlook for comparison alone.
    """

    past: Sequence[Asked]
    around: Sequence[Asked]
    where: "Sequence[Place] | Region"


@dataclass(frozen=True)
class Known:
    """What is known of places: past weather, its newest day and a hash of each day's values; hash of the ground."""

    sources: dict[str, dict[str, str]]
    newest: date
    days: dict[date, str]
    ground: str

    def weather(self, newest: date) -> str:
        """Hash of the days compared up to one."""
        first = newest - timedelta(days=COMPARED)
        return _hash("".join(of for day, of in sorted(self.days.items()) if first < day <= newest).encode())


def parts_of(where: "Where") -> Parts:
    """What sources are asked for; of areas the same boxes as those of the maps, which are then in the cache."""
    from vadose.predict.outlook.where import places_in, region_of

    if where.points is not None:
        places = places_in(where.points)
        points: Asked = [(place.lat, place.lon) for place in places]
        return Parts([points], [points], places)
    from vadose.predict.outlook.area import Cells

    region = region_of(where.county, where.state, where.bbox)
    cells = Cells.of(region)
    around = dict.fromkeys([cells.box(cells.middle()), *(cells.box(block) for block, _ in cells.blocks())])
    return Parts([cells.box(tile) for _, tile in cells.blocks()], [*around], region)


def known_of(parts: Parts, access: "Access") -> Known:
    """Fetch ground and past weather; all of it, so that the outlook finds it in the cache."""
    from vadose.download.roles import ground as ground_at
    from vadose.outlooking.weather import compared_of, recent_weather

    hashes: dict[date, list[str]] = {}
    newest, attrs = [], []
    for part in parts.past:
        weather = recent_weather(part, access, days=2 * COMPARED)
        newest.append(weather.indexes["time"][-1].date())
        attrs.append(weather.attrs)
        recent = weather.to_dataarray()
        for day, values in zip(recent.indexes["time"].date, recent.transpose("time", ...).values, strict=True):
            hashes.setdefault(day, []).append(_hash(values.tobytes()))
    oldest = min(attrs, key=lambda of: str(of["fetched"]))
    ground = [ground_at(part, access=access) for part in parts.around]
    compared_of(parts.where, access.today, access)  # into the cache, of which the outlook is made
    sources = {
        "past": {"source": str(oldest["source"]), "fetched": str(oldest["fetched"]), "newest_day": f"{min(newest)}"},
        "ground": {key: str(value) for key, value in ground[0].attrs.items() if str(key).endswith("_source")},
    }
    return Known(sources, min(newest), {day: "".join(of) for day, of in hashes.items()}, _identity(ground))


def issue_of(day: date, today: date, known: Sequence[Known], before: dict[str, Any] | None) -> "Issue":
    """The newest day of weather that the outlooks of a day take: of today's all there is before it.

    Of an earlier day it is what was known then, had nothing been late: up to `LAG` days before it, or what was used
    before if that is more.

    Raises
    ------
    VadoseError
        When the weather is too old for an outlook.
    """
    from vadose.outlooking.weather import OLDEST, Issue

    last = day - timedelta(days=1 if day == today else LAG)
    if day != today and before:
        last = max(last, date.fromisoformat(before["newest_day"]))
    newest = min(last, *(of.newest for of in known))
    if (old := (day - newest).days) > OLDEST:
        raise VadoseError(f"past weather: its newest day is {newest}, {old} days before; expected at most {OLDEST}")
    return Issue(day, newest)


def inputs_of(
    settings: "Daily",
    parts: dict[str, Parts],
    known: dict[str, Known],
    issue: "Issue",
    access: "Access",
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    """What the outlooks of a day are made from, as noted in its folder; ``tell`` is told the sources of each."""
    from vadose.outlooking.weather import forecast_of

    inputs: dict[str, Any] = {"newest_day": f"{issue.newest}", "settings": _settings(settings)}
    for name, of in parts.items():
        asked = [forecast_of(part, issue, days_ahead(settings), access) for part in of.around]
        ahead = [one for one in asked if one is not None]
        if len(ahead) < len(asked):  # the outlook of all parts is of one run, or of none
            ahead = []
        if settings.correct and ahead:
            _fetch_past_runs(ahead[0], access)
        inputs[name] = {
            "weather": known[name].weather(issue.newest),
            "ahead": _identity(ahead),
            "run": str(ahead[0].attrs["run"]) if ahead else "none",
            "ground": known[name].ground,
        }
        tell(name, _sources(known[name], ahead[0] if ahead else None, issue.day, settings.members))
    return inputs


def _fetch_past_runs(ahead: "xr.Dataset", access: "Access") -> None:
    """Put the past runs in the cache that the weather ahead is corrected by, or say why not."""
    from vadose.download.roles.past_runs import past_runs

    try:
        past_runs(ahead.lat[:1], ahead.lon[:1], date.fromisoformat(ahead.attrs["run"][:10]), access=access)
    except VadoseError as error:
        access.say(f"weather ahead is not corrected: {' '.join(str(error).split())}")


def days_ahead(settings: "Daily") -> "Ahead":
    """Days and members of the settings."""
    from vadose.outlooking import Ahead

    return Ahead(settings.days, settings.forecast_days, settings.members, correct=settings.correct)


def why(before: dict[str, Any] | None, inputs: dict[str, Any]) -> str:
    """Why a day is made, for people.

    Examples
    --------
    >>> why(None, {"newest_day": "2026-11-28"})
    'made'
    >>> why({"newest_day": "2026-11-27", "run": "none"}, {"newest_day": "2026-11-28", "run": "2026-11-30 00 UTC"})
    'made again: the newest day of weather and the run of the weather forecast changed'
    """
    if before is None:
        return "made"
    pairs = [(before, inputs)]
    pairs += [(before.get(name, {}), of) for name, of in inputs.items() if isinstance(of, dict)]
    changed = [_NAMES[key] for one, of in pairs for key in of if key in _NAMES and one.get(key) != of[key]]
    return f"made again: {' and '.join(dict.fromkeys(changed)) or 'places or files in it'} changed"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _identity(of: Sequence["xr.Dataset"]) -> str:
    """Of values alone: attributes say when and whence they came."""
    return identity(*(one.drop_attrs() for one in of)) if of else "none"


def _settings(settings: "Daily") -> str:
    """What of the file an outlook depends on, and the version of the package."""
    paths = [where.points for where in settings.places.values() if where.points]
    files = identity(*paths, *filter(None, [settings.networks])) if paths or settings.networks else ""
    places = {name: "a table" if where.points else where.asked() for name, where in settings.places.items()}
    of_file = settings.model_dump(include={"days", "forecast_days", "members", "correct", "outputs"})
    return json.dumps(of_file | {"places": places, "files": files, "version": provenance()["vadose_version"]})


def _sources(known: Known, ahead: "xr.Dataset | None", today: date, members: int) -> dict[str, Any]:
    """What an outlook is made from, for people, and what of it is stale."""
    told: dict[str, Any] = {**known.sources, "ahead": "none: past years alone"}
    age = (today - known.newest).days
    stale = []
    if age > LAG + 1:
        stale.append(f"the newest weather is of {known.newest}, {age} days ago (usually {LAG} or {LAG + 1})")
    if ahead is None and members:
        stale.append("no weather forecast: past years alone")
    elif ahead is not None:
        told["ahead"] = {key: str(ahead.attrs[key]) for key in ("source", "run", "members_dropped", "leads")}
        if (dropped := told["ahead"]["members_dropped"]) != "none":
            stale.append(f"members of the weather forecast are missing: {dropped}")
        if (age := (today - date.fromisoformat(told["ahead"]["run"][:10])).days) > 1:
            stale.append(f"the run of the weather forecast is {age} days old")
    return told | {"stale": stale}
