"""Daily predictions at stations, withheld fold by fold, to tables of scores with intervals.

Samples are those of `vadose.evaluation.station_samples.common_samples`; in a fold, a station counts with at least
``min_pairs`` of them. A model known nowhere in a fold has no row there. ``n_pairs`` are the samples scored,
``n_observed`` the station-days of the test part that were observed at all: their difference is what some model lacks,
or lies at stations with too few pairs. Medians over stations come in four aggregations:

- ``fold``: of the stations of one fold;
- ``mean_of_folds``, ``median_of_folds``: of the medians of the folds, NaN where a fold has none;
- ``station_record``: of stations scored over their days of all folds at once.

The latter three stand under the fold 'all', for models known in every fold.

Intervals (95 %) are those of `vadose.evaluation.intervals`. Over folds, errors of those that share days, and of
those that share stations, count as equal, others as independent; the interval of a median of folds is that of
the fold, or the two, in the middle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtrit

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.errors import VadoseError
from vadose.evaluation.paired import row_of
from vadose.evaluation.rows import Cell, Group, Row, score_sites
from vadose.evaluation.station_samples import WHOLE, folds_of, samples_of, spreads_of, values_of
from vadose.evaluation.station_strata import strata_of_table
from vadose.evaluation.strata import Labels, labels_for

_STATISTICS = ["metric", "median", "lower", "upper", "n_sites", "n_pairs", "n_observed", "q25", "q75"]
SCORE_COLUMNS = ["fold", "aggregation", "model", *_STATISTICS]
STATION_COLUMNS = [
    "fold",
    "station",
    "network",
    "lat",
    "lon",
    "elevation",
    "model",
    "metric",
    "value",
    "lower",
    "upper",
    "n_pairs",
]
COMPARED_COLUMNS = [
    "fold",
    "aggregation",
    "model",
    "baseline",
    *_STATISTICS[:-2],
    "share_better",
]
STRATA_COLUMNS = ["kind", "class", *SCORE_COLUMNS]
Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


class SeriesTables(NamedTuple):
    """What `score_series` finds, each a tidy table."""

    scores: pd.DataFrame
    stations: pd.DataFrame
    comparisons: pd.DataFrame
    strata: pd.DataFrame


def evaluate_series(
    predictions: Mapping[str, xr.Dataset],
    out: Path,
    *,
    table: xr.Dataset | None = None,
    min_pairs: int = 30,
) -> Path:
    """Score the predictions of every scenario, and write the tables into a folder.

    ``scores.csv``, ``stations.csv``, ``comparisons.csv`` and ``strata.csv`` are those of `score_series`, with the
    columns ``dataset`` and ``scenario`` before. The folder is left alone when it was made from the same stores and
    settings.

    Parameters
    ----------
    predictions
        Scenario -> predictions, see `score_series`.
    table
        Features at the stations, for the strata of `vadose.evaluation.station_strata.strata_of_table`.

    Raises
    ------
    VadoseError
        When there is no scenario, or one cannot be scored.
    """
    if not predictions:
        raise VadoseError("scores of station series: no scenario given; give predictions of at least one")
    inputs = {
        "predictions": {scenario: [str(name) for name in of.model.values] for scenario, of in predictions.items()},
        "samples": identity(*predictions.values(), *([] if table is None else [table])),
        "min_pairs": min_pairs,
    }
    if is_current(out, **inputs):
        return out
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in SeriesTables._fields}
    for scenario, store in predictions.items():
        strata = {} if table is None else strata_of_table(table, store.station.values)
        tables = score_series(store, min_pairs=min_pairs, strata=strata)
        for name, of_scenario in tables._asdict().items():
            of_scenario.insert(0, "dataset", store.attrs.get("dataset", ""))
            of_scenario.insert(1, "scenario", scenario)
            found[name].append(of_scenario)
    with writing(out) as scratch:
        scratch.mkdir()
        note_inputs(scratch, **inputs)
        for name, parts in found.items():
            pd.concat(parts).to_csv(scratch / f"{name}.csv", index=False, float_format="%.6g")
    return out


def score_series(
    predictions: xr.Dataset,
    *,
    min_pairs: int = 30,
    strata: Mapping[str, Sequence[str] | Labels] | None = None,
) -> SeriesTables:
    """Score predictions station by station, then take medians over stations, all models on identical samples.

    Parameters
    ----------
    predictions
        ``predicted`` (model, station, time) [m3 m-3], ``observed`` (station, time), ``fold`` (station, time):
        position in the attribute ``folds`` (a JSON list of names) of the fold whose test part holds the
        station-day, -1 for none. With ``predicted_std`` of any model there are also the mean CRPS, which for
        models without is the mean absolute error, and the coverage of the central 50 and 90 %.
    strata
        Kind -> class of each station, '' for none.

    Returns
    -------
    SeriesTables
        ``scores``; ``stations``, with the interval of each station's score, fold by fold and over its whole record;
        ``comparisons``: the median over stations of a model's score minus another's, and the share of stations
        where it is the better one; ``strata``: scores of whole records over the stations of each class.

    Raises
    ------
    VadoseError
        When variables, folds or labels do not fit, a fold is predicted by no model, or no station has pairs enough.
    """
    folds = folds_of(predictions)
    samples, known = samples_of(predictions, folds)
    observed, fold = values_of(predictions, "observed"), values_of(predictions, "fold")
    tested = np.isfinite(observed) & (fold >= 0)
    predicted, spreads = values_of(predictions, "predicted"), spreads_of(predictions)
    models = [str(name) for name in predictions.model.values]

    def part(name: str, inside: Mask, chosen: NDArray[np.int64]) -> _Part:
        pairs = np.where(samples & inside, observed, np.nan)
        return _score(
            name,
            [models[m] for m in chosen],
            predicted[chosen],
            [spreads[m] for m in chosen],
            pairs,
            (tested & inside).sum(axis=0),
            min_pairs=min_pairs,
        )

    parts = [part(name, np.asarray(fold == k, bool), np.flatnonzero(known[k])) for k, name in enumerate(folds)]
    whole = part(WHOLE, np.asarray(fold >= 0, bool), np.flatnonzero(known.all(axis=0)))
    _check_pairs([*parts, whole], folds, models, min_pairs)
    groups = [each.group for each in (*parts, whole)]
    scores = [*chain.from_iterable(group.scores() for group in groups), *_rows_over_folds(parts)]
    compared = chain.from_iterable(group.differences() for group in groups)
    stations = predictions.sizes["station"]
    labels = {
        kind: labels_for(kind, of_kind, stations, f"predictions have {stations} stations")
        for kind, of_kind in (strata or {}).items()
    }
    return SeriesTables(
        pd.DataFrame(scores, columns=SCORE_COLUMNS),
        pd.concat([_station_rows(group, predictions) for group in groups])[STATION_COLUMNS],
        pd.DataFrame(compared, columns=COMPARED_COLUMNS),
        pd.DataFrame(whole.group.strata(labels), columns=STRATA_COLUMNS),
    )


@dataclass(frozen=True)
class _Part:
    """What was scored in one fold, or over whole records.

    Attributes
    ----------
    days
        Whether any sample is of a day.
    most
        The most samples at a station.
    """

    group: Group
    days: Mask
    most: int

    def errors(self) -> dict[tuple[Cell, Cell], Array]:
        """Model and metric -> `Scored.standard_errors` of the median over stations."""
        scored = self.group.scored
        if scored is None:
            return {}
        every = np.arange(len(self.group.places))
        return {
            (run["model"], metric): of_metric
            for r, run in enumerate(self.group.runs)
            for metric, of_metric in zip(scored.metrics, scored.standard_errors(r, every), strict=True)
        }


def _score(
    fold: str,
    models: list[str],
    predicted: Array,
    spreads: Sequence[Array | None],
    truth: Array,
    observed: NDArray[np.int64],
    *,
    min_pairs: int,
) -> _Part:
    """Score models on the days and stations where ``truth`` (time, station) is known."""
    known = np.isfinite(truth)
    at = np.flatnonzero(known.any(axis=0))
    spreads = [None if of is None or not np.isfinite(of[known]).any() else of[:, at] for of in spreads]
    pairs = np.zeros(len(observed), np.int64)
    scored, pairs[at] = score_sites(predicted[..., at], truth[:, at], spreads, min_pairs=min_pairs)
    named = {"fold": fold, "aggregation": "station_record" if fold == WHOLE else "fold"}
    runs = [{"model": model} for model in models]
    group = Group(scored if pairs.any() else None, named, runs, pairs, at, observed)
    return _Part(group, np.asarray(known.any(axis=1)), int(known.sum(axis=0).max(initial=0)))


def _check_pairs(parts: Sequence[_Part], folds: Sequence[str], models: Sequence[str], min_pairs: int) -> None:
    if all(part.group.scored is None for part in parts):
        raise VadoseError(
            f"no station has {min_pairs} pairs in any of the folds {folds}: the most found is "
            f"{max(part.most for part in parts)}; a sample counts "
            f"where it was observed and all of {models} know it; lower min_pairs or leave out a model"
        )


def _rows_over_folds(parts: Sequence[_Part]) -> list[Row]:
    """Mean and median of the folds' medians, with their intervals."""
    rows: list[Row] = []
    groups = [part.group for part in parts]
    every = np.arange(len(groups[0].pairs))
    size = {name: sum(group.size(every)[name] for group in groups) for name in ("n_pairs", "n_observed")}
    size["n_sites"] = int(np.any([group.pairs > 0 for group in groups], axis=0).sum())
    tables = [pd.DataFrame(group.scores(), columns=SCORE_COLUMNS).set_index(["model", "metric"]) for group in groups]
    errors = [part.errors() for part in parts]
    for model, metric in tables[0].index:
        if not all((model, metric) in table.index for table in tables):
            continue
        medians = np.array([table["median"][model, metric] for table in tables], float)
        known = np.array([of_part.get((model, metric), [np.nan] * 3) for of_part in errors])
        place = np.argsort(medians)[[(len(parts) - 1) // 2, len(parts) // 2]]
        middle = np.bincount(place, minlength=len(parts)) / 2
        for name, share in (("mean_of_folds", np.full(len(parts), 1 / len(parts))), ("median_of_folds", middle)):
            value = float(medians @ share)
            half = _half_width(known, share, parts)
            named = {"fold": WHOLE, "aggregation": name, "model": model}
            rows.append({**named, **size, **row_of(metric, value, value - half, value + half)})
    return rows


def _half_width(errors: Array, share: Array, parts: Sequence[_Part]) -> float:
    """Of the interval of a weighted mean of folds, from the standard errors of each (fold, 3)."""
    of_days = share @ _joint(errors[:, 0], [part.days for part in parts]) @ share
    of_stations = share @ _joint(errors[:, 1], [part.group.pairs > 0 for part in parts]) @ share
    return float(stdtrit(errors[:, 2].min(), 0.975) * np.sqrt(of_days + of_stations))


def _joint(errors: Array, members: Sequence[Mask]) -> Array:
    """Covariances of folds: errors are equal where two share a member, else independent."""
    shared = np.array([[(one & other).any() for other in members] for one in members])
    covariances: Array = np.outer(errors, errors) * (shared | np.eye(len(errors), dtype=bool))
    return covariances


def _station_rows(group: Group, predictions: xr.Dataset) -> pd.DataFrame:
    """Scores of each station that counts."""
    scored, at = group.scored, np.flatnonzero(group.pairs)
    if scored is None:
        return pd.DataFrame(columns=STATION_COLUMNS)
    counted = np.flatnonzero(np.isin(group.places, at))
    known = {
        name: predictions[name].values[at] if name in predictions.variables else np.nan
        for name in ("network", "lat", "lon", "elevation")
    }
    sites = pd.DataFrame(
        {**group.named, "station": predictions.station.values[at], **known, "n_pairs": group.pairs[at]}
    )
    return pd.concat(
        sites.assign(
            **run,
            metric=metric,
            value=scored.value[r, counted, m],
            lower=scored.lower[r, counted, m],
            upper=scored.upper[r, counted, m],
        )
        for r, run in enumerate(group.runs)
        for m, metric in enumerate(scored.metrics)
    )
