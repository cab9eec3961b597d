"""Options shared by commands, how they are parsed, and what is printed while they run."""

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

The pipeline; each command reads files and writes one artefact:

**fetch** -> granules · **build** -> a cube · **train** -> a run · **forecast** -> a store ·
**evaluate** -> scores · **report** -> a page

**study** runs all steps and resumes if interrupted; **demo** runs them on a small simulated world;
**inspect** describes a file.

Exit codes: 0 success; 1 **doctor** found errors; 2 error in the call, the data or the machine; 70 error in vadose;
130 interrupted. With VADOSE_DEBUG=1 in the environment errors show their traceback.""",
)
console = Console(stderr=True)
OLD = 31
"""Age above which the latest day of a cube causes a warning [day]."""

Out = Annotated[Path, typer.Option("--out", "-o", help="Output path.")]
EXPERIMENTS = (
    "Experiment file (YAML), or a built-in one: conus, demo, demo_database, forecast_best, forecast_beyond, "
    "forecast_cascade, forecast_demo, forecast_last_value, forecast_paper, india, stations."
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
    typer.Option("--model", help="Own model, MODULE:CLASS, to use in experiments; repeatable."),
]
Device = Annotated[str, typer.Option(help="Device for networks: auto (a GPU if available), cpu or cuda.")]
Precision = Annotated[
    str,
    typer.Option(help="Precision of networks: float32, bfloat16, or auto (bfloat16 if faster with small rounding)."),
]
Compile = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="Compile networks. [default: if it saves time]"),
]
Cube = Annotated[Path, typer.Argument(help="Cube made by 'vadose build'.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes on this machine.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786; its workers need the same files.")
]


def register_own(models: list[str] | None) -> None:
    """Register the user's own models, MODULE:CLASS."""
    for name in models or ():
        from vadose.models.own import register

        try:
            register(name)
        except ValueError as error:
            raise VadoseError(f"--{error}") from error


def say_done(out: Path, page: Path) -> None:
    """Print the paths of a study's scores and report."""
    say(f"scores: {out / 'scores.csv'}")
    say(f"report: {page.resolve()}")


def say_former_keys(experiment: "ExperimentFile") -> None:
    """Report keys of an experiment file that only earlier versions used."""
    if experiment.replicates is not None:
        say("replicates: ignored; a key of earlier versions, the intervals need none")


def split(texts: list[str] | None, option: str, sign: str, example: str) -> list[tuple[str, str]]:
    """Both parts of each text, 'A=B' or 'A+B' by the sign."""
    pairs = [(text, *text.partition(sign)) for text in texts or ()]
    for text, one, _, other in pairs:
        if not (one and other):
            raise VadoseError(f"{option} {text!r}: expected two parts and {sign!r} between, such as {example}")
    return [(one, other) for _, one, _, other in pairs]


def span_of(text: str) -> tuple[str, str]:
    """First and last day of 'FIRST..LAST'."""
    first, dots, last = text.partition("..")
    if not dots:
        raise VadoseError(f"--climatology {text!r}: expected FIRST..LAST, such as 2015-04-01..2020-12-31")
    return day_of(first, "--climatology"), day_of(last, "--climatology")


def box_of(text: str) -> tuple[float, float, float, float]:
    """West, south, east and north of a --bbox [degree]."""
    try:
        west, south, east, north = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise VadoseError(f"--bbox {text!r}: expected four numbers: west,south,east,north in degrees") from error
    return west, south, east, north


def day_of(text: str, option: str) -> str:
    """Check a day given as YYYY-MM-DD; 05.06.2016 would be ambiguous.

    Raises
    ------
    VadoseError
        For other formats, and for years outside the range of nanosecond times.
    """
    try:
        year = date.fromisoformat(text).year if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else 0
    except ValueError as error:
        raise VadoseError(f"{option} {text!r}: {error}; expected YYYY-MM-DD, such as 2016-06-05") from error
    if not 1678 <= year <= 2261:
        raise VadoseError(f"{option} {text!r}: expected a day as YYYY-MM-DD, such as 2016-06-05")
    return text


def say_age(day: str, today: date) -> None:
    """Warn on standard error if the latest day of issue is more than `OLD` days old."""
    age = (today - date.fromisoformat(day)).days
    if age > OLD:
        typer.echo(
            f"warning: --init latest is {day}, {age} days before today; add newer days with: vadose build", err=True
        )


def years_of(text: str, option: str) -> list[int]:
    """Years as FIRST..LAST."""
    ends = text.split("..")
    if len(ends) != 2 or not all(end.isdecimal() and len(end) == 4 for end in ends) or ends[1] < ends[0]:
        raise VadoseError(f"{option} {text!r}: expected years FIRST..LAST, such as 2015..2020")
    return list(range(int(ends[0]), int(ends[1]) + 1))


def say(text: str) -> None:
    """Print to standard output."""
    typer.echo(text)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float], None]]:
    """Show a bar for the stage in progress, and a line with its seconds for each finished one."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True)
    started: dict[str, float] = {}
    finished: set[str] = set()
    with bar:
        task = bar.add_task("", total=1.0)

        def tell(what: str, share: float) -> None:
            stage = what.split(":")[0]
            if stage not in started and share >= 1.0:  # a message, not a stage that takes time
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
