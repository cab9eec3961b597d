"""What the README tells people to type is what the command line takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from vadose.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "docs/commands.md")}
COMMANDS = re.findall(r"^\$ (?:\S*/)?vadose (.+)$", "\n".join(PAGES.values()), flags=re.MULTILINE)
LINKS = [(name, link) for name, text in PAGES.items() for link in re.findall(r"\]\((?!http)([^)#]+)\)", text)]


def test_every_command_is_shown() -> None:
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


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_each_link_leads_somewhere(page: str, link: str) -> None:
    assert ((ROOT / page).parent / link).exists()
