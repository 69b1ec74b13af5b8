"""Which alerts the injected faults explain; every other one is a false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from streamproc.demo.scenario import LABEL_DELAY_MS, Fault
from streamproc.features import Window
from streamproc.pipeline import Pipeline
from streamproc.simulator import DAY_MS, CovariateDrift

TOLD_WITHIN_MS = DAY_MS
"""How much event time a finding may take to be told: a bucket ends, lateness passes, it is sent."""


def explaining(
    alert: dict[str, Any], opened_ms: int, faults: Sequence[Fault], pipeline: Pipeline
) -> Fault | None:
    """Return the fault that explains an alert, or None: a false alarm.

    ``opened_ms`` is the event time that the stream had reached when the alert opened. An alert is
    explained by

    - a drift of a field, if it is a ``covariate_drift`` of that field, or of a window over it whose
      values move with it (a count does not), and opened while the field was drifting or such a
      window still held drifted values: from the fault's start until its end, plus the window's
      span;
    - a bias in one country, if it is a ``prediction_bias`` of exactly this slice, and opened from
      the fault's start until its end, plus the time that labels are late;

    and `TOLD_WITHIN_MS` more. One that opened before its fault began is a false alarm, whatever it
    is about; so is one about a consequence, such as the score.
    """
    for fault in faults:
        remains_ms = _remains_ms(alert, fault, pipeline)
        if remains_ms is None:
            continue
        if fault.start_ms <= opened_ms < fault.end_ms + remains_ms + TOLD_WITHIN_MS:
            return fault
    return None


def names(alert: dict[str, Any], fault: Fault) -> bool:
    """Whether an alert names the very feature or slice that a fault is about."""
    if isinstance(fault, CovariateDrift):
        return bool(alert["kind"] == "covariate_drift" and alert["subject"] == fault.field)
    return bool(alert["kind"] == "prediction_bias" and alert["slice"] == {"country": fault.country})


def _remains_ms(alert: dict[str, Any], fault: Fault, pipeline: Pipeline) -> int | None:
    """Return how long after its end a fault is to be seen in what an alert is about.

    None where it is not to be seen there at all.
    """
    if names(alert, fault):
        return LABEL_DELAY_MS if not isinstance(fault, CovariateDrift) else 0
    if not isinstance(fault, CovariateDrift) or alert["kind"] != "covariate_drift":
        return None
    return moved_windows(fault.field, pipeline).get(alert["subject"])


def moved_windows(field: str, pipeline: Pipeline) -> dict[str, int]:
    """Return the windows whose values move with a field's, and their spans in milliseconds."""
    return {
        name: span_ms
        for window in pipeline.features
        if isinstance(window, Window) and window.value == field
        for name, (span_ms, aggregate) in zip(
            window.names, product(window.spans_ms, window.aggregates), strict=True
        )
        if aggregate != "count"
    }
