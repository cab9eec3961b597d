"""What a row of the table is, and how it is measured: each way in a process of its own, in one run."""

import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import vadose as vd

_T = TypeVar("_T")
QUICK, USUAL, LARGE = range(3)


@dataclass(frozen=True)
class Plan:
    """How large the work is made, and the device that networks run on."""

    size: int = USUAL
    device: str = "cpu"

    def of(self, quick: _T, usual: _T, large: _T | None = None) -> _T:
        """The one of this size; what is as large as usual is left out."""
        return (quick, usual, usual if large is None else large)[self.size]

    def running(self, precision: str = "float32", *, compile: bool = False) -> vd.Running:
        return vd.Running(self.device, precision, compile)


@dataclass(frozen=True)
class Way:
    """One way to do a row's work."""

    name: str
    rate: float = math.nan
    """Units of work a second; NaN where it was not measured, see the note."""
    differs: tuple[float, float] | None = None
    """From the first way's result, in its standard deviations: the largest difference, and the root mean square."""
    graphs: int | None = None
    """Graphs that were compiled for it; None where it says to compile nothing."""
    memory: float | None = None
    """Largest memory of the process, or on the GPU [GB], where the way had one of its own."""
    first: float | None = None
    """Seconds of the first call, with what is compiled once."""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row: what is done, by which documented call, and its ways; the first is the rival that ratios are to."""

    work: str
    unit: str
    call: str
    to_reach: str
    ways: list[Way] = field(default_factory=list)
    flop: float = 0.0
    """Floating-point operations of a unit, where a share of the machine's peak says something."""
    bytes: float = 0.0
    """Bytes read and written of a unit, where memory is the limit."""
    takes: tuple[float, float] = (10.0, 40.0)
    """Seconds of the row on two idle cores, quick and usual, for the estimate of what is left."""


Measure = Callable[[Plan], list[Way]]
ROWS: dict[str, tuple[Row, Measure]] = {}
"""Name -> what the row says, and the function that measures its ways."""


def row(name: str, work: str, **said: Any) -> Callable[[Measure], Measure]:
    """Enter a function that measures the ways of a row; the rest are fields of `Row`."""

    def entered(measure: Measure) -> Measure:
        ROWS[name] = Row(work, **said), measure
        return measure

    return entered


def measured(name: str, plan: Plan) -> Row:
    """A row with its ways, measured now; a way that says to be compiled and is not makes it fail."""
    told, measure = ROWS[name]
    ways = measure(plan)
    for way in ways:
        if way.graphs == 0:
            raise RuntimeError(f"{name}: {way.name!r} is said to be compiled, and no graph was")
    return replace(told, ways=ways)


def alone(run: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What a function gives in a process of its own, and the largest memory of that [GB].

    Processes are forked from one that has imported everything, so that none of them waits for it.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_watched, run, arguments).result()


PRELOADED = [
    *(f"benchmarks.speed.{name}" for name in ("forecasts", "maps", "data", "scores")),
    *("torch._dynamo", "torch._inductor.compile_fx", "lightning_fabric", "vadose.compiled", "vadose.evaluation"),
]


def _watched(run: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    # Workers that a call starts would import this program, as they would not a user's few lines.
    vars(sys.modules["__main__"]).update(__spec__=None, __file__=None)
    result = run(*arguments)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return result, torch.cuda.max_memory_allocated() / 1e9
    return result, peak_memory()


def peak_memory() -> float:
    """Largest resident memory of this process [GB]; that of `getrusage` is also of the one it was started by."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return next(float(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e6


def optional(name: str, package: str, measure: Callable[[], float]) -> Way:
    """A rival of a package that need not be there; where it is not, its cell says so."""
    return Way(name, measure()) if find_spec(package) else Way(name, note=f"{package} is not installed")


def seconds(run: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """The median of some runs by the clock, and what the last gave."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        result = run()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent)), result


def in_turns(runs: dict[str, Callable[[], Any]], times: int = 3) -> dict[str, float]:
    """Median seconds of several ways, taken in turns, so that other work on the machine meets all of them."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            spent[name].append(seconds(run)[0])
    return {name: float(np.median(of_way)) for name, of_way in spent.items()}


def to_stores(calls: dict[str, Callable[[Path, Path], object]], folder: Path, units: float) -> Iterator[Way]:
    """Ways by calls that write ``soil_moisture`` to a store; each compared to the first."""
    first: Any = None
    for name, call in calls.items():
        (spent, counted), memory = alone(_stored, call, folder, name)
        with vd.open(folder / f"{name}.out") as opened:
            found = opened.soil_moisture.load()
        first = found if first is None else first
        once = spent[0] if len(spent) > 1 else None
        yield Way(name, units / spent[-1], apart(found, first), counted, memory, once)


def _stored(call: Callable[[Path, Path], object], folder: Path, name: str) -> tuple[list[float], int | None]:
    """Seconds of a call, files out of the page cache, and graphs compiled; compiled ones are called once before."""
    spent, compiled = [], "compiled" in name
    with graphs() as counted:
        for out in ([f"{name}.before"] if compiled else []) + [f"{name}.out"]:
            forget(folder)
            spent.append(seconds(partial(call, folder, folder / out))[0])
    return spent, counted[0] if compiled else None


def forget(path: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for name in (p for p in path.rglob("*") if p.is_file()):
        with name.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def apart(found: Any, reference: Any) -> tuple[float, float]:
    """Largest and root mean square difference of two arrays where both are known, in the second's deviations."""
    found, reference = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    if (np.isfinite(found) != np.isfinite(reference)).any():
        raise RuntimeError("one way knows values where another knows none")
    difference = (found - reference)[np.isfinite(reference)]
    scale = float(np.nanstd(reference))
    return float(np.abs(difference).max()) / scale, float(np.sqrt((difference**2).mean())) / scale


@contextmanager
def graphs() -> Iterator[list[int]]:
    """Count the graphs that torch compiles meanwhile; a list of one number."""
    from torch._dynamo.utils import counters

    def count() -> int:
        return int(counters["stats"]["unique_graphs"])

    before, counted = count(), [0]
    yield counted
    counted[0] = count() - before


@dataclass(frozen=True)
class Peak:
    """What the machine gives at most, measured now."""

    float32: float
    """GFLOP/s of a product of large matrices."""
    bfloat16: float
    memory: float
    """GB/s read from memory."""
    threads: int

    @classmethod
    def now(cls, device: str) -> "Peak":
        """Measure it."""
        import torch

        edge, size = (2048, 1 << 27) if device == "cpu" else (8192, 1 << 30)

        def best(run: Callable[[], torch.Tensor]) -> float:
            # Reading one value waits for the device.
            return min(seconds(lambda: run().flatten()[0].item())[0] for _ in range(8))

        def product(dtype: torch.dtype) -> float:
            matrix = torch.randn(edge, edge, device=device).to(dtype)
            return 2 * edge**3 / best(lambda: matrix @ matrix) / 1e9

        block = torch.zeros(size, device=device)
        read = best(block.sum)
        return cls(product(torch.float32), product(torch.bfloat16), 4 * size / read / 1e9, torch.get_num_threads())
