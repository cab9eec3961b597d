"""Whether epochs of samples drawn, from windows or from tiles, lose against epochs of all windows.

    vadose build path/to/smap_india --out india.zarr
    OMP_NUM_THREADS=1 python benchmarks/sampled_epochs.py india.zarr [--crop 96 144 64 112] [--write docs/results.md]

The ConvLSTM of the experiment 'india' learns the soil-water index of 48 x 48 cells on 2017, its epochs are chosen on
2018 and 2019 is scored, by the mean of three networks each way:

- all windows: 8 x 8 cells at stride 4, every one of them once an epoch: 44 thousand;
- windows drawn: 3,000 of them an epoch;
- tiles drawn: 100 of 40 x 40 cells an epoch (less than the cells of those windows), forecasting whole maps.

Prints the lowest validation loss of each seed, the scores of each way and its differences from all windows, and with
--write puts the table into the page. What is done is kept in --out: a stopped one goes on.
"""

import argparse
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

import vadose as vd
from vadose.cube import open_cube
from vadose.experiments import Experiment, load_experiment

SPLIT = {
    "training": {"first": "2017-01-01", "last": "2017-12-31"},
    "validation": {"first": "2018-01-01", "last": "2018-12-31"},
    "test": {"first": "2019-01-01", "last": "2019-12-31"},
}
TEST = ("2019-01-01", "2019-12-31")
ALL = "all windows"
WAYS: dict[str, dict[str, Any]] = {
    ALL: {"stride": 4, "training": {"samples_per_epoch": None, "epochs": 4, "patience": 2}},
    "windows drawn": {"training": {"samples_per_epoch": 3000, "epochs": 30, "patience": 6}},
    "tiles drawn": {
        "window": 40,
        "stride": 8,
        "training": {"samples_per_epoch": 100, "epochs": 30, "patience": 6, "batch_size": 4},
    },
}
SEEDS = (0, 1, 2)
LEADS = (1, 7, 30)


def experiment(way: str) -> Experiment:
    """The run 'convlstm' of the experiment 'india' trained that way."""
    usual = load_experiment("india")
    run = usual.runs["convlstm"].model_dump() | {"scenario": way, "leads": LEADS, "refit": False}
    training = run["training"] | WAYS[way]["training"] | {"seeds": SEEDS}
    run |= WAYS[way] | {"training": training}
    layers = {name: layer.model_dump() for name, layer in usual.layers.items()}
    return Experiment.model_validate({"split": SPLIT, "layers": layers, "runs": {"network": run}})


def row_of(way: str, cube: xr.Dataset, out: Path) -> tuple[xr.Dataset, str]:
    """Forecasts of 2019, and the lowest validation loss of each seed."""
    folder = out / way.replace(" ", "_")
    begun = time.process_time()
    trained = vd.train(cube, experiment(way), run="network", out=folder / "network")
    print(f"{way}: trained in {time.process_time() - begun:.0f} s of processor", flush=True)
    lowest = pd.read_csv(folder / "network" / "history.csv").groupby("run").validation_loss.min()
    told = vd.forecast(trained, cube, init=("2018-12-02", "2019-12-30"), out=folder / "forecasts.zarr")
    return told, " / ".join(f"{loss:.4f}" for loss in lowest)


def _told(of: pd.DataFrame, way: str, lead: int, metric: str) -> str:
    row = of[(of.scenario == way) & (of.lead_days == lead) & (of.metric == metric)].iloc[0]
    digits = 3 if metric == "pearson_r" else 4
    return f"{row['median']:.{digits}f} [{row.lower:.{digits}f}, {row.upper:.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cube", type=Path)
    parser.add_argument("--out", type=Path, default=Path("sampled_epochs"))
    parser.add_argument("--crop", type=int, nargs=4, default=[96, 144, 64, 112], help="rows and columns of the cube")
    parser.add_argument("--write", type=Path, help="the page with the table")
    options = parser.parse_args()
    top, bottom, left, right = options.crop
    cube = open_cube(options.cube).isel(y=slice(top, bottom), x=slice(left, right)).load()
    done = {way: row_of(way, cube, options.out) for way in WAYS}
    scores = vd.evaluate([store for store, _ in done.values()], cube, out=options.out / "scores", days=TEST)
    table, paired = (pd.read_csv(scores.folder / f"{name}.csv") for name in ("scores", "comparisons"))
    paired = paired[paired.baseline_scenario == ALL]
    header = [
        "days ahead",
        "way",
        "validation loss of the seeds",
        "R",
        "minus all windows",
        "RMSE",
        "minus all windows",
    ]
    lines = [header, ["---"] * len(header)]
    for lead in LEADS:
        for way, (_, losses) in done.items():
            line = [str(lead), way, losses]
            for metric in ("pearson_r", "rmse"):
                line += [_told(table, way, lead, metric), "" if way == ALL else _told(paired, way, lead, metric)]
            lines.append(line)
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    print(text)
    if options.write:
        page = options.write.read_text()
        mark = r"(<!-- sampled epochs -->\n).*?(<!-- end -->)"
        options.write.write_text(re.sub(mark, lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page, flags=re.S))


if __name__ == "__main__":
    main()
