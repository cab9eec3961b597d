"""What forecasts mean against the local climatology: percentiles, drought classes, and maps of them."""

from vadose.predict.outlook.climatology import FEW_YEARS, LEVELS, WINDOW, local_climatology
from vadose.predict.outlook.drawing import check_drawable, draw_outlook
from vadose.predict.outlook.percentiles import (
    CLASSES,
    MISSING,
    NONE,
    QUANTILES,
    THRESHOLDS,
    check_hindsight,
    drought_class,
    drought_probability,
    percentile,
    with_outlook,
)

__all__ = [
    "CLASSES",
    "FEW_YEARS",
    "LEVELS",
    "MISSING",
    "NONE",
    "QUANTILES",
    "THRESHOLDS",
    "WINDOW",
    "check_drawable",
    "check_hindsight",
    "draw_outlook",
    "drought_class",
    "drought_probability",
    "local_climatology",
    "percentile",
    "with_outlook",
]
