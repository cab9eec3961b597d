"""What all commands share: options, how they are read, and what is told while they run."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vadose.cli.faults import Commands
from vadose.errors import VadoseError

if TYPE_CHECKING:
    from vadose.experiments.section import ExperimentFile

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Soil-moisture forecasts from satellite, weather, soil and terrain data.

The pipeline, each step a command that reads files and writes one artefact:

**fetch** -> granules · **build** -> a cube · **train** -> a run · **forecast** -> a store ·
**evaluate** -> scores · **report** -> a page

**study** does all from the cube on and goes on where it was stopped; **demo** shows the whole on a small
simulated world; **inspect** says what a file holds.

Exit codes: 0 done; 1 **doctor** found errors; 2 a fault of the call, the data or the machine; 70 a fault of vadose;
130 interrupted. With VADOSE_DEBUG=1 in the environment errors show their traceback.""",
)
console = Console(stderr=True)
OLD = 31
"""Days after which the latest day of a cube is old."""

Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
EXPERIMENTS = (
    "Experiment file (YAML), or a built-in one: conus, demo, demo_database, forecast_best, forecast_beyond, "
    "forecast_cascade, forecast_demo, forecast_paper, india, stations."
)
ExperimentName = Annotated[
    str,
    typer.Option(
        "--experiment",
        "-e",
        help=EXPERIMENTS,
    ),
]
OwnModel = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model of your own, MODULE:CLASS, which experiments name so; may be repeated."),
]
Cube = Annotated[Path, typer.Argument(help="Cube made by 'vadose build'.")]


def register_own(models: list[str] | None) -> None:
    """Enter models of the user's own, MODULE:CLASS, among those known."""
    for name in models or ():
        from vadose.models.own import register

        try:
            register(name)
        except ValueError as error:
            raise VadoseError(f"--{error}") from error


def say_done(out: Path, page: Path) -> None:
    """Say where scores and report of a study are."""
    say(f"scores: {out / 'scores.csv'}")
    say(f"report: {page.resolve()}")


def say_former_keys(experiment: "ExperimentFile") -> None:
    """Say which keys of an experiment file are of earlier versions."""
    if experiment.replicates is not None:
        say("replicates: a key of earlier versions, which does nothing; intervals need none")


def stores_above(above: list[str]) -> dict[str, Path]:
    """Places of stores of 'LAYER=STORE' by the layers' names."""
    places = {}
    for text in above:
        layer, _, store = text.partition("=")
        if not store:
            raise VadoseError(f"--above {text!r}: write LAYER=STORE, as '0-10 cm=surface.zarr'")
        places[layer] = Path(store)
    return places


def span_of(text: str) -> tuple[str, str]:
    """First and last day of 'FIRST..LAST'."""
    first, dots, last = text.partition("..")
    if not dots:
        raise VadoseError(f"--climatology {text!r}: write FIRST..LAST, as 2015-04-01..2020-12-31")
    return day_of(first, "--climatology"), day_of(last, "--climatology")


def box_of(text: str) -> tuple[float, float, float, float]:
    """West, south, east and north of a --bbox [degree]."""
    try:
        west, south, east, north = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise VadoseError(f"--bbox {text!r}: not four numbers; write west,south,east,north in degrees") from error
    return west, south, east, north


def day_of(text: str, option: str) -> str:
    """A day of YYYY-MM-DD: 05.06.2016 is another day for some than for others.

    Raises
    ------
    VadoseError
        For whatever else, and for years that times of nanoseconds do not reach.
    """
    try:
        year = date.fromisoformat(text).year if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else 0
    except ValueError as error:
        raise VadoseError(f"{option} {text!r}: {error}; write YYYY-MM-DD, such as 2016-06-05") from error
    if not 1678 <= year <= 2261:
        raise VadoseError(f"{option} {text!r}: not a day; write YYYY-MM-DD, such as 2016-06-05")
    return text


def say_age(day: str, today: date) -> None:
    """Say on the standard error that the latest day to forecast from is more than `OLD` days old."""
    age = (today - date.fromisoformat(day)).days
    if age > OLD:
        typer.echo(
            f"warning: --init latest is {day}, {age} days before today; add newer days with: vadose build", err=True
        )


def years_of(text: str, option: str) -> list[int]:
    """Years as FIRST..LAST."""
    ends = text.split("..")
    if len(ends) != 2 or not all(end.isdecimal() and len(end) == 4 for end in ends) or ends[1] < ends[0]:
        raise VadoseError(f"{option} {text!r}: no years; write FIRST..LAST, such as 2015..2020")
    return list(range(int(ends[0]), int(ends[1]) + 1))


def say(text: str) -> None:
    """Say something on the standard output."""
    typer.echo(text)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float], None]]:
    """A bar for what is under way, and a line with its seconds for what is done."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True)
    started: dict[str, float] = {}
    finished: set[str] = set()
    with bar:
        task = bar.add_task("", total=1.0)

        def tell(what: str, share: float) -> None:
            stage = what.split(":")[0]
            if stage not in started and share >= 1.0:  # no stage that takes time, but something to say
                if what not in finished:
                    finished.add(what)
                    console.print(what, highlight=False)
                return
            if stage in finished:
                return
            if stage not in started:
                started[stage] = time.monotonic()
                bar.reset(task)
            bar.update(task, description=what, completed=share)
            if share >= 1.0:
                finished.add(stage)
                console.print(f"{stage}: {time.monotonic() - started[stage]:.0f} s", highlight=False)

        yield tell
