"""Code of pages that say ``<!-- run -->`` (commands and Python) or ``<!-- run: python -->`` is run, its output kept.

Pages of one folder share a working folder, so that a tutorial goes on from the one before. YAML whose first line is a
comment with a file name is written to that file. A command or line that fails ends the build.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from vadose.models import MODELS

RESULTS: dict[str, str] = {}
"""Page -> its text with what its code printed and drew."""
FIGURES: list[tuple[str, str, str]] = []
"""Page, file and title of each figure."""
RUN = re.compile(r"^<!-- run(?:: (python))? -->$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 40


def run(docs: Path, names: list[str]) -> None:
    """Run the pages of these names."""
    shutil.rmtree(docs / "_build" / "run", ignore_errors=True)
    (docs / "_build" / "figures").mkdir(parents=True, exist_ok=True)
    RESULTS.clear()
    FIGURES.clear()
    for name in names:
        text = (docs / name).read_text()
        if found := RUN.search(text):
            page = name.removesuffix(".md")
            folder = docs / "_build" / "run" / (page.rpartition("/")[0] or page)
            folder.mkdir(parents=True, exist_ok=True)
            with chdir(folder), patch.dict(os.environ), patch.dict(MODELS):
                RESULTS[page] = _run(page, text, docs / "_build" / "figures", with_commands=found[1] is None)


def gallery() -> str:
    """Each figure that a page draws, with a link to the page."""
    return "\n\n".join(f"![{title}]({file})\n\n[{title}: how it is drawn](/{page}.md)" for page, file, title in FIGURES)


def _run(page: str, text: str, figures: Path, *, with_commands: bool) -> str:
    names: dict[str, Any] = {}

    def shown(block: re.Match[str]) -> str:
        language, code = block[1], block[2]
        if language == "python":
            return block[0] + _python(page, code, names) + _drawn(page, figures)
        if language == "console" and with_commands:
            commands = re.findall(r"^\$ ((?:.*\\\n)*.*)", code, flags=re.MULTILINE)
            return f"```console\n{''.join(_command(page, command) for command in commands)}```"
        if language == "yaml" and with_commands and (file := re.match(r"# (\w+\.yaml)\n", code)):
            Path(file[1]).write_text(code)
        return block[0]

    return BLOCK.sub(shown, text)


def _python(page: str, code: str, names: dict[str, Any]) -> str:
    import matplotlib

    matplotlib.use("agg")
    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(code, page, "exec"), names)
    lines = _first_lines(printed.getvalue())
    return f"\n\n```text\n{lines}```\n" if lines else ""


def _drawn(page: str, figures: Path) -> str:
    import matplotlib.pyplot as plt

    shown = []
    for number in plt.get_fignums():
        figure = plt.figure(number)
        title = figure.get_suptitle() or next((axes.get_title() for axes in figure.axes if axes.get_title()), page)
        file = f"{page.replace('/', '-')}-{len(FIGURES)}.svg"
        figure.savefig(figures / file, bbox_inches="tight", metadata={"Date": None})
        FIGURES.append((page, f"/_build/figures/{file}", title))
        shown.append(f"\n\n![{title}](/_build/figures/{file})\n")
    plt.close("all")
    return "".join(shown)


def _command(page: str, command: str) -> str:
    called = re.sub(r"^vadose\b", f"{shlex.quote(sys.executable)} -m vadose", command)
    environment = os.environ | {
        "NO_COLOR": "1",
        "COLUMNS": "110",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        called, shell=True, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{page}: '{command}' ended with {done.returncode}:\n{done.stdout}")
    return f"$ {command}\n{_first_lines(done.stdout)}"


def _first_lines(text: str) -> str:
    lines = text.rstrip().splitlines()
    left = [f"... ({len(lines) - MOST_LINES} more lines)"] if len(lines) > MOST_LINES else []
    return "".join(f"{line.rstrip()}\n" for line in lines[:MOST_LINES] + left)
