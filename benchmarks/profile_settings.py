"""What each printed setting of 'forecast_paper' changes by itself: the default profile, and it with one setting.

    vadose demo --forecast --out demo
    OMP_NUM_THREADS=1 python benchmarks/profile_settings.py demo/cube.zarr [--only hyper.dropout ...] [--crop 4 16]
        [--write docs/methods.md]

The surface network of scenario S2 learns 2018-01 .. 2019-06 of the simulated block, its epochs are chosen on
2019-07 .. 2019-12, and 2020 is scored: the setting minus the default, the same samples, one seed. Prints a line for
each setting that both profiles have in a run, and with --write puts it into the table of the docs. What is done is
kept in --out: a stopped one goes on.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

import vadose as vd
from vadose.cube import open_cube
from vadose.experiments import Experiment, load_experiment

RUN, LAYER = "convlstm-S2", "0-10 cm"
TEST = ("2020-01-01", "2020-12-31")
SPLIT = {
    "training": {"first": "2018-01-01", "last": "2019-06-30"},
    "validation": {"first": "2019-07-01", "last": "2019-12-31"},
    "test": dict(zip(("first", "last"), TEST, strict=True)),
}
SMALL = ("hyper.dropout", "training.optimiser", "training.form", "training.learning_rate", "training.batch_size")
ALL = (*SMALL, "training.samples_per_epoch", "training.patience", "stride", "training.epochs", "hyper.filters")
WITH = {"stride": ("window",), "training.epochs": ("training.patience",)}
"""Settings that say nothing without others."""


def changed(settings: tuple[str, ...]) -> Experiment:
    """The default profile on whole maps, smaller than its tiles, with some settings of the printed one."""
    usual, printed = (load_experiment("forecast_paper").with_profile(name) for name in ("default", "as_printed"))
    run, other = usual.runs[RUN].model_dump() | {"window": "map", "above": None}, printed.runs[RUN].model_dump()
    for setting in settings:
        *above, key = setting.split(".")
        place, source = run, other
        for part in above:
            place, source = place[part], source[part]
        place[key] = source[key]
    layer = usual.layers[LAYER].model_dump() | {"products": {}}
    name = settings[0] if settings else "default"
    return Experiment.model_validate(
        {"split": SPLIT, "layers": {LAYER: layer}, "runs": {"network": run | {"scenario": name}}}
    )


def store_of(settings: tuple[str, ...], cube: xr.Dataset, out: Path) -> xr.Dataset:
    """Forecasts of the test year, by the network that learns with these settings."""
    folder = out / "_".join(settings or ("default",)) / "network"
    trained = vd.train(cube, changed(settings), run="network", out=folder)
    first = pd.Timestamp(TEST[0]) - pd.Timedelta(days=30)
    return vd.forecast(trained, cube, init=(f"{first:%Y-%m-%d}", "2020-12-30"), out=folder.parent / "forecasts.zarr")


def effect(setting: str, cube: xr.Dataset, out: Path) -> str:
    """Differences of RMSE and R at 1 and 30 days, with their intervals."""
    stores = [store_of(settings, cube, out) for settings in ((), (setting, *WITH.get(setting, ())))]
    scores = vd.evaluate(stores, cube, out=out / "scores" / setting, days=TEST)
    rows = pd.read_csv(scores.folder / "comparisons.csv")
    rows = rows[(rows.scenario == setting) & (rows.baseline_scenario == "default")].set_index(["metric", "lead_days"])
    beside = f"with {', '.join(f'`{name}`' for name in WITH[setting])}: " if setting in WITH else ""
    told = [_told(rows, metric, lead) for metric, lead in (("rmse", 1), ("rmse", 30), ("pearson_r", 1))]
    return f"{beside}RMSE {told[0]} at 1 d, {told[1]} at 30 d; R {told[2]} at 1 d"


def _told(rows: pd.DataFrame, metric: str, lead: int) -> str:
    row: Any = rows.loc[(metric, lead)]
    digits = 4 if metric == "rmse" else 3
    return "{0:.{3}f} [{1:.{3}f}, {2:.{3}f}]".format(row["median"], row.lower, row.upper, digits)


def write(docs: Path, effects: dict[str, str]) -> None:
    """Put the measured effects into the last column of the table."""
    text = docs.read_text()
    for setting, words in effects.items():
        text = re.sub(
            rf"^(\| `{re.escape(setting)}` \|(?: `[^`]*` \|){{2}}).*$",
            lambda m, w=words: f"{m[1]} {w} |",
            text,
            flags=re.M,
        )
    docs.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cube", type=Path)
    parser.add_argument("--out", type=Path, default=Path("profile_settings"))
    parser.add_argument("--only", nargs="+", default=list(ALL), choices=ALL)
    parser.add_argument("--crop", type=int, nargs=2, default=[0, None], help="rows and columns of the cube")
    parser.add_argument("--write", type=Path, help="the page with the table")
    options = parser.parse_args()
    part = slice(*options.crop)
    cube = open_cube(options.cube).isel(y=part, x=part).load()
    effects = {}
    for setting in options.only:
        effects[setting] = effect(setting, cube, options.out)
        print(f"{setting}: {effects[setting]}", flush=True)
    if options.write:
        write(options.write, effects)


if __name__ == "__main__":
    main()
