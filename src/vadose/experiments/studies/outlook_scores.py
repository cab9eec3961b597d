"""Scores of the land-surface networks at stations held out: of the day, and of days ahead with weather known or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation.paired import Scored
from vadose.evaluation.rows import Group, score_sites
from vadose.evaluation.strata import Labels, classes
from vadose.experiments.outlook import OutlookStudy
from vadose.experiments.studies.outlook_training import Stations
from vadose.models.mixture import mixture
from vadose.predict.outlook.moisture import LAYERS, Networks, corrected, given, joint
from vadose.samples.land_surface import Array, Climate, drivers, evidence

Estimate = tuple[Array, Array]
"""Mean and standard deviation (P, T, 3), NaN where there is none."""
Rows = NDArray[np.int64]
FEWEST = {"days": 200, "issues": 20, "year after": 100}
"""Pairs of a station that counts, of forecasts of every day, of those issued now and then, and of one year's."""


@dataclass(frozen=True)
class Part:
    """Stations held out, the networks that have not learnt from them, and their own observations.

    Attributes
    ----------
    mean, std
        Joint estimate of the networks (P, T, 3), before it is corrected.
    """

    rows: Rows
    networks: Networks
    mean: Array
    std: Array
    observed: Array

    def known(self) -> Array:
        """What the own observations tell at the end of each day."""
        return evidence(self.mean, self.observed)

    def without(self) -> Estimate:
        """Without any own observation, the weather of the day known."""
        return self.told(None, 1)

    def with_sensor(self, lead: int) -> Estimate:
        """With own observations up to ``lead`` days before, and the weather of all days known."""
        return self.told(self.observed, lead)

    def told(self, observed: Array | None, lead: int) -> Estimate:
        """The same with other own observations."""
        return given(self.networks, self.mean, self.std, observed, lead)


def damped(observed: Array, others: Array, lead: int) -> Estimate:
    """Persistence of the departure from the mean of a station's observations so far, damped as at other stations.

    NaN where there is no observation of the day of issue.
    """
    found = []
    for of in (observed, others):
        count = np.cumsum(np.isfinite(of), axis=1)
        found.append(np.cumsum(np.nan_to_num(of), axis=1) / np.where(count >= 30, count, np.nan))
    before, after = others[:, :-lead] - found[1][:, :-lead], others[:, lead:] - found[1][:, :-lead]
    both = np.isfinite(before) & np.isfinite(after)
    before, after = np.where(both, before, 0), np.where(both, after, 0)
    slope = (before * after).sum((0, 1)) / (before**2).sum((0, 1))
    left = ((after - slope * before) ** 2).sum((0, 1)) / both.sum((0, 1))
    mean = np.full(observed.shape, np.nan, np.float32)
    mean[:, lead:] = (found[0] + slope * (observed - found[0]))[:, :-lead]
    return mean, np.where(np.isfinite(mean), np.sqrt(left), np.nan).astype(np.float32)


