"""The search of hyper-parameters, on the small made-up cube."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.experiments import Experiment, load_experiment
from vadose.experiments.studies import tuning
from vadose.experiments.studies.tuning import Search, tune

FILE: dict[str, Any] = {
    "split": {
        "training": {"first": "2015-04-10", "last": "2015-04-16"},
        "validation": {"first": "2015-04-17", "last": "2015-08-18"},
        "test": {"first": "2015-08-19", "last": "2015-08-28"},
    },
    "leads": [1, 3],
    "runs": {
        "net": {
            "model": "convlstm",
            "hyper": {"filters": [2]},
            "history": ["{observed}_filled", "precipitation"],
            "leads": [1, 3],
            "window": 4,
            "stride": 4,
            "training": {"epochs": 2, "batch_size": 16, "samples_per_epoch": 32, "seeds": [3, 4]},
        },
        "trees": {"model": "trees"},
    },
    "min_pairs": 5,
}
SPACE = """
kind: space
parameters:
  hyper.filters: [[2], [2, 3]]
  look_back: {low: 1, high: 3}
  training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
"""
TIMED = ["minutes", "trial"]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment.model_validate(FILE)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(SPACE)
    return file


@pytest.fixture(scope="module")
def done(experiment: Experiment, space: Path, small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "out"
    assert tune(experiment, small_cube, out, Search("net", 3, 0, space)) == out / "best.yaml"
    return out


@pytest.fixture
def without_gain(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_gain", lambda *_: pd.read_csv(done / "gain.csv"))


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[float]]]:
    """Validation losses that trials have instead of being trained, one list a trial."""
    scripted: list[list[float]] = []

    def fit(task: Any, **_: Any) -> tuple[int, list[Any]]:
        of_trial = scripted.pop(0)
        for loss in of_trial:
            task.told(loss)
        return len(of_trial), []

    monkeypatch.setattr(tuning, "fit", fit)
    yield scripted
    assert not scripted


def trials_of(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "trials.csv")


def test_the_best_trial_is_an_experiment_and_its_gain_has_intervals(done: Path, experiment: Experiment) -> None:
    table = trials_of(done)
    best = table.loc[table.validation_loss.idxmin()]
    assert table.state.tolist() == ["finished"] * 3
    written = load_experiment(str(done / "best.yaml"))
    run = written.runs["net"]
    assert run.look_back == best["look_back"]
    assert run.training.learning_rate == pytest.approx(best["training.learning_rate"])
    assert str(list(run.hyper["filters"])) == best["hyper.filters"]
    assert (run.training.seeds, run.refit, run.scenario) == ((3, 4), True, "all")
    assert written.runs["trees"] == experiment.runs["trees"]
    gain = pd.read_csv(done / "gain.csv").set_index(["metric", "lead_days"])
    row = gain.loc[("ubrmse", 1)]
    assert row.lower <= row.difference <= row.upper
    assert row.n_sites > 10
    text = (done / "summary.txt").read_text()
    assert "3 trials in" in text
    assert "proposed with seed 0, trained with seed 3" in text
    assert "both trained with seeds 3, 4" in text
    assert "1 d pearson_r: " in text
    assert text.endswith("chosen on these validation days: the gain is optimistic\n")


def test_values_of_test_days_change_nothing(
    done: Path, experiment: Experiment, space: Path, small_cube: xr.Dataset, tmp_path: Path, without_gain: None
) -> None:
    spoilt = small_cube.copy(deep=True)
    late = spoilt.time > pd.Timestamp("2015-08-18")
    for name in spoilt.data_vars:
        if "time" in spoilt[name].dims:
            spoilt[name] = spoilt[name].where(~late, 0.4)
    tune(experiment, spoilt, tmp_path / "out", Search("net", 2, 0, space))
    pd.testing.assert_frame_equal(
        trials_of(tmp_path / "out").drop(columns=TIMED), trials_of(done)[:2].drop(columns=TIMED)
    )


def test_an_interrupted_search_resumes_to_the_same_trials(
    done: Path,
    experiment: Experiment,
    space: Path,
    small_cube: xr.Dataset,
    tmp_path: Path,
    without_gain: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, search = tmp_path / "out", Search("net", 3, 0, space)

    def stop(what: str, share: float) -> None:
        if "trial 2" in what and share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(experiment, small_cube, out, search, progress=stop)
    # As a kill leaves it: a line cut short, and a lock of Optuna's own.
    with (out / "journal.log").open("a") as journal:
        journal.write('{"op_code":8,"wor')
    (out / "journal.log.lock").symlink_to("journal.log")
    tune(experiment, small_cube, out, search)
    table = trials_of(out)
    assert table.state.tolist() == ["finished", "interrupted", "finished", "finished"]
    again = table[table.state == "finished"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.drop(columns=TIMED), trials_of(done).drop(columns=TIMED), check_dtype=False)
    assert table["look_back"][1] == table["look_back"][2]
    assert "3 trials in" in (out / "summary.txt").read_text()
    assert "1 interrupted" in (out / "summary.txt").read_text()
    # Neither a finished trial nor the whole is done again.
    monkeypatch.setattr(tuning, "_try", None)
    tune(experiment, small_cube, out, search)
    with pytest.raises(VadoseError, match=r"holds a search of another seed; choose another folder"):
        tune(experiment, small_cube, out, Search("net", 3, 1, space))


def test_trials_are_pruned_by_the_median_and_diverged_ones_count(
    experiment: Experiment,
    space: Path,
    small_cube: xr.Dataset,
    tmp_path: Path,
    without_gain: None,
    losses: list[list[float]],
) -> None:
    losses += [[0.5, 0.4], [0.6, 0.5], [float("nan")], [0.7, 0.6], [0.8, 0.7], [0.9, 0.8], [0.95, 0.1], [0.4, 0.3]]
    tune(experiment, small_cube, tmp_path / "out", Search("net", 8, 0, space))
    table = trials_of(tmp_path / "out")
    assert table.state.tolist() == [*["finished"] * 2, "diverged", *["finished"] * 3, "pruned", "finished"]
    assert table.epochs.tolist() == [2, 2, 0, 2, 2, 2, 1, 2]
    assert "1 pruned, 1 diverged" in (tmp_path / "out/summary.txt").read_text()
    assert "best: trial 7, validation loss 0.3" in (tmp_path / "out/summary.txt").read_text()


def test_a_search_whose_trials_all_diverge_has_no_best(
    experiment: Experiment, space: Path, small_cube: xr.Dataset, tmp_path: Path, losses: list[list[float]]
) -> None:
    losses += [[float("nan")]]
    with pytest.raises(VadoseError, match="all trials diverged; search lower learning rates"):
        tune(experiment, small_cube, tmp_path / "out", Search("net", 1, 0, space))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hyper.dropuot: [0.1]", "'hyper.dropuot' of convlstm cannot be searched; did you mean 'hyper.dropout'"),
        ("training.form: [crps]", "'training.form' of convlstm cannot be searched"),
        ("hyper.dropout: [much]", "hyper.dropout of convlstm cannot be 'much'"),
        ("look_back: {low: 0, high: 3}", "look_back of convlstm cannot be 0: Input should be greater than or equal"),
        ("look_back: {low: 3, high: 3}", "parameters.look_back: expected a list of values, or low < high"),
        ("training.weight_decay: {low: 0, high: 1, log: true}", "above 0 with log: true"),
        ("look_back: {low: 1, hihg: 3}", "unknown key 'parameters.look_back.hihg'; did you mean 'high'"),
        ("look_back: 3", "parameters.look_back: "),
        ("", "parameters"),
    ],
)
def test_a_bad_space_is_refused(
    text: str, message: str, experiment: Experiment, small_cube: xr.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text(f"parameters:\n  {text}\n")
    with pytest.raises(VadoseError) as told:
        tune(experiment, small_cube, tmp_path / "out", Search("net", 3, 0, tmp_path / "space.yaml"))
    assert message in str(told.value)
    assert "space.yaml: " in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (Search("net", 0), "trials is 0; expected 1 or more"),
        (Search("nett"), "unknown run 'nett'; did you mean 'net'"),
        (Search("trees"), r"trees has no epochs to prune; choose one of \['net'\]"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    search: Search, message: str, experiment: Experiment, small_cube: xr.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(VadoseError, match=message):
        tune(experiment, small_cube, tmp_path / "out", search)


def test_a_run_below_others_is_refused(small_cube: xr.Dataset, tmp_path: Path) -> None:
    paper = load_experiment("forecast_demo")
    runs = {"deep": paper.runs["convlstm-S2"].model_copy(update={"only": ("10-40 cm",)})}
    with pytest.raises(VadoseError, match="run 'deep' needs forecasts of the layers above 10-40 cm"):
        tune(paper.model_copy(update={"runs": runs}), small_cube, tmp_path / "out", Search("deep"))


def test_without_optuna_a_line_says_so(
    experiment: Experiment, small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(VadoseError, match=r'needs optuna; pip install "vadose\[tune\]"'):
        tune(experiment, small_cube, tmp_path / "out", Search("net"))


@pytest.mark.parametrize("model", ["convlstm", "lstm", "simvp", "surrogate"])
def test_built_in_spaces_fit_their_models(model: str) -> None:
    run = Experiment.model_validate(FILE).runs["net"]
    assert tuning.space_of(run.model_copy(update={"model": model, "hyper": {}})).parameters
