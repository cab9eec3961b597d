"""The paper's study from simulated granules, killed (SIGKILL) in each of its stages and resumed, against one in one go.

    python benchmarks/kill_study.py [--profile default as_printed] [--work FOLDER]

Everything is done by documented commands: `vadose twin`, `vadose stations`, and for each profile `vadose study FILE
--quick` on 11 x 10 cells and 140 days, gaps filled by climatology + AR(1). All files of both folders are compared but
for times of making, and hashes of what notes them. An index of the paper's tables and figures says which are missing.
"""

import argparse
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

MADE = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00)?|[0-9a-f]{32}")
BOX = "-102.5,32.0,-101.55,32.95"
EXPERIMENT = """
kind: forecasting
like: forecast_paper
split:
  training: {first: 2018-01-10, last: 2018-03-20}
  validation: {first: 2018-03-21, last: 2018-04-20}
  test: {first: 2018-04-21, last: 2018-05-20}
profiles:
  default: {networks: {window: map}}
"""
RECIPE = """
kind: cube
like: RECIPE
bbox: [BOX]
first: 2018-01-01
last: 2018-05-20
training: {first: 2018-01-01, last: 2018-03-20}
filling:
  - variables: [soil_moisture, tb_h, tb_v, albedo, roughness_coefficient, vegetation_opacity,
                vegetation_water_content, surface_temperature, transformed_swir]
    method: climatology_ar1
    mode: MODE
  - variables: [soil_moisture_0_10cm, soil_moisture_10_40cm, soil_moisture_40_100cm]
    method: last_value
    mode: causal
products: {nldas_noah: {options: {min_hours: 4}}}
"""
RECIPES = {"default": ("conus", "causal"), "as_printed": ("conus_as_printed", "smoothed")}
STAGES = {
    "build": (".cube.zarr.building",),
    "training": ("runs/0-10cm/*convlstm-S2*",),
    "forecasts": ("forecasts/test/0-10cm/*",),
    "scores": ("evaluation/test/*0-10cm",),
    "scores at stations": ("evaluation/test-stations/*0-10cm",),
    "training of the layers below": ("runs/10-40cm/*convlstm-S2*",),
    "forecasts of the layers below": ("forecasts/test/40-100cm/*",),
    "figures": ("*paper*/*", ".paper*"),
    "report": (".*report*", "report.html"),
}
"""Stage, in their order -> what is there once it has begun."""


def vadose(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vadose", *arguments]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--work", type=Path, default=Path("kill_study"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.chdir(options.work)
    if not Path("world").exists():
        more = [f"--with={name}" for name in ("nldas_noah", "mod09ga", "mod09cmg")]
        days = ["--from", "2018-01-01", "--to", "2018-06-10"]
        subprocess.run(vadose("twin", *days, f"--bbox={BOX}", *more, "--stations", "10", "--out", "world"), check=True)
    of = [f"--{name}=world/stations/{name}" for name in ("uscrn", "scan")]
    subprocess.run(vadose("stations", *of, "--metadata=world/stations/station_meta", "--out=s.zarr"), check=True)
    Path("mine.yaml").write_text(EXPERIMENT)
    for profile in options.profile:
        name, mode = RECIPES[profile]
        Path(f"{name}.yaml").write_text(RECIPE.replace("RECIPE", name).replace("BOX", BOX).replace("MODE", mode))
        compare(profile, f"{name}.yaml")


def started(profile: str, recipe: str, out: Path) -> subprocess.Popen[bytes]:
    """The study, in a group of processes of its own."""
    study = vadose("study", "mine.yaml", "--quick", "--profile", profile, "--recipe", recipe, "--out", str(out))
    with Path(f"{out}.log").open("ab") as log:
        return subprocess.Popen(
            [*study, "--data", "world/granules", "--stations", "s.zarr"],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def compare(profile: str, recipe: str) -> None:
    """Print what the kills of a profile's study did, and whether its files are those of one in one go."""
    whole, out = Path(f"{profile}_whole"), Path(f"{profile}_killed")
    begun = time.monotonic()
    assert started(profile, recipe, whole).wait() == 0, f"see {whole}.log"
    print(f"{profile}: in one go in {time.monotonic() - begun:.0f} s", flush=True)
    for stage, marks in STAGES.items():
        study = started(profile, recipe, out)
        while study.poll() is None and not any(any(out.glob(mark)) for mark in marks):
            time.sleep(0.02)
        if study.poll() is not None:
            print(f"{profile}: over before {stage}, exit code {study.returncode}", flush=True)
            continue
        os.killpg(study.pid, signal.SIGKILL)
        study.wait()
        print(f"{profile}: killed in {stage}", flush=True)
    assert started(profile, recipe, out).wait() == 0, f"see {out}.log"
    first, other = digests(whole), digests(out)
    differ = sorted(name for name in first.keys() & other.keys() if first[name] != other[name])
    alone = sorted(first.keys() ^ other.keys())
    print(f"{profile}: {len(first)} files; {len(differ)} differ {differ[:10]}; {len(alone)} in one alone {alone[:10]}")
    for index in sorted(out.glob("paper*/index.csv")):
        print(f"{index}:\n{index.read_text()}", flush=True)


def digests(folder: Path) -> dict[str, str]:
    """Hashes of all files but for what is of their making."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(MADE.sub(b"", path.read_bytes())).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


if __name__ == "__main__":
    main()
