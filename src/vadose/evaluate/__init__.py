"""Scoring any store of predictions against observations; no model is known here."""

from vadose.evaluate.metrics import METRICS
from vadose.evaluate.scores import evaluate

__all__ = ["METRICS", "evaluate"]
