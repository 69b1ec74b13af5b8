"""Which of two things that are wrong at a time is likely the cause of the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from streamproc.messages import AlertKind
from streamproc.monitors.finding import Finding
from streamproc.monitors.oneclass import SUBJECT as ONE_CLASS
from streamproc.monitors.performance import of_reactions

ORDER: tuple[AlertKind, ...] = (
    "data_quality",
    "covariate_drift",
    "prior_drift",
    "label_shift",
    "concept_drift",
    "prediction_bias",
    "calibration",
    "performance",
    "health",
)
"""Causes before what follows from them, along the way of an event."""

OF_OUTCOMES = frozenset(
    {"label_shift", "concept_drift", "prediction_bias", "calibration", "performance"}
)
"""The kinds that compare predictions with labels; reactions, which need none, share the last."""

Bond = Literal["cause", "together", "beside"]
"""How two things belong together.

``cause``: one explains the other for as long as it lasts. ``together``: only where both began at
about the same time. ``beside``: likewise, and neither explains the other; one alert has both.
"""

_HEALTH: Mapping[tuple[str, str], Bond] = {
    ("events", "labels"): "cause",
    ("events", "staleness"): "cause",
    ("labels", "staleness"): "cause",
    ("model", "staleness"): "cause",
    ("worker", "lag"): "together",
    ("worker", "latency"): "together",
    ("worker", "learner"): "together",
    ("lag", "latency"): "together",
}


def bond(cause: Finding, other: Finding) -> Bond | None:
    """Return how ``cause`` and another finding belong together, if they do.

    - A fault of a field's data explains the drift of what is made of that field, in slices, too: it
      is counted over all events. Faults of several fields at the same time stand beside each other.
    - A drift explains the drift of what is made of the same field (its windows), and a test over
      all features those that it names. Other features that drift at the same time stand beside it.
    - Features that drift explain the drift of the score at the same time. Classes of the score
      stand beside each other.
    - Labels that are all of one class explain whatever is found by labels.
    - Reactions need no label, and what labels show explains none of them, nor they that. Reactions
      that change at the same time (how many, and what they are) stand beside each other.
    - No events explain that no labels come, and either, or versions that are held back, that the
      model gets old; a worker that is gone the lag of others. One fault of several workers is one.
    - Of what is found by labels in the same slice, the earlier in `ORDER` explains the later. Of
      nested slices (overall, a country, a pair) the one with the most evidence explains the others.

    Whatever is found in a slice explains nothing outside of it, but by labels.

    >>> def found(kind, subject, slice_=None, **more):
    ...     return Finding(kind, subject, slice_, True, "warning", 1.0, 1.0, 0.5, None, None, 9, 0,
    ...                    "", **more)
    >>> missing = found("data_quality", "amount")
    >>> bond(missing, found("covariate_drift", "amount_mean_7d", fields=("amount",)))
    'cause'
    >>> bond(found("covariate_drift", "amount"), found("covariate_drift", "age"))
    'beside'
    >>> bond(found("covariate_drift", "amount"), found("prior_drift", "score"))
    'together'
    >>> overall = found("prediction_bias", "predictions", evidence=0.1)
    >>> bond(found("prediction_bias", "predictions", {"country": "FR"}, evidence=3.0), overall)
    'cause'
    >>> bond(overall, missing) is None
    True
    """
    reactions = [of_reactions(each.kind, each.subject) for each in (cause, other)]
    if any(reactions):
        return "beside" if all(reactions) else None
    if cause.kind in OF_OUTCOMES and other.kind in OF_OUTCOMES:
        return "cause" if _by_labels(cause, other) else None
    if cause.kind == "data_quality" and cause.subject == ONE_CLASS:
        return "cause" if other.kind in OF_OUTCOMES else None
    if other.kind == "data_quality" and other.subject == ONE_CLASS:
        return None
    if cause.kind == other.kind == "data_quality":
        return "beside"
    if cause.kind == other.kind == "health":
        return _of_health(cause, other)
    drifts = cause.kind == "covariate_drift"
    if other.kind == "prior_drift":  # its slices are the classes of the score
        return "together" if drifts else "beside" if cause.kind == "prior_drift" else None
    of_data = cause.kind == "data_quality"
    if not of_data and not _within(cause.slice, other.slice):
        return None
    if other.kind == "covariate_drift" and (drifts or of_data):
        if other.subject in cause.fields and _derived(cause):
            return None  # a field is before what is made of it, whichever was found first
        if _of(cause, other):
            return "cause"
        return "beside" if drifts else None
    return None


def _of_health(cause: Finding, other: Finding) -> Bond | None:
    if cause.subject == other.subject:
        return "beside"
    return _HEALTH.get((cause.subject, other.subject))


def strength(finding: Finding) -> tuple[int, bool, float, int, str]:
    """Return what sorts likely causes first; no two keys are equal."""
    order, evidence = ORDER.index(finding.kind), finding.evidence or 0.0
    return order, _derived(finding), -evidence, -len(finding.slice or ()), finding.key


def _by_labels(cause: Finding, other: Finding) -> bool:
    mine, its = cause.slice or {}, other.slice or {}
    if mine == its:
        return strength(cause) < strength(other)
    nested = mine.items() <= its.items() or its.items() <= mine.items()
    return nested and strength(cause)[1:] < strength(other)[1:]


def _of(cause: Finding, other: Finding) -> bool:
    """Whether the other is made of the same field, or is named by the cause.

    A test of all features belongs to a fault of the one that moved most.
    """
    shared = {cause.subject, *cause.fields}.intersection((other.subject, *other.fields))
    if cause.kind == "data_quality" and other.members[:1]:
        return bool(shared) or other.members[0] in cause.fields
    return bool(shared) or other.subject in cause.members


def _derived(finding: Finding) -> bool:
    """Whether its subject is made of fields, and is neither one itself nor what is wrong there."""
    if finding.kind == "data_quality":
        return False
    return bool(finding.fields) and finding.subject not in finding.fields


def _within(inner: Mapping[str, str] | None, outer: Mapping[str, str] | None) -> bool:
    """Whether one slice is a part of another, or the same."""
    return (outer or {}).items() <= (inner or {}).items()
