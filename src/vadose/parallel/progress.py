"""How long work tells what it is at."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Told what is being done and how far it has come, from 0 to 1."""


def silent(what: str, share: float) -> None:
    """Show no progress."""
