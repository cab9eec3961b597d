import base64
import io
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluation import evaluate
from vadose.evaluation.metrics import METRICS, PP, QQ, N
from vadose.models import forecaster_names
from vadose.reports.evaluated import Evaluation
from vadose.reports.forecast_plots import _limits, _share, reliability
from vadose.reports.page import build_report, build_tables_report
from vadose.reports.plots import COLOURS, OTHER_COLOURS, colours_of, plot_by_lead
from vadose.reports.skill_plots import difference_maps, scorecard

LEADS = (1, 3, 7)


RUNS = (
    ("persistence", "none", "all", 0.05),
    ("climatology", "none", "all", 0.04),
    ("lstm", "none", "all", 0.02),
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
def made(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation with deviations and classes, and its page with all figures."""
    folder = tmp_path_factory.mktemp("report") / "validation"
    cube = small_cube.assign(land_cover=(("y", "x"), np.where(np.arange(72).reshape(8, 9) % 2, 10.0, 4.0)))
    evaluation(cube, folder, spread=True)
    return build_report([folder], folder.parent / "report.html", title="Soil & <water>")


@pytest.fixture(scope="module")
def page(made: Path) -> tuple[str, pd.DataFrame]:
    return made.read_text(), pd.read_csv(made.parent / "validation" / "scores.csv")


def test_the_page_stands_alone(page: tuple[str, pd.DataFrame]) -> None:
    html, _ = page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert html.count('src="data:image/png;base64,') == 10
    assert "Not drawn" not in html
    assert "Soil &amp; &lt;water&gt;" in html
    assert "{{" not in html
    assert "SIMULATED" in html
    assert len(html) < 1e6


def table_of(html: str, title: str) -> tuple[str, pd.DataFrame]:
    """A folded table, and the CSV it links to."""
    part = html.split(f"<summary>{title}")[1].split("</details>")[0]
    saved = part.split('href="data:text/csv;charset=utf-8;base64,')[1].split('"')[0]
    return part, pd.read_csv(io.BytesIO(base64.b64decode(saved)))


def test_the_table_holds_the_scores_of_the_csv(page: tuple[str, pd.DataFrame]) -> None:
    html, table = page
    shown, saved = table_of(html, "Correlation R")
    r = table[table.metric == "pearson_r"]
    for _, row in r.iterrows():
        assert f"{row['median']:.3f} <small>[{row['lower']:.3f}, {row['upper']:.3f}]" in shown
    pd.testing.assert_frame_equal(saved, r.reset_index(drop=True))


def test_the_best_of_each_block_is_marked(page: tuple[str, pd.DataFrame]) -> None:
    html, table = page
    marked = re.findall(r"class=best>([\d.]+)", table_of(html, "Correlation R")[0])
    best = table[table.metric == "pearson_r"].groupby(["weather", "lead_days"])["median"].max()
    assert sorted(marked) == sorted(f"{v:.3f}" for v in best)


def test_the_answer_is_of_a_run_that_does_not_know_later_weather(page: tuple[str, pd.DataFrame]) -> None:
    html, table = page
    r = table[table.metric == "pearson_r"].set_index(["model", "weather", "lead_days"])["median"]
    ends = f"{r['lstm', 'none', 1]:.2f} at 1 day and {r['lstm', 'none', 7]:.2f} at 7 days"
    assert f'<p class="answer">LSTM (without weather) has a median R of {ends}; its paired difference' in html
    assert "from the best baseline (climatology at 1, 3 and 7 days)" in html
    assert "is above zero at 1, 3 and 7 days" in html
    assert "an upper bound, not a forecast" in html


def test_nothing_is_cut_on_a_screen_or_a_telephone(made: Path, browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe_playwright_python is not installed")
    for width in (1366, 390):
        seen = browser.new_page(viewport={"width": width, "height": 800})
        asked: list[str] = []
        seen.on("request", lambda request, asked=asked: asked.append(request.url))
        seen.goto(made.as_uri())
        seen.evaluate("document.querySelectorAll('details').forEach((of) => { of.open = true; })")
        assert seen.evaluate("document.documentElement.scrollWidth") == width
        outside = "(of) => of.getBoundingClientRect().right > innerWidth + 1 && !of.closest('.scroll')"
        assert (
            seen.evaluate(f"[...document.querySelectorAll('main *')].filter({outside}).map((of) => of.outerHTML)") == []
        )
        assert {url.split(":")[0] for url in asked} <= {"file", "data"}
        if width == 390:
            assert [one["id"] for one in axe.Axe().run(seen).response["violations"]] == []
        seen.close()


@contextmanager
def undrawn(*figures: Callable[[Evaluation], Any]) -> Iterator[list[Any]]:
    """Context in which pages have these figures alone, made and not drawn."""
    made: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vadose.reports.page.drawn", made.append)
        patch.setattr("vadose.reports.page.image", lambda png, shows, dpi=1: f'<img alt="{shows}" src="data:,">')
        patch.setattr("vadose.reports.page.FIGURES", (*figures, *[lambda e: None] * 9)[:9])
        yield made


def test_a_page_is_made_once(made: Path, tmp_path: Path) -> None:
    folder, page = tmp_path / "validation", tmp_path / "report.html"
    shutil.copytree(made.parent / "validation", folder)
    shutil.copy(made, page)
    with undrawn() as drawn:
        build_report([folder], page, title="Soil & <water>")
        assert not drawn
        table = folder / "scores.csv"
        table.write_text(table.read_text().replace("0.0", "0.1", 1))
        build_report([folder], page, title="Soil & <water>")
        assert len(drawn) == 10


def test_a_run_without_a_rival_and_a_short_record_say_so(small_cube: xr.Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {"period": ("2015-05-01", "2015-08-01")}
    alone = Evaluation(evaluation(small_cube, tmp_path / "alone", runs=RUNS[2:3], **options))
    assert alone.answer.endswith("; no rival was evaluated with it: add persistence and climatology.")
    beside = evaluation(small_cube, tmp_path / "beside", "false", runs=RUNS[:3], **options)
    with undrawn(difference_maps, reliability):
        html = build_report([beside], tmp_path / "report.html", title="t").read_text()
    assert "SIMULATED" not in html
    assert "no run gives a standard deviation: give <code>vadose evaluate</code> the store of one that does" in html
    assert "has no interval at 1, 3 and 7 days: nothing shows that it is the better one." in html
    assert "Not drawn: no interval: the record is shorter than 120 days" in html


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="not an evaluation"):
        build_report([tmp_path], tmp_path / "report.html", title="t")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def layered(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
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
    with undrawn():
        return build_report(folders, folder / "report.html", title="layers").read_text()


def test_a_page_of_layers_has_an_overview_that_leads_to_each(layered: str) -> None:
    overview = layered.split("Overview</h2>")[1].split("</table>")[0]
    for number, layer in ((1, "0-10 cm"), (2, "10-40 cm")):
        assert f'<a href="#e{number}">Grid cells: test, {layer}</a>' in overview
        assert f"<h2>Grid cells: test, {layer}</h2>" in layered.split(f'<section id="e{number}">')[1]


def test_scenarios_are_rows_of_their_own_and_compared(layered: str) -> None:
    headline, _ = table_of(layered, "Correlation R")
    assert re.findall(r">(novel S\d)</td>", headline) == ["novel S1", "novel S2", "novel S2"]
    # Kinds of weather stand together.
    assert re.findall(r">(with\w+|forecast) weather</td>", headline) == [*["without"] * 3, "forecast"]
    assert "forecast weather" in headline
    assert "<small>–</small>" in headline
    assert "the record is shorter than 120 days" in layered
    gains, _ = table_of(layered, "Gain over baselines and other scenarios")
    assert 'novel S2</td><td class="text">without weather</td><td class="text">novel S1</td>' in gains


def test_distributions_classes_and_products_show_where_there_are_any(layered: str) -> None:
    first, second = (part.split("Methods")[0] for part in layered.split('<section id="e')[1:])
    coverage, _ = table_of(first, "Probabilistic scores")
    assert "coverage of the central 90 %" in coverage
    assert re.findall(r'>(coverage|CRPS)[^<]*</td><td class="text">persistence', coverage) == ["CRPS"]
    classes, _ = table_of(first, "By class of cells")
    assert list(dict.fromkeys(re.findall(r">(forest|grassland)</td>", classes))) == ["forest", "grassland"]
    products, _ = table_of(first, "Comparison with products")
    assert '>nldas noah</td><td class="text">analysis, no forecast</td>' in products
    assert "Probabilistic scores" not in second
    assert "Comparison with products" not in second


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


def test_a_new_metric_is_a_line_and_stands_in_tables_report_and_plots(
    small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "amplitude", amplitude)
    folder = evaluation(small_cube, tmp_path / "e", runs=RUNS[:3])
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("scores", "comparisons")}
    assert all("amplitude" in set(table.metric) for table in tables.values())
    with undrawn(scorecard) as drawn:
        page = build_report([folder], tmp_path / "report.html", title="mine").read_text()
    assert ">amplitude</td>" in page
    assert "amplitude, less is better" in [axis.get_title() for axis in drawn[1].axes]
    assert "median amplitude" in [axis.get_ylabel() for axis in plot_by_lead(tables["scores"]).axes]


def test_hits_and_false_alarms_are_counted_by_class() -> None:
    days = np.arange(100.0)[:, None] / 100
    hits = np.array([10, 0]), np.array([20, 0])
    assert _limits(days, 0.3).tolist() == [0.29]
    value, low, high = _share(*hits)
    assert (value, np.isnan(low), np.isnan(high)) == (0.5, True, True)  # one block alone has events
    assert np.isnan(_share(hits[0][1:], hits[1][1:])[0])
    assert _share(np.full(10, 3), np.full(10, 6)) == (0.5, 0.5, 0.5)
