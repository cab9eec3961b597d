"""Scoring any store of predictions against observations; no model is known here."""

from vadose.evaluate.metrics import METRICS
from vadose.evaluate.scores import evaluate
from vadose.evaluate.strata import strata_of

__all__ = ["METRICS", "evaluate", "strata_of"]
