"""Draw the figure of the README from R at real stations in docs/results.md: python benchmarks/readme_figure.py"""

import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
HEADING = "### 0-10 cm (5 cm), 2020 .. 2021"
SHOWN = {
    ("perfect", "blend"): ("blend, weather of the days ahead known", "#0072B2", "-"),
    ("none", "blend"): ("blend, no weather ahead", "#0072B2", "--"),
    ("none", "damped persistence"): ("damped persistence", "#D55E00", "-"),
    ("none", "persistence"): ("persistence", "0.35", "-"),
    ("none", "climatology"): ("climatology", "0.65", "-"),
}
CELL = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")


def rows() -> tuple[list[str], dict[tuple[str, str], list[tuple[float, ...]]]]:
    """Leads of the first table below the heading, and R with its interval by weather and model."""
    text = (ROOT / "docs" / "results.md").read_text()
    table = re.findall(r"^\|.*\|$", text[text.index(HEADING) :].split("\nubRMSE:")[0], flags=re.MULTILINE)
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    found = {
        (weather, model): [tuple(map(float, CELL.fullmatch(cell).groups())) for cell in cells]  # type: ignore[union-attr]
        for weather, model, *cells in split[2:]
    }
    return split[0][2:], found


def main() -> None:
    leads, found = rows()
    plt.rcParams.update({"svg.hashsalt": "vadose", "font.size": 9})
    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for number, (key, (label, colour, style)) in enumerate(SHOWN.items()):
        value, low, high = zip(*found[key], strict=True)
        at = [place + 0.06 * (number - 2) for place in range(len(leads))]
        bars = [[v - a for v, a in zip(value, low, strict=True)], [b - v for v, b in zip(value, high, strict=True)]]
        axes.errorbar(at, value, bars, color=colour, linestyle=style, marker="o", markersize=3, capsize=2, label=label)
    axes.set_xticks(range(len(leads)), leads)
    axes.set_ylim(0, 1)
    axes.set_xlabel("lead time")
    axes.set_ylabel("R, median over stations")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs" / "skill.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
