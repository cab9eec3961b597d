"""Estimate of the hours, memory and disk that a study takes on this machine, from timings of about a minute."""

import json
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pandas as pd

from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.experiments import Experiment, LayerConfig, RunConfig
from vadose.experiments.downscaling import Downscaling, DownscalingRun
from vadose.experiments.section import Size
from vadose.experiments.studies.pipeline import CHECKPOINTS, days_of_issue
from vadose.experiments.studies.probes import (
    Clock,
    Rates,
    computed,
    probe_evaluation,
    probe_run,
    probe_station_run,
    windows,
)
from vadose.models import MODELS
from vadose.parallel.memory import fits, peak
from vadose.parallel.progress import Progress, silent
from vadose.predict.members import AT_ONCE, BLOCK_DAYS
from vadose.training.loop import STATISTICS, Descent

GB = 1e9


@dataclass(frozen=True)
class Cost:
    """A stage of a study: what is done how often, and seconds with all epochs and at the earliest stop."""

    stage: str
    of: str
    amount: str
    most: float
    least: float


@dataclass
class Estimate:
    """What a study takes: its stages, bytes of memory and disk, and what was assumed."""

    costs: list[Cost] = field(default_factory=list)
    memory: float = 0.0
    kept: float = 0.0
    scratch: float = 0.0
    assumed: list[str] = field(default_factory=list)
    probes: float = 0.0

    @property
    def hours(self) -> tuple[float, float]:
        """At the earliest stop, and with all epochs."""
        return sum(cost.least for cost in self.costs) / 3600, sum(cost.most for cost in self.costs) / 3600

    def text(self) -> str:
        """A Markdown table by stage and the total, and what was assumed."""
        rows = [(c.stage, c.of, c.amount, f"{c.least / 3600:.3g}", f"{c.most / 3600:.3g}") for c in self.costs]
        least, most = self.hours
        rows.append(("total", "", "", f"{least:.3g}", f"{most:.3g}"))
        heads = ("stage", "of", "amount", "hours, earliest stop", "hours, all epochs")
        lines = ["| " + " | ".join(row) + " |" for row in (heads, ("---",) * len(heads), *rows)]
        lines += [
            "",
            f"memory: {self.memory / GB:.1f} GB at most; disk: {self.kept / GB:.1f} GB kept, "
            f"{self.scratch / GB:.1f} GB in the temporary folder while it runs; probes took {self.probes:.0f} s",
            *(f"assumed: {line}" for line in self.assumed),
        ]
        return "\n".join(lines)


def estimate(
    experiment: Experiment | Downscaling,
    size: Size | None,
    days: pd.DatetimeIndex | None = None,
    *,
    clock: Clock = time.perf_counter,
    progress: Progress = silent,
) -> Estimate:
    """Estimate hours, memory and disk of a study, as it is to run (`vadose.parallel.running.Running`).

    A made-up cube, or table of station-days, of the study's own shapes is learnt from for 2 and for 6 batches by the
    functions that train; the difference is the time of a step. Each kind of network is probed once.

    Parameters
    ----------
    size
        Of the grid, or the stations in one column; that of the experiment's file when None.
    days
        Of the cube; when None from the first training day to the last test day.
    clock
        Seconds so far: of the wall, or of the processor.

    Raises
    ------
    VadoseError
        When no size is known.
    """
    size = size or experiment.size
    if size is None:
        raise VadoseError("estimate: the size of the data is not known; give --cube, or 'size' in the experiment")
    begun = time.perf_counter()
    found = Estimate()
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(experiment, Downscaling):
            _of_stations(experiment, size, found, clock, progress)
        else:
            if days is None:
                days = pd.date_range(experiment.first_day(), experiment.split.test.last)
            _of_forecasts(experiment, size, days, found, Path(folder), clock, progress)
    found.memory += peak()
    found.probes = time.perf_counter() - begun
    return found


