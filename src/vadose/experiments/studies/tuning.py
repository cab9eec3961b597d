"""Bayesian search of a run's hyper-parameters, on validation days alone.

Trials are proposed by Optuna's tree-structured Parzen estimator, trained with one seed on the training days, and
stopped when their validation loss after an epoch is above the median of the trials before them.

References
----------
Akiba et al. (2019), doi:10.1145/3292500.3330701; Bergstra et al. (2011), NeurIPS 24, 2546-2554.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from torch import Tensor

from vadose.artefact import locked, writing
from vadose.cube import open_cube
from vadose.errors import VadoseError, extras, nearest
from vadose.evaluation import Scores, evaluate
from vadose.evaluation.intervals import FEWEST_DAYS
from vadose.experiments import Experiment, RunConfig
from vadose.experiments.space import Space, space_of, with_settings
from vadose.experiments.studies.checks import check_pairs, min_pairs
from vadose.experiments.studies.pipeline import Pipeline
from vadose.models import MODELS
from vadose.parallel.progress import Progress, silent
from vadose.parallel.running import Running
from vadose.training.forecasters import ForecastTask, with_shape
from vadose.training.loop import fit, new_network
from vadose.training.processes import JoinedNetwork, launched

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

BEFORE_PRUNING = 5
"""Trials trained to their end before others are measured against their median."""
OWN, TUNED = "own settings", "tuned"
NO_INTERVAL = f"no interval from fewer than {FEWEST_DAYS} days, or of too few pairs or sites"


@dataclass(frozen=True)
class Search:
    """What is searched: the run, how many finished trials there are to be, the seed they are proposed with, and the
    file of the space (`vadose.experiments.space`), that of the model when left out."""

    run: str
    trials: int = 30
    seed: int = 0
    space: Path | None = None


class _Diverged(Exception):
    """A loss that is no number."""


@dataclass(frozen=True)
class _Watched(ForecastTask):
    """A task that tells its validation loss after each epoch."""

    told: Callable[[float], None]

    def validate(self, predict: JoinedNetwork) -> float | None:
        if (loss := super().validate(predict)) is not None:
            self.told(loss)
        return loss

    def step(self, *of_batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, logged = super().step(*of_batch)
        if not math.isfinite(float(loss.detach())):
            raise _Diverged
        return loss, logged


def tune(
    experiment: Experiment,
    cube: Path | xr.Dataset,
    out: Path,
    search: Search,
    *,
    running: Running = Running(),
    progress: Progress = silent,
) -> Path:
    """Search the hyper-parameters of a run and write the best as an experiment; an interrupted search resumes.

    Of the cube nothing after the last validation day is read. ``out`` holds ``journal.log``, the search as Optuna
    stores it; ``trials.csv``; ``best.yaml``, the experiment with the run's best settings and without profiles;
    ``gain.csv`` and ``summary.txt``: the run with its own settings and with the best, both trained with the run's
    seeds, their scores on the validation days and the differences with 95 % intervals. Trials are trained with the
    first of the seeds. A trial that was interrupted counts as failed and is done again with the same settings.

    Returns
    -------
    Path
        ``best.yaml``.

    Raises
    ------
    VadoseError
        When optuna is not installed, the run is no network or cannot be trained by itself, the space does not fit,
        ``out`` holds another search, or all trials diverge.
    """
    alone = _alone(experiment, search).run_as(running)
    run, split = alone.runs[search.run], alone.split
    space = space_of(run, search.space)
    pipeline = Pipeline(alone, _until(cube, split.validation.last), out / "runs", out / "forecasts", progress)
    layer = pipeline.layers[0]
    check_pairs(alone, "validation", pipeline.scored(), pipeline.stations, {layer.name: layer.config.observed})
    of_run = run.model_dump(mode="json")
    for of_the_machine in ("compile", "device"):
        del of_run["training"][of_the_machine]
    made_of: dict[str, Any] = pipeline.made_of | {
        "run": of_run,
        "layer": layer.name,
        "training days": str(split.training),
    }
    made_of |= {"validation days": str(split.validation), "space": space.model_dump(mode="json"), "seed": search.seed}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / "journal.log", out):
        study = _study(out, made_of)
        _search(study, pipeline, space, search, out)
        try:
            best = study.best_trial
        except ValueError:
            raise VadoseError(f"{out}: all trials diverged; search lower learning rates, see trials.csv") from None
        settings = space.settings(best.params)
        gain = _gain(pipeline, run, with_settings(run, settings), out)
        head = f"best: trial {best.number}, validation loss {best.value:.4g}, {_words(settings)}"
        text = "\n".join([_cost(study, search, run), head, *_told(gain, run, f"{split.validation}")]) + "\n"
        tuned = experiment.runs | {search.run: with_settings(experiment.runs[search.run], settings)}
        chosen = experiment.model_copy(update={"runs": tuned})
        values = {"kind": chosen.kind} | chosen.model_dump(mode="json", exclude={"profiles"}, exclude_defaults=True)
        with writing(out / "summary.txt") as scratch:
            scratch.write_text(text)
        with writing(out / "best.yaml") as scratch:
            commented = "".join(f"# {line}\n" for line in text.splitlines())
            scratch.write_text(commented + yaml.safe_dump(values, sort_keys=False))
    return out / "best.yaml"


def _alone(experiment: Experiment, search: Search) -> Experiment:
    """The experiment of the run alone, at the uppermost of its layers; what cannot be searched is refused."""
    with extras():
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if launched().world_size > 1:
        raise VadoseError("a search runs in one process; found several, started by torchrun")
    if search.trials < 1:
        raise VadoseError(f"trials is {search.trials}; expected 1 or more")
    name, layers = search.run, list(experiment.layers)
    if name not in experiment.runs:
        raise VadoseError(f"unknown run '{name}'{nearest(name, list(experiment.runs))}")
    run = experiment.runs[name]
    if MODELS[run.model].learns != "steps":
        raise VadoseError(f"run '{name}': {run.model} has no epochs to prune; choose one of {experiment.networks()}")
    if run.stations:
        raise VadoseError(f"run '{name}' also learns from stations; expected 'stations: 0' in a search")
    at = [layer for layer in layers if layer in (run.only or layers)][:1]
    if run.above and at != layers[:1]:
        raise VadoseError(
            f"run '{name}' needs forecasts of the layers above {at[0]}; search a run of {layers[0]}, or without 'above'"
        )
    of_layer = {layer: experiment.layers[layer] for layer in at}
    return experiment.model_copy(update={"runs": {name: run}, "blends": {}, "rivals": {}, "layers": of_layer})


def _until(cube: Path | xr.Dataset, last: str) -> xr.Dataset:
    """The cube without the days after the last validation day."""
    opened = open_cube(cube) if isinstance(cube, Path) else cube
    return opened.isel(time=np.flatnonzero(pd.DatetimeIndex(opened.time.values).normalize() <= pd.Timestamp(last)))


def _study(out: Path, made_of: dict[str, Any]) -> "Study":
    """The search in a folder, begun or resumed: a trial left at work was interrupted, and counts as failed."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    journal = out / "journal.log"
    # A killed process may leave Optuna's own lock, and a line cut short.
    journal.with_name("journal.log.lock").unlink(missing_ok=True)
    if journal.exists() and not (text := journal.read_bytes()).endswith(b"\n"):
        journal.write_bytes(text[: text.rfind(b"\n") + 1])
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name="vadose",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING),
        load_if_exists=True,
    )
    made_of = json.loads(json.dumps(made_of))
    found = study.user_attrs.get("made_of", made_of)
    if other := [key for key in made_of if made_of[key] != found.get(key)]:
        raise VadoseError(f"{out}: holds a search of another {', '.join(other)}; choose another folder, or remove it")
    study.set_user_attr("made_of", made_of)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _finished(study: "Study") -> "list[FrozenTrial]":
    return [trial for trial in study.get_trials() if trial.state.name in ("COMPLETE", "PRUNED")]


