"""How often the 95 % intervals of scores hold the true score, over memory, length, gaps and sites.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py [--sites 200] [--groups 60] [--of single median]

Made-up series of a first-order autoregression with coefficient phi: observed o, and two runs 0.9 o + error, whose
errors have the same phi and deviations that differ between sites (a factor of exp(0.3 x), x standard normal, where
there are several). The true scores are known in closed form. Gaps: *random*, a share of 30 to 60 % of the days of each
site; *blocks*, two stretches of 15 to 25 % each. Scores and intervals are those of `vadose.evaluation.paired.score`.
The standard error of a coverage of 0.95 is 0.015 with 200 series and 0.028 with 60 groups. Seeded; prints the tables
of docs/methods.md.
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

from vadose.evaluation.paired import Scored, score

Array = NDArray[np.floating]
PHI = (0.5, 0.8, 0.9, 0.95, 0.97)
DAYS = (60, 91, 120, 183, 365, 730, 1460)
GAPS = ("none", "random", "blocks")
OBSERVED, ERRORS, BIAS, DEVIATION, SLOPE = 0.06, (0.04, 0.052), (0.01, 0.0), 0.035, 0.9
SHOWN = {
    "pearson_r": "R",
    "rmse": "RMSE",
    "ubrmse": "ubRMSE",
    "bias": "bias",
    "skill": "skill",
    "crps": "CRPS",
    "coverage_90": "share in 90 %",
    "minus pearson_r": "R, difference",
    "minus rmse": "RMSE, difference",
}


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
    predicted = np.stack(
        [
            SLOPE * observed + error * factor * series(rng, phi, days, groups, sites, rho) + bias
            for error, bias in zip(ERRORS, BIAS, strict=True)
        ]
    )
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
        found.append(
            {
                "pearson_r": SLOPE * OBSERVED / np.sqrt((SLOPE * OBSERVED) ** 2 + error**2),
                "bias": bias,
                "rmse": np.sqrt(variance + bias**2),
                "ubrmse": np.sqrt(variance),
                "crps": crps - DEVIATION / np.sqrt(np.pi),
                "coverage_90": inside[0] - inside[1],
            }
        )
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


def coverage(found: Iterator[tuple[str, float, float]]) -> dict[str, float]:
    """Share of the intervals given that hold the truth, by statistic; NaN where none is given."""
    true = truth()
    hits: dict[str, list[bool]] = {name: [] for name in SHOWN}
    for name, lower, upper in found:
        if name in hits and np.isfinite(lower):
            hits[name].append(lower <= true[name] <= upper)
    return {name: float(np.mean(hit)) if hit else np.nan for name, hit in hits.items()}


def table(first: list[str], rows: list[list[str]]) -> None:
    print("\n| " + " | ".join([*first, *SHOWN.values()]) + " |\n|" + "---|" * (len(first) + len(SHOWN)))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def joined(cells: Iterator[dict[str, float]]) -> list[str]:
    """One text for each statistic: its coverage in all of the cells."""
    every = list(cells)
    return [
        " / ".join("–" if np.isnan(c[name]) else f"{c[name]:.2f}".removeprefix("0") for c in every) for name in SHOWN
    ]


def single(days: int, phi: float, gaps: str, series: int) -> dict[str, float]:
    rng = np.random.default_rng([days, int(100 * phi), GAPS.index(gaps)])
    return coverage(ends(scored(*world(rng, phi, days, gaps, groups=series, sites=1, rho=0.0)), series))


def median(sites: int, rho: float, days: int, phi: float, groups: int) -> dict[str, float]:
    """The lower coverage of those without gaps and with two long blocks missing."""
    cells = []
    for gaps in ("none", "blocks"):
        rng = np.random.default_rng([sites, days, int(100 * phi), GAPS.index(gaps), int(10 * rho)])
        made = world(rng, phi, days, gaps, groups=groups, sites=sites, rho=rho)
        cells.append(coverage(ends(scored(*made), groups)))
    return {name: min(cell[name] for cell in cells) for name in SHOWN}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=200, help="single sites of a row")
    parser.add_argument("--groups", type=int, default=60, help="groups of several sites of a row")
    parser.add_argument("--of", choices=("single", "median"), nargs="+", default=["single", "median"])
    options = parser.parse_args()
    start = time.perf_counter()
    print(f"Coverage of 95 % intervals, {options.sites} series or {options.groups} groups a cell; {platform.machine()}")
    if "single" in options.of:
        rows = [
            [str(days), f"{phi:g}", *joined(single(days, phi, gaps, options.sites) for gaps in GAPS)]
            for days, phi in product(DAYS, PHI)
        ]
        print("\nA single site; gaps: none / random / blocks:")
        table(["days", "phi"], rows)
    if "median" in options.of:
        rows = [
            [str(sites), f"{rho:g}", str(days), *joined(median(sites, rho, days, p, options.groups) for p in PHI[::2])]
            for sites, rho, days in product((20, 100), (0.0, 0.5, 0.9), (183, 365, 730))
        ]
        print("\nMedian over sites, rho between them; phi 0.5 / 0.9 / 0.97, the lower of gaps none and blocks:")
        table(["sites", "rho", "days"], rows)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