def ahead(part: Part, stations: Stations, study: OutlookStudy) -> dict[tuple[str, int], Estimate]:
    """Forecasts without knowing the weather: of past years' in its place, and of none, with and without a sensor.

    The weather of the same days of each of the ``past_years`` years before the issue stands in, where it was measured.
    Of (run, lead); issued every ``study.every`` days.
    """
    weather = stations.weather.isel(station=part.rows)
    climate = Climate(stations.climate.course[part.rows], stations.climate.wet[part.rows])
    fixed, days = stations.made.fixed[part.rows], len(part.observed[0])
    longest, known = max(study.leads), part.known()
    nothing = np.zeros_like(known[:, :1])
    names = [f"{weather}, {sensor}" for weather in ("past years", "unknown") for sensor in ("sensor", "no sensor")]
    found = {
        (name, lead): (
            np.full(part.observed.shape, np.nan, np.float32),
            np.full(part.observed.shape, np.nan, np.float32),
        )
        for name in names
        for lead in study.leads
    }
    states: Any = None
    for begin in range(0, days - longest, study.every):
        now = drivers(weather.isel(time=slice(begin, begin + study.every)), fixed, climate)
        if begin > 0:
            days_ahead = weather.time[begin : begin + longest]

            def run(of: xr.Dataset) -> Estimate:
                of = of.assign_coords(time=days_ahead)  # noqa: B023
                return joint(part.networks, drivers(of, fixed, climate), states)[:2]  # noqa: B023

            past = [begin - 365 * year for year in range(1, study.past_years + 1) if begin - 365 * year >= 0]
            of_years = [weather.isel(time=slice(start, start + longest)) for start in past]
            some = np.array([of.precipitation.notnull().mean("time").values > 0.5 for of in of_years]).reshape(
                -1, len(fixed)
            )
            lead_days = np.arange(1, longest + 1)
            members = [run(of) for of in of_years]
            unknown = run(weather.isel(time=slice(begin, begin + longest)).where(False))
            for sensor, told in (("sensor", known[:, begin - 1 : begin]), ("no sensor", nothing)):
                of_members = [corrected(part.networks, *member, told, lead_days) for member in members]
                forecasts = {"unknown": corrected(part.networks, *unknown, told, lead_days)}
                if of_members:
                    weights = some.astype(np.float32)[:, :, None, None]
                    with np.errstate(invalid="ignore", divide="ignore"):
                        forecasts["past years"] = mixture(of_members, list(weights))
                for name, (mean, std) in forecasts.items():
                    for lead in study.leads:
                        for target, values in zip(found[f"{name}, {sensor}", lead], (mean, std), strict=True):
                            target[:, begin + lead - 1] = values[:, lead - 1]
        *_, states = joint(part.networks, now, states)
    return found


def rows_of(
    runs: dict[str, Estimate], observed: Array, named: dict[str, str | int], labels: dict[str, Labels], fewest: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of tables 'scores' and 'comparisons' of the runs, layer by layer, over the samples that all have."""
    for layer, name in enumerate(LAYERS):
        predicted = np.stack([mean[..., layer].T for mean, _ in runs.values()])
        spreads = [std[..., layer].T for _, std in runs.values()]
        truth = np.where(np.isfinite(predicted).all(axis=0), observed[..., layer].T, np.nan)
        if (np.isfinite(truth).sum(axis=0) >= fewest).sum() < 2:
            continue
        scored, pairs = score_sites(predicted, truth, spreads, min_pairs=fewest)
        group = Group(scored, {**named, "layer": name}, [{"model": run} for run in runs], pairs)
        yield from (("scores", row) for row in group.scores())
        yield from (("scores", row) for row in group.strata(labels))
        yield from (
            ("scores", {**named, "layer": name, **row}) for row in _mean_coverage(scored, list(runs), pairs, labels)
        )
        yield from (("comparisons", row) for row in group.differences())


def _mean_coverage(
    scored: Scored, runs: list[str], pairs: NDArray[np.int64], labels: dict[str, Labels]
) -> Iterator[dict[str, Any]]:
    """Rows of the mean over stations of the share of days in the intervals, with its 95 % interval.

    Stations differ in their level: at most of them an interval that is right on the whole holds all days.
    """
    everywhere = ("all", "all", np.arange(len(pairs)))
    for kind, name, sites in [everywhere, *classes(labels)]:
        for run, of_run in zip(runs, scored.value, strict=True):
            for metric in ("coverage_50", "coverage_90"):
                held = of_run[sites, scored.metrics.index(metric)]
                held = held[np.isfinite(held)]
                if len(held):
                    error = 1.96 * float(held.std() / len(held) ** 0.5)
                    row = {"model": run, "kind": kind, "class": name, "metric": f"mean_{metric}", "n_sites": len(held)}
                    mean = float(held.mean())
                    yield row | {
                        "n_pairs": int(pairs[sites].sum()),
                        "median": mean,
                        "lower": mean - error,
                        "upper": mean + error,
                    }
