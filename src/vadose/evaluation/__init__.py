"""Scoring any store of predictions against observations; no model is known here."""

from vadose.evaluation.metrics import METRICS
from vadose.evaluation.results import Scores
from vadose.evaluation.scores import evaluate
from vadose.evaluation.strata import strata_of

__all__ = ["METRICS", "Scores", "evaluate", "strata_of"]
