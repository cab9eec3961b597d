"""Errors in one line with an exit code: of the call, the data or the machine, or of vadose."""

import errno
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from vadose.errors import VadoseError, extras

OURS = 70
"""Exit code of an error in vadose; others say theirs, see `vadose.errors`."""
LOG = logging.getLogger("vadose")
"""What --verbose prints and --log keeps."""
LOG.addHandler(logging.NullHandler())
DEBUG = "VADOSE_DEBUG"
"""Environment variable; if set, tracebacks are shown too."""


class Commands(TyperGroup):
    """All commands; errors of the call, the data or the machine become a `VadoseError`."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            with extras():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted; run it again to resume where possible", err=True)
            raise
        except EOFError as error:
            # Typer would mistake it for a key press.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        except Exception as error:
            if isinstance(error, VadoseError) or (line := _line(error)) is None:
                raise
            raise VadoseError(line) from error


def ended_with(error: Exception) -> int:
    """Print the error and return the exit code."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    LOG.error(str(error) or type(error).__name__, exc_info=None if isinstance(error, VadoseError) else error)
    if isinstance(error, VadoseError):
        typer.echo(f"error: {error}", err=True)
        return error.code
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}vadose{os.sep}" in frame.filename
    ]
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    what = f"{type(error).__name__}: {_short(error)}{where}"
    typer.echo(f"internal error: {what}; please report it ({DEBUG}=1 shows the traceback)", err=True)
    return OURS


def _line(error: Exception) -> str | None:
    """Message for errors of the call, the data or the machine; None for others."""
    if (array := _unread_array(error)) is not None:
        return f"{array}: a chunk cannot be read ({_short(error)}); copy or make the store again"
    if isinstance(error, MemoryError):
        return f"not enough memory ({_short(error) or 'none left'}); use a smaller area, fewer days or fewer workers"
    if isinstance(error, BrokenPipeError):
        return "the output was closed before everything was written"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'the disk'}: the disk is full; free some space or write to another disk"
    if (place := _unopened(error)) is not None:
        return f"{place}: cannot be opened as a data set ({_short(error)}); copy or make it again"
    if isinstance(error, OSError):
        if error.strerror and error.filename is not None:
            return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
        return _short(error)
    return None


def _unread_array(error: Exception) -> str | None:
    """Path of the Zarr array with a chunk that could not be decoded; None for other errors."""
    zarr = sys.modules.get("zarr")
    frames = list(_frames(error))
    modules = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    if zarr is None or not any(name.startswith(("zarr.codecs", "zarr.core.codec", "numcodecs")) for name in modules):
        return None
    for frame in reversed(frames):
        if isinstance(array := frame.f_locals.get("self"), zarr.AsyncArray):
            return str(array.store_path).removeprefix("file://")
    return "a Zarr store"


def _unopened(error: Exception) -> str | None:
    """Path of the store or file that xarray or Zarr could not open; None for other errors."""
    for frame in _frames(error):
        library, names = str(frame.f_globals.get("__name__", "")), frame.f_locals
        opens = frame.f_code.co_name in ("open_zarr", "open_dataset", "open_group") and names.get("mode", "r") != "w"
        if opens and library.startswith(("xarray.", "zarr.")):
            place = names["store"] if "store" in names else names.get("filename_or_obj")
            return str(place if isinstance(place, str | Path) else getattr(place, "root", place))
    return None


def _frames(error: BaseException | None) -> Iterator[FrameType]:
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            yield trace.tb_frame
            trace = trace.tb_next
        error = error.__cause__


def _short(error: Exception) -> str:
    """The message of an error, in one line."""
    line = " ".join(str(error).split())
    return line if len(line) <= 300 else f"{line[:300]}..."