def _of_forecasts(
    experiment: Experiment,
    size: Size,
    days: pd.DatetimeIndex,
    found: Estimate,
    folder: Path,
    clock: Clock,
    progress: Progress,
) -> None:
    layers = experiment.layers or {"layer": LayerConfig(observed="soil_moisture")}
    groups: dict[str, list[tuple[str, int, RunConfig]]] = {}
    for depth, layer in enumerate(layers):
        for name, run in experiment.runs.items():
            if layer in (run.only or (layer,)):
                groups.setdefault(_kind(run), []).append((name, depth, run))
    phases = [phase for phase in CHECKPOINTS if getattr(experiment.split, phase).first <= f"{days[-1]:%Y-%m-%d}"]
    kept, arrays = 0.0, [0.0]
    for number, members in enumerate(groups.values()):
        progress("probing", number / len(groups))
        by_phase = {name: [len(days_of_issue(experiment, name, p, days)) for p in phases] for name, _, _ in members}
        issued = {name: sum(numbers) for name, numbers in by_phase.items()}
        name, depth, run = max(members, key=lambda member: (len(_names(member, layers)), member[1]))
        rates = probe_run(
            run,
            layers[list(layers)[depth]],
            tuple(layers)[:depth] if run.above else (),
            size,
            max(issued.values()),
            experiment.running,
            folder / str(number),
            clock,
        )
        found.costs += _costs(experiment, members, layers, size, days, rates, issued)
        for name, _, run in members:
            of_day = size.rows * size.columns * len(run.leads)
            kept += 4.0 * of_day * issued[name]
            # Of sequences of days all are held, else a part of them.
            days_held = max(by_phase[name])
            if MODELS[run.model].takes != "series":
                days_held = min(days_held, max(BLOCK_DAYS, AT_ONCE // (8 * of_day)))
            arrays.append(8.0 * of_day * days_held)
    progress("probing", 1.0)
    runs = sum(map(len, groups.values())) + len(layers) * len(experiment.blends)
    sites = len(layers) * size.known / experiment.score_every**2
    of_site = probe_evaluation(experiment.leads, folder / "evaluation", clock)
    scored = sum(_held(experiment, phase, days) for phase in phases) / 365
    seconds = of_site * sites * runs / len(layers) * scored
    series = f"{runs * sites / len(layers):,.0f} series"
    found.costs.append(Cost("scoring", "all runs at cells", series, seconds, seconds))
    found.kept = kept + 4.0 * sites * runs / len(layers) * len(experiment.leads) * 365 * scored
    values = max(len(_names(member, layers)) + 2 for members in groups.values() for member in members)
    of_samples = 4.0 * values * size.rows * size.columns * len(days)
    in_memory = of_samples if fits(int(of_samples)) else 0.0
    found.memory += in_memory + max(arrays)
    found.scratch = of_samples - in_memory
    found.assumed += [
        "every cell is observed on every day; forecasts of all leads are kept uncompressed",
        "validation takes a third of the time of as many samples learnt from; networks are not compiled",
        "not counted: fetching, building the cube, filling its gaps, scores at stations, figures, blends",
    ]


def _kind(run: RunConfig) -> str:
    """What the time of a step depends on, but for how many predictors there are."""
    of = run.training
    parts = (run.model, run.hyper, run.window, run.stride, run.look_back, run.sequence, of.batch_size, of.form)
    return json.dumps([*parts, len(run.leads), bool(run.future)], default=str)


def _names(member: tuple[str, int, RunConfig], layers: dict[str, LayerConfig]) -> tuple[str, ...]:
    """Predictors of a run of a layer, each forecast above a name a lead."""
    _, depth, run = member
    above = tuple(layers)[:depth] if run.above else ()
    channels = run.channels(layers[list(layers)[depth]], above)
    return (*channels.history, *channels.static, *channels.future, *channels.above * len(channels.leads))


def _held(experiment: Experiment, phase: str, days: pd.DatetimeIndex) -> int:
    """Days of a phase that a cube holds."""
    period: Period = getattr(experiment.split, phase)
    return int(days.isin(period.days).sum())


def _earliest(how: Descent) -> int:
    """Epochs at the earliest stop."""
    return how.epochs if how.patience is None else min(how.epochs, how.patience + 1)


def _costs(
    experiment: Experiment,
    members: list[tuple[str, int, RunConfig]],
    layers: dict[str, LayerConfig],
    size: Size,
    days: pd.DatetimeIndex,
    rates: Rates,
    issued: dict[str, int],
) -> Iterator[Cost]:
    """Training and forecasts of runs of one kind."""
    run = members[0][2]
    of = f"{run.model}, {len(members)} runs" if len(members) > 1 else run.model
    how, window = run.training, None if run.window == "map" else run.window
    shape = (size.rows, size.columns)
    # A day of issue before a period has targets in it, too.
    before = max(run.leads) - min(run.leads)
    learnt, held = (_held(experiment, phase, days) + before for phase in ("training", "validation"))
    fits_ = len(members) * len(how.seeds)
    anew = sum(run.refit for _, _, run in members) * len(how.seeds)
    reading = rates.read * sum(len(_names(member, layers)) for member in members) * size.rows * size.columns * len(days)
    each = size.known if window == 1 else windows(shape, window, run.stride)
    if MODELS[run.model].learns == "at_once":
        samples = min(how.samples_per_epoch or math.inf, learnt * each)
        once = rates.learn * (learnt * size.rows * size.columns if rates.of_each_cell else samples)
        most = least = reading + once * (fits_ + anew)
        amount = f"{fits_ + anew} fits"
    else:
        if MODELS[run.model].takes == "series":
            each, length = size.known, run.sequence or run.look_back
            learnt, held = math.ceil(learnt / length), math.ceil(held / length)
        samples, validated = each * learnt, each * held
        limit = how.samples_per_epoch or math.inf
        drawn = min(samples, limit)
        epoch = rates.learn * (drawn + min(validated, limit) / 3)
        begun = rates.statistics * min(STATISTICS, samples)
        again = rates.learn * drawn * anew
        most = reading + fits_ * (begun + how.epochs * epoch) + again * how.epochs
        least = reading + fits_ * (begun + _earliest(how) * epoch)
        least += again * (how.epochs if how.patience is None else 1)
        steps = math.ceil(drawn / how.batch_size)
        amount = f"{fits_ * how.epochs} epochs of {steps:,} steps of {rates.learn * how.batch_size:.3g} s"
    yield Cost("training", of, amount, most, least)
    stride = run.forecast_stride or max(1, (rates.window or 1) // 4)
    cells = computed(shape, rates.window, stride, rates.reach)
    if rates.window == 1:
        cells = size.known // experiment.score_every**2
    number = sum(issued[name] for name, _, _ in members)
    of_day = rates.forecast * cells * (run.dropout_passes or 1)
    seconds = of_day * number * len(how.seeds)
    yield Cost("forecasts", of, f"{number:,} days of {of_day:.3g} s, {rates.precision}", seconds, seconds)


def _of_stations(experiment: Downscaling, size: Size, found: Estimate, clock: Clock, progress: Progress) -> None:
    last = min(experiment.last, date.today())
    days = (last - experiment.first).days
    held, folds = experiment.scenarios, []
    if held.on_site:
        folds += [365.0 * held.on_site.training_years] * len(held.on_site.years)
    for parts in (held.off_site, held.blocked):
        folds += [days * (1 - 1 / parts.folds)] * parts.folds if parts else []
    folds += [days * 2 / 3] * 3 if held.cross_region else []
    folds += [days / 2] * len(held.network.held_out) if held.network else []
    probed: dict[str, float] = {}
    for number, (name, run) in enumerate(experiment.runs.items()):
        progress("probing", number / len(experiment.runs))
        if run.model == "climatology":
            continue
        key = json.dumps([run.made_of(), sorted(run.hyper)], default=str)
        probed[key] = of_day = probed.get(key) or probe_station_run(run, clock)
        most, least, steps = _of_folds(run, folds, size.rows, of_day)
        found.costs.append(Cost("training", name, f"{len(folds)} folds, {steps:,.0f} station-days", most, least))
    progress("probing", 1.0)
    features = {name for run in experiment.runs.values() for name in (*run.snapshot, *run.series)}
    found.memory = 8.0 * len(features) * size.rows * days
    found.kept = 8.0 * len(experiment.runs) * size.rows * days * len(folds)
    found.assumed += [
        f"{size.rows} stations, observed on every day from {experiment.first} to {last}",
        "validation and estimates take a third of the time of as many station-days learnt from",
        "not counted: fetching, the table of station-days, scores, feature importances, figures, maps",
    ]


def _of_folds(run: DownscalingRun, folds: list[float], stations: int, of_day: float) -> tuple[float, float, float]:
    """Seconds with all epochs and at the earliest stop, and station-days learnt from with all epochs."""
    how, most, least, total = run.fitting, 0.0, 0.0, 0.0
    for of_fold in folds:
        rows = of_fold * stations
        if run.model == "trees":
            rows = min(rows, run.limit or math.inf)
            most, least, total = most + rows * of_day, least + rows * of_day, total + rows
            continue
        limit = how.rows_per_epoch or math.inf
        learnt, tested = min(rows * (1 - how.share), limit), rows / 4 * (run.dropout_passes or 1) / 3
        epoch = (learnt + rows * how.share / 3) * (2 if run.align else 1)
        most += len(how.seeds) * of_day * (how.epochs * epoch + tested)
        least += len(how.seeds) * of_day * (_earliest(how) * epoch + tested)
        total += len(how.seeds) * how.epochs * learnt
    return most, least, total
