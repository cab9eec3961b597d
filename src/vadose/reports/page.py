"""Evaluations, and folders of tables, to one self-contained HTML page."""

import base64
import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure
from PIL import Image

from vadose.artefact import identity, provenance, writing
from vadose.errors import VadoseError
from vadose.evaluation.intervals import FEWEST_DAYS, FEWEST_PAIRS
from vadose.reports import forecast_plots, skill_plots
from vadose.reports.contents import DPI, Absent
from vadose.reports.evaluated import Evaluation, label
from vadose.reports.page_tables import answer_table, folded, metric_name, tables_of, with_interval
from vadose.reports.plots import plot_by_lead

FIGURES: tuple[Callable[[Evaluation], Figure], ...] = (
    skill_plots.scorecard,
    skill_plots.difference_maps,
    skill_plots.day_maps,
    forecast_plots.reliability,
    forecast_plots.spread_error,
    forecast_plots.plot_series,
    skill_plots.strata_dots,
    forecast_plots.plot_dry,
    skill_plots.coverage,
)
"""Figures 2 to 10; the page's template says what they show."""
_COLUMN, _WIDE = 620, 'class="wide" '
"""Width of a column of figures, in pixels."""


def build_report(evaluations: Sequence[Path], out: Path, *, title: str) -> Path:
    """Write one self-contained page of the answer, figures and tables. A page of the same evaluations is kept.

    Parameters
    ----------
    evaluations
        Folders that `vadose.evaluation.evaluate` wrote, in the order of the page: the first is answered on top.
    out
        HTML file to write.

    Raises
    ------
    VadoseError
        If a folder is not an evaluation.
    """
    parts = [Evaluation(folder) for folder in evaluations]
    made_of = json.dumps({"title": title, "evaluations": identity(*evaluations)}, ensure_ascii=True)
    noted = f'<meta name="inputs" content="{escape(made_of)}">'
    if out.is_file() and noted in out.read_text(encoding="utf-8"):
        return out
    return _write(
        "page.html",
        out,
        title=escape(title),
        noted=noted,
        commit=parts[0].attrs.get("commit", ""),
        simulated=any(part.attrs["simulated"] == "true" for part in parts),
        overview=_overview(parts) if len(parts) > 1 else "",
        evaluations=[_section(part, number) for number, part in enumerate(parts, 1)],
    )


def build_tables_report(folder: Path, out: Path, *, title: str, simulated: bool) -> Path:
    """Write one self-contained page of the tables and figures listed in ``index.csv``.

    Parameters
    ----------
    folder
        Folder with ``index.csv`` (file, shows, absent_because) and the CSV and PNG files it names.
    out
        HTML file to write.
    simulated
        Whether the data are simulated.

    Raises
    ------
    VadoseError
        If there is no index.
    """
    if not (folder / "index.csv").exists():
        raise VadoseError(f"{folder}: no index.csv; make the tables again")
    index = pd.read_csv(folder / "index.csv", keep_default_na=False)
    parts, absent = [], []
    for row in index.itertuples():
        file = folder / str(row.file)
        if row.absent_because:
            absent.append(escape(", ".join(map(str, (row.file, row.shows))) + f": {row.absent_because!s}"))
            continue
        png, heading = file.suffix == ".png", escape(file.stem.replace("_", " ").capitalize())
        parts.append(
            {
                "anchor": file.stem,
                "heading": heading,
                "shows": escape(str(row.shows)),
                "table": ""
                if png
                else folded(heading, "", _plain_table(file), file.read_text(encoding="utf-8"), file.name),
                "figure": image(file.read_bytes(), escape(str(row.shows)), DPI) if png else "",
            }
        )
    commit = provenance()["commit"]
    return _write(
        "tables.html", out, title=escape(title), commit=commit, simulated=simulated, parts=parts, absent=absent
    )


