"""Monitors: folds sum what they see per bucket, one judge tests the sums of all partitions."""

from streamproc.monitors.drift_fold import DriftFold, drift_fold
from streamproc.monitors.outcomefold import BiasFold, bias_fold
from streamproc.monitors.outcomespec import Calibration, ConceptDrift, LabelShift, OutcomeMonitor
from streamproc.monitors.spec import Drift, PredictionBias

__all__ = [
    "BiasFold",
    "Calibration",
    "ConceptDrift",
    "Drift",
    "DriftFold",
    "LabelShift",
    "OutcomeMonitor",
    "PredictionBias",
    "bias_fold",
    "drift_fold",
]