def _search(study: "Study", pipeline: Pipeline, space: Space, search: Search, out: Path) -> None:
    """Add trials until there are as many finished ones as asked for.

    What a trial takes follows from the seed and the finished trials, as if none had been interrupted.
    """
    from optuna.samplers import TPESampler

    begun, before, label = time.monotonic(), len(_finished(study)), f"tuning {search.run}"
    for number in range(before, search.trials):
        words = f"{label}: trial {number + 1} of {search.trials}"
        if number > before:
            left = (time.monotonic() - begun) / (number - before) * (search.trials - number)
            words += f", about {left / 60:.0f} min left"
        study.sampler = TPESampler(seed=int(np.random.default_rng([search.seed, number]).integers(2**31)))
        trial = study.ask()
        for name, span in space.parameters.items():
            span.suggested(name, trial)
        run = with_settings(pipeline.experiment.runs[search.run], space.settings(trial.params))

        def tell(_: str, share: float, words: str = words, number: int = number) -> None:
            pipeline.progress(words, (number + 0.99 * share) / search.trials)

        _try(study, trial, pipeline, run, tell)
        _write_trials(study, out)
    if before < search.trials:
        pipeline.progress(label, 1.0)


def _try(study: "Study", trial: "Trial", pipeline: Pipeline, run: RunConfig, progress: Progress) -> None:
    """Train a trial's run with the first of its seeds: the validation loss at the epoch that is kept."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    losses: list[float] = []

    def told(loss: float) -> None:
        if not math.isfinite(loss):
            raise _Diverged
        losses.append(loss)
        trial.report(loss, len(losses))
        if trial.should_prune():
            raise TrialPruned

    split, seed, begun = pipeline.experiment.split, run.training.seeds[0], time.monotonic()
    value, state = None, TrialState.PRUNED
    try:
        samples = pipeline.samples(pipeline.layers[0], run, split.training, "validation")
        network = new_network(run.model, samples.channels, with_shape(run.model, run.hyper, samples), seed)
        task = _Watched(network, run.training, seed, "trial", samples, split.training, split.validation, told)
        value, state = losses[fit(task, progress=progress)[0] - 1], TrialState.COMPLETE
    except TrialPruned:
        pass
    except _Diverged:
        trial.set_user_attr("diverged", True)
    except ValueError as error:
        raise VadoseError(f"trial {trial.number}, {_words(trial.params)}: {error}") from error
    trial.set_user_attr("minutes", (time.monotonic() - begun) / 60)
    trial.set_user_attr("epochs", len(losses))
    study.tell(trial, value, state)


def _write_trials(study: "Study", out: Path) -> None:
    """Write ``trials.csv``."""
    words = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "interrupted"}
    rows = [
        {"trial": t.number, "state": "diverged" if "diverged" in t.user_attrs else words[t.state.name]}
        | {"validation_loss": t.value, "epochs": t.user_attrs.get("epochs"), "minutes": t.user_attrs.get("minutes")}
        | t.params
        for t in study.get_trials()
    ]
    with writing(out / "trials.csv") as scratch:
        pd.DataFrame(rows).to_csv(scratch, index=False)


def _gain(pipeline: Pipeline, own: RunConfig, tuned: RunConfig, out: Path) -> pd.DataFrame:
    """Train both with the run's seeds, score them on the validation days, and write ``gain.csv``."""
    runs = {"own": (own, OWN), "tuned": (tuned, TUNED)}
    of_both = {name: run.model_copy(update={"scenario": word, "refit": False}) for name, (run, word) in runs.items()}
    experiment, progress = pipeline.experiment.model_copy(update={"runs": of_both}), pipeline.progress
    both = Pipeline(experiment, pipeline.cube, pipeline.runs, pipeline.forecasts, progress)
    both.train(both.layers[0])
    scores = Scores(
        evaluate(
            [xr.open_zarr(store, consolidated=False) for store in both.forecast(both.layers[0], "validation")],
            both.scored(),
            out=out / "evaluation",
            period=(experiment.split.validation.first, experiment.split.validation.last),
            min_pairs=min_pairs(experiment, "validation"),
            allow_learnt_days=True,  # none was trained on; they chose the epoch and the settings
            progress=progress,
        )
    )
    of_runs = {name: scores.table[scores.table.scenario == word] for name, (_, word) in runs.items()}
    keys, pairs = ["lead_days", "metric"], scores.comparisons
    gain = pairs[(pairs.scenario == TUNED) & (pairs.baseline_scenario == OWN)].rename(columns={"median": "difference"})
    gain = gain[[*keys, "difference", "lower", "upper", "share_better", "n_sites", "n_pairs"]].set_index(keys)
    gain = gain.assign(**{name: table.set_index(keys)["median"] for name, table in of_runs.items()}).reset_index()
    with writing(out / "gain.csv") as scratch:
        gain.to_csv(scratch, index=False)
    return gain


