"""A service that makes outlooks day by day: a week with faults and kills, its status, its file and its exit codes."""

import inspect
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from vadose import outlooking
from vadose.artefact import atomic, locked, made_from, note_inputs
from vadose.cli import app
from vadose.cli.faults import ended_with
from vadose.download.client import Client
from vadose.download.roles import Access, ground, past_weather
from vadose.errors import VadoseError
from vadose.experiments.service import Where
from vadose.operation import daily, read_status
from vadose.operation.folder import days_of
from vadose.outlooking import Ahead, Issue, weather
from vadose.outlooking.weather import forecast_of
from vadose.twin.data_centre import DataCentre

NOON = datetime(2026, 11, 24, 12)
DAY = timedelta(days=1)
PLACE = [(39.1, -96.6)]


class Killed(BaseException):
    """As a kill: nothing catches it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataCentre]:
    with DataCentre(tmp_path_factory.mktemp("centre"), now=NOON) as centre, pytest.MonkeyPatch.context() as patch:
        for name, address in centre.environment().items():
            patch.setenv(name, address)
        patch.setattr(weather, "FIRST", "2026-01-01")
        patch.setattr("vadose.download.roles.access.Client", partial(Client, wait=lambda seconds: None))
        patch.setattr("vadose.download.roles.gefs._PACE.seconds", 0.0)
        yield centre


@pytest.fixture
def centre(server: DataCentre) -> DataCentre:
    server.now, server.faults = NOON, []
    return server


@pytest.fixture(scope="module")
def cache(server: DataCentre, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of what does not change: the ground."""
    folder = tmp_path_factory.mktemp("cache")
    ground(PLACE, access=Access(folder, now=NOON))
    return folder


