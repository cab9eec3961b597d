"""The study behind the outlook for any place: from stations to scores, weights and their card, in one resumable go."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation.strata import Labels
from vadose.experiments.outlook import OutlookStudy
from vadose.experiments.studies.outlook_rivals import STRETCHES, read_for, stacked, trees, year_after
from vadose.experiments.studies.outlook_scores import FEWEST, Estimate, Part, ahead, damped, rows_of
from vadose.experiments.studies.outlook_training import Stations, blend_of, held_out, read, train
from vadose.models.land_surface import Blend
from vadose.parallel.progress import Progress
from vadose.predict.outlook.moisture import Networks
from vadose.samples.land_surface import Array

Rows = NDArray[np.int64]
NORMAL_90 = 1.6449


def study_outlook(store: xr.Dataset, study: OutlookStudy, out: Path, *, progress: Progress) -> Path:
    """Train, score and write the weights; what a run that was stopped has trained is kept.

    Parameters
    ----------
    store
        Stations as `vadose.insitu.store.build_stations` writes them.

    Returns
    -------
    Path
        The weights, ``outlook.safetensors``; beside them ``scores.csv``, ``comparisons.csv`` and ``model_card.md``.
    """
    stations = Stations(store)
    files = train(stations, study, out, progress)
    rows: list[tuple[str, dict[str, Any]]] = []
    shipped: list[Path] = []
    blend: Blend | None = None
    for scheme, tested in stations.parts(study).items():
        joint = held_out(stations, study, files[scheme], tested)
        parts = parts_of(stations, study, (joint, files[scheme], tested), progress)
        rows += _scored(stations, study, scheme, parts, progress)
        if scheme == "off-site":
            rows += _compared(stations, parts, trees(stations, study, tested, out, progress))
            # Each network has not learnt from one part of the stations; together they know all. One seed of each part,
            # in turn: an outlook has to be quick.
            shipped = [of_part[k % len(of_part)] for k, of_part in enumerate(files[scheme].values())]
            every = np.sort(np.concatenate(list(tested.values())))
            blend = blend_of(stations, study, joint, every, "blend", progress)
            blend.widened.copy_(
                torch.from_numpy(np.mean([part.networks.blend.widened.numpy() for part in parts], axis=0))
            )
    assert blend is not None
    tables = {
        name: pd.DataFrame([{"of": "days"} | row for of, row in rows if of == name])
        for name in ("scores", "comparisons")
    }
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    card = card_of(tables["scores"], stations, study)
    (out / "model_card.md").write_text(card_text(card, **tables))
    networks = Networks(tuple(read(stations, study, shipped)), blend, card)
    networks.save(out / "outlook.safetensors")
    return out / "outlook.safetensors"


def parts_of(
    stations: Stations,
    study: OutlookStudy,
    of: tuple[Array, Mapping[str, list[Path]], Mapping[str, Rows]],
    progress: Progress,
) -> list[Part]:
    """Parts of a scheme: their networks, corrected and calibrated by what was learnt at the other parts alone."""
    joint, files, tested = of
    every = np.concatenate(list(tested.values()))
    parts = []
    for name, rows in tested.items():
        blend = blend_of(stations, study, joint, np.setdiff1d(every, rows), f"blend {name}", progress)
        networks = Networks(tuple(read(stations, study, files[name])), blend)
        parts.append(Part(rows, networks, joint[0, rows], joint[1, rows], stations.observed[rows]))
    reach = [_reach(part) for part in parts]
    for k, part in enumerate(parts):
        others = np.concatenate([of for j, of in enumerate(reach) if j != k])
        part.networks.blend.widened.copy_(torch.from_numpy(_widening(others)))
    return parts


def _reach(part: Part) -> Array:
    """Errors of all days in deviations, without and with a sensor (P, 2, T, 3)."""
    found = []
    for mean, std in (part.without(), part.with_sensor(7)):
        z = np.abs(part.observed - mean) / std
        found.append(z)
    return np.stack(found, axis=1)


def _widening(reach: Array) -> Array:
    """Factors of the deviations (2, 3) by which 90 % intervals hold 90 % of the days of a station drawn at random."""
    known = np.isfinite(reach)
    count = known.sum(axis=2, keepdims=True)
    weight = np.where(known, 1 / np.maximum(count, 1), 0.0)
    found = np.ones((2, 3), np.float32)
    for case in range(2):
        for layer in range(3):
            of, w = (
                reach[:, case, :, layer][known[:, case, :, layer]],
                weight[:, case, :, layer][known[:, case, :, layer]],
            )
            order = np.argsort(of)
            found[case, layer] = np.interp(0.9 * w.sum(), np.cumsum(w[order]), of[order]) / NORMAL_90
    return found


def _scored(
    stations: Stations, study: OutlookStudy, scheme: str, parts: list[Part], progress: Progress
) -> list[tuple[str, dict[str, Any]]]:
    """Rows of the tables of a scheme."""
    where = np.concatenate([part.rows for part in parts])
    observed, store = stations.observed[where], stations.store.isel(station=where)
    labels: dict[str, Labels] = {"network": np.array([str(name) for name in store.network.values], object)}
    aridity = pd.cut(stations.made.fixed[where][:, -2], [-np.inf, 0.6, 1.2, np.inf], labels=["humid", "between", "dry"])
    labels["climate"] = np.array([str(name) for name in aridity], object)

    of_all = partial(_of_all, parts)
    named: dict[str, str | int] = {"scheme": scheme, "lead_days": 0}
    runs = {"networks": of_all(Part.without)}
    rows = list(rows_of(runs, observed, named, labels, FEWEST["days"]))
    beyond = [ahead(part, stations, study) for part in parts] if scheme == "off-site" else []
    for lead in study.leads:
        named = {"scheme": scheme, "lead_days": lead}
        runs = {
            "known weather, no sensor": of_all(Part.without),
            "known weather, sensor": of_all(lambda part: part.with_sensor(lead)),  # noqa: B023
            "damped persistence": _persistence(parts, observed, lead),
        }
        rows += rows_of(runs, observed, named, labels, FEWEST["days"])
        if beyond:
            runs |= {
                name: tuple(np.concatenate([of[name, lead][k] for of in beyond]) for k in (0, 1))  # type: ignore[misc]
                for name in dict.fromkeys(run for run, _ in beyond[0])
            }
            of_issues = list(rows_of(runs, observed, named, {}, FEWEST["issues"]))
            rows += [(table, row | {"of": "issues"}) for table, row in of_issues]
        progress(f"scores {scheme}, {lead} days ahead", 1.0)
    return rows


def _of_all(parts: list[Part], run: Callable[[Part], Estimate]) -> Estimate:
    """Estimates of the parts, one after the other."""
    each = [run(part) for part in parts]
    return np.concatenate([mean for mean, _ in each]), np.concatenate([std for _, std in each])


def _compared(stations: Stations, parts: list[Part], of_trees: Estimate) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of rivals without a sensor, and of sensors that were read for some weeks."""
    where = np.concatenate([part.rows for part in parts])
    observed = stations.observed[where]
    named: dict[str, str | int] = {"scheme": "off-site", "lead_days": 0}
    runs = {"networks": _of_all(parts, Part.without), "trees": (of_trees[0][where], of_trees[1][where])}
    ends = np.cumsum([len(part.rows) for part in parts])
    runs["networks and trees"] = stacked(
        runs["networks"], runs["trees"], observed, np.split(np.arange(len(where)), ends[:-1])
    )
    told = {name: _of_all(parts, partial(read_for, days)) for name, days in STRETCHES.items()}
    rows = {
        "rivals": rows_of(runs, observed, named, {}, FEWEST["days"]),
        "year after": rows_of(told, year_after(observed), named, {}, FEWEST["year after"]),
    }
    for of, found in rows.items():
        yield from ((table, row | {"of": of}) for table, row in found)


