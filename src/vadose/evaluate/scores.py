"""Stores of predictions to tables of scores, all models on identical samples."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import note_inputs, provenance, writing
from vadose.errors import VadoseError
from vadose.evaluate import intervals
from vadose.evaluate.collocate import at_cells, at_stations
from vadose.evaluate.metrics import BETTER, METRICS, moments, skill

VARIABLE = "soil_moisture"
BASELINES = ("persistence", "damped_persistence", "climatology", "trees")
KEYS = ("model", "weather", "scenario")
COLUMNS = ["dataset", *KEYS, "layer", "lead_days", "metric", "median", "lower", "upper", "n_sites", "n_pairs"]
Array = NDArray[np.float64]


def evaluate(
    predictions: Sequence[xr.Dataset],
    observed: xr.Dataset,
    *,
    out: Path,
    period: tuple[str, str] | None = None,
    min_pairs: int = 60,
    block_days: int = 30,
    replicates: int = 1000,
    seed: int = 0,
) -> Path:
    """Score every store at every site and lead, and write the tables.

    A sample counts when it was observed and *every* store has a finite prediction of it, so that
    all models are scored on the same samples. Sites with fewer than ``min_pairs`` of them at a lead
    are left out there. Written into the folder ``out``:

    - ``scores.csv``: median over sites of each score with its 95 % interval;
    - ``comparisons.csv``: median over sites of a model's score minus a baseline's, the same samples;
    - ``scores.zarr``: (run, lead_time, site, metric) value, lower, upper, and the pairs counted;
    - ``pairs.zarr``: the series themselves.

    Intervals come from a moving-block bootstrap in time, with sites drawn anew for medians.

    Parameters
    ----------
    predictions
        Stores as `vadose.forecast.forecast` writes them; with persistence and climatology among
        them there are skill scores against these.
    observed
        A cube, or a station store.
    period
        First and last valid day; all days predicted when left out.

    Raises
    ------
    VadoseError
        When stores do not fit together, or nothing is left to score.

    References
    ----------
    Kunsch (1989), doi:10.1214/aos/1176347265.
    """
    runs = [_key(store) for store in predictions]
    _agree(predictions, runs)
    first = predictions[0]
    leads = first.lead_time.values.astype("timedelta64[D]").astype(int)
    is_cube = "layer" not in observed.dims
    series, rows, columns = at_cells(observed, VARIABLE) if is_cube else at_stations(observed, first, VARIABLE)
    days = _days(predictions, leads, series, period)
    truth = series.reindex(time=days).values.astype(float)  # (day, site)
    predicted = np.stack([_by_valid_day(store, rows, columns, leads, days) for store in predictions])
    common = np.isfinite(predicted).all(axis=0) & np.isfinite(truth)  # (lead, day, site)
    pairs = common.sum(axis=1)
    counts = pairs >= min_pairs
    if not counts.any():
        raise VadoseError(
            f"no site has {min_pairs} pairs between {days[0]:%Y-%m-%d} and {days[-1]:%Y-%m-%d}: the most found is "
            f"{int(pairs.max())}; give a longer period, or lower --min-pairs"
        )
    dataset = first.attrs["dataset"] if is_cube else str(observed.attrs.get("dataset", "stations"))
    labels = {"dataset": dataset, "layer": first.attrs["layer"]}
    drawn = intervals.draw(len(days), len(rows), block=block_days, replicates=replicates, seed=seed)
    references = {f"skill_{name}": runs.index((name, "none", scenario))
                  for name in ("persistence", "climatology")
                  for scenario in {run[2] for run in runs} if (name, "none", scenario) in runs}  # fmt: skip
    metrics = [*METRICS, *references]
    value, lower, upper = (np.full((len(runs), len(leads), len(rows), len(metrics)), np.nan) for _ in range(3))
    table: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    centre = np.nanmean(np.where(np.isfinite(truth).any(axis=0), truth, 0.0), axis=0)
    for k, lead in enumerate(leads):
        masked = np.where(common[k] & counts[k], truth, np.nan) - centre
        daily = [moments(p[k] - centre, masked) for p in predicted]
        whole = [_scores(m.sum(axis=0), [d.sum(axis=0) for d in daily], references) for m in daily]
        again = [intervals.resample(m, drawn) for m in daily]
        replicated = [_scores(m, again, references).astype(np.float32) for m in again]
        size = {
            "lead_days": int(lead),
            "n_sites": int(counts[k].sum()),
            "n_pairs": int(pairs[k][counts[k]].sum()),
        }
        for r, run in enumerate(runs):
            value[r, k] = np.where(counts[k][:, None], whole[r], np.nan)
            named = labels | dict(zip(KEYS, run, strict=True)) | size
            for m, metric in enumerate(metrics):
                samples = np.where(counts[k], replicated[r][..., m], np.nan)
                lower[r, k, :, m], upper[r, k, :, m] = intervals.site_interval(samples, value[r, k, :, m])
                table.append(named | _row(metric, value[r, k, :, m], samples, drawn))
        comparisons += [labels | size | row for row in _compared(runs, value[:, k], replicated, counts[k], drawn)]
    inputs = {"predictions": [dict(store.attrs) for store in predictions]}
    attributes = {
        **labels,
        **{key: first.attrs[key] for key in ("simulated", "cell_size", "grid_step")},
        "causal": "true" if all(store.attrs["causal"] == "true" for store in predictions) else "false",
        "observed": "cube" if is_cube else "stations",
        "stations_outside": str(series.attrs.get("stations_outside", 0)),
        "first_day": f"{days[0]:%Y-%m-%d}", "last_day": f"{days[-1]:%Y-%m-%d}",
        "min_pairs": min_pairs, "block_days": drawn.block, "replicates": replicates, "seed": seed,
        **provenance(**inputs),
    }  # fmt: skip
    coords: dict[str, Any] = {
        "run": _text("|".join(run) for run in runs),
        **{key: ("run", _text(run[i] for run in runs)) for i, key in enumerate(KEYS)},
        "lead_days": leads, "site": _text(series.site.values),
        "lat": ("site", series.lat.values), "lon": ("site", series.lon.values),
    }  # fmt: skip
    dims = ("run", "lead_days", "site", "metric")
    scores = xr.Dataset(
        {"value": (dims, value), "lower": (dims, lower), "upper": (dims, upper),
         "pairs": (("lead_days", "site"), pairs)},
        coords=coords | {"metric": _text(metrics)}, attrs=attributes,
    )  # fmt: skip
    kept = np.where(counts[:, None], predicted, np.nan).astype(np.float32)
    series_store = xr.Dataset(
        {"predicted": (("run", "lead_days", "time", "site"), kept), "observed": (("time", "site"), truth)},
        coords=coords | {"time": days}, attrs=attributes,
    )  # fmt: skip
    with writing(out) as scratch:
        scratch.mkdir()
        note_inputs(scratch, **inputs)
        scores.to_zarr(scratch / "scores.zarr", zarr_format=3, consolidated=False)
        series_store.to_zarr(scratch / "pairs.zarr", zarr_format=3, consolidated=False)
        pd.DataFrame(table)[COLUMNS].to_csv(scratch / "scores.csv", index=False, float_format="%.6g")
        frame = pd.DataFrame(
            comparisons, columns=[*COLUMNS[:4], "baseline", "baseline_weather", *COLUMNS[4:], "share_better"]
        )
        frame.to_csv(scratch / "comparisons.csv", index=False, float_format="%.6g")
    return out


def _scores(m: Array, of_runs: list[Array], references: dict[str, int]) -> Array:
    """All metrics of moments (..., 6), skill against the references' moments last: (..., metrics)."""
    found = [function(m) for function in METRICS.values()]
    found += [skill(m, of_runs[r]) for r in references.values()]
    return np.stack(found, axis=-1)


