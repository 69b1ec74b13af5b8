"""Monitors: folds sum what they see per bucket, one judge tests the sums of all partitions."""

from streamproc.monitors.drift_fold import DriftFold, drift_fold
from streamproc.monitors.folds import Folds, outcome_fold, prediction_fold, prediction_folds
from streamproc.monitors.health_spec import Health
from streamproc.monitors.outcomefold import BiasFold, bias_fold
from streamproc.monitors.outcomespec import Calibration, ConceptDrift, LabelShift, OutcomeMonitor
from streamproc.monitors.performance_spec import Performance, Ranking
from streamproc.monitors.quality_spec import DataQuality
from streamproc.monitors.reactions import Reactions
from streamproc.monitors.spec import Drift, PredictionBias

Monitor = Drift | OutcomeMonitor | Performance | DataQuality | Health | Reactions
"""What can be watched."""

__all__ = [
    "BiasFold",
    "Calibration",
    "ConceptDrift",
    "DataQuality",
    "Drift",
    "DriftFold",
    "Folds",
    "Health",
    "LabelShift",
    "Monitor",
    "OutcomeMonitor",
    "Performance",
    "PredictionBias",
    "Ranking",
    "Reactions",
    "bias_fold",
    "drift_fold",
    "outcome_fold",
    "prediction_fold",
    "prediction_folds",
]
