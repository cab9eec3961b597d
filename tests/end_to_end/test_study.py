"""The whole road, small, on a simulated world."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube import build_cube
from vadose.errors import VadoseError
from vadose.evaluation.scores import COLUMNS
from vadose.experiments import Experiment, load_experiment, quick
from vadose.experiments.studies import study as study_cube
from vadose.insitu.store import build_stations
from vadose.twin.world import build_database_world

MODELS = {"persistence", "damped_persistence", "climatology", "trees", "lstm", "convlstm", "blend"}
LEADS = (1, 30)


def small(only: set[str] | None = None) -> Experiment:
    """The demonstration in a few steps of small networks; two leads, and its test period cut to a month."""
    experiment = quick(load_experiment("demo_database"))
    split = experiment.split.model_dump() | {"test": {"first": "2016-04-01", "last": "2016-04-30"}}
    smaller = {"lstm": {"hidden": 4}, "convlstm": {"filters": [4]}}
    runs = {n: r.model_copy(update={"hyper": r.hyper | smaller.get(r.model, {})}) for n, r in experiment.runs.items()}
    update: dict[str, Any] = {"split": type(experiment.split).model_validate(split), "leads": LEADS}
    update |= {"runs": runs}
    if only:
        update |= {"runs": {n: r for n, r in runs.items() if n in only}, "blends": {}}
    return experiment.model_copy(update=update)


def study(experiment: Experiment, data: Path, out: Path, **options: Any) -> Path:
    """Build and study, as the command does."""
    return study_cube(experiment, build_cube(data, out / "cube.zarr"), out, **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_database_world(tmp_path_factory.mktemp("world") / "world", years=2, stations=6)


@pytest.fixture(scope="module")
def done(world: Path, tmp_path_factory: pytest.TempPathFactory, blank_figures: Any) -> Path:
    out = tmp_path_factory.mktemp("study")
    stations = build_stations(out / "stations.zarr", uscrn=world / "uscrn")
    with blank_figures():
        study(small(), world / "conusv4f1", out, title="Small study", stations=stations)
    return out


def test_every_model_is_scored_with_every_metric_at_every_lead(done: Path) -> None:
    table = pd.read_csv(done / "scores.csv", keep_default_na=False, na_values=[""])
    assert list(table.columns) == COLUMNS
    assert set(table[table.weather == "none"].model) == MODELS
    assert set(table[table.weather == "perfect"].model) == {"trees", "lstm", "convlstm", "blend"}
    assert set(table.lead_days) == set(LEADS)
    # Eleven models, two leads, nine metrics, for some have a deviation, at cells and at stations.
    assert len(table) == 11 * 2 * 9 * 2
    assert set(table.dataset) == {"conusv4f1", "USCRN"}
    cells = table[(table.dataset == "conusv4f1") & (table.metric == "rmse")]
    assert np.isfinite(cells["median"]).all()
    assert cells.groupby("lead_days").n_pairs.nunique().eq(1).all()


def test_both_phases_are_evaluated_and_reported_as_simulated(done: Path) -> None:
    assert sorted(p.name for p in (done / "evaluation").iterdir()) == [
        "test",
        "test-stations",
        "validation",
        "validation-stations",
    ]
    html = (done / "report.html").read_text()
    assert "SIMULATED" in html
    assert html.count("<h2>") == 5


def test_the_test_phase_uses_the_networks_fitted_on_all_days(done: Path) -> None:
    for phase, name in (("validation", "selected.pt"), ("test", "final.pt")):
        attrs = xr.open_zarr(done / "forecasts" / phase / "lstm.zarr", consolidated=False).attrs
        from vadose.artefact import identity

        assert json.loads(attrs["inputs"])["checkpoint"] == identity(done / "runs" / "lstm" / name)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report is made: for what is looked at before."""
    monkeypatch.setattr("vadose.experiments.studies.forecasting.build_report", lambda folders, out, title: out)


