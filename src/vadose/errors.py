"""The one exception people meet: what, where, what was found, what to do."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

EXTRAS = {
    "learn": ("torch", "lightning_fabric", "lightning_utilities", "sklearn", "skops"),
    "grib": ("eccodes", "cfgrib"),
    "ismn": ("ismn",),
    "fetch": ("earthaccess", "pystac_client"),
    "explain": ("captum",),
    "tune": ("optuna",),
    "view": ("starlette", "uvicorn"),
    "stac": ("pystac",),
    "zones": ("exactextract",),
    "remote": ("fsspec", "s3fs", "gcsfs", "aiohttp"),
}
"""Extra of the package, as in pip install 'vadose[learn]' -> libraries that it brings."""


class VadoseError(Exception):
    """A problem a user can mend; the command line prints it and exits with code 2.

    The message names the file or setting, what is wrong with it, what was found there
    and what to do about it.
    """

    code = 2
    """Exit code at the command line."""


class BusyError(VadoseError):
    """Another run is doing the same work."""

    code = 3


class LaterError(VadoseError):
    """What may pass by itself: a source is away, the disk is full; schedulers know the code (``EX_TEMPFAIL``)."""

    code = 75


class OutsideError(VadoseError):
    """A file that lies outside the area asked for: an error for one file, no matter among many tiles."""


def nothing_here(box: object) -> type[VadoseError]:
    """What to raise where all values read are fill: a part of a file without values lies outside what it holds."""
    return VadoseError if box is None else OutsideError


class NeedsError(VadoseError):
    """A file that cannot be read by default for want of something beside it, but can with other options.

    Parameters
    ----------
    message
        As of every error.
    instead
        Options of the same reader that do without, and say so in what they return.
    """

    def __init__(self, message: str, *, instead: dict[str, object]) -> None:
        super().__init__(message)
        self.instead = instead


def nearest(word: str, known: Collection[str]) -> str:
    """End of a message on a word that is not known: the one that was meant, or all there are.

    Examples
    --------
    >>> nearest("smap_l5", ["smap_l3", "imerg"]), nearest("era5", ["smap_l3", "imerg"])
    ("; did you mean 'smap_l3'?", '; choose from smap_l3, imerg')
    """
    same = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), list(same), n=1)
    return f"; did you mean '{same[close[0]]}'?" if close else f"; choose from {', '.join(known) or 'none'}"


@contextmanager
def extras() -> Iterator[None]:
    """Say which extra of the package to install where a library is missing; also as a decorator.

    Raises
    ------
    VadoseError
        Where a library of `EXTRAS` cannot be imported.

    Examples
    --------
    >>> with extras():
    ...     raise ModuleNotFoundError("No module named 'torch'", name="torch")
    Traceback (most recent call last):
    vadose.errors.VadoseError: this needs torch; pip install "vadose[learn]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        for extra, libraries in EXTRAS.items():
            if library in libraries:
                raise VadoseError(f'this needs {library}; pip install "vadose[{extra}]"') from error
        raise
