"""Comments ``<!-- made: NAME -->`` of pages are replaced by what the code says; a forge shows the page without them."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx

from making import formulas, house, reference, running

DOCS = Path(__file__).parents[1]
MARK = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)
LINK = re.compile(r"\]\(((?:[\w/]+)\.md)\)")


def sections() -> dict[str, list[str]]:
    """Sections of index.md -> pages that they link to: the table of contents."""
    parts = re.split(r"^## ", (DOCS / "index.md").read_text(), flags=re.MULTILINE)[1:]
    return {part.splitlines()[0]: LINK.findall(part) for part in parts}


def contents() -> str:
    """The table of contents as Sphinx wants it."""
    return "\n\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *listed, "```"])
        for title, listed in sections().items()
    )


def introduction() -> str:
    """What README.md says before its first section, with links that start here."""
    text = (DOCS.parent / "README.md").read_text().partition("\n## ")[0]
    return text.partition("\n")[2].replace("](docs/", "](")


def contributing() -> str:
    """What CONTRIBUTING.md says, without its title."""
    return (DOCS.parent / "CONTRIBUTING.md").read_text().partition("\n")[2]


MAKERS: dict[str, Callable[[], str]] = {
    "contents": contents,
    "introduction": introduction,
    "contributing": contributing,
    "house": house.drawn,
    "commands": reference.commands,
    "products": reference.products,
    "functions": reference.functions,
    "modules": reference.modules,
    "models": reference.models,
    "metrics": reference.metrics,
    "outlooks": reference.outlooks,
    "gallery": running.gallery,
}


def run_pages(app: Sphinx) -> None:
    """Run the code of pages, in the order of the table of contents, before any is read."""
    running.run(DOCS, [name for listed in sections().values() for name in listed])


def made(app: Sphinx, page: str, source: list[str]) -> None:
    """Put in what is made, and beside code what it printed and drew."""
    text = running.RESULTS.get(page, source[0])
    source[0] = MARK.sub(lambda mark: MAKERS[mark[1]](), text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Extension of Sphinx."""
    app.add_html_math_renderer("mathml", (formulas.inline, None), (formulas.display, None))
    if not os.environ.get("NO_RUN"):
        app.connect("builder-inited", run_pages)
    app.connect("source-read", made)
    return {"parallel_read_safe": False}