@pytest.mark.usefixtures("undrawn")
def test_a_finished_study_is_not_done_again(done: Path, world: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (done / "runs").rglob("*.pt")}
    told: list[str] = []
    study(
        small(),
        world / "conusv4f1",
        done,
        title="Small study",
        progress=lambda what, share: told.append(what),
    )
    assert {p: p.stat().st_mtime_ns for p in (done / "runs").rglob("*.pt")} == before
    assert not [what for what in told if what.startswith(("training", "fitting", "forecasting"))]


@pytest.mark.usefixtures("undrawn")
def test_changing_the_future_changes_no_forecast_of_the_road(world: Path, done: Path, tmp_path: Path) -> None:
    """Observations after the last training day, spoilt on disk, leave every earlier forecast as it was."""
    spoilt, names = tmp_path / "spoilt", ("persistence", "climatology", "trees", "lstm")
    shutil.copytree(world / "conusv4f1", spoilt)
    for name in ("SMAP_AM", "APCP_FORA", "TMP_2_FORA"):
        path = spoilt / "CONUSv4f1" / "2016" / f"{name}.csv"
        values = np.loadtxt(path, delimiter=",")
        np.savetxt(path, np.where(values == -9999, -9999, values * 0.9), fmt="%.8g", delimiter=",")
    study(small(set(names)), spoilt, tmp_path / "out", title="t")
    # The spoilt days begin on 2016-04-01; forecasts issued before know nothing of them.
    for name in names:
        before, after = (
            xr.open_zarr(root / "forecasts" / "test" / f"{name}.zarr", consolidated=False).soil_moisture
            for root in (done, tmp_path / "out")
        )
        assert before.equals(after) == (name == "climatology")  # of training days alone
        known = before.sel(init_time=slice(None, "2016-03-31"))
        assert known.sizes["init_time"] == 30
        np.testing.assert_array_equal(known.values, after.sel(init_time=known.init_time).values)


@pytest.mark.usefixtures("undrawn")
def test_of_a_dense_map_the_cells_to_score_are_forecast_alone(world: Path, done: Path, tmp_path: Path) -> None:
    names = {"damped_persistence", "trees", "convlstm"}
    thinned = small(names).model_copy(update={"score_every": 2})
    for part in ("runs", "cube.zarr"):
        shutil.copytree(done / part, tmp_path / part)
    study(thinned, world / "conusv4f1", tmp_path, title="t")
    for name in names:
        whole, part = (
            xr.open_zarr(root / "forecasts" / "test" / f"{name}.zarr", consolidated=False).soil_moisture.values
            for root in (done, tmp_path)
        )
        known = np.isfinite(part).any(axis=(0, 1))
        assert 0 < known.sum() < np.isfinite(whole).any(axis=(0, 1)).sum()
        np.testing.assert_allclose(part[..., known], whole[..., known], atol=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_data_without_the_test_year_are_validated_only(world: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(world / "conusv4f1", data)
    (data / "CONUSv4f1" / "2016" / "SMAP_AM.csv").unlink()
    study(small({"persistence", "climatology"}), data, tmp_path / "out", title="t")
    assert [p.name for p in (tmp_path / "out" / "evaluation").iterdir()] == ["validation"]
    assert set(pd.read_csv(tmp_path / "out" / "scores.csv").model) == {"persistence", "climatology"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "2016/APCP_FORA.csv").write_text("1,2\n"), "APCP_FORA.csv"),
        (lambda root: (root / "2016").rename(root / "2017"), r"no folder for \[2016\]"),
    ],
)
def test_broken_data_stop_the_road_and_leave_nothing(world: Path, tmp_path: Path, damage: Any, message: str) -> None:
    data = tmp_path / "data"
    shutil.copytree(world / "conusv4f1", data)
    damage(data / "CONUSv4f1")
    with pytest.raises(VadoseError, match=message):
        study(small(), data, tmp_path / "out", title="t")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
