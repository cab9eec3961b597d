import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluate import evaluate
from vadose.report import build_report

LEADS = (1, 3, 7)


def evaluation(cube: xr.Dataset, out: Path, simulated: str = "true") -> Path:
    """An evaluation of four made-up runs."""
    cube = cube.assign_attrs(simulated=simulated)
    days = cube.time.values[20:110]
    flat = pd.DataFrame(cube.soil_moisture.values.reshape(150, -1)).ffill().bfill().to_numpy()
    truth = flat.reshape(cube.soil_moisture.shape)
    rng = np.random.default_rng(0)
    stores = []
    runs = (
        ("persistence", "none", 0.05),
        ("climatology", "none", 0.04),
        ("lstm", "none", 0.03),
        ("lstm", "perfect", 0.01),
    )
    for model, weather, error in runs:
        values = np.stack([truth[20 + lead : 110 + lead] for lead in LEADS], axis=1)
        values = values + error * rng.normal(size=values.shape)
        attrs = {
            key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")
        }
        attrs |= {"model": model, "weather": weather, "scenario": "all", "causal": "true"}
        coords = {"init_time": days, "lead_time": pd.to_timedelta(LEADS, unit="D"), "lat": cube.lat, "lon": cube.lon,
                  "y": cube.y, "x": cube.x}  # fmt: skip
        stores.append(
            xr.Dataset({"soil_moisture": (("init_time", "lead_time", "y", "x"), values)}, coords=coords, attrs=attrs)
        )
    return evaluate(stores, cube, out=out, min_pairs=20, replicates=40)


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
def test_only_a_simulated_world_is_called_so(small_cube: xr.Dataset, tmp_path: Path, simulated: str) -> None:
    folder = evaluation(small_cube, tmp_path / "test", simulated)
    html = build_report([folder], tmp_path / "report.html", title="t").read_text()
    assert ("SIMULATED" in html) == (simulated == "true")


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="no evaluation there"):
        build_report([tmp_path], tmp_path / "report.html", title="t")
    assert not list(tmp_path.iterdir())
