"""Search and download, planned, resumable and checked: the only stage that uses the network."""

from vadose.fetch.download import fetch
from vadose.fetch.plan import Plan, RemoteFile
from vadose.fetch.sources import READERS, SOURCES, plan_fetch

__all__ = ["READERS", "SOURCES", "Plan", "RemoteFile", "fetch", "plan_fetch"]
