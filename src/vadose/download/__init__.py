"""Search and download, planned, resumable and checked: the only stage that uses the network."""

from vadose.download.download import fetch
from vadose.download.plan import Plan, RemoteFile
from vadose.download.planning import plan_fetch
from vadose.download.recipe import ProductPlan, RecipePlan, fetch_products, plan_products
from vadose.download.sources import READERS, SOURCES

__all__ = [
    "READERS",
    "SOURCES",
    "Plan",
    "ProductPlan",
    "RecipePlan",
    "RemoteFile",
    "fetch",
    "fetch_products",
    "plan_fetch",
    "plan_products",
]
