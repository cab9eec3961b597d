"""What a row of the table is, and how it is measured: in a process of its own, beside its rivals, in one run."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Way:
    """One way to do a row's work."""

    name: str
    rate: float
    """Units of work a second."""
    differs: tuple[float, float] | None = None
    """From the first way's result, in its standard deviations: the largest difference, and the root mean square."""
    graphs: int | None = None
    """Graphs that were compiled for it; None where it says to compile nothing."""
    memory: float | None = None
    """Largest memory of the process [GB], where the way had one of its own."""
    first: float | None = None
    """Seconds of the first call, with what is imported and compiled once."""


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
    note: str = ""


Measure = Callable[[bool], list[Way]]
ROWS: dict[str, tuple[Row, Measure]] = {}
"""Name -> what the row says, and the function that measures its ways, quickly or in full."""


def row(
    name: str, work: str, *, unit: str, call: str, to_reach: str, flop: float = 0.0
) -> Callable[[Measure], Measure]:
    """Enter a function that measures the ways of a row."""

    def entered(measure: Measure) -> Measure:
        ROWS[name] = Row(work, unit, call, to_reach, flop=flop), measure
        return measure

    return entered


def measured(name: str, quick: bool) -> Row:
    """A row with its ways, measured now; a way that says to be compiled and is not makes it fail."""
    told, measure = ROWS[name]
    ways = measure(quick)
    for way in ways:
        if way.graphs == 0:
            raise RuntimeError(f"{name}: {way.name!r} is said to be compiled, and no graph was")
    return replace(told, ways=ways)


def alone(run: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What a function gives in a process of its own, and the largest memory of that [GB]."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_watched, (run, arguments))


def _watched(run: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    result = run(*arguments)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def seconds(run: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """The median of some runs by the clock, and what the last gave."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        result = run()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent)), result


def in_turns(runs: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """Median seconds of several ways, taken in turns, so that other work on the machine meets all of them."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            spent[name].append(seconds(run)[0])
    return {name: float(np.median(of_way)) for name, of_way in spent.items()}


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
    def now(cls) -> "Peak":
        """Measure it."""
        import torch

        def product(dtype: torch.dtype) -> float:
            matrix = torch.randn(2048, 2048).to(dtype)
            return 2 * 2048**3 / min(seconds(lambda: matrix @ matrix)[0] for _ in range(8)) / 1e9

        block = torch.zeros(1 << 27)
        read = min(seconds(block.sum)[0] for _ in range(5))
        threads = torch.get_num_threads()
        return cls(product(torch.float32), product(torch.bfloat16), 4 * (1 << 27) / read / 1e9, threads)
