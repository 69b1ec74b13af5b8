"""Monitors: folds sum what they see per bucket, one judge tests the sums of all partitions."""

from streamproc.monitors.drift_fold import DriftFold, drift_fold
from streamproc.monitors.fold import BiasFold, bias_fold
from streamproc.monitors.health import Health
from streamproc.monitors.quality import DataQuality
from streamproc.monitors.reactions import Reactions
from streamproc.monitors.spec import Drift, PredictionBias

__all__ = [
    "BiasFold",
    "DataQuality",
    "Drift",
    "DriftFold",
    "Health",
    "PredictionBias",
    "Reactions",
    "bias_fold",
    "drift_fold",
]
