"""Loops over arrays compiled by numba when they are first called."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def compiled(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Compile a function of numpy arrays and numbers when it is first called.

    The machine code is kept beside the source or, where that cannot be written, in the user's cache (or
    ``NUMBA_CACHE_DIR``); where nothing can be written it is compiled again in each process. Divisions by zero give
    infinity or NaN, as in numpy. ``__wrapped__`` is the function as it is written.

    Examples
    --------
    >>> @compiled
    ... def total(values: Any) -> float:
    ...     found = 0.0
    ...     for value in values:
    ...         found += value
    ...     return found
    >>> import numpy as np
    >>> total(np.array([1.0, 2.0]))
    3.0
    """

    @cache
    def code() -> Callable[_Given, _Made]:
        from numba import njit  # takes half a second, and most commands need none of it

        options: dict[str, Any] = {"error_model": "numpy", "nogil": True}
        made: Callable[_Given, _Made]
        try:
            made = njit(cache=True, **options)(function)
        except RuntimeError:  # no folder for the machine code
            made = njit(**options)(function)
        return made

    @wraps(function)
    def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        return code()(*args, **kwargs)

    return call


def elementwise(function: Callable[..., float]) -> Callable[..., Any]:
    """Compile a function of numbers, when it is first called, to one of arrays: in one pass, element by element.

    Kept as by `compiled`. Numbers or arrays of different shapes are brought to one, as numpy does.

    Examples
    --------
    >>> @elementwise
    ... def ratio(a: float, b: float) -> float:
    ...     return a / b if b > 0 else 0.0
    >>> import numpy as np
    >>> ratio(np.array([1.0, 2.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """

    @cache
    def code() -> Callable[..., Any]:
        from numba import vectorize

        try:
            made: Callable[..., Any] = vectorize(cache=True)(function)
        except RuntimeError:  # no folder for the machine code
            made = vectorize()(function)
        return made

    @wraps(function)
    def call(*args: Any) -> Any:
        with np.errstate(all="ignore"):  # both sides of a condition are computed
            return code()(*args)

    return call


def in_parts(job: Callable[[slice], None], many: int, threads: int) -> None:
    """Do a job on so many rows, in equal parts side by side; compiled code lets other threads run.

    Examples
    --------
    >>> in_parts(lambda part: print(part.start, part.stop), 10, threads=1)
    0 10
    """
    ends = [many * part // threads for part in range(threads + 1)]
    parts = list(map(slice, ends[:-1], ends[1:]))
    if threads == 1:
        job(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(job, parts))
