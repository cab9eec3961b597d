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
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtrit

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.errors import VadoseError
from vadose.evaluation.metrics import METRICS
from vadose.evaluation.paired import Scored, score
from vadose.evaluation.station_samples import WHOLE, folds_of, samples_of, spreads_of, values_of
from vadose.evaluation.station_strata import strata_of_table
from vadose.evaluation.strata import Labels, classes

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
        "predictions": list(predictions),
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
    of_all = [*parts, whole]
    _check_pairs(of_all, folds, models, min_pairs)
    scores = [row for of in of_all for row in _score_rows(of)] + _rows_over_folds(parts)
    return SeriesTables(
        pd.DataFrame(scores, columns=SCORE_COLUMNS),
        pd.concat([_station_rows(of, predictions) for of in of_all])[STATION_COLUMNS],
        pd.DataFrame([row for of in of_all for row in _comparison_rows(of)], columns=COMPARED_COLUMNS),
        pd.DataFrame(_strata_rows(whole, _labels(strata or {}, samples.shape[1])), columns=STRATA_COLUMNS),
    )


@dataclass(frozen=True)
class _Part:
    """What was scored in one fold, or over whole records.

    Attributes
    ----------
    models
        Positions of the models known there; along the runs of ``scored``.
    at
        Positions of the stations with any sample; along the sites of ``scored``.
    days
        Whether any sample is of a day.
    pairs, observed
        Samples of each of these stations; observed test days of every station.
    """

    fold: str
    models: list[str]
    at: NDArray[np.int64]
    days: Mask
    pairs: NDArray[np.int64]
    counts: Mask
    observed: NDArray[np.int64]
    scored: Scored | None

    def named(self, model: str) -> dict[str, Any]:
        return {"fold": self.fold, "aggregation": "station_record" if self.fold == WHOLE else "fold", "model": model}

    def size(self) -> dict[str, int]:
        return _size(self.pairs[self.counts], self.observed)

    def errors(self) -> dict[tuple[str, str], Array]:
        """Model and metric -> `Scored.standard_errors` of the median over stations."""
        if self.scored is None:
            return {}
        every = np.arange(len(self.at))
        found = [self.scored.standard_errors(run, every) for run in range(len(self.models))]
        return {
            (model, metric): found[r][m]
            for r, model in enumerate(self.models)
            for m, metric in enumerate(self.scored.metrics)
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
    pairs = known[:, at].sum(axis=0)
    counts = pairs >= min_pairs
    scored = None
    if counts.any():
        scored = score(
            predicted[..., at],
            np.where(counts, truth[:, at], np.nan),
            [None if of is None or not np.isfinite(of[known]).any() else of[:, at] for of in spreads],
            references={},
            counts=counts,
        )
    return _Part(fold, models, at, np.asarray(known.any(axis=1)), pairs, counts, observed, scored)


def _check_pairs(parts: Sequence[_Part], folds: Sequence[str], models: Sequence[str], min_pairs: int) -> None:
    if not any(of.counts.any() for of in parts):
        most = max(int(of.pairs.max(initial=0)) for of in parts)
        raise VadoseError(
            f"no station has {min_pairs} pairs in any of the folds {folds}: the most found is {most}; a sample counts "
            f"where it was observed and all of {models} know it; lower min_pairs or leave out a model"
        )


def _score_rows(part: _Part) -> list[dict[str, Any]]:
    if part.scored is None:
        return [part.named(model) | part.size() | {"metric": metric} for model in part.models for metric in METRICS]
    found = part.scored.over_sites(np.arange(len(part.at)))
    return [part.named(part.models[r]) | part.size() | row for r, row in found]


def _rows_over_folds(parts: Sequence[_Part]) -> list[dict[str, Any]]:
    """Mean and median of the folds' medians, with their intervals."""
    rows = []
    stations = np.unique(np.concatenate([part.at[part.counts] for part in parts]))
    size = {
        "n_sites": len(stations),
        "n_pairs": sum(part.size()["n_pairs"] for part in parts),
        "n_observed": sum(part.size()["n_observed"] for part in parts),
    }
    tables = [pd.DataFrame(_score_rows(part), columns=SCORE_COLUMNS).set_index(["model", "metric"]) for part in parts]
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
            named = {"fold": WHOLE, "aggregation": name, "model": model, "metric": metric}
            rows.append(named | size | {"median": value, "lower": value - half, "upper": value + half})
    return rows


def _half_width(errors: Array, share: Array, parts: Sequence[_Part]) -> float:
    """Of the interval of a weighted mean of folds, from the standard errors of each (fold, 3)."""
    of_days = share @ _joint(errors[:, 0], [part.days for part in parts]) @ share
    stations = [np.isin(np.arange(len(part.observed)), part.at[part.counts]) for part in parts]
    of_stations = share @ _joint(errors[:, 1], stations) @ share
    return float(stdtrit(errors[:, 2].min(), 0.975) * np.sqrt(of_days + of_stations))


def _joint(errors: Array, members: Sequence[Mask]) -> Array:
    """Covariances of folds: errors are equal where two share a member, else independent."""
    shared = np.array([[(one & other).any() for other in members] for one in members])
    covariances: Array = np.outer(errors, errors) * (shared | np.eye(len(errors), dtype=bool))
    return covariances


def _comparison_rows(part: _Part) -> list[dict[str, Any]]:
    if part.scored is None:
        return []
    return [
        part.named(part.models[a]) | {"baseline": part.models[b]} | part.size() | row
        for a, b, row in part.scored.differences(np.arange(len(part.at)))
    ]


def _strata_rows(whole: _Part, labels: Mapping[str, Labels]) -> list[dict[str, Any]]:
    if whole.scored is None:
        return []
    rows = []
    for kind, name, members in classes(labels):
        here = np.flatnonzero(np.isin(whole.at, members))
        if not len(here):
            continue
        counts = whole.counts[here]
        size = _size(whole.pairs[here][counts], whole.observed[members])
        for r, row in whole.scored.over_sites(here):
            rows.append({"kind": kind, "class": name} | whole.named(whole.models[r]) | size | row)
    return rows


def _station_rows(part: _Part, predictions: xr.Dataset) -> pd.DataFrame:
    if part.scored is None:
        return pd.DataFrame(columns=STATION_COLUMNS)
    counted = np.flatnonzero(part.counts)
    at = part.at[counted]
    known = {
        name: predictions[name].values[at] if name in predictions.variables else np.nan
        for name in ("network", "lat", "lon", "elevation")
    }
    sites = pd.DataFrame(
        {"fold": part.fold, "station": predictions.station.values[at], **known, "n_pairs": part.pairs[counted]}
    )
    scored = part.scored
    return pd.concat(
        sites.assign(
            model=model,
            metric=metric,
            value=scored.value[r, counted, m],
            lower=scored.lower[r, counted, m],
            upper=scored.upper[r, counted, m],
        )
        for r, model in enumerate(part.models)
        for m, metric in enumerate(scored.metrics)
    )


def _size(pairs: NDArray[np.int64], observed: NDArray[np.int64]) -> dict[str, int]:
    return {"n_sites": len(pairs), "n_pairs": int(pairs.sum()), "n_observed": int(observed.sum())}


def _labels(strata: Mapping[str, Sequence[str] | Labels], stations: int) -> dict[str, Labels]:
    for kind, labels in strata.items():
        if len(labels) != stations:
            raise VadoseError(f"strata {kind!r} has {len(labels)} labels; the predictions have {stations} stations")
    return {kind: np.array([str(label) for label in labels], object) for kind, labels in strata.items()}
