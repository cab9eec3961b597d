"""Kill `vadose build` at random moments: is the cube readable at each, and the same in the end?

    python benchmarks/kill_build.py GRANULES --recipe RECIPE.yaml [--kills 20] [--seed 0]

The cube is built up to the middle of the recipe's days, grown to its last day while a granule of the past goes away,
and cut back. In each phase builds are killed (SIGKILL) after random times until enough were or one was complete before.
All the while the cube is opened and read: it has to be that of the phase before or of this one, value for value.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import xarray as xr

from vadose.cube import Recipe, build_from_granules, open_cube
from vadose.errors import VadoseError
from vadose.experiments import load_cube


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("granules", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--kills", type=int, default=20, help="in each phase, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recipe, chance = load_cube(options.recipe), random.Random(options.seed)
    days = recipe.days
    middle = replace(recipe, last=f"{days[len(days) // 2]:%Y-%m-%d}")
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "granules"
        shutil.copytree(options.granules, world, symlinks=False)
        out, before = Path(folder) / "cube.zarr", None
        for phase, of in (("first", middle), ("grown", recipe), ("cut back", middle)):
            if phase == "grown":
                next(iter(sorted((world / recipe.sources[0].product).rglob("*.h5")))).unlink()
            start = time.monotonic()
            after = contents(build_from_granules(world, Path(folder) / f"{phase}.zarr", of))
            takes = time.monotonic() - start
            kills, reads = phase_of(world, out, of, before, after, options.kills, takes, chance)
            print(
                f"{phase}: {kills} builds killed, {reads} reads, each of a complete state; in the end the same",
                flush=True,
            )
            before = after
    print("left beside the cube: nothing")


def phase_of(
    world: Path,
    out: Path,
    recipe: Recipe,
    before: xr.Dataset | None,
    after: xr.Dataset,
    kills: int,
    takes: float,
    chance: random.Random,
) -> tuple[int, int]:
    """Kill builds and read the cube; the numbers of both."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vadose.cube"])
    killed = reads = 0
    while True:
        build = context.Process(target=build_from_granules, args=(world, out, recipe))
        build.start()
        end = time.monotonic() + (chance.uniform(0.0, 0.25) * takes if killed < kills else 1e6)
        while build.is_alive() and time.monotonic() < end:
            check(out, before, after)
            reads += 1
        if build.is_alive():
            os.kill(build.pid or 0, signal.SIGKILL)
            killed += 1
        build.join()
        check(out, before, after)
        if build.exitcode == 0:
            xr.testing.assert_identical(contents(out), after)
            left = sorted(p.name for p in out.parent.iterdir() if p.name.startswith(f".{out.name}"))
            assert not left, left
            return killed, reads


def contents(out: Path) -> xr.Dataset:
    """What a cube holds but for the time of its making."""
    cube = open_cube(out).load()
    for name in ("created", "history", "commit"):
        del cube.attrs[name]
    return cube


def check(out: Path, before: xr.Dataset | None, after: xr.Dataset) -> None:
    """The cube is one of two states."""
    try:
        cube = contents(out)
    except VadoseError as error:
        if before is not None or not any(words in str(error) for words in ("no cube there", "half built")):
            raise
        return
    assert cube.identical(after) or (before is not None and cube.identical(before)), cube


if __name__ == "__main__":
    main()
