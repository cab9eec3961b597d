"""The one exception people meet: what, where, what was found, what to do."""


class VadoseError(Exception):
    """A problem a user can mend; the command line prints it and exits with code 2.

    The message names the file or setting, what is wrong with it, what was found there
    and what to do about it.
    """


class OutsideError(VadoseError):
    """A file that lies outside the area asked for: an error for one file, no matter among many tiles."""