@pytest.fixture
def service(cache: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes the file of a service with a cache of its own into a folder."""

    def write(name: str, **more: Any) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(cache, folder / "cache")
        (folder / "farms.csv").write_text("name,lat,lon\nKonza,39.1,-96.6\n")
        values = {"folder": "out", "cache": "cache", "places": {"farms": {"points": "farms.csv"}}}
        values |= {"members": 1, "forecast_days": 1} | more
        (folder / "service.yaml").write_text(json.dumps(values))
        return folder / "service.yaml"

    return write


def make(where: Where, issue: Issue, folder: Path, access: Access) -> None:
    """A quick outlook: the rain of its inputs, all of which come from the cache."""
    assert access.offline
    past = past_weather(PLACE, weather.FIRST, issue.newest, access=access)
    ahead = forecast_of(PLACE, issue, Ahead(30, 1, 1), access)
    folder.mkdir(parents=True)
    rain = [float(of.precipitation.sum()) for of in (past, ahead) if of is not None]
    table = pd.DataFrame({"issued": [issue.day], "newest": [issue.newest], "rain": [rain]})
    table.to_csv(folder / "outlook.csv", index=False)
    (folder / "konza.png").write_text("a figure")
    (folder / "soil_moisture.tif").write_text("not wanted")


@contextmanager
def killed_at(step: int, after: bool) -> Iterator[None]:
    """Kill before or after the given renaming or link of the run: by these all that is written gets its name."""
    done = 0
    with pytest.MonkeyPatch.context() as patch:

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def instead(*args: Any, **more: Any) -> Any:
                nonlocal done
                done += 1
                if done == step and not after:
                    raise Killed
                result = call(*args, **more)
                if done == step:
                    raise Killed
                return result

            return instead

        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(Path, "symlink_to", counted(Path.symlink_to))
        patch.setattr(atomic, "_exchange", counted(atomic._exchange))
        yield


def contents(folder: Path) -> dict[str, Any]:
    """Inputs and figures of all days."""
    return {
        f"{day}": (made_from(folder / f"{day}"), (folder / f"{day}/farms/outlook.csv").read_text())
        for day in days_of(folder)
    }


def test_a_week_of_faults_and_kills_ends_as_a_run_in_one_go(centre: DataCentre, service: Callable[..., Path]) -> None:
    first, random_, why = NOON.date(), random.Random(3), set[str]()
    for service_, kind, day in (
        ("gridmet", "away", 1),
        ("gefs", "missing", 2),
        ("gefs_google", "missing", 2),
        ("nomads", "late", 2),
        ("gridmet", "no rain", 3),
        ("nomads", "page", 5),
    ):
        centre.fault(service_, kind, first + day * DAY, first + day * DAY)
    for day in (0, 1, 2, 3, 5, 6):  # the machine is off on the fifth day
        centre.now = NOON + day * DAY
        config = service("week", redo_days=1 if day < 6 else 7)
        out = config.parent / "out"
        with suppress(Killed), killed_at(random_.randint(1, 6), random_.random() < 0.5):
            daily(config, now=centre.now, make=make)
        status = daily(config, now=centre.now, make=make)
        why |= set(status["made"].values())
        assert not list(out.glob(".*partial")), "something half-written is left"
        assert os.readlink(out / "latest") == status["latest"] == f"{centre.today}"
    assert [*status["days"]] == [f"{first + day * DAY}" for day in range(7)]
    assert not daily(config, now=centre.now, make=make)["made"]  # nothing new
    fresh = service("fresh", redo_days=7)
    daily(fresh, now=centre.now, since=first, make=make)
    assert contents(out) == contents(fresh.parent / "out")
    assert {path.name for path in (out / "latest" / "farms").iterdir()} == {"outlook.csv", "konza.png"}
    for line in ("newest day of weather", "past weather", "run of the weather forecast"):
        assert any(line in reason for reason in why), f"no day was made again since the {line} changed"


def test_the_command_tells_schedulers_and_people_what_it_did(
    centre: DataCentre, service: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*call: str) -> Any:
        result = CliRunner().invoke(app, call)
        return (ended_with(result.exception) if result.exception else 0), result.output

    def outlook(**given: Any) -> None:
        bound = inspect.signature(real).bind(**given).arguments
        make(
            Where(points=bound["points"]),
            bound["ahead"].issue,
            bound["out"],
            Access(bound["cache"], True, bound["now"]),
        )

    real, config = outlooking.outlook, str(service("one", keep_days=2, redo_days=0, outputs=["csv", "geotiff"]))
    out = Path(config).parent / "out"
    monkeypatch.setattr(outlooking, "outlook", outlook)
    monkeypatch.setattr(outlooking, "NOW", NOON)
    centre.fault("gridmet", "away")
    assert run("daily", config)[0] == 75
    assert run("status", str(out))[1].startswith("failed: last run ended")
    centre.faults.clear()
    (out / "2026-11-20").mkdir()
    note_inputs(out / "2026-11-20", newest_day="2026-11-18")
    code, text = run("daily", config)
    assert (code, text.splitlines()[-1]) == (0, "2026-11-24: made")
    assert {path.name for path in (out / "latest" / "farms").iterdir()} == {"outlook.csv", "soil_moisture.tif"}
    with locked(out / "run"):
        assert run("daily", config)[0] == 3
        assert "one is at work" in run("status", str(out))[1]
    assert run("daily", config)[1].splitlines()[-1] == "nothing new"
    told = json.loads(run("status", str(out), "--json")[1])
    assert (told["state"], [*told["days"]], told["next"]) == ("done", ["2026-11-24"], "2026-11-25T07:00+00:00")
    assert "removed: 2026-11-20" in (out / "daily.log").read_text()
    shutil.rmtree(out / "2026-11-24")
    assert "missing: 2026-11-24" in run("status", str(out))[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 3}, "unknown key 'keep'; did you mean 'keep_days'"),
        ({"keep_days": 0}, "keep_days: Input should be greater than or equal to 1"),
        ({"outputs": ["tiff"]}, "outputs.0: Input should be"),
        ({"places": {}}, "places: Dictionary should have at least 1 item"),
        ({"places": {"../x": {"county": "Riley, KS"}}}, "should match pattern"),
        (
            {"places": {"a": {"county": "Riley, KS", "state": "KS"}}},
            "one of points, county, state and bbox, found county and",
        ),
        ({"places": {"a": {"bbox": [5, 50, 6, 51]}}}, "lies outside the conterminous"),
        ({"places": {"a": {"points": "no.csv"}}}, "no.csv: no such file"),
    ],
)
def test_a_wrong_file_is_told_before_anything_is_written(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = {"folder": "out", "places": {"farms": {"bbox": [-96.65, 39.08, -96.5, 39.18]}}} | changes
    (tmp_path / "service.yaml").write_text(json.dumps(values))
    with pytest.raises(VadoseError, match=re.escape(message)) as error:
        daily(tmp_path / "service.yaml")
    assert error.value.code == 2
    assert not (tmp_path / "out").exists()
    with pytest.raises(VadoseError, match="no such file; expected the folder of 'vadose daily'"):
        read_status(tmp_path)
