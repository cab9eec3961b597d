"""Does `vadose study --estimate` say what a study takes? One network of nine on a made-up region, against the estimate.

    OMP_NUM_THREADS=1 python benchmarks/estimate.py [--edge 60] [--days 60] [--epochs 3] [--profile default]

The surface network of scenario S2 of 'forecast_paper' learns from a region of edge x edge cells and so many days, and
forecasts validation and test, a third as long each; the estimate is made before by its probes. Both are in seconds of
the processor, which other work on the machine does not change.
"""

import argparse
import os
import platform
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import torch

from vadose.door.days import Period
from vadose.experiments import load_experiment
from vadose.experiments.section import Size
from vadose.experiments.studies.estimate import estimate
from vadose.experiments.studies.pipeline import Pipeline
from vadose.experiments.studies.probes import made_up_cube
from vadose.parallel.running import Running

NAME, LAYER = "convlstm-S2", "0-10 cm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=60)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--profile", default="default")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    days = pd.date_range("2001-01-01", periods=31 + options.days * 5 // 3)
    ends = [31, 31 + options.days, 31 + options.days * 4 // 3, len(days)]
    parts = [Period(f"{days[a]:%Y-%m-%d}", f"{days[b - 1]:%Y-%m-%d}") for a, b in pairwise(ends)]
    paper = load_experiment("forecast_paper").with_profile(options.profile)
    run, layer = paper.runs[NAME], paper.layers[LAYER]
    # No cascade, and no stop before the last epoch: the estimate's upper end.
    how = replace(run.training, epochs=options.epochs, patience=None)
    split = paper.split.model_copy(update=dict(zip(("training", "validation", "test"), parts, strict=True)))
    changed = {"runs": {NAME: run.model_copy(update={"training": how, "above": None})}, "split": split}
    experiment = paper.model_copy(update=changed | {"layers": {LAYER: layer}}).run_as(Running("cpu", "float32"))
    found = estimate(experiment, Size(rows=options.edge, columns=options.edge), days, clock=time.process_time)
    print(found.text(), flush=True)
    expected = {cost.stage: cost.most for cost in found.costs}
    channels = run.channels(layer)
    cube = made_up_cube(channels, (layer.observed, "soil_moisture"), (options.edge, options.edge), len(days))
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(experiment, cube, Path(folder, "runs"), Path(folder, "forecasts"), lambda what, share: None)
        begun = time.process_time()
        pipeline.train(pipeline.layers[0])
        trained = time.process_time()
        for phase in ("validation", "test"):
            pipeline.forecast(pipeline.layers[0], phase)
        took = {"training": trained - begun, "forecasts": time.process_time() - trained}
    print(f"\n{options.edge} x {options.edge} cells, {platform.machine()}, torch {torch.__version__}\n")
    print("| stage | estimated [s of processor] | took | estimated / took |\n|---|---|---|---|")
    for stage, seconds in (took | {"together": sum(took.values())}).items():
        said = expected.get(stage, sum(expected[part] for part in took))
        print(f"| {stage} | {said:.1f} | {seconds:.1f} | {said / seconds:.2f} |")


if __name__ == "__main__":
    main()
