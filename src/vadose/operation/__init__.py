"""`vadose daily` and `vadose status`: the outlooks of a service, a folder a day, made again when their inputs change.

What a day was made from stands in its own folder (``provenance.json``), which is written whole or not at all. A run
compares that with what the sources serve now, so that it can be killed and repeated at any time. ``status.json`` tells
people and programs about the last run; no run reads it.
"""

from vadose.operation.run import daily
from vadose.operation.status import read_status

__all__ = ["daily", "read_status"]
