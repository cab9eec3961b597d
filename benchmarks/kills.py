"""Kill `vadose fetch`, `train`, `forecast` and `study` at random moments: are the results those of undisturbed runs?

    python benchmarks/kills.py [--of fetch --of train ...] [--kills 10] [--seed 0]

A small world is simulated, and each command is done once undisturbed. Then it is killed (SIGKILL, SIGTERM or SIGINT)
after random times and started again, until enough were killed and it is complete. After each kill an artefact under its
final name has to be whole and the undisturbed one; in the end all are, and nothing else is left. Builds of cubes, which
are read all the while, are killed by kill_build.py.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

from vadose.cli import main as command_line
from vadose.cube import build_from_granules
from vadose.download import Plan, RemoteFile, fetch
from vadose.experiments import load_cube
from vadose.twin.world import build_granule_world

EXPERIMENT = """
split:
  training: {first: 2015-03-10, last: 2015-05-31}
  validation: {first: 2015-06-01, last: 2015-06-30}
  test: {first: 2015-07-01, last: 2015-07-31}
leads: [1, 3]
min_pairs: 5
runs:
  persistence: {model: persistence}
  trees: &trees
    model: trees
    hyper: {iterations: 5}
    history: [soil_moisture_filled, soil_moisture_observed, soil_moisture_age, precipitation]
    look_back: 3
  lstm:
    <<: *trees
    model: lstm
    hyper: {hidden: 4}
    training: {epochs: 20, patience: null, batch_size: 64, samples_per_epoch: 512, seeds: [0, 1]}
blends:
  blend: {members: [trees, lstm]}
"""
COMMANDS = {
    "train": "train cube.zarr -e tiny.yaml --out {out}/runs",
    "forecast": "forecast runs/blend cube.zarr --from 2015-03-20 --to 2015-07-28 --out {out}/forecast.zarr",
    "study": "study tiny.yaml --quick --cube cube.zarr --out {out}",
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MADE = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00)?|[0-9a-f]{32}")
"""Times of making, and hashes of artefacts that note theirs."""
FILES = {f"SMAP_{k}.h5": b"\x89HDF\r\n\x1a\n" + random.Random(k).randbytes(3_000_000) for k in range(6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--of", action="append", choices=["fetch", *COMMANDS])
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_world()
        with ThreadingHTTPServer(("127.0.0.1", 0), Centre) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for what in options.of or ("fetch", *COMMANDS):
                print(disturbed(what, server.server_port, options.kills, random.Random(options.seed)), flush=True)
            server.shutdown()


def make_world() -> None:
    """A cube of 3 x 3 cells and five months, an experiment, and its runs."""
    Path("tiny.yaml").write_text(EXPERIMENT)
    recipe = replace(load_cube("demo"), first="2015-03-01", last="2015-07-31", bbox=(-100.0, 39.8, -99.75, 40.05))
    build_granule_world(Path("world"), recipe.first, recipe.last, bbox=recipe.bbox, stations=4)
    build_from_granules(Path("world/granules"), Path("cube.zarr"), recipe)


def disturbed(what: str, port: int, kills: int, chance: random.Random) -> str:
    """Kill a command again and again; what came of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vadose.cli", "vadose.experiments.studies", "vadose.download"])
    expected_in, out = Path("undisturbed", what), Path("disturbed", what)
    ready = context.Process(target=str)  # the libraries are imported once, before times are taken
    ready.start()
    ready.join()
    begin = time.monotonic()
    whole = context.Process(target=command, args=(what, expected_in, port))
    whole.start()
    whole.join()
    assert whole.exitcode == 0, (what, whole.exitcode)
    takes, expected = time.monotonic() - begin, artefacts(expected_in)
    killed = dict.fromkeys(SIGNALS, 0)
    rounds, done = 0, False
    while not done:
        more = sum(killed.values()) < kills
        process = context.Process(target=command, args=(what, out, port))
        process.start()
        process.join(chance.uniform(0.0, 0.6) * takes if more else None)
        if process.is_alive():
            how = chance.choice(SIGNALS)
            os.kill(process.pid or 0, how)
            process.join()
            killed[how] += process.exitcode != 0
        else:
            assert process.exitcode == 0, (what, process.exitcode)
        found = artefacts(out)
        for name in (name for name in found if not name.startswith(".")):
            differ = sorted(file for file, _ in found[name].items() ^ expected[name].items())
            assert not differ, f"{what}: {name} is not the undisturbed one: {differ}"
        if process.exitcode == 0:
            names, wanted = ({file for files in these.values() for file in files} for these in (found, expected))
            assert names == wanted, f"{what}: {names ^ wanted}"
            assert [path.name for path in out.parent.iterdir()] == [out.name]
            rounds, done = rounds + 1, not more
            shutil.rmtree(out)
    each = ", ".join(f"{how.name} {n}" for how, n in killed.items())
    return f"{what}: {sum(killed.values())} killed ({each}), {rounds} times complete, each time the same; nothing left"


def command(what: str, out: Path, port: int) -> None:
    """A command, as the command line does it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    torch.set_num_threads(1)
    if what == "fetch":
        files = tuple(RemoteFile(name, f"http://127.0.0.1:{port}/{name}") for name in FILES)
        fetch(Plan("SPL3SMP_E", files), out)
        return
    if what == "forecast" and not Path("runs").exists():
        sys.argv = ["vadose", *COMMANDS["train"].format(out=".").split()]
        try:
            command_line()
        except SystemExit as end:
            assert not end.code, end.code  # noqa: PT017
    sys.argv = ["vadose", *COMMANDS[what].format(out=out).split()]
    command_line()


def artefacts(folder: Path) -> dict[str, dict[str, str]]:
    """Hashes of the files of each artefact, by their names below ``folder``; hidden ones by their own."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        parts = path.relative_to(folder).parts
        steps = [Path(*parts[:k]) for k in range(1, len(parts) + 1)]
        hidden = next((f".{s}" for s in steps if s.name.startswith(".")), "")
        noted = [s for s in steps if any((folder / s / n).exists() for n in ("provenance.json", "zarr.json"))]
        found.setdefault(hidden or str([*noted, steps[-1]][0]), {})[str(path.relative_to(folder))] = digest(path)
    return found


def digest(path: Path) -> str:
    """Hash of a file but for what is of its making."""
    return hashlib.sha256(MADE.sub(b"", path.read_bytes())).hexdigest()


class Centre(BaseHTTPRequestHandler):
    """A slow data centre: 3 MB in a third of a second, resumed where asked."""

    def do_GET(self) -> None:
        data = FILES[self.path[1:]]
        begin = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{self.path[1:]}"')
        self.end_headers()
        try:
            for at in range(begin, len(data), 100_000):
                self.wfile.write(data[at : at + 100_000])
                time.sleep(0.01)
        except OSError:
            pass  # the other end was killed

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    main()
