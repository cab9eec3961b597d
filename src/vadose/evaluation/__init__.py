"""Scoring any store of predictions against observations; no model is known here."""

from vadose.evaluation.metrics import METRICS
from vadose.evaluation.results import Scores
from vadose.evaluation.scores import evaluate
from vadose.evaluation.strata import strata_of
from vadose.evaluation.treatment import Treatment
from vadose.evaluation.validation import Validation

__all__ = ["METRICS", "Scores", "Treatment", "Validation", "evaluate", "strata_of"]
