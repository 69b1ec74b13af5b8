"""Which alerts the injected faults explain; every other one is a false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from streamproc.alerts.causes import OF_OUTCOMES
from streamproc.demo.scenario import LABEL_DELAY_MS, Fault
from streamproc.features import Window
from streamproc.pipeline import Pipeline
from streamproc.simulator import DAY_MS, CovariateDrift, PredictionBias

TOLD_WITHIN_MS = DAY_MS
"""How much event time a finding may take to be told: a bucket ends, lateness passes, it is sent."""

TOGETHER = "features"
"""The subject of what is found in all features at once."""


def explaining(
    alert: dict[str, Any], opened_ms: int, faults: Sequence[Fault], pipeline: Pipeline
) -> Fault | None:
    """Return the fault that explains an alert, or None: a false alarm.

    ``opened_ms`` is the event time that the stream had reached when the alert opened. An alert is
    about all its members. It is explained by

    - a drift of a field, if one of them is a ``covariate_drift`` of that field, or of a window over
      it whose values move with it (a count does not), and it opened while the field was drifting or
      such a window still held drifted values: from the fault's start until its end, plus the
      window's span. What follows is explained for as long: a drift of all features at once, of the
      score and of the decisions, and what is found by labels overall;
    - a bias in one country, if one of them is a ``prediction_bias`` of this slice, or what follows:
      a finding by labels in a slice that holds this one or lies within it, a drift of what a model
      that learns from such labels says; from the fault's start until its end, plus the time that
      labels are late;

    and `TOLD_WITHIN_MS` more. What began by then counts, though it be told later: what outlives its
    cause is told for itself once that is over. One that opened before its fault began is a false
    alarm, whatever it is about.
    """
    began_ms = min(opened_ms, alert.get("first_seen_ms", opened_ms))
    for fault in faults:
        remains_ms = [_remains_ms(each, fault, pipeline) for each in about(alert)]
        most_ms = max((each for each in remains_ms if each is not None), default=None)
        if most_ms is None:
            continue
        last_ms = fault.end_ms + most_ms + TOLD_WITHIN_MS
        if fault.start_ms <= opened_ms and began_ms < last_ms:
            return fault
    return None


def about(alert: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an alert is about: its likely cause, and what goes with it."""
    return [alert, *alert.get("members", ())]


def names(alert: dict[str, Any], fault: Fault) -> bool:
    """Whether an alert names the very feature or slice that a fault is about."""
    return any(_is_it(each, fault) for each in about(alert))


def _is_it(found: dict[str, Any], fault: Fault) -> bool:
    if isinstance(fault, CovariateDrift):
        return bool(found["kind"] == "covariate_drift" and found["subject"] == fault.field)
    return bool(found["kind"] == "prediction_bias" and found["slice"] == _slice(fault))


def _remains_ms(found: dict[str, Any], fault: Fault, pipeline: Pipeline) -> int | None:
    """Return how long after its end a fault is to be seen in what an alert is about.

    None where it is not to be seen there at all.
    """
    kind = found["kind"]
    if isinstance(fault, CovariateDrift):
        if _is_it(found, fault):
            return 0
        windows = moved_windows(fault.field, pipeline)
        last_ms = max(windows.values(), default=0)
        if kind == "covariate_drift":
            return last_ms if found["subject"] == TOGETHER else windows.get(found["subject"])
        if kind == "prior_drift":
            return last_ms
        return last_ms + LABEL_DELAY_MS if kind in OF_OUTCOMES and not found["slice"] else None
    part, whole = (found["slice"] or {}).items(), _slice(fault).items()
    follows = kind in OF_OUTCOMES and (part <= whole or whole <= part)
    return LABEL_DELAY_MS if follows or (kind == "prior_drift" and pipeline.learns) else None


def _slice(fault: PredictionBias) -> dict[str, str]:
    return {"country": fault.country}


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
