"""Mutants of a granule of every product: an error of one line, the same values, or other values with a note.

A mutant is a file with bits flipped, an end cut off, a stretch of zeros, an attribute or a coordinate changed, or
another date in its name. No mutant may end in a traceback or end the process. A reader could notice what the file
contradicts: attributes against what is published, coordinates against the lattice or each other, the name against
the content, a cut end. Of these at most 1 in 100 may give other values, or the same at another place or time,
without a note. A flip or zeros within data that no checksum guards cannot be noticed and is not counted, nor is
what `UNNOTICEABLE` lists.

By hand, with more of them::

    python tests/products/test_fuzz.py FOLDER MUTANTS [PRODUCT ...]
"""

import faulthandler
import json
import os
import random
import re
import shutil
import subprocess
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from vadose.errors import OutsideError, VadoseError
from vadose.products import PRODUCTS
from vadose.products.containers import container_of

BOX = (-100.25, 39.8, -99.95, 40.1)
FINE_BOX = (-100.01, 39.98, -99.97, 40.02)
FINE = ("3dep", "hls", "landsat", "nlcd", "polaris", "sentinel1", "smap_hydroblocks")
EACH = 6
SEED = 19
HANG = 60
"""Seconds after which a mutant that is still being read ends the process."""
Mutation = Callable[[Path, random.Random], Path | None]


def flip(path: Path, rng: random.Random) -> Path:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 3))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path


def zeros(path: Path, rng: random.Random) -> Path:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    length = min(rng.choice((4, 64, 1024)), len(content) - start)
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    return path


def cut(path: Path, rng: random.Random) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])
    return path


def other_date(path: Path, rng: random.Random) -> Path | None:
    """Another day in the name, or one that no calendar has."""
    if not (found := re.search(r"(?<!\d)((?:19|20)\d\d)(\d\d\d\d|\d\d\d|-\d\d)?(?=\D)", path.name)):
        return None
    year, rest = found[1], found[2] or ""
    new = {0: f"{int(year) - 1}{rest}", 1: f"{year}{rest.replace(rest[-1:], '9') if rest else '9'}"}[rng.randrange(2)]
    return path.rename(path.with_name(path.name[: found.start()] + new + path.name[found.end() :]))


