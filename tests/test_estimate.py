"""What a study is said to take: by made-up rates, and by the probes themselves."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vadose.cli import main
from vadose.errors import VadoseError
from vadose.experiments import Experiment, built_in, load_experiment
from vadose.experiments.downscaling import DownscalingRun, load_downscaling, load_study
from vadose.experiments.section import Size
from vadose.experiments.studies import estimate as module
from vadose.experiments.studies.estimate import estimate
from vadose.experiments.studies.probes import Rates, computed, probe_station_run, windows
from vadose.training.station_days import Fitting

SPLIT = {
    "training": {"first": "2018-01-01", "last": "2018-04-10"},
    "validation": {"first": "2018-05-01", "last": "2018-05-10"},
    "test": {"first": "2018-06-01", "last": "2018-06-10"},
}
NETWORK = {
    "model": "convlstm",
    "hyper": {"filters": [2]},
    "history": ["precipitation"],
    "window": 4,
    "stride": 4,
    "refit": False,
    "training": {"epochs": 5, "patience": 1, "batch_size": 8, "samples_per_epoch": 64},
}


def test_the_paper_s_windows_over_conus_are_counted() -> None:
    assert windows((282, 627), 8, 2) == 138 * 311
    assert windows((18, 38), None, 1) == 1
    # Two tiles of 100 x 100 cells and a halo of 4 are no map of 200 cells: what overlaps is computed twice.
    assert computed((100, 200), None, 1, 4) == 100 * 200
    assert computed((600, 600), None, 1, 8) > 600 * 600
    assert computed((18, 38), 8, 2, None) == windows((18, 38), 8, 2) * 64


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second a sample learnt from, a tenth for the statistics, a thousandth a cell forecast, nothing else."""
    of = Rates(1.0, 0.1, 1e-3, 0.0, 4, None, "float32")
    kept = replace(of, of_each_cell=True)
    monkeypatch.setattr(module, "probe_run", lambda run, *_: kept if run.model == "climatology" else of)
    monkeypatch.setattr(module, "probe_evaluation", lambda *_: 0.0)


@pytest.mark.usefixtures("rates")
def test_hours_follow_from_steps_epochs_and_days() -> None:
    experiment = Experiment.model_validate({"split": SPLIT, "runs": {"network": NETWORK}})
    found = estimate(experiment, Size(rows=8, columns=12))
    training, forecasts, _ = found.costs
    # Six windows on 129 days; an epoch takes 64 of them and a third of 64 in validation; statistics are of all.
    assert training.most == pytest.approx(77.4 + 5 * (64 + 64 / 3))
    assert training.least == pytest.approx(77.4 + 2 * (64 + 64 / 3))
    # Ten days of issue and the longest lead before them, less the shortest, twice: windows of 16 cells at stride 1.
    assert forecasts.most == pytest.approx(2 * 39 * 5 * 9 * 16 * 1e-3)
    assert found.kept > 4 * 2 * 39 * 5 * 96
    assert "| total |" in found.text()
    fits = {name: {"model": name, "window": "map"} for name in ("persistence", "climatology")}
    fitted = estimate(Experiment.model_validate({"split": SPLIT, "runs": fits}), Size(rows=8, columns=12))
    # Fitted twice: on 129 maps, or all their cells.
    assert [cost.most for cost in fitted.costs if cost.stage == "training"] == [2 * 129, 2 * 129 * 96]


@pytest.mark.usefixtures("rates")
@pytest.mark.parametrize("profile", ["default", "as_printed"])
def test_the_paper_s_study_is_of_nine_networks(profile: str) -> None:
    found = estimate(load_experiment("forecast_paper").with_profile(profile), Size(rows=282, columns=627))
    training = next(cost for cost in found.costs if cost.stage == "training" and "convlstm" in cost.of)
    assert "convlstm, 9 runs" in training.of
    epochs, steps = (9 * 40, 100) if profile == "default" else (9 * 200, -(-138 * 311 * (1096 + 29) // 32))
    assert training.amount.startswith(f"{epochs} epochs of {steps:,} steps of ")


def test_a_study_without_data_or_size_is_refused(tmp_path: Path) -> None:
    experiment = Experiment.model_validate({"split": SPLIT, "runs": {"network": NETWORK}})
    with pytest.raises(VadoseError, match="the size of the data is not known"):
        estimate(experiment, None)
    for name in [*built_in(kind="forecasting"), *built_in(kind="downscaling")]:
        study: Any = load_study(name)
        assert study.size or getattr(study, "recipe", None) or name.startswith("demo"), name


def test_probes_take_the_time_of_the_functions_that_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vadose.experiments.studies.probes.SURE", 0.0)
    monkeypatch.setattr(module, "probe_evaluation", lambda *_: 0.0)
    file = tmp_path / "tiny.yaml"
    network = NETWORK | {"leads": [1]}
    text = f"leads: [1]\nsize: {{rows: 8, columns: 12}}\nsplit: {SPLIT}\nruns: {{network: {network}}}\n"
    file.write_text(text.replace("'", "").replace("False", "false"))
    monkeypatch.setattr(sys, "argv", ["vadose", "study", str(file), "--estimate"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert "| training | convlstm | 5 epochs of 8 steps of " in shown
    assert list(tmp_path.iterdir()) == [file]


def test_station_days_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vadose.experiments.studies.probes.SURE", 0.0)
    ticks = itertools.count()
    fitting = Fitting(batch_size=16)
    run = DownscalingRun(model="mlp", snapshot=("elevation",), series=("precipitation",), days=3, fitting=fitting)
    assert probe_station_run(run, lambda: float(next(ticks))) == 0
    monkeypatch.setattr(module, "probe_station_run", lambda *_: 1e-3)
    paper = load_downscaling("downscale-paper")
    found = estimate(paper.model_copy(update={"runs": {"mmnet": paper.runs["mmnet"]}}), None)
    days = (pd.Timestamp(paper.last) - pd.Timestamp(paper.first)).days
    rows = 4 * 3 * 365 + 2 * 5 * days * 4 / 5 + 3 * days * 2 / 3
    assert found.costs[0].amount == f"17 folds, {100 * 196 * rows * 0.9:,.0f} station-days"
