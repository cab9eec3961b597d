"""What the README tells people to type is what the command line takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from vadose.cli import app

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (?:\S*/)?vadose (.+)$", README, flags=re.MULTILINE)


def test_the_readme_shows_every_step_of_the_road() -> None:
    shown = {shlex.split(command)[0] for command in COMMANDS}
    assert shown == {
        "fetch",
        "inspect",
        "twin",
        "build",
        "doctor",
        "stations",
        "match",
        "train",
        "forecast",
        "evaluate",
        "report",
        "study",
        "demo",
        "downscale",
        "fill-station",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_understood(command: str) -> None:
    name, *arguments = shlex.split(command)
    group = typer.main.get_command(app)
    with group.commands[name].make_context(name, arguments) as context:  # type: ignore[attr-defined]
        assert context.params


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_each_link_leads_somewhere(link: str) -> None:
    assert (Path(__file__).resolve().parents[2] / link).exists()
