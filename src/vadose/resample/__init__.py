"""Bring rasters of any projection onto a grid: area mean, majority, bicubic, bilinear, nearest."""

from vadose.resample.methods import (
    METHODS,
    MIN_SHARE,
    Sums,
    area_sums,
    class_sums,
    fractions,
    majority,
    resample,
)

__all__ = ["METHODS", "MIN_SHARE", "Sums", "area_sums", "class_sums", "fractions", "majority", "resample"]