def _compared(
    runs: list[tuple[str, str, str]],
    value: Array,
    replicated: list[NDArray[np.float32]],
    counts: Any,
    drawn: intervals.Resampling,
) -> Iterator[dict[str, Any]]:
    """Every run minus every baseline at one lead: value (run, site, metric), replicates of each run."""
    for b in [i for i, run in enumerate(runs) if run[0] in BASELINES]:
        for r in [i for i in range(len(runs)) if i != b]:
            named = dict(zip(KEYS, runs[r], strict=True)) | {"baseline": runs[b][0], "baseline_weather": runs[b][1]}
            for m, metric in enumerate(METRICS):
                apart = value[r, :, m] - value[b, :, m]
                replicates = np.where(counts, replicated[r][..., m] - replicated[b][..., m], np.nan)
                gain = BETTER[metric](value[r, :, m]) - BETTER[metric](value[b, :, m])
                gain = gain[np.isfinite(gain)]
                share = {"share_better": float(np.mean(gain > 0)) if len(gain) else np.nan}
                yield named | _row(metric, apart, replicates, drawn) | share


def _row(metric: str, values: Array, replicates: Array, drawn: intervals.Resampling) -> dict[str, Any]:
    """Median over sites and its interval, as columns of a table."""
    known = values[np.isfinite(values)]
    median = float(np.median(known)) if len(known) else np.nan
    lower, upper = intervals.median_interval(replicates, drawn, median)
    return {"metric": metric, "median": median, "lower": lower, "upper": upper}