def _write(template: str, out: Path, **contents: Any) -> Path:
    environment = Environment(loader=PackageLoader("vadose.reports", "."), autoescape=False)
    made = {"created": date.today().isoformat(), "version": version("vadose")}
    page = environment.get_template(template).render(
        **made, **contents, fewest_days=FEWEST_DAYS, fewest_pairs=FEWEST_PAIRS
    )
    with writing(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return out


def _plain_table(file: Path) -> str:
    """Table as HTML, each score and its interval in one cell."""
    table = pd.read_csv(file).dropna(axis="columns", how="all")
    for name in [str(column) for column in table if {f"{column}_lower", f"{column}_upper"} <= set(table)]:
        ends = [f"{name}_lower", f"{name}_upper"]
        rows = table[[name, *ends]].itertuples(index=False)
        table[name] = [
            "" if np.isnan(v) else f"{v:.3g} –" if np.isnan(low) else f"{v:.3g} [{low:.3g}, {high:.3g}]"
            for v, low, high in rows
        ]
        table = table.drop(columns=ends)
    return str(table.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}"))


def _overview(parts: Sequence[Evaluation]) -> str:
    """One row per evaluation: R of its run and of the rival at the shortest and longest lead time."""
    leads = "".join(f"<th>{metric_name('pearson_r')}, {end} lead</th>" for end in ("shortest", "longest"))
    lines = [f'<table><thead><tr><th>Evaluation</th><th class="text">Run</th>{leads}</tr></thead><tbody>']
    for number, e in enumerate(parts, 1):
        for run in dict.fromkeys([e.run, *e.rivals.values()]):
            link = f'<a href="#e{number}">{_heading(e)}</a>' if run == e.run else ""
            cells = "".join(
                f"<td>{lead} d: {with_interval(e.row(run, lead), 'pearson_r')}</td>" for lead in e.some_leads(2)
            )
            lines.append(f'<tr><td>{link}</td><td class="text">{escape(label(run))}</td>{cells}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _heading(e: Evaluation) -> str:
    of = "Stations" if e.sites_are == "stations" else "Grid cells"
    return escape(f"{of}: {e.name.split('-')[0]}, {e.attrs['layer']}")


def _section(e: Evaluation, number: int) -> dict[str, Any]:
    attrs = e.attrs
    counted = e.table[e.table.metric == "pearson_r"].groupby("lead_days")[["n_sites", "n_pairs"]].first()
    pairs = ", ".join(f"{n:,} at {lead} d".replace(",", "\u202f") for lead, n in counted.n_pairs.items())
    r = e.table[e.table.metric == "pearson_r"]
    return {
        "anchor": f"e{number}",
        "heading": _heading(e),
        "question": escape(e.question),
        "answer": escape(e.answer),
        "verdicts": answer_table(e),
        "by_lead": image(
            drawn(plot_by_lead(r, ["pearson_r"], e.run)), "Median R of all runs; the table has the values"
        ),
        "dataset": escape(attrs["dataset"]),
        "n_sites": counted.n_sites.max(),
        "sites_are": e.sites_are,
        "n_pairs": pairs,
        "min_pairs": attrs["min_pairs"],
        "causal": attrs["causal"] == "true",
        "remarks": [f"{escape(label(run))}: {escape(text)}" for run, text in e.remarks.items() if text],
        "left_out": [escape(line) for line in e.left_out],
        "run": escape(label(e.run)),
        "sure": escape(label(e.sure)) if e.sure else "",
        "figures": [_drawn_or_why(e, make) for make in FIGURES],
        "treatment": escape(attrs.get("treatment", "")),
        "tables": list(tables_of(e)),
    }


def _drawn_or_why(e: Evaluation, make: Callable[[Evaluation], Figure]) -> dict[str, str]:
    try:
        return {"image": image(drawn(make(e)), "What the caption says")}
    except Absent as reason:
        return {"absent": re.sub("`(.*?)`", r"<code>\1</code>", escape(str(reason)))}


def drawn(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160)
    return stream.getvalue()


def image(png: bytes, shows: str, dpi: int = 160) -> str:
    """A PNG, of at most 256 colours, as an element that holds it, at the size it was drawn for."""
    stream, found = io.BytesIO(), Image.open(io.BytesIO(png))
    found.convert("RGB").quantize(256).save(stream, format="png", optimize=True)
    width, height = (round(96 * of / dpi) for of in found.size)
    how = f'{_WIDE if width > _COLUMN else ""}width="{width}" height="{height}" alt="{shows}"'
    return f'<img {how} src="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}">'
