"""Arrays of samples, held in a temporary file where memory is too small for them."""

import errno
import math
import mmap
import os
import shutil
import sys
import tempfile
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from vadose.errors import VadoseError

SHARE = 0.5
"""Of the free memory that arrays may take: models, batches and forecasts need the rest."""
_ALWAYS = 1 << 28
"""Bytes that are held in memory without a look at what is free."""
_FLOAT = 4
"""Bytes of a value."""


def fits(nbytes: int) -> bool:
    """Whether so many bytes take no more than `SHARE` of the memory that is free now.

    Free is what the machine has available, page cache included, and what a container's or job's limit leaves.

    Examples
    --------
    >>> fits(1 << 20), fits(1 << 60)
    (True, False)
    """
    return nbytes <= _ALWAYS or nbytes <= SHARE * _free()


class Arrays:
    """Room for arrays of ``nbytes`` together, in memory or on disk.

    On disk they are parts of one file in the system's temporary folder (``TMPDIR``) that has no name: it is gone when
    the arrays are, or the process, however that ends. All of its room is taken at once, so that a full disk is found
    out before anything is computed. A temporary folder that itself lies in memory (tmpfs) helps nothing.

    Parameters
    ----------
    nbytes
        Of all arrays together.
    on_disk
        Whether to hold them on disk; where they do not fit in memory, see `fits`, when left out.

    Raises
    ------
    VadoseError
        When the temporary folder has no room for them.

    Examples
    --------
    >>> room = Arrays(48, on_disk=True)
    >>> first, second = room.empty((2, 3)), room.empty((6,))
    >>> first[:], second[:] = 1, 2
    >>> float(first.sum()), float(second.sum())
    (6.0, 12.0)
    """

    def __init__(self, nbytes: int, on_disk: bool | None = None) -> None:
        self.on_disk = not fits(nbytes) if on_disk is None else on_disk
        self._left = _on_disk(nbytes) if self.on_disk else np.empty(nbytes // _FLOAT, np.float32)

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of values yet to be written."""
        array, self._left = np.split(self._left, [math.prod(shape)])
        return array.reshape(shape)


def release(array: NDArray[Any]) -> None:
    """Take an array of `Arrays`, or a part of one, out of memory where it lies on disk; it is read again when used.

    Examples
    --------
    >>> values = Arrays(48, on_disk=True).empty((12,))
    >>> values[:] = 1
    >>> release(values)
    >>> float(values.sum())
    12.0
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)  # what was written stays in the file


def peak() -> float:
    """Most memory that this process has taken so far [byte].

    Examples
    --------
    >>> peak() > 1e6
    True
    """
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _free() -> int:
    """Bytes of memory that this process can still take."""
    from distributed.system import MEMORY_LIMIT  # takes a second, and most arrays are small

    own = psutil.Process().memory_info()
    # Pages of mapped files can be given back.
    held = own.rss - getattr(own, "shared", 0)
    return int(min(psutil.virtual_memory().available, MEMORY_LIMIT - held))


def _on_disk(nbytes: int) -> NDArray[np.float32]:
    """Values in a file without a name; the map outlives the file's own end."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            if nbytes > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # Writing to a map of a file that lacks room would kill the process. macOS has no such call.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, nbytes)
        except OSError as error:
            raise VadoseError(
                f"{folder}: the samples need {nbytes / 1e9:.3g} GB on disk, as they do not fit in memory, and "
                f"{free / 1e9:.3g} GB are free there ({error.strerror}); set TMPDIR to a folder with more room"
            ) from error
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(nbytes // _FLOAT,)))