def _cost(study: "Study", search: Search, run: RunConfig) -> str:
    """Number of trials by their end, their minutes and seeds."""
    done, diverged = _finished(study), sum("diverged" in trial.user_attrs for trial in study.get_trials())
    pruned = sum(trial.state.name == "PRUNED" for trial in done) - diverged
    return (
        f"search of {search.run}: {len(done)} trials in {sum(t.user_attrs['minutes'] for t in done):.1f} min, {pruned} "
        f"pruned, {diverged} diverged, besides {len(study.get_trials()) - len(done)} interrupted; proposed with seed "
        f"{search.seed}, trained with seed {run.training.seeds[0]}"
    )


def _told(gain: pd.DataFrame, run: RunConfig, days: str) -> list[str]:
    """The gain in R and ubRMSE by lead, and what it is worth."""
    seeds = ", ".join(map(str, run.training.seeds))
    rows = [
        f"  {g['lead_days']} d {g['metric']}: {g['own']:.4f} -> {g['tuned']:.4f}, difference {g['difference']:+.4f} "
        + (f"({g['lower']:+.4f} .. {g['upper']:+.4f})" if g["lower"] == g["lower"] else f"({NO_INTERVAL})")
        + f", {g['n_sites']} sites, {g['n_pairs']} pairs"
        for g in gain[gain.metric.isin(("pearson_r", "ubrmse"))].to_dict("records")
    ]
    head = f"own settings -> best, both trained with seeds {seeds}, median over sites on {days}, 95 % interval:"
    return [head, *rows, "chosen on these validation days: the gain is optimistic"]


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {v:.3g}" if isinstance(v, float) else f"{name} {v}" for name, v in settings.items())
