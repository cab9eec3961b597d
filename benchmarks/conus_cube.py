"""Time, memory and disk of building a cube of CONUS from simulated granules, and what it waits for.

    python benchmarks/twin_conus.py --days 365 --fixed --out /tmp/conus
    python benchmarks/conus_cube.py --granules /tmp/conus --out /tmp/conus.zarr --days 365 --workers 2

Builds a cube of 17 daily variables (and six derived ones) and 13 fixed ones with `vadose build`, then once more with
one day added; memory is the sum over all its processes (proportional set size), sampled twice a second.
"""

import argparse
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import yaml

from vadose.cube import open_cube

FIRST = "2019-06-01"
RECIPE = {
    "resolution": "9km",
    "bbox": [-125.0, 24.5, -66.5, 49.5],
    "first": FIRST,
    "products": {
        "smap_l3": {
            "variables": [
                "soil_moisture",
                "tb_h",
                "tb_v",
                "vegetation_opacity",
                "vegetation_water_content",
                "surface_temperature",
                "albedo",
                "roughness_coefficient",
            ],
            "resampling": "nearest",
        },
        "gridmet": {
            "variables": [
                "air_temperature_max",
                "air_temperature_min",
                "specific_humidity",
                "shortwave_radiation",
                "vapor_pressure_deficit",
                "wind_speed",
                "reference_evapotranspiration",
                "relative_humidity_max",
            ],
            "resampling": "mean",
        },
        "imerg": {"variables": ["precipitation"], "resampling": "bicubic"},
        "solus100": {
            "variables": ["sand_fraction_5cm", "silt_fraction_5cm", "clay_fraction_5cm", "bulk_density_5cm"],
            "resampling": "mean",
        },
        "srtm": {
            "variables": ["elevation", "slope", "aspect_cosine", "aspect_sine", "curvature", "flow_accumulation"],
            "resampling": "mean",
        },
        "mcd12q1": {"variables": ["land_cover"], "resampling": "majority"},
    },
}


class Watch:
    """Samples what a process and its children use, while it runs."""

    def __init__(self, command: list[str]) -> None:
        self.peak, self.spent, self.read = 0, 0.0, 0
        begin = time.monotonic()
        process = psutil.Popen(command)
        sampler = threading.Thread(target=self._sample, args=(process,))
        sampler.start()
        self.code = process.wait()
        sampler.join()
        self.seconds = time.monotonic() - begin

    def _sample(self, process: psutil.Popen) -> None:
        spent: dict[int, float] = {}
        read: dict[int, int] = {}
        while process.poll() is None:
            total = 0
            for one in [process, *self._children(process)]:
                try:
                    times = one.cpu_times()
                    spent[one.pid] = times.user + times.system
                    read[one.pid] = one.io_counters().read_bytes
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)
            time.sleep(0.5)
        self.spent, self.read = sum(spent.values()), sum(read.values())

    @staticmethod
    def _children(process: psutil.Popen) -> list[psutil.Process]:
        try:
            return list(process.children(recursive=True))
        except psutil.Error:
            return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--granules", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    print("| build | minutes | cores busy | peak memory [GB] | read from disk [GB] | cube [GB] |")
    print("|---|---|---|---|---|---|")
    for what, days in ((f"{options.days - 1} days", options.days - 1), ("one day more", options.days)):
        last = pd.Timestamp(FIRST) + pd.Timedelta(days=days - 1)
        recipe = options.out.with_suffix(".yaml")
        recipe.write_text(yaml.safe_dump(RECIPE | {"last": f"{last:%Y-%m-%d}"}, sort_keys=False))
        vadose = str(Path(sys.executable).parent / "vadose")
        watch = Watch(
            [
                vadose,
                "build",
                str(options.granules),
                "--recipe",
                str(recipe),
                "--out",
                str(options.out),
                "--workers",
                str(options.workers),
            ]
        )
        if watch.code:
            sys.exit(watch.code)
        size = sum(p.stat().st_size for p in options.out.rglob("*") if p.is_file()) / 1e9
        print(
            f"| {what} | {watch.seconds / 60:.1f} | {watch.spent / watch.seconds:.2f} | {watch.peak / 1e9:.2f} "
            f"| {watch.read / 1e9:.1f} | {size:.2f} |"
        )
    files = sum(p.stat().st_size for p in options.granules.rglob("*") if p.is_file()) / 1e9
    cube = open_cube(options.out)
    daily = [name for name in cube.data_vars if "time" in cube[name].dims]
    print(f"\ngranules {files:.1f} GB; {cube.sizes['y']} x {cube.sizes['x']} cells, {len(daily)} daily variables")
    subprocess.run(["uname", "-srm"], check=False)


if __name__ == "__main__":
    main()
