"""A simulated world with known truth that writes files in the published formats; all of it says so."""

from vadose.twin.granules import build_world

__all__ = ["build_world"]
