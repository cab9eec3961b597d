"""Whole studies in one resumable go: of forecasts, and of downscaling."""

from vadose.experiments.studies.downscaling import study_downscaling
from vadose.experiments.studies.forecasting import study, train_all

__all__ = ["study", "study_downscaling", "train_all"]
