import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest

from vadose.errors import VadoseError
from vadose.parallel import workers
from vadose.parallel.workers import on_workers


@pytest.fixture(scope="module", autouse=True)
def spawned() -> Iterator[None]:
    """Workers begin as they do for users, each a process anew."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}):
        yield


class Counting:
    """Counts the units a process did with it, and sums what lies in a lazy array."""

    def __init__(self) -> None:
        self.done = 0
        self.lazy = dask.array.ones(5, chunks=2)

    def __reduce__(self) -> Any:
        return Counting, ()

    def __call__(self, unit: int) -> tuple[int, int, int, float]:
        self.done += 1
        return unit, os.getpid(), self.done, float(self.lazy.sum().compute())


def wrong(unit: int) -> int:
    raise VadoseError(f"unit {unit}: cannot be done")


def dies(folder: Path, unit: int) -> int:
    (folder / f"{unit}-{os.getpid()}").touch()
    if unit == 2:
        time.sleep(1)  # a process that has hardly begun is not begun again
        os._exit(1)
    return unit


def large(unit: int, values: Any) -> int:
    return unit


def test_one_worker_works_here_in_order() -> None:
    with on_workers() as run:
        assert [found[:3] for found in run(Counting(), [3, 1, 2])] == [
            (3, os.getpid(), 1),
            (1, os.getpid(), 2),
            (2, os.getpid(), 3),
        ]


def test_processes_hold_a_job_and_do_every_unit(tmp_path: Path) -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), on_workers(2) as run:
        found = list(run(Counting(), range(8)))
        assert sorted(unit for unit, *_ in found) == list(range(8))
        pids = {pid for _, pid, *_ in found}
        assert os.getpid() not in pids
        # Each process has a job of its own, that it keeps.
        assert sum(max(done for _, own, done, _ in found if own == pid) for pid in pids) == 8
        assert {total for *_, total in found} == {5.0}
        with pytest.raises(VadoseError, match=r"unit .: cannot be done"):
            list(run(wrong, [0, 1]))
        with pytest.raises(VadoseError, match=r"given up after 1 workers died over it, the last at tcp"):
            list(run(partial(dies, tmp_path), [2, 0]))
        assert len([path for path in tmp_path.iterdir() if path.name.startswith("2-")]) == 1
        assert sorted(run(partial(large, values=np.zeros(10)), range(3))) == [0, 1, 2]


def test_workers_keep_memory_and_have_a_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "OMP_NUM_THREADS"]
    for name in names:
        # What is set already holds, and starting a worker sets it.
        monkeypatch.delenv(name, raising=False)
    with on_workers(2) as run:
        told = dict(run(_environment, names))
    assert told == {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432", "OMP_NUM_THREADS": "1"}


def _environment(name: str) -> tuple[str, str | None]:
    return name, os.environ.get(name)


def test_what_is_in_memory_does_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LARGEST_JOB", 1 << 20)
    job = partial(large, values=np.zeros(1 << 20))
    with pytest.raises(VadoseError, match=r"8 MB in memory would be sent to each worker, 1 MB at most"):
        workers._check_size(job)
    workers._check_size(partial(large, values=dask.array.zeros(1 << 30)))
    with on_workers() as run:
        assert list(run(job, [1])) == [1]  # here nothing is sent


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere"])
def test_no_scheduler_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 0.2)
    with pytest.raises(VadoseError, match=f"{address}: no Dask scheduler answers there"), on_workers(1, address):
        pass
