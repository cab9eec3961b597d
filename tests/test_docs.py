"""What the documentation tells people to type is what the command line takes, and its links lead somewhere."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from vadose.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *DOCS]}
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PROSE = {name: CODE.sub("", text) for name, text in PAGES.items()}
COMMANDS = sorted(
    {
        (name, command)
        for name, text in PAGES.items()
        for command in re.findall(
            r"^\$ (?:\S*/)?vadose (.+?)(?:\s+[>#] .*)?$", text.replace("\\\n", " "), flags=re.MULTILINE
        )
    }
)
LINKS = sorted({(name, link) for name, text in PROSE.items() for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text)})
GROUP: Any = typer.main.get_command(app)


def headings(text: str) -> set[str]:
    """Anchors of a page, as a forge and the site make them."""
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_each_page_is_in_the_table_of_contents() -> None:
    linked = re.findall(r"\]\(([\w/]+\.md)\)", PAGES["docs/index.md"])
    assert sorted(linked) == sorted(
        name.removeprefix("docs/") for name in PAGES.keys() - {"README.md", "docs/index.md"}
    )


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_somewhere(page: str) -> None:
    lost = []
    for _, link in (each for each in LINKS if each[0] == page):
        file, _, anchor = link.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        if not path.exists() or (anchor and anchor not in headings(CODE.sub("", path.read_text()))):
            lost.append(link)
    assert lost == []


def test_every_command_is_shown() -> None:
    text = "\n".join(PAGES.values())
    shown = {name for name in GROUP.commands if f"vadose {name}" in text or f"`{name}`" in text}
    assert shown == {name for name, command in GROUP.commands.items() if not command.hidden}


@pytest.mark.parametrize("page", dict(COMMANDS))
def test_each_command_is_understood(page: str) -> None:
    for _, command in (each for each in COMMANDS if each[0] == page):
        kind, arguments = GROUP, shlex.split(command)
        while hasattr(kind, "commands"):
            assert arguments[0] in kind.commands, f"vadose {command}"
            kind = kind.commands[arguments.pop(0)]
        with kind.make_context(command.split()[0], arguments) as context:
            assert context.params or not kind.params, f"vadose {command}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_exist(page: str) -> None:
    for command in re.findall(r"`vadose ([a-z][^`]*)`", PROSE[page]):
        kind, words = GROUP, command.split()
        while words and hasattr(kind, "commands") and words[0] in kind.commands:
            kind = kind.commands[words.pop(0)]
        assert kind is not GROUP, f"vadose {command}"
        known = {option for one in kind.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, f"vadose {command}"
