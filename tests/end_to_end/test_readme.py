"""What the README tells people to type is what the command line takes."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from vadose.cli import app
from vadose.models import MODELS

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    name: (ROOT / name).read_text()
    for name in ("README.md", "docs/commands.md", "docs/bring_your_own.md", "docs/county.md")
}
TEXT = "\n".join(PAGES.values()).replace("\\\n", " ")  # lines that go on are one
COMMANDS = re.findall(r"^\$ (?:\S*/)?vadose (.+?)(?:\s+[>#] .*)?$", TEXT, flags=re.MULTILINE)
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
        "tune",
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


def test_the_page_of_own_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    try:
        exec("\n".join(re.findall(r"```python\n(.+?)```", PAGES["docs/bring_your_own.md"], flags=re.DOTALL)), found)
    finally:
        MODELS.pop("mine", None)
    assert found["own"].soil_moisture.sel(layer="0-10 cm").values.ravel() == pytest.approx(found["wetness"], abs=1e-6)
    assert found["scores"].set_index("metric").loc["bias", "median"] == pytest.approx(0.03, abs=1e-6)
    last = found["wetness"][92]
    ahead = found["ahead"].soil_moisture.values
    kept = np.exp(-np.array([0.1, 0.7]))[:, None, None]
    mean = (ahead[0, :1] - kept[:1] * last) / (1 - kept[:1])
    np.testing.assert_allclose(ahead[0], mean + kept * (last - mean), atol=5e-4)
    assert float(mean[0, 0, 0]) == pytest.approx(found["wetness"][:71].mean(), abs=0.02)