def _persistence(parts: list[Part], observed: Array, lead: int) -> Estimate:
    """Damped persistence of all parts, each damped as at the stations of the others."""
    found = []
    for part in parts:
        others = np.concatenate([of.observed for of in parts if of is not part])
        found.append(damped(part.observed, others, lead))
    return np.concatenate([mean for mean, _ in found]), np.concatenate([std for _, std in found])


def card_of(scores: pd.DataFrame, stations: Stations, study: OutlookStudy) -> dict[str, Any]:
    """What the weights say of themselves in a line, and of what they are made."""
    days = stations.store.time.values
    off = scores[
        (scores.scheme == "off-site") & (scores.lead_days == 0) & (scores.kind == "all") & (scores.of == "days")
    ]
    medians = off.pivot_table(index="metric", columns="layer", values="median", sort=False)

    def said(metric: str) -> str:
        return " / ".join(f"{value:.3f}" for value in medians.loc[metric])

    metrics = {"r": "pearson_r", "rmse": "rmse", "ubrmse": "ubrmse"}
    return {
        "headline": f"off-site R {said('pearson_r')}, ubRMSE {said('ubrmse')} in {' / '.join(medians.columns)}",
        "scores": {
            layer: {name: round(float(of[metric]), 4) for name, metric in metrics.items()}
            for layer, of in medians.items()
        },
        "stations": len(study.learn_from),
        "weather": stations.store.attrs.get("weather_source", "the stations"),
        "networks": sorted({str(name) for name in stations.store.network.values}),
        "first_day": str(days[0])[:10],
        "last_day": str(days[-1])[:10],
    }


