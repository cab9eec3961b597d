import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluation import evaluate
from vadose.evaluation.metrics import METRICS, PP, QQ, Metric, N
from vadose.evaluation.metrics import metric as metric_of
from vadose.models import forecaster_names
from vadose.reports.page import build_report, build_tables_report
from vadose.reports.plots import COLOURS, OTHER_COLOURS, colours_of, plot_by_lead, plot_series

LEADS = (1, 3, 7)


RUNS = (
    ("persistence", "none", "all", 0.05),
    ("climatology", "none", "all", 0.04),
    ("lstm", "none", "all", 0.03),
    ("lstm", "perfect", "all", 0.01),
)


def evaluation(
    cube: xr.Dataset,
    out: Path,
    simulated: str = "true",
    runs: Sequence[tuple[str, str, str, float]] = RUNS,
    spread: bool = False,
    **options: Any,
) -> Path:
    """An evaluation of made-up runs: model, weather, scenario and error."""
    cube = cube.assign_attrs(simulated=simulated)
    days = cube.time.values[10:140]
    flat = pd.DataFrame(cube.soil_moisture.values.reshape(150, -1)).ffill().bfill().to_numpy()
    truth = flat.reshape(cube.soil_moisture.shape)
    rng = np.random.default_rng(0)
    stores = []
    for model, weather, scenario, error in runs:
        values = np.stack([truth[10 + lead : 140 + lead] for lead in LEADS], axis=1)
        values = values + error * rng.normal(size=values.shape)
        attrs = {
            key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")
        }
        attrs |= {"model": model, "weather": weather, "scenario": scenario, "causal": "true"}
        coords = {
            "init_time": days,
            "lead_time": pd.to_timedelta(LEADS, unit="D"),
            "lat": cube.lat,
            "lon": cube.lon,
            "y": cube.y,
            "x": cube.x,
        }
        stores.append(
            xr.Dataset({"soil_moisture": (("init_time", "lead_time", "y", "x"), values)}, coords=coords, attrs=attrs)
        )
        if spread and model != "persistence":
            stores[-1]["soil_moisture_std"] = xr.full_like(stores[-1].soil_moisture, error)
    return evaluate(stores, cube, out=out, **{"min_pairs": 20, **options})


@pytest.fixture(scope="module")
def page(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, pd.DataFrame]:
    folder = evaluation(small_cube, tmp_path_factory.mktemp("report") / "validation")
    out = build_report([folder], folder.parent / "report.html", title="Soil & <water>")
    return out.read_text(), pd.read_csv(folder / "scores.csv")


def test_the_page_stands_alone(page: tuple[str, pd.DataFrame]) -> None:
    html, _ = page
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert html.count('src="data:image/png;base64,') == 5
    assert "Soil &amp; &lt;water&gt;" in html
    assert "{{" not in html


def test_the_table_holds_the_scores_of_the_csv(page: tuple[str, pd.DataFrame]) -> None:
    html, table = page
    for _, row in table[table.metric == "pearson_r"].iterrows():
        assert f"{row['median']:.3f} <small>[{row['lower']:.3f}, {row['upper']:.3f}]" in html


def test_the_best_of_each_block_is_marked(page: tuple[str, pd.DataFrame]) -> None:
    html, table = page
    headline = html.split("Pearson correlation R")[1].split("</table>")[0]
    marked = re.findall(r'class="best">([\d.]+)', headline)
    best = table[table.metric == "pearson_r"].groupby(["weather", "lead_days"])["median"].max()
    assert sorted(marked) == sorted(f"{v:.3f}" for v in best)


@pytest.mark.parametrize("simulated", ["true", "false"])
def test_only_a_simulated_world_is_called_so(
    small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: str
) -> None:
    monkeypatch.setattr("vadose.reports.page._png", lambda figure: "data:,")
    folder = evaluation(small_cube, tmp_path / "test", simulated, runs=RUNS[:2])
    html = build_report([folder], tmp_path / "report.html", title="t").read_text()
    assert ("SIMULATED" in html) == (simulated == "true")


def test_a_page_is_drawn_once(small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = evaluation(small_cube, tmp_path / "test", runs=RUNS[:2]), tmp_path / "report.html"
    drawn: list[Any] = []
    monkeypatch.setattr("vadose.reports.page._png", lambda figure: drawn.append(figure) or "data:,")
    for title in ("Soil & <water>", "Soil & <water>", "another"):
        build_report([folder], out, title=title)
    assert len(drawn) == 2 * 5
    table = folder / "scores.csv"
    table.write_text(table.read_text().replace("0.0", "0.1", 1))
    build_report([folder], out, title="another")
    assert len(drawn) == 3 * 5


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="not an evaluation"):
        build_report([tmp_path], tmp_path / "report.html", title="t")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def layered(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory, blank_figures: Any) -> str:
    """A page of two layers: scenarios, forecast weather, spreads, classes and a product."""
    folder = tmp_path_factory.mktemp("layers")
    cube = small_cube.assign(land_cover=(("y", "x"), np.where(np.arange(72).reshape(8, 9) % 2, 10.0, 4.0)))
    runs = (
        ("persistence", "none", "all", 0.05),
        ("novel", "none", "S1", 0.03),
        ("novel", "none", "S2", 0.01),
        ("novel", "forecast", "S2", 0.008),
    )
    product = cube.soil_moisture + 0.02
    folders = [
        evaluation(
            cube.assign_attrs(layer=layer),
            folder / f"test-{number}",
            runs=runs,
            spread=number == 0,
            products={"nldas_noah": product} if number == 0 else None,
            period=("2015-05-01", "2015-08-01"),
        )
        for number, layer in enumerate(("0-10 cm", "10-40 cm"))
    ]
    with blank_figures(drawn=5):
        return build_report(folders, folder / "report.html", title="layers").read_text()