def _text(words: Iterable[Any]) -> NDArray[np.object_]:
    """Words as Zarr v3 can keep them: of any length."""
    return np.array([str(word) for word in words], dtype=object)


def _key(store: xr.Dataset) -> tuple[str, str, str]:
    """Model, weather and scenario of a store, refused when it does not say all that a score has to."""
    needed = (*KEYS, "layer", "dataset", "simulated", "causal")
    if missing := [key for key in needed if key not in store.attrs]:
        raise VadoseError(f"a prediction store lacks the attributes {missing}; make stores with: vadose forecast")
    if VARIABLE not in store or set(store[VARIABLE].dims) != {"init_time", "lead_time", "y", "x"}:
        raise VadoseError(
            f"the store of {store.attrs['model']} has no {VARIABLE} (init_time, lead_time, y, x); "
            f"found {list(store.data_vars)}"
        )
    return str(store.attrs["model"]), str(store.attrs["weather"]), str(store.attrs["scenario"])


def _agree(predictions: Sequence[xr.Dataset], runs: list[tuple[str, str, str]]) -> None:
    """Refuse stores that cannot stand in one table."""
    if double := {run for run in runs if runs.count(run) > 1}:
        raise VadoseError(f"two stores are of {sorted(double)}: a table has one row a model, weather and scenario")
    first = predictions[0]
    for store, run in zip(predictions, runs, strict=True):
        for key in ("layer", "dataset", "simulated"):
            if store.attrs[key] != first.attrs[key]:
                raise VadoseError(f"{run[0]} is of {key} {store.attrs[key]!r}, {runs[0][0]} of {first.attrs[key]!r}")
        for name in ("lead_time", "y", "x"):
            if not np.array_equal(store[name].values, first[name].values):
                raise VadoseError(f"{run[0]} and {runs[0][0]} differ in {name}; score stores of equal leads and grid")


def _days(
    predictions: Sequence[xr.Dataset],
    leads: NDArray[np.int64],
    series: xr.DataArray,
    period: tuple[str, str] | None,
) -> pd.DatetimeIndex:
    """Valid days to score: those of the period, or all that were predicted and may be observed."""
    begin = max(pd.Timestamp(store.init_time.values.min()) for store in predictions) + pd.Timedelta(
        days=int(min(leads))
    )
    end = min(pd.Timestamp(store.init_time.values.max()) for store in predictions) + pd.Timedelta(days=int(max(leads)))
    begin = max(begin, pd.Timestamp(series.time.values[0]))
    end = min(end, pd.Timestamp(series.time.values[-1]))
    if period is not None:
        begin, end = max(begin, pd.Timestamp(period[0])), min(end, pd.Timestamp(period[1]))
    if end < begin:
        asked = f" within {period[0]} .. {period[1]}" if period else ""
        raise VadoseError(f"no day{asked} is both predicted by every store and in the record of the observations")
    return pd.date_range(begin, end)


def _by_valid_day(
    store: xr.Dataset, rows: Any, columns: Any, leads: NDArray[np.int64], days: pd.DatetimeIndex
) -> Array:
    """Predictions at the sites by the day they are of: (lead, day, site)."""
    values = store[VARIABLE].transpose("init_time", "lead_time", "y", "x").values[:, :, rows, columns]
    of_day = pd.Index(store.init_time.values)
    found = np.full((len(leads), len(days), len(rows)), np.nan)
    for k, lead in enumerate(leads):
        position = of_day.get_indexer(days - pd.Timedelta(days=int(lead)))
        found[k, position >= 0] = values[position[position >= 0], k]
    return found
