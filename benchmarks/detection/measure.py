"""What is measured of a detector: how often it is wrong, how late it is, and at which threshold.

- *MTFA*, mean time between false alarms: events of stationary streams over alarms in them. After
  an alarm a detector begins anew (of renewals, this is the mean time between them). A stream's
  reference isn't counted, nor are alarms in it.
- *Delay*: events from the change, itself counted, to the first alarm. Alarms before the change are
  ignored, the detector having begun anew as it would in production. A change that isn't seen within
  the horizon is *missed*, and counts as a delay of the horizon in the mean.
- *MTR* (Bifet 2017, "Classifier concept drift detection and the illusion of progress", ICAISC):
  MTFA over the mean delay of what was seen, times the share seen. It grows with the threshold, so
  it compares only detectors of the same MTFA.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.detection.compiled import Ints
from benchmarks.detection.streams import CLEAN, HORIZON, REFERENCE

TARGET = 100_000
"""The MTFA, in events, that thresholds are fitted to."""

CHANGE = REFERENCE + CLEAN
_CLOSE, _NARROW, _STEPS = 0.01, 1e-3, 24


class Detector(Protocol):
    """A detector with one threshold, be it a peer or ours."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def bracket(self) -> tuple[float, float]:
        """Return two thresholds, both > 0: one that alarms too often, one that does too seldom."""
        ...

    def prepared(self, values: Any) -> Any:
        """Return what of a stream doesn't hang on the threshold; it is kept while one is fitted."""
        ...

    def alarms(self, prepared: Any, threshold: float, since: int) -> Ints:
        """Return the indices of alarms, rising, up to the first from ``since`` on, if there is one.

        ``prepared`` begins with a reference. After an alarm the detector begins anew.
        """
        ...


class Rate(NamedTuple):
    """How often a detector is wrong: alarms by stationary stream, each of so many events."""

    counts: tuple[int, ...]
    events: int

    @property
    def mtfa(self) -> float:
        """Events between false alarms; infinite where there was none."""
        total = sum(self.counts)
        return len(self.counts) * self.events / total if total else math.inf

    @property
    def relative_se(self) -> float:
        """The standard error of the MTFA, as a share of it; from how streams differ.

        >>> round(Rate((1, 0, 2, 1), 100).relative_se, 3)
        0.408
        """
        counts = np.array(self.counts, np.float64)
        if not counts.sum() or len(counts) < 2:
            return math.inf
        return float(counts.std(ddof=1) / counts.mean() / math.sqrt(len(counts)))


class Delay(NamedTuple):
    """How late a detector is, in events, over the repetitions of one change."""

    mean: float
    """A missed change counts as the horizon."""
    se: float
    missed: float
    """Of the changes, the share not seen within the horizon."""
    mean_of_seen: float
    repetitions: int


def false_alarms(
    detector: Detector, threshold: float, prepared: Sequence[Any], events: int
) -> Rate:
    """Count the false alarms in stationary streams of so many events after their reference."""
    return Rate(
        tuple(
            int(np.count_nonzero(detector.alarms(each, threshold, REFERENCE + events) >= REFERENCE))
            for each in prepared
        ),
        events,
    )


def delay(detector: Detector, threshold: float, streams: Sequence[Any]) -> Delay:
    """Measure how long after `CHANGE` a detector alarms first."""
    delays = np.full(len(streams), float(HORIZON))
    seen = np.zeros(len(streams), bool)
    for at, values in enumerate(streams):
        alarms = detector.alarms(detector.prepared(values), threshold, CHANGE)
        if len(alarms) and alarms[-1] >= CHANGE:
            delays[at], seen[at] = alarms[-1] - CHANGE + 1, True
    return Delay(
        float(delays.mean()),
        float(delays.std(ddof=1) / math.sqrt(len(delays))) if len(delays) > 1 else math.inf,
        float(1 - seen.mean()),
        float(delays[seen].mean()) if seen.any() else math.inf,
        len(delays),
    )


def mtr(mtfa: float, late: Delay) -> float | None:
    """Return the mean time ratio; None where it means nothing, since nothing was seen."""
    return mtfa / late.mean_of_seen * (1 - late.missed) if late.missed < 1 else None


def fitted(
    mtfa_of: Callable[[float], float], bracket: tuple[float, float], target: float = TARGET
) -> float:
    """Return the threshold at which the MTFA is nearest to a target.

    ``mtfa_of`` should be measured on the same streams at each call, so that it rises from one end
    of the bracket to the other. Interpolates in the logarithms of both, but within the bracket's
    inner four fifths, so that it closes by steps, too. Raises ValueError if the target isn't in it.

    >>> round(fitted(lambda threshold: 20 * threshold**2, (1.0, 1000.0), 2_000), 3)
    10.0
    """
    tried = dict[float, float]()

    def off(log_threshold: float) -> float:
        mtfa = min(max(mtfa_of(math.exp(log_threshold)), 1e-9), 1e12)
        tried[log_threshold] = math.log(mtfa / target)
        return tried[log_threshold]

    low, high = map(math.log, bracket)
    if off(low) > 0 or off(high) < 0:
        raise ValueError(
            f"an MTFA of {target:g} is not between those of the thresholds {bracket}: "
            f"{math.exp(tried[low]) * target:g} and {math.exp(tried[high]) * target:g}"
        )
    for _ in range(_STEPS):
        nearest = min(abs(tried[low]), abs(tried[high]))
        if nearest < _CLOSE or abs(high - low) < _NARROW:
            break
        share = tried[low] / (tried[low] - tried[high])
        middle = low + min(max(share, 0.1), 0.9) * (high - low)
        low, high = (middle, high) if off(middle) < 0 else (low, middle)
    return math.exp(min(tried, key=lambda it: abs(tried[it])))


def fitted_among(
    mtfa_of: Callable[[float], float], settings: Sequence[float], target: float = TARGET
) -> float:
    """Return the one of some thresholds whose MTFA is nearest to a target; it rises along them.

    >>> fitted_among(lambda threshold: 20 * threshold**2, (1, 5, 9, 12), 2_000)
    9
    """
    tried = dict[int, float]()
    low, high = 0, len(settings) - 1
    while low <= high:
        middle = (low + high) // 2
        tried[middle] = math.log(mtfa_of(settings[middle]) / target)
        low, high = (middle + 1, high) if tried[middle] < 0 else (low, middle - 1)
    return settings[min(tried, key=lambda it: abs(tried[it]))]
