"""Data of other people brought into our form: axes, days, places, units and values."""

from vadose.door.datasets import (
    CUBE,
    FORECASTS,
    GRID,
    SAME_PLACE,
    as_cube,
    as_forecasts,
    as_stations,
    by_day,
    on_common_cells,
    require,
    with_grid,
)
from vadose.door.stores import open_store

__all__ = [
    "CUBE",
    "FORECASTS",
    "GRID",
    "SAME_PLACE",
    "as_cube",
    "as_forecasts",
    "as_stations",
    "by_day",
    "on_common_cells",
    "open_store",
    "require",
    "with_grid",
]
