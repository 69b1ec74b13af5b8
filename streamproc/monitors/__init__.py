"""Monitors: folds sum what they see per bucket, one judge tests the sums of all partitions."""

from streamproc.monitors.drift_fold import DriftFold, drift_fold
from streamproc.monitors.fold import BiasFold, bias_fold
from streamproc.monitors.folds import outcome_fold, prediction_fold
from streamproc.monitors.performance_spec import Performance, Ranking
from streamproc.monitors.spec import Drift, PredictionBias

__all__ = [
    "BiasFold",
    "Drift",
    "DriftFold",
    "Performance",
    "PredictionBias",
    "Ranking",
    "bias_fold",
    "drift_fold",
    "outcome_fold",
    "prediction_fold",
]
