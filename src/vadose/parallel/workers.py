"""Units of work done here, by several processes, or by the workers of a Dask cluster."""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

from vadose.errors import VadoseError

CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""
LARGEST_JOB = 1 << 27
"""Bytes of a job that are sent to workers at most."""
MALLOC = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 26,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}
"""Of glibc in workers here. By Dask's own every array is given back to the system at once, and asked for again."""
RETRIES = 2
"""How often a unit is tried again that ended with an error; files of a cluster may come late."""
_Unit = TypeVar("_Unit")
_Found = TypeVar("_Found")


class Run(Protocol):
    """What `on_workers` gives."""

    def __call__(self, job: Callable[[_Unit], _Found], units: Sequence[_Unit], /) -> Iterator[_Found]:
        """Do a job on each unit; results come as they are done, in any order."""
        ...


@contextmanager
def on_workers(number: int = 1, scheduler: str | None = None) -> Iterator[Run]:
    """Give a function ``run(job, units)`` that does units here, in processes, or on a cluster's workers.

    A job is a callable that can be pickled. Each worker is sent it once and holds it, so that it may keep things from
    unit to unit (and should leave them out where it is pickled); datasets in it have to be opened lazily from files
    that all workers see. Processes serve and threads do not: readers hold Python's lock most of their time (HDF5,
    GRIB).

    A worker that dies costs its unit, which is done again elsewhere: a job has to write the same, whoever does it
    and however often.

    Parameters
    ----------
    number
        Processes on this machine; with 1 units are done here, in order. A single unit is done here anyway.
    scheduler
        Address of a Dask scheduler, such as ``'tcp://host:8786'``, instead.

    Raises
    ------
    VadoseError
        When no scheduler answers, a job holds much data in memory, or workers keep dying over a unit.

    Examples
    --------
    >>> with on_workers() as run:
    ...     list(run(abs, [-1, 2]))
    [1, 2]
    """
    if number < 2 and scheduler is None:
        yield lambda job, units: map(job, units)
        return
    import dask
    from distributed import Client, KilledWorker, LocalCluster, as_completed

    cluster: Any = nullcontext(scheduler)
    if scheduler is None:
        with dask.config.set(MALLOC):
            cluster = LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
    with cluster as address:
        try:
            # Not the default: what this process itself reads meanwhile is no work of the cluster.
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise VadoseError(
                f"{scheduler}: no Dask scheduler answers there; start one with 'dask scheduler'"
            ) from error

        def run(job: Callable[[_Unit], _Found], units: Sequence[_Unit], /) -> Iterator[_Found]:
            if len(units) < 2:
                yield from map(job, units)
                return
            _check_size(job)
            # A result like others: where a worker died with it, it is made again.
            held = client.submit(_itself, job, pure=False)
            # Kept in no list, so that workers forget a result once it was taken.
            waiting = as_completed(client.map(_done, units, job=held, retries=RETRIES, pure=False), loop=client.loop)
            try:
                for future in waiting:
                    yield future.result()
            except KilledWorker as error:
                raise VadoseError(
                    f"a unit of work was given up after {error.allowed_failures + 1} workers died over it, the last at "
                    f"{error.last_worker.address}; they may lack memory; use fewer workers, or larger ones"
                ) from error
            finally:
                # A run that was broken off may end after its client, which has let go of all then.
                if client.status == "running":
                    client.cancel(list(waiting.futures))

        with client:
            yield run


def _itself(job: _Unit) -> _Unit:
    return job


def _done(unit: _Unit, job: Callable[[_Unit], _Found]) -> _Found:
    import dask

    # A worker would hand what it reads lazily to the cluster again, and wait for it.
    with dask.config.set(scheduler="synchronous"):
        return job(unit)


def _check_size(job: object) -> None:
    from distributed.protocol.pickle import dumps

    # Large arrays are buffers, counted and not copied.
    buffers: list[pickle.PickleBuffer] = []
    size = len(dumps(job, buffer_callback=buffers.append)) + sum(buffer.raw().nbytes for buffer in buffers)
    if size > LARGEST_JOB:
        raise VadoseError(
            f"{size / 1e6:.0f} MB in memory would be sent to each worker, {LARGEST_JOB / 1e6:.0f} MB at most; give "
            "data sets opened lazily from their stores (vadose.cube.open_cube, xarray.open_zarr), or work without "
            "workers"
        )


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
