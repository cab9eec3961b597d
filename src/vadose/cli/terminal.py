"""Options shared by commands, how they are parsed, and what is printed while they run."""

import json
import logging
import math
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vadose.cli.faults import LOG, Commands
from vadose.errors import VadoseError

if TYPE_CHECKING:
    from vadose.experiments.section import ExperimentFile

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Soil-moisture forecasts from satellite, weather, soil and terrain data.

The pipeline; each command reads files and writes one artefact:

**fetch** -> granules · **build** -> a cube · **train** -> a run · **forecast** -> a store ·
**evaluate** -> scores · **report** -> a page

**study** runs all steps and resumes if interrupted; **demo** runs them on a small simulated world;
**inspect** describes a file.

Exit codes: 0 success; 1 **doctor** found errors; 2 error in the call, the data or the machine; 70 error in vadose;
**daily** also 3 another run is at work, 75 try again later;
130 interrupted. With VADOSE_DEBUG=1 in the environment errors show their traceback.""",
)
console = Console(stderr=True)
"""Progress, warnings: all that is neither a result nor an error; `options` says whether it is shown."""
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

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
LIBRARIES = ("numpy", "xarray", "zarr", "dask", "netCDF4", "rasterio", "pyproj", "numba", "torch", "eccodes")
"""Whose versions `vadose --version` gives."""


def _say_version(wanted: bool) -> None:
    """Print what a report of an error should hold, and end."""
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version
    from platform import platform, python_version

    from vadose.artefact.contents import commit

    def of(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"no {name}"

    say(" ".join([of("vadose"), *(f"({known})" for known in [commit()] if known)]))
    say(f"Python {python_version()}, {platform()}\n{', '.join(map(of, LIBRARIES))}")
    raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print versions and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print each step with its time, no bars.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    log: Annotated[Path | None, typer.Option("--log", help="File to append steps, results and errors to.")] = None,
) -> None:
    """What every command takes, before its name."""
    console.quiet = quiet or verbose
    handlers: list[logging.Handler] = [logging.StreamHandler()] if verbose and not quiet else []
    handlers += [logging.FileHandler(log, encoding="utf-8")] if log else []
    for former in LOG.handlers[1:]:
        former.close()
    LOG.handlers[1:] = handlers  # the first one drops all
    LOG.setLevel(logging.DEBUG)
    for handler in handlers:
        handler.setLevel(logging.DEBUG if isinstance(handler, logging.FileHandler) else logging.INFO)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.info("vadose %s", shlex.join(sys.argv[1:]))


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
    """Check a day given as YYYY-MM-DD; 05.06.2016 would be ambiguous. Also ``today`` and ``yesterday``, of UTC.

    Raises
    ------
    VadoseError
        For other formats, and for years outside the range of nanosecond times.
    """
    if text in ("today", "yesterday"):
        return (datetime.now(UTC).date() - timedelta(days=text == "yesterday")).isoformat()
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
        warn(f"--init latest is {day}, {age} days before today; add newer days with: vadose build")


def years_of(text: str, option: str) -> list[int]:
    """Years as FIRST..LAST."""
    ends = text.split("..")
    if len(ends) != 2 or not all(end.isdecimal() and len(end) == 4 for end in ends) or ends[1] < ends[0]:
        raise VadoseError(f"{option} {text!r}: expected years FIRST..LAST, such as 2015..2020")
    return list(range(int(ends[0]), int(ends[1]) + 1))


def say(text: str) -> None:
    """Print to standard output."""
    typer.echo(text)
    LOG.debug(text)  # to the file of --log alone


def say_json(value: object) -> None:
    """Print a value as JSON: numbers that are none as null."""

    def plain(of: Any) -> Any:
        if isinstance(of, Mapping):
            return {str(key): plain(one) for key, one in of.items()}
        if isinstance(of, list | tuple):
            return [plain(one) for one in of]
        of = of.item() if hasattr(of, "item") else of
        return None if isinstance(of, float) and not math.isfinite(of) else of

    say(json.dumps(plain(value), default=str))


def warn(text: str) -> None:
    """Print a warning to standard error."""
    LOG.warning(text)
    if not console.quiet:
        typer.echo(f"warning: {text}", err=True)


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
                    LOG.info(what)
                    console.print(what, highlight=False)
                return
            if stage in finished:
                return
            if stage not in started:
                started[stage] = time.monotonic()
                LOG.info("%s: begun", stage)
                bar.reset(task)
            bar.update(task, description=what, completed=share)
            if share >= 1.0:
                finished.add(stage)
                done = f"{stage}: {time.monotonic() - started[stage]:.0f} s"
                LOG.info(done)
                console.print(done, highlight=False)

        yield tell
