"""The picture of the house: stages in the order of the data flow, an arc from each to those that it imports."""

import ast
import sys
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "vadose"
STEP, NAMES, WIDTH = 38, 175, 830
INK, LINE, QUIET = "#1a1a1a", "#767676", "#4d4d4d"


def drawn() -> str:
    """SVG of `MAY_IMPORT`, the table that the architecture test holds the imports to."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from test_architecture import FACE, GROUND, MAY_IMPORT
    finally:
        sys.path.pop(0)
    rows = {stage: 110 + STEP * number for number, stage in enumerate(MAY_IMPORT)}
    end = max(rows.values()) + 30
    arcs = [
        _arc(rows[stage], rows[other], f"{stage} uses {other}")
        for stage, others in MAY_IMPORT.items()
        for other in sorted(others)
    ]
    stages = [
        f'<circle cx="{NAMES - 14}" cy="{y}" r="4" fill="{INK}"/>'
        f'<text x="{NAMES}" y="{y + 5}" font-weight="600">{stage}</text>'
        f"{_lines(_about(stage), NAMES + 100, y)}"
        for stage, y in rows.items()
    ]
    face = sorted(FACE - {"__init__", "__main__"})
    return "\n".join(
        [
            '<div class="wide" role="region" aria-label="Picture of the stages" tabindex="0">',
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end + 70}" role="img" '
            f'aria-labelledby="house-title" font-family="sans-serif" font-size="15" fill="{INK}">',
            "<title id='house-title'>The stages of vadose from products to experiments, and which uses which</title>",
            f'<rect width="{WIDTH}" height="{end + 70}" fill="#fff"/>',
            _beam(16, "What people call", " · ".join(face)),
            *arcs,
            *stages,
            _beam(end, "What all stand on", " · ".join(sorted(GROUND))),
            "</svg>",
            "</div>",
        ]
    )


def _beam(y: int, title: str, names: str) -> str:
    return (
        f'<rect x="20" y="{y}" width="{WIDTH - 40}" height="50" rx="6" fill="#ededed" stroke="{LINE}"/>'
        f'<text x="40" y="{y + 31}" font-weight="600">{title}</text><text x="{NAMES}" y="{y + 31}">{names}</text>'
    )


def _arc(start: int, end: int, title: str) -> str:
    """From a stage up to one that it uses, wider the further it reaches."""
    x, reach = NAMES - 22, 16 + (start - end) * 0.31
    return (
        f'<path d="M{x} {start} C{x - reach:.0f} {start} {x - reach:.0f} {end} {x} {end}" fill="none" '
        f'stroke="{LINE}" stroke-width="1.3"><title>{title}</title></path>'
        f'<path d="M{x + 2} {end} l-7 -3.5 v7 z" fill="{LINE}"/>'
    )


def _lines(text: str, x: int, y: int) -> str:
    """Text in one line or two about a height."""
    lines = textwrap.wrap(text, 80)
    first = y + 5 - 8 * (len(lines) - 1)
    spans = [f'<tspan x="{x}" y="{first + 16 * number}">{escape(line)}</tspan>' for number, line in enumerate(lines)]
    return f'<text fill="{QUIET}" font-size="13">{"".join(spans)}</text>'


def _about(stage: str) -> str:
    text = ast.get_docstring(ast.parse((PACKAGE / stage / "__init__.py").read_text())) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("`", "").rstrip(".")
