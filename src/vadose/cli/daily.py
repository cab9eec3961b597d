"""The commands of a daily service."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from vadose.cli.terminal import AsJson, app, day_of, progress_bars, say, say_json, warn


@app.command()
def daily(
    config: Annotated[Path, typer.Argument(help="File of the service (YAML): 'vadose config schema daily'.")],
    since: Annotated[
        str | None,
        typer.Option("--from", help="First day to have an outlook. [default: the oldest there is]"),
    ] = None,
) -> None:
    """Make today's outlooks of a service, and again those of earlier days whose data came late or changed.

    To be run by a scheduler, once or several times a day: without anything new it does nothing. Exit codes: 0 done or
    nothing new; 2 error in the file; 3 another run is at work; 75 no outlook for now, try again later; 130
    interrupted.

    Example: `vadose daily service.yaml`, from a scheduler `vadose --quiet daily service.yaml`
    """
    from vadose.operation import daily as run

    with progress_bars() as progress:
        found = run(config, since=day_of(since, "--from") if since else None, progress=progress)
    for day, why in found["made"].items():
        say(f"{day}: {why}")
    if not found["made"]:
        say("nothing new")
    for line in [*found["stale"], *(f"{day}: {line}" for day, line in found["failed"].items())]:
        warn(line)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="Folder of the service.")],
    as_json: AsJson = False,
) -> None:
    """Say when 'vadose daily' last ran in a folder, what it made, from which sources, and what is stale.

    Example: `vadose status outlooks`
    """
    from vadose.operation import read_status

    found = read_status(folder)
    if as_json:
        say_json(found)
        return
    ended = datetime.fromisoformat(found["ended"])
    say(f"{found['state']}: last run ended {ended:%Y-%m-%d %H:%M} UTC{', one is at work' if found['at_work'] else ''}")
    say(f"latest outlook: {found['latest'] or 'none'}; days kept: {len(found['days'])}")
    for day, why in found["made"].items():
        say(f"{day}: {why}")
    for name, told in found["sources"].items():
        ahead = told["ahead"]
        run = ahead if isinstance(ahead, str) else f"{ahead['source']} (members missing: {ahead['members_dropped']})"
        say(f"{name}: weather to {told['past']['newest_day']} ({told['past']['source']}); forecast: {run}")
    for what, lines in (
        ("stale", found["stale"]),
        ("failed", [f"{day}: {line}" for day, line in found["failed"].items()]),
        ("missing", found["missing"]),
        ("did not serve", found["away"]),
    ):
        for line in lines:
            say(f"{what}: {line}")
    say(f"next run is worthwhile from {found['next']}")
