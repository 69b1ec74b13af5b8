"""What is told of health: findings with a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.monitors.finding import Finding, when
from streamproc.monitors.health_spec import REPORT_MS

SILENT_MS = 60_000
"""After how long a worker that others outlive is missed."""

SAID = {
    "behind_ms": (
        "lag",
        "has been behind the end of its log for {value}, and is not catching up",
        "add a worker, or see by streamproc_lag_records which partition it is",
    ),
    "latency_ms": (
        "latency",
        "takes {value} from an event to its prediction",
        "see streamproc_latency_seconds, what else runs on the machine, and the brokers",
    ),
    "learner_records": (
        "learner",
        "has {value} records waiting for the learner, and they don't get fewer",
        "raise publish_every, or use a model that learns faster",
    ),
    "snapshot_ms": (
        "snapshot",
        "has not finished a snapshot for {value}: a start will take as long",
        "see streamproc_snapshot_failures_total and whether the store can be written to",
    ),
    "staleness_ms": (
        "staleness",
        "The model's last label is {value} older than the newest event",
        "see whether labels come, and whether versions are published",
    ),
    "silence_ms": (
        "events",
        "For {value} no event has come that is newer than those before",
        "look at the producers first, then at the brokers",
    ),
    "labels_ms": (
        "labels",
        "For {value} of event time no label has come",
        "look at what writes the labels, and at dead letters of their topic",
    ),
}  # fmt: skip
"""By what workers report: the subject, what is said beyond the limit, and what to look at."""


def beyond(
    what: str,
    name: str | None,
    since_ms: int,
    value: float,
    most: float,
    over: bool = False,
    waiting: int | None = None,
) -> Finding:
    """Return that a value is beyond its limit, or well within it again.

    ``name`` is the worker that it is of, None for all; ``waiting`` how many records wait.
    """
    subject, said, look_at = SAID[what]
    shown, limit = (
        (f"{number:,.0f}" if what == "learner_records" else _span(number))
        for number in (value, most)
    )
    who = f"Worker {name} " if name is not None else ""
    summary = f"{who}{said.format(value=shown)} (limit {limit}, since {when(since_ms)}); {look_at}."
    if over:
        summary = f"{who or 'The pipeline '}is well within the limit of {limit} again."
    return Finding(
        kind="health",
        subject=subject,
        slice=None if name is None else {"instance": name},
        ongoing=not over,
        severity="critical" if value >= 10 * most else "warning",
        effect=value / most,
        statistic=float(value),
        threshold=float(most),
        expected=float(most),
        observed=float(value),
        samples=waiting or 0,
        first_seen_ms=since_ms,
        summary=summary,
    )


def held_summary(record: Mapping[str, Any], since_ms: int, how_many: str) -> str:
    """Return that a version was held back, why, and what goes on scoring."""
    held, version = record["held_back"], record["version"]
    named = ", ".join(held["features"])
    look_at = "look at dead letters, and at the features that drift"
    if named:
        look_at = f"look at {named} first: its unit, and what writes it"
    last = (
        f"main@{version}, which is the last sound one," if version else "A model without learning"
    )
    return (
        f"A version of the model was held back: {held['why']}. {last} goes on scoring, and "
        f"{held['outcomes']} outcomes were left out; that befell {how_many} versions since "
        f"{when(since_ms)}; {look_at}."
    )


def silent(name: str, newest_ms: int, silent_ms: int, over: bool) -> Finding:
    """Return that a worker is missed, or no longer."""
    summary = (
        f"Worker {name} is no longer missed."
        if over
        else f"Worker {name} has been silent since {when(newest_ms)} while others report; see "
        "whether its process runs, and its log."
    )
    return Finding(
        kind="health",
        subject="worker",
        slice={"instance": name},
        ongoing=not over,
        severity="warning",
        effect=1.0,
        statistic=float(silent_ms),
        threshold=float(SILENT_MS),
        expected=float(REPORT_MS),
        observed=float(silent_ms),
        samples=0,
        first_seen_ms=newest_ms,
        summary=summary,
    )


def _span(ms: float) -> str:
    """Return a span for people.

    >>> [_span(ms) for ms in (400, 90_000, 7_200_000, 400_000_000)]
    ['400 ms', '90 s', '2 h', '5 d']
    """
    for unit, size, most in (("ms", 1, 1_000), ("s", 1_000, 120_000), ("min", 60_000, 7_200_000),
                             ("h", 3_600_000, 172_800_000)):  # fmt: skip
        if ms < most:
            return f"{ms / size:.0f} {unit}"
    return f"{ms / 86_400_000:.0f} d"