def card_text(card: dict[str, Any], scores: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The model card, Markdown: made of, scores with intervals, reliability, where not to use it."""
    of_day = scores[(scores.lead_days == 0) & (scores.of == "days")]
    lines = [
        "# Land-surface networks behind `vadose outlook`",
        "",
        f"{card['headline']}.",
        "",
        f"Learnt from {card['stations']} stations of {' and '.join(card['networks'])}, {card['first_day']} to "
        f"{card['last_day']} (public domain), after a water balance under the same weather had taught them. Weather "
        f"is that of {card['weather']}, gaps filled from stations within 200 km. Made, with all tables below, by "
        "`vadose study outlook --data DATA --out STUDY`.",
        "",
        "Off-site: stations at random in parts, each tested by networks that have not learnt from it. Cross-region: "
        "west, middle and east, split at 104 and 90 degrees west. Medians over stations with 95 % intervals. The "
        "shipped weights are the networks of all off-site parts together: each has learnt from four of five stations.",
        "",
        "How long the networks are taught and fitted, that they are given no states of a water balance, and that gaps "
        "are filled, was chosen by looking at stations that test them, which favours the scores slightly.",
        "",
    ]
    header = ["tested", "layer", "sites", "stations", "R", "ubRMSE", "CRPS", "in 50 %", "in 90 %"]
    rows = [
        [*key, int(of.n_sites.iloc[0]), *(_cell(of, name) for name in CARD_METRICS)]
        for key, of in of_day.groupby(["scheme", "layer", "class"], sort=False)
    ]
    lines += [*_table(header, rows), "", *_rivals(scores, comparisons), "", "## Days ahead", ""]
    lines += [
        "Known weather is that measured, an upper bound; past years is weather of the same days of earlier years, a "
        "lower one. A sensor is one of the station itself, read up to the day of issue.",
        "",
    ]
    ahead = scores[(scores.lead_days > 0) & (scores.scheme == "off-site") & (scores.kind == "all")]
    rows = [
        [*key[1:], int(of.n_sites.iloc[0]), *(_cell(of, name) for name in CARD_METRICS)]
        for key, of in ahead.groupby(["of", "layer", "lead_days", "model"], sort=False)
        if key[0] == "issues"
    ]
    lines += _table(["layer", "days ahead", "forecast", "stations", *header[4:]], rows)
    return "\n".join([*lines, "", *WHERE_NOT, ""])


def _rivals(scores: pd.DataFrame, comparisons: pd.DataFrame) -> list[str]:
    """Tables of rivals and of sensors that were read for some weeks: scores, and by how much they differ."""
    lines = []
    for of, first, said in (("rivals", "networks", RIVALS), ("year after", "no sensor", WEEKS)):
        rows = []
        for key, part in scores[(scores.of == of) & (scores.kind == "all")].groupby(KEY, sort=False):
            cells = [*key, int(part.n_sites.iloc[0]), *(_cell(part, name) for name in CARD_METRICS)]
            less = comparisons[(comparisons.of == of) & (comparisons[KEY] == list(key)).all(axis=1)]
            less = less[less.baseline == first]
            rows.append([*cells, *(_cell(less, name) if len(less) else "" for name in ("pearson_r", "crps"))])
        header = [*("layer", "estimate", "stations", "R", "ubRMSE", "CRPS", "in 50 %", "in 90 %")]
        lines += [*said, "", *_table([*header, f"R, less {first}", f"CRPS, less {first}"], rows), ""]
    return lines[:-1]


KEY = ["layer", "model"]
RIVALS = (
    "## Beside rivals",
    "",
    "Off-site, without a sensor, the weather of the day known, on the same days of the same stations, with the median "
    "over stations of each difference. Trees are gradient trees on the same inputs, their means over 1 to 365 days and "
    "four buckets of rain; 'networks and trees' is their mixture with weights learnt at the other parts. Damped "
    "persistence needs a sensor and stands below. The downscaling network with a long memory cannot run on these "
    "samples: it takes the surface temperature and the place of a station, and is of 5 cm alone. Its own study found R "
    "0.854 off-site (233 stations, mean of five folds), and 0.869 together with trees: "
    "[results](results.md#downscaling-at-real-stations).",
)
WEEKS = (
    "## A sensor read for some weeks",
    "",
    "An own sensor is read from its first day on for so long and then never again; the year that follows the longest "
    "of these stretches is scored, with its weather known: the same days for all.",
)
CARD_METRICS = ("pearson_r", "ubrmse", "crps", "mean_coverage_50", "mean_coverage_90")
WHERE_NOT = (
    "## Where not to use them",
    "",
    "- Irrigated, flooded, paved or always frozen ground: no station stands there, and nothing tells the networks.",
    "- Outside the contiguous United States: nothing was learnt or tested there.",
    "- The level of a place: stations that are alike in weather and soil differ by more than either tells, so that "
    "values are off by several hundredths m3 m-3 without a sensor. Anomalies and percentiles are far better.",
    "- Weather of a grid: learnt and scored with gauges; the rain of a grid costs skill.",
)


def _cell(of: pd.DataFrame, metric: str) -> str:
    row = of[of.metric == metric].iloc[0]
    return f"{row['median']:.3f} ({row.lower:.3f} to {row.upper:.3f})"


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    return ["| " + " | ".join(map(str, row)) + " |" for row in [header, ["---"] * len(header), *rows]]
