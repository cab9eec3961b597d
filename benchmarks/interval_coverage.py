"""How often the 95 % intervals of scores hold the true score, over memory, length, gaps and sites.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py [--sites 200] [--groups 60]

Made-up series of a first-order autoregression with coefficient phi: observed o, and two runs 0.9 o + error, whose
errors have the same phi and deviations that differ between sites (a factor of exp(0.3 x), x standard normal, where
there are several). The true scores are known in closed form. Gaps: *random*, a share of 30 to 60 % of the days of each
site; *blocks*, two stretches of 15 to 25 % each. Scores and intervals are those of `vadose.evaluate.paired.score`.
Beside them the method of before: moving blocks of 30 days, 300 replicates, quantiles moved onto the estimate.
Seeded; prints Markdown tables.
"""

import argparse
import platform
import time
from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from vadose.evaluate.metrics import METRICS, moments
from vadose.evaluate.paired import Scored, score

Array = NDArray[np.floating]
PHI = (0.5, 0.8, 0.9, 0.95, 0.97)
DAYS = (60, 91, 120, 183, 365, 730, 1460)
GAPS = ("none", "random", "blocks")
OBSERVED, ERRORS, BIAS, DEVIATION, SLOPE = 0.06, (0.04, 0.052), (0.01, 0.0), 0.035, 0.9
SHOWN = {
    "pearson_r": "R", "rmse": "RMSE", "ubrmse": "ubRMSE", "bias": "bias", "skill": "skill", "crps": "CRPS",
    "coverage_90": "share in 90 %", "minus pearson_r": "R, difference", "minus rmse": "RMSE, difference",
}  # fmt: skip


def series(rng: np.random.Generator, phi: float, days: int, groups: int, sites: int, rho: float) -> Array:
    """Standard autoregressions (day, group, site), correlated by ``rho`` within a group."""
    parts = []
    for shape, share in (((days + 300, groups, 1), rho), ((days + 300, groups, sites), 1 - rho)):
        noise = rng.normal(size=shape) * np.sqrt((1 - phi**2) * share)
        parts.append(lfilter([1.0], [1.0, -phi], noise, axis=0)[300:])
    return parts[0] + parts[1]


def known_days(rng: np.random.Generator, shape: tuple[int, ...], gaps: str) -> NDArray[np.bool_]:
    days = shape[0]
    if gaps == "random":
        return rng.random(shape) > rng.uniform(0.3, 0.6, shape[1:])
    known = np.ones(shape, bool)
    if gaps == "blocks":
        day = np.arange(days)[:, None, None]
        for _ in range(2):
            length = (days * rng.uniform(0.15, 0.25, shape[1:])).astype(int)
            first = rng.integers(0, days - length + 1)
            known &= (day < first) | (day >= first + length)
    return known


def world(
    rng: np.random.Generator, phi: float, days: int, gaps: str, *, groups: int, sites: int, rho: float
) -> tuple[Array, Array]:
    """Predictions (run, day, site) and observations (day, site) of all groups."""
    observed = OBSERVED * series(rng, phi, days, groups, sites, rho)
    factor = np.exp(0.3 * rng.normal(size=(groups, sites))) if sites > 1 else 1.0
    predicted = np.stack([
        SLOPE * observed + error * factor * series(rng, phi, days, groups, sites, rho) + bias
        for error, bias in zip(ERRORS, BIAS, strict=True)
    ])  # fmt: skip
    observed = np.where(known_days(rng, observed.shape, gaps), observed, np.nan)
    return predicted.reshape(2, days, -1), observed.reshape(days, -1)


def truth() -> dict[str, float]:
    """Scores of the first run at the median site, its skill against the second and its differences from it."""
    found = []
    for error, bias in zip(ERRORS, BIAS, strict=True):
        variance = ((1 - SLOPE) * OBSERVED) ** 2 + error**2
        s = np.sqrt(variance + DEVIATION**2)
        crps = s * np.sqrt(2 / np.pi) * np.exp(-(bias**2) / (2 * s**2)) + bias * (1 - 2 * ndtr(-bias / s))
        inside = [ndtr((sign * 1.6448536 * DEVIATION - bias) / np.sqrt(variance)) for sign in (1, -1)]
        found.append({
            "pearson_r": SLOPE * OBSERVED / np.sqrt((SLOPE * OBSERVED) ** 2 + error**2), "bias": bias,
            "rmse": np.sqrt(variance + bias**2), "ubrmse": np.sqrt(variance),
            "crps": crps - DEVIATION / np.sqrt(np.pi), "coverage_90": inside[0] - inside[1],
        })  # fmt: skip
    one, other = found
    minus = {f"minus {name}": one[name] - other[name] for name in ("pearson_r", "rmse")}
    return one | {"skill": 1 - one["rmse"] ** 2 / other["rmse"] ** 2} | minus


