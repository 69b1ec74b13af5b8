"""Monitors: folds sum what they see per bucket, one judge tests the sums of all partitions."""

from streamproc.monitors.fold import BiasFold, DriftFold, bias_fold, drift_fold
from streamproc.monitors.spec import Drift, Performance, PredictionBias, Ranking

__all__ = [
    "BiasFold",
    "Drift",
    "DriftFold",
    "Performance",
    "PredictionBias",
    "Ranking",
    "bias_fold",
    "drift_fold",
]
