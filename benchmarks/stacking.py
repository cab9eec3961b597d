"""What learnt weights of a blend gain over equal ones and over each member: CRPS by lead, paired over sites.

    python -m benchmarks.stacking STUDY CUBE [--blend blend] [--observed soil_moisture_0_10cm]

Of a study with one layer (or the folder of a layer's forecasts), on the validation days, whose forecasts by the blend
use weights that have not learnt from the day itself. Printed are rows of a table in Markdown: mean CRPS over sites, and
medians over sites of paired differences with bootstrap intervals of sites.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.evaluation.metrics import gaussian_crps
from vadose.models.mixture import mixture

FEWEST = 60
"""Pairs of a site."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("cube", type=Path)
    parser.add_argument("--blend", default="blend")
    parser.add_argument("--observed", default="soil_moisture")
    options = parser.parse_args()
    weights = pd.read_csv(options.study / "runs" / options.blend / "weights.csv")
    members = list(weights.dropna(subset="weight").name.unique())
    names = [*members, options.blend]
    stores = [xr.open_zarr(options.study / "forecasts" / "validation" / f"{name}.zarr") for name in names]
    cube = xr.open_zarr(options.cube)
    observed = cube[options.observed].where(cube.mask)
    print(
        "| lead [d] | sites | pairs | weights | "
        + " | ".join(members)
        + " | equal | learnt | learnt - equal | learnt - best member |"
    )
    print("|---" * (8 + len(members)) + "|")
    for place, lead in enumerate(weights.lead_days.unique()):
        valid = stores[0].init_time.values + np.timedelta64(int(lead), "D")
        truth = observed.reindex(time=valid).values
        each = [[s[k].isel(lead_time=place).values for k in ("soil_moisture", "soil_moisture_std")] for s in stores]
        each.insert(-1, list(mixture(map(tuple, each[:-1]))))
        scores = np.stack([gaussian_crps(mean - truth, std) for mean, std in each])
        known = np.isfinite(scores).all(axis=0)
        pairs = known.sum(axis=0)
        of_site = (np.where(known, scores, 0).sum(axis=1) / np.maximum(pairs, 1))[:, pairs >= FEWEST]
        best = of_site[: len(members)].mean(axis=1).argmin()
        found = weights[weights.lead_days == lead].set_index("name").weight
        row = [str(lead), str(of_site.shape[1]), str(pairs[pairs >= FEWEST].sum())]
        row += [" ".join(f"{found[name]:.2f}" for name in members)]
        row += [f"{score:.5f}" for score in of_site.mean(axis=1)]
        row += [difference(of_site[-1] - of_site[other]) for other in (-2, best)]
        print("| " + " | ".join(row) + " |")


def difference(values: np.ndarray) -> str:
    """Median with a 95 % interval over sites."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return f"{np.median(values):+.5f} [{low:+.5f}, {high:+.5f}]"


if __name__ == "__main__":
    main()
