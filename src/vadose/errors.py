"""The one exception people meet: what, where, what was found, what to do."""


class VadoseError(Exception):
    """A problem a user can mend; the command line prints it and exits with code 2.

    The message names the file or setting, what is wrong with it, what was found there
    and what to do about it.
    """


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
