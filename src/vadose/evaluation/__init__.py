"""Scoring any store of predictions against observations; no model is known here."""

from vadose.evaluation.metrics import METRICS
from vadose.evaluation.scores import evaluate
from vadose.evaluation.strata import strata_of

__all__ = ["METRICS", "evaluate", "strata_of"]
