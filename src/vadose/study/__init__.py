"""Whole studies in one resumable go: of forecasts, and of downscaling."""

from vadose.study.downscaling import study_downscaling
from vadose.study.forecasting import study, train_all

__all__ = ["study", "study_downscaling", "train_all"]
