"""Hashes of large folders, remembered from one call to the next."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

SMALL = 1 << 24
"""Bytes up to which files are hashed anew each time."""
SETTLED = 2_000_000_000
"""Nanoseconds that no file may have changed for: file systems tell times of change apart by some milliseconds."""
KEPT = 90 * 86_400_000_000_000
"""Nanoseconds an entry is kept that nobody asks for, as of folders that are gone."""
_FORM = "1"


def remembered(hashed: Callable[[], str], files: Callable[[], Iterable[Path]]) -> str:
    """What a hash of files came to when none of them was another one: hashed again after any change.

    Files are the same by place, size, inode, and times of modification and of change (``st_ctime``). The latter is
    set by the system at every write, and again when the time of modification is set back, so that values swapped in
    place are seen; not so where it is the time of creation (Windows), or by someone who sets the clock back or writes
    to the disk past the file system. Kept in the user's cache, ``~/.cache/vadose``, for 90 days after it was last asked
    for; where that cannot be written files are hashed each time.
    """
    begin = time.time_ns()
    state, newest, size = _state(files())
    if size <= SMALL:
        return hashed()
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vadose", "identities", state)
    with suppress(OSError):
        found = place.read_text()
        with suppress(OSError):
            os.utime(place)
        return found
    found = hashed()
    if begin - newest > SETTLED and _state(files())[0] == state:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            scratch = place.with_name(f"{state}.{os.getpid()}")
            scratch.write_text(found)
            scratch.rename(place)
            for entry in place.parent.iterdir():
                if begin - entry.stat().st_mtime_ns > KEPT:
                    entry.unlink()
    return found


def _state(files: Iterable[Path]) -> tuple[str, int, int]:
    """A word for the state of files, when one of them changed last [ns], and their size."""
    digest, newest, size = hashlib.sha256(_FORM.encode()), 0, 0
    for file in files:
        status = file.stat()
        said = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        digest.update(f"{file}\n{said}\n".encode())
        newest, size = max(newest, status.st_mtime_ns, status.st_ctime_ns), size + status.st_size
    return digest.hexdigest()[:32], newest, size