def scored(predicted: Array, observed: Array) -> Scored:
    spreads = [np.full(observed.shape, DEVIATION), None]
    every = np.ones(observed.shape[1], bool)
    return score(predicted, observed, spreads, references={"skill": [1, None]}, counts=every)


def ends(of: Scored, groups: int) -> Iterator[tuple[str, float, float]]:
    """Statistic and the ends of its interval, of each group."""
    for sites in np.split(np.arange(of.value.shape[1]), groups):
        for run, row in of.over_sites(sites):
            if run == 0:
                yield row["metric"], row["lower"], row["upper"]
        for run, _, row in of.differences(sites):
            if run == 0:
                yield f"minus {row['metric']}", row["lower"], row["upper"]


def coverage(found: Iterator[tuple[str, float, float]]) -> dict[str, tuple[float, float]]:
    """Share of the intervals given that hold the truth, and share of those given, by statistic."""
    true = truth()
    hits: dict[str, list[float]] = {name: [] for name in SHOWN}
    for name, lower, upper in found:
        if name in hits:
            hits[name].append(float(lower <= true[name] <= upper) if np.isfinite(lower) else np.nan)
    return {
        name: (float(np.nanmean(hit)) if np.isfinite(hit).any() else np.nan, float(np.isfinite(hit).mean()))
        for name, hit in hits.items()
    }


def before(predicted: Array, observed: Array, rng: np.random.Generator) -> dict[str, float]:
    """Coverage of moving blocks of 30 days at single sites."""
    days = len(observed)
    block = max(1, min(30, days // 2))
    firsts = rng.integers(0, days - block + 1, (300, -(-days // block)))
    counts = np.zeros((300, days))
    for k in range(block):
        np.add.at(counts, (np.arange(300)[:, None], firsts + k), 1.0)
    daily, true = moments(predicted[0], observed), truth()
    again, whole = np.tensordot(counts, daily, axes=1), daily.sum(axis=0)
    found = {}
    for name, metric in METRICS.items():
        lower, middle, upper = np.percentile(metric(again), [2.5, 50, 97.5], axis=0)
        move = metric(whole) - middle
        found[name] = float(np.mean((lower + move <= true[name]) & (true[name] <= upper + move)))
    return found


def table(first: list[str], rows: list[list[str]]) -> None:
    print("\n| " + " | ".join([*first, *SHOWN.values()]) + " |\n|" + "---|" * (len(first) + len(SHOWN)))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def shown(found: dict[str, tuple[float, float]]) -> list[str]:
    return ["–" if not given else f"{held:.2f}" for held, given in found.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=200, help="single sites of a row")
    parser.add_argument("--groups", type=int, default=60, help="groups of several sites of a row")
    options = parser.parse_args()
    start = time.perf_counter()
    print(f"Coverage of 95 % intervals, {options.sites} series or {options.groups} groups a row; {platform.machine()}")
    rows, old = [], []
    for days, phi, gaps in product(DAYS, PHI, GAPS):
        rng = np.random.default_rng([days, int(100 * phi), GAPS.index(gaps)])
        made = world(rng, phi, days, gaps, groups=options.sites, sites=1, rho=0.0)
        rows.append([str(days), f"{phi:g}", gaps, *shown(coverage(ends(scored(*made), options.sites)))])
        if gaps == "none":
            held = before(*made, rng)
            old.append([str(days), f"{phi:g}", gaps, *(f"{held[n]:.2f}" if n in held else "" for n in SHOWN)])
    print("\nA single site:")
    table(["days", "phi", "gaps"], rows)
    print("\nThe same by moving blocks of 30 days, the method of before:")
    table(["days", "phi", "gaps"], old)
    rows = []
    for sites, days, phi, gaps, rho in product((20, 100), (183, 365), (0.5, 0.9, 0.97), GAPS[::2], (0.0, 0.5, 0.9)):
        rng = np.random.default_rng([sites, days, int(100 * phi), GAPS.index(gaps), int(10 * rho)])
        made = world(rng, phi, days, gaps, groups=options.groups, sites=sites, rho=rho)
        rows.append([str(sites), f"{rho:g}", str(days), f"{phi:g}", gaps,
                     *shown(coverage(ends(scored(*made), options.groups)))])  # fmt: skip
    print("\nMedian over sites (correlation between sites in the second column):")
    table(["sites", "rho", "days", "phi", "gaps"], rows)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