def fields(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return [data for data in found if data.dtype.kind in "iuf" and data.size]


def attribute(path: Path, rng: random.Random) -> Path | None:
    if container_of(path) != "hdf5":
        return None
    with h5py.File(path, "r+") as file:
        data = rng.choice(fields(file))
        name, value = rng.choice([("scale_factor", 0.1), ("add_offset", 1.0), ("_FillValue", 0), ("units", "1")])
        data.attrs[name] = np.array(value, data.dtype) if name == "_FillValue" else value
    return path


def shifted(path: Path, rng: random.Random) -> Path | None:
    if container_of(path) != "hdf5":
        return None
    places = ("lat", "lon", "x", "y", "time", "day", "latitude", "longitude", "EASE_row_index", "tb_time_seconds")
    with h5py.File(path, "r+") as file:
        axes = [data for data in fields(file) if data.name.rsplit("/", 1)[-1].removesuffix("_pm") in places]
        if not axes:
            return None
        data = rng.choice(axes)
        values = data[()]
        step = np.diff(values.ravel()[:2])[0] if values.size > 1 else 1
        data[...] = rng.choice([values + 1000 * step, values + step / 2, values[..., ::-1] if values.ndim else -values])
    return path


MUTATIONS: dict[str, tuple[Mutation, bool]] = {
    "flip": (flip, False),
    "zeros": (zeros, False),
    "cut": (cut, True),
    "name": (other_date, True),
    "attribute": (attribute, True),
    "shifted": (shifted, True),
}
"""How a file is changed, and whether its reader could notice."""


UNNOTICEABLE = {("smap_hydroblocks", "shifted"), ("sentinel1", "name")} | {
    (name, "cut") for name in ("ismn", "scan", "uscrn", "uscrn_hourly", "conusv4f1")
}
"""No lattice is published, the content has no date, text may end after any line."""


def read(name: str, path: Path) -> list[xr.Dataset]:
    product = PRODUCTS[name]
    options: dict[str, Any] = (
        {"bbox": FINE_BOX if name in FINE else BOX} if product.kind == "grid" and name != "smap_l2" else {}
    )
    found: Any = product.read(path, **options)
    return found if isinstance(found, list) else [found]


def notes(found: list[xr.Dataset]) -> list[Any]:
    """What is told of the datasets beside values: which variables, and attributes but for the file's name."""
    return [
        [str({k: v for k, v in d.attrs.items() if k != "granule"}), {n: str(v.attrs) for n, v in d.data_vars.items()}]
        for d in found
    ]


def outcome(name: str, path: Path, original: list[xr.Dataset]) -> str:
    try:
        found = read(name, path)
    except OutsideError:
        return "error"
    except VadoseError as error:
        return "error" if "\n" not in str(error) else f"lines: {error}"
    except Exception:
        return f"traceback: {traceback.format_exc()[-600:]}"
    if len(found) == len(original) and all(a.equals(b) for a, b in zip(found, original, strict=True)):
        return "same"
    return "told" if notes(found) != notes(original) else "silent"


def run(files: dict[str, str], scratch: Path, each: int, after: int) -> None:
    """In a process of its own: mutants from number ``after`` on, a line before and a line after each."""
    warnings.simplefilter("ignore")
    number = 0
    for name, place in files.items():
        whole, original = Path(place), None
        for k in range(each):
            number += 1
            if number <= after:
                continue
            kind, rng = list(MUTATIONS)[k % len(MUTATIONS)], random.Random(f"{SEED} {name} {k}")
            shutil.rmtree(scratch, ignore_errors=True)
            copy = scratch.joinpath(*whole.parts[-4:])  # folders say what some files hold
            if whole.is_dir():
                shutil.copytree(whole, copy)
                victim = rng.choice(sorted(p for p in copy.rglob("*") if p.is_file() and p.stat().st_size))
            else:
                copy.parent.mkdir(parents=True)
                for beside in (*whole.parent.glob(f"{whole.name[:24]}*"), *whole.parent.glob("SIMULATED.txt")):
                    shutil.copy(beside, copy.parent)  # the other bands of a scene
                victim = copy
            original = read(name, copy) if original is None else original
            changed = MUTATIONS[kind][0](victim, rng)
            if changed is None or not changed.exists():
                continue
            print(json.dumps([number, name, kind, None]), flush=True)
            path = copy if whole.is_dir() else changed
            faulthandler.dump_traceback_later(HANG, exit=True)
            print(json.dumps([number, name, kind, outcome(name, path, original)]), flush=True)


def fuzz(files: dict[str, Path], scratch: Path, each: int) -> list[tuple[str, str, str]]:
    """Product, kind and outcome of every mutant; a process that dies is started again after its victim."""
    found: list[tuple[str, str, str]] = []
    after = 0
    while True:
        command = [sys.executable, __file__, "--run", json.dumps({k: str(v) for k, v in files.items()}), str(scratch)]
        done = subprocess.run([*command, str(each), str(after)], capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found += [(name, kind, said) for _, name, kind, said in lines if said is not None]
        if done.returncode == 0:
            return found
        if not lines or lines[-1][3] is not None:
            raise RuntimeError(done.stderr[-2000:])
        after, name, kind, _ = lines[-1]
        found.append((name, kind, f"death: exit {done.returncode}"))


def judged(found: list[tuple[str, str, str]]) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]], int]:
    """Mutants that went wrong, those that were silent where the reader could notice, and how many it could notice."""
    wrong = [one for one in found if one[2] not in ("error", "same", "told", "silent")]
    noticeable = [one for one in found if MUTATIONS[one[1]][1] and one[:2] not in UNNOTICEABLE]
    return wrong, [one for one in noticeable if one[2] == "silent"], len(noticeable)


def test_no_mutant_goes_wrong(files: dict[str, Path], tmp_path: Path) -> None:
    found = fuzz(files, tmp_path / "scratch", int(os.environ.get("VADOSE_MUTANTS", EACH)))
    wrong, silent, noticeable = judged(found)
    assert len({name for name, _, _ in found}) == len(files)
    assert not wrong
    assert len(silent) <= 0.01 * noticeable, silent


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        run(json.loads(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        folder, each, *names = sys.argv[1:]
        places = json.loads((Path(folder) / "files.json").read_text())
        made = {name: Path(place) for name, place in places.items() if not names or name in names}
        results = fuzz(made, Path(folder) / "scratch", int(each))
        for (name, kind, said), count in sorted(Counter((n, k, s[:700]) for n, k, s in results).items()):
            if said not in ("error", "same", "told"):
                print(count, name, kind, said)
        print(
            Counter(said.split(":")[0] for _, _, said in results),
            "silent of noticeable:",
            len(judged(results)[1]),
            "of",
            judged(results)[2],
        )
