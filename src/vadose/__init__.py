"""Soil-moisture forecasts and maps from satellite, weather, soil and terrain data, with uncertainty.

Each function is the command of the same name and returns stores as lazily opened `xarray` data sets:

>>> import vadose as vd
>>> vd.open, vd.forecast  # doctest: +ELLIPSIS
(<function open at ...>, <function forecast at ...>)

``MODELS``, ``METRICS`` and ``PRODUCTS`` are registries. Add your own: ``vd.MODELS["mine"] = Mine``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vadose.errors import extras

if TYPE_CHECKING:
    from vadose.api import build, evaluate, forecast, open, read, report, train
    from vadose.errors import VadoseError
    from vadose.evaluation import METRICS, Scores
    from vadose.exporting import export
    from vadose.fetching import fetch
    from vadose.models import MODELS
    from vadose.outlooking import outlook
    from vadose.parallel.running import Running
    from vadose.products import PRODUCTS
    from vadose.stationing import stations
    from vadose.viewing import view

_FROM = {
    **dict.fromkeys(("build", "evaluate", "fetch", "forecast", "open", "read", "report", "train"), "vadose.api"),
    "METRICS": "vadose.evaluation",
    "MODELS": "vadose.models",
    "PRODUCTS": "vadose.products",
    "export": "vadose.exporting",
    "Running": "vadose.parallel.running",
    "Scores": "vadose.evaluation",
    "VadoseError": "vadose.errors",
    "outlook": "vadose.outlooking",
    "stations": "vadose.stationing",
    "view": "vadose.viewing",
}

__all__ = [
    "METRICS",
    "MODELS",
    "PRODUCTS",
    "Running",
    "Scores",
    "VadoseError",
    "build",
    "evaluate",
    "export",
    "fetch",
    "forecast",
    "open",
    "outlook",
    "read",
    "report",
    "stations",
    "train",
    "view",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used; importing torch takes seconds."""
    if name not in _FROM:
        raise AttributeError(f"module 'vadose' has no attribute {name!r}; it has {__all__}")
    with extras():
        return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
