"""Station scores and their intervals: pairs of series a second, against pytesmo's calls for each pair.

    OMP_NUM_THREADS=1 python benchmarks/evaluation_speed.py [--stations 200] [--leads 5] [--days 365]

Random series with gaps. R, RMSE, bias and ubRMSE of every pair, then 95 % intervals: of every pair, and of the median
over stations. pytesmo (`pearson_r`, `rmsd`, `bias`, `ubrmsd`; `with_bootstrapped_ci` of
each, which draws single days) is timed on as many pairs as its line says. Prints one Markdown table; scores have to
agree.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pytesmo import metrics as pytesmo

from vadose.evaluation.metrics import METRICS, sums
from vadose.evaluation.paired import score

THEIRS = {"pearson_r": pytesmo.pearson_r, "rmse": pytesmo.rmsd, "bias": pytesmo.bias, "ubrmse": pytesmo.ubrmsd}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stations", type=int, default=200)
    parser.add_argument("--leads", type=int, default=5)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--replicates", type=int, default=1000, help="of pytesmo's bootstrap")
    parser.add_argument("--pairs", type=int, default=20, help="pairs that pytesmo's intervals are timed on")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = options.leads, options.days, options.stations
    observed = rng.normal(0.25, 0.06, shape[1:])
    predicted = observed + rng.normal(0.01, 0.03, shape)
    observed[rng.random(shape[1:]) < 0.1] = np.nan
    pairs = options.leads * options.stations

    def scores() -> dict[str, Any]:
        of_leads = np.stack([sums(lead, observed, 0.25) for lead in predicted])
        return {name: metric(of_leads) for name, metric in METRICS.items()}

    def intervals() -> None:
        every = np.arange(options.stations)
        for lead in predicted:
            scored = score(lead[None], observed, [None], references={}, counts=np.ones(options.stations, bool))
            list(scored.over_sites(every))

    def of_pytesmo(count: int, interval: bool) -> list[list[float]]:
        found = []
        for number in range(count):
            lead, station = divmod(number, options.stations)
            p, o = predicted[lead, :, station], observed[:, station]
            known = np.isfinite(o)
            p, o = p[known], o[known]
            if interval:
                for metric in THEIRS.values():
                    pytesmo.with_bootstrapped_ci(metric, p, o, nsamples=options.replicates)
            found.append([float(metric(p, o)) for metric in THEIRS.values()])
        return found

    scores()  # compiled
    ours, values = timed(scores)
    ours_with, _ = timed(intervals)
    theirs, same = timed(lambda: of_pytesmo(pairs, False))
    theirs_with, _ = timed(lambda: of_pytesmo(options.pairs, True))
    apart = np.abs(np.stack([v.ravel() for v in values.values()], axis=1) - np.array(same)).max()
    print(
        f"{options.stations} stations, {options.leads} leads, {options.days} days, "
        f"{options.replicates} replicates; {platform.machine()}, load {os.getloadavg()[0]:.1f}; scores differ by "
        f"{apart:.1e} at most\n"
    )
    print("| what | by | pairs | seconds | pairs/s | times pytesmo |\n|---|---|---|---|---|---|")
    for what, by, count, spent, rival in (
        ("scores", "vadose", pairs, ours, theirs / pairs),
        ("scores", "pytesmo", pairs, theirs, theirs / pairs),
        ("scores and intervals", "vadose", pairs, ours_with, theirs_with / options.pairs),
        ("scores and intervals", "pytesmo", options.pairs, theirs_with, theirs_with / options.pairs),
    ):
        print(f"| {what} | {by} | {count:,} | {spent:.2f} | {count / spent:,.0f} | {rival * count / spent:,.1f} |")


if __name__ == "__main__":
    main()