def test_a_page_of_layers_has_an_overview_that_leads_to_each(layered: str) -> None:
    overview = layered.split("Overview</h2>")[1].split("</table>")[0]
    for number, layer in ((1, "0-10 cm"), (2, "10-40 cm")):
        assert f'<a href="#e{number}">Grid cells: test, {layer}</a>' in overview
        assert f'<section id="e{number}">\n<h2>Grid cells: test, {layer}</h2>' in layered


def test_scenarios_are_rows_of_their_own_and_compared(layered: str) -> None:
    part = layered.split('<section id="e1">')[1].split("</section>")[0]
    headline = part.split("Pearson correlation R")[1].split("</table>")[0]
    assert re.findall(r"<td>(novel S\d)</td>", headline) == ["novel S1", "novel S2", "novel S2"]
    assert "forecast weather" in headline
    assert "<small>–</small>" in headline
    assert "the record is shorter than 120 days" in layered
    gains = part.split("baselines and other scenarios</h3>")[1].split("</table>")[0]
    assert '<td>novel S2, without weather</td><td class="text">novel S1</td>' in gains


def test_distributions_classes_and_products_show_where_there_are_any(layered: str) -> None:
    first, second = (part.split("Methods")[0] for part in layered.split('<section id="e')[1:])
    coverage = first.split("Probabilistic scores")[1].split("</table>")[0]
    assert "coverage of the central 90 %" in coverage
    assert re.findall(r"persistence</td>.*?>(coverage|CRPS)", coverage) == ["CRPS"]
    classes = first.split("By class of cells")[1].split("</table>")[0]
    assert re.findall(r"<tr><td>(\w+)</td><td>\d", classes)[:2] == ["forest", "grassland"]
    products = first.split("(not forecasts)</h3>")[1].split("</table>")[0]
    assert '<td>nldas noah</td><td class="text">analysis, no forecast</td>' in products
    assert "Probabilistic scores" not in second
    assert "(not forecasts)</h3>" not in second


def test_every_model_has_a_colour_of_its_own() -> None:
    assert set(forecaster_names()) <= set(COLOURS)
    colours = [*COLOURS.values(), *OTHER_COLOURS]
    assert len(set(colours)) == len(colours)
    unknown = colours_of(["b", "a", "lstm"])
    assert unknown["lstm"] == COLOURS["lstm"]
    assert unknown["a"] != unknown["b"]


def test_a_page_of_tables_says_why_a_score_has_no_interval(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,shows,absent_because\nscores.csv,All scores,\n")
    (tmp_path / "scores.csv").write_text("run,R,R_lower,R_upper\na,0.9,,\nb,0.8,0.7,0.85\n")
    page = build_tables_report(tmp_path, tmp_path / "out.html", title="T", simulated=False).read_text()
    assert "0.9 –" in page
    assert "0.8 [0.7, 0.85]" in page
    assert "the record is shorter than 120 days" in page


def amplitude(m: np.ndarray) -> np.ndarray:
    """How much more the predictions vary than the observations."""
    return (m[..., PP] / m[..., N]) ** 0.5 / (m[..., QQ] / m[..., N]) ** 0.5 - 1


@pytest.mark.parametrize("metric", [amplitude, Metric(amplitude, "excess amplitude")])
def test_a_new_metric_is_a_line_and_stands_in_tables_report_and_plots(
    metric: Callable[[np.ndarray], np.ndarray],
    small_cube: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blank_figures: Any,
) -> None:
    monkeypatch.setitem(METRICS, "amplitude", metric)
    folder = evaluation(small_cube, tmp_path / "e", runs=RUNS[:3])
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("scores", "comparisons")}
    assert all("amplitude" in set(table.metric) for table in tables.values())
    with blank_figures():
        page = build_report([folder], tmp_path / "report.html", title="mine").read_text()
    assert f">{metric_of('amplitude').title}</td>" in page
    drawn = [axis.get_ylabel() for axis in plot_by_lead(tables["scores"]).axes]
    assert f"median {metric_of('amplitude').title}" in drawn


@pytest.mark.parametrize(("r", "title"), [([0.9, np.nan], "R at 1 d: 0.90"), ([np.nan, np.nan], "R at 30 d: nan")])
def test_series_are_shown_at_the_longest_lead_with_an_r(r: list[float], title: str) -> None:
    days = pd.date_range("2020-01-01", periods=3)
    coords = {"run": ["lstm"], "lead_days": [1, 30], "site": ["a"], "time": days}
    place = {"lat": ("site", [40.0]), "lon": ("site", [-100.0])}
    pairs = xr.Dataset(
        {
            "predicted": (tuple(coords), np.full((1, 2, 1, 3), 0.2)),
            "observed": (("site", "time"), np.full((1, 3), 0.2)),
        },
        coords | place,
    )
    scores = xr.Dataset(
        {"value": (("run", "metric", "lead_days", "site"), np.array(r).reshape(1, 1, 2, 1))},
        {"run": ["lstm"], "metric": ["pearson_r"], "lead_days": [1, 30], "site": ["a"]},
    )
    figure = plot_series(pairs, scores, "lstm", [1, 30])
    assert [axis.get_title(loc="left").split(", ")[-1] for axis in figure.axes] == [title]
