"""The fold of data quality: predictions, dead letters and late events, in; counts a bucket, out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

from streamproc.monitors import clocks
from streamproc.monitors.fold import LONGEST, NEVER, Messages, groups
from streamproc.monitors.quality_spec import (
    DEAD,
    DELAYS,
    EVENTS,
    FUTURE,
    LATE,
    LEARN,
    MOST_SERIES,
    NULL,
    ONE,
    RANGE,
    UNDECLARED,
    VALUES,
    Checked,
    DataQuality,
    Row,
)
from streamproc.monitors.unseen import listed, together

AHEAD_MS = 60_000
"""An event whose time is so far ahead of the clock that scored it came from a wrong clock."""

RECORD_TIME = "record_time_ms"
"""The header of a prediction with its event's record's timestamp, and the message's field."""

_SCORED = itemgetter("scored_at_ms")
_FIELD = re.compile(r"field '([^']{1,100})'")
_STAGES = {b"score": DEAD, b"learn": LEARN}
_NO_EVENT = ("label_not_valid", "missing_label", "second_label", "unknown_id")


class QualityFold:
    """Counts, by bucket of event time, what may be wrong with events.

    A message is a prediction, what :func:`read_dead_letter` makes of a dead letter, or a late
    event.

    >>> from types import SimpleNamespace
    >>> names = ("amount",)
    >>> of = SimpleNamespace(feature_names=names, number_fields=names, ranges={"amount": (0, 9)},
    ...                      categories={})
    >>> fold = QualityFold(0, DataQuality(), of)
    >>> fold.update([{"event_time_ms": 5, "scored_at_ms": 9, "features": {"amount": amount}}
    ...              for amount in (1.0, None, 99.0)])
    >>> fold.take()[0]["series"]
    {'events': [3], 'null/amount': [1], 'range/amount': [1], 'one/amount': [2, None, 1]}
    """

    def __init__(self, number: int, spec: DataQuality, pipeline: Checked) -> None:
        self.bucket_ms = spec.bucket_ms
        self.watermark_ms = NEVER
        self._number = number
        self._producer = spec.producer
        self._features = pipeline.feature_names
        self._numbers = pipeline.number_fields
        self._ranges = dict(pipeline.ranges)
        self._categories = dict(pipeline.categories)
        self._counts: dict[int, dict[str, Row]] = {}

    def update(self, messages: Sequence[dict[str, Any]]) -> None:
        """Fold messages in."""
        if messages and "features" in messages[0]:  # of predictions all have them
            self._fold(Messages.of(messages))
        else:
            self._count(messages)

    def _count(self, messages: Sequence[dict[str, Any]]) -> None:
        """Count dead letters and late events."""
        for message in messages:
            time_ms = message["watermark_ms"]
            if "reason" in message:  # predictions up to its time may still have to be folded
                if message["series"] == LEARN:  # it may be behind, where buckets are sealed
                    time_ms = max(time_ms, self.watermark_ms)
                self._add(time_ms, message["series"] + message["reason"], [1])
            else:
                self._add(time_ms, LATE, [1])

    def take(self) -> list[dict[str, Any]]:
        """Return the counts of what was folded since they were last taken."""
        counts, self._counts = self._counts, {}
        return [
            {"stage": "drift", "monitor": self._number, "bucket_ms": start_ms, "series": rows}
            for start_ms, rows in sorted(counts.items())
        ]

    def _fold(self, held: Messages) -> None:
        times, features = held.times_ms, held.features
        self.watermark_ms = max(self.watermark_ms, int(times.max()))
        ahead = times - np.fromiter(map(_SCORED, held), np.int64, len(held)) > AHEAD_MS
        table = held.numbers(self._numbers)
        place = {name: at for at, name in enumerate(self._numbers)}
        found, of = groups(times // self.bucket_ms)
        for at, bucket in enumerate(found.tolist()):
            inside = of == at
            start_ms, n = bucket * self.bucket_ms, int(inside.sum())
            chosen = features if n == len(held) else [features[i] for i in np.flatnonzero(inside)]
            self._add(start_ms, EVENTS, [n])
            self._some(start_ms, FUTURE, int((ahead & inside).sum()))
            some = held if n == len(held) else [held[i] for i in np.flatnonzero(inside)]
            self._delays(start_ms, [each for each in some if RECORD_TIME in each])
            lacking = [one for one in chosen if not _has_all(one)]
            nulls = Counter([name for one in lacking for name, v in one.items() if v is None])
            for name in self._features if nulls else ():
                self._some(start_ms, NULL + name, nulls[name])
            for name, bounds in self._ranges.items():
                beyond = _beyond(name, bounds, table[place[name], inside], chosen)
                self._some(start_ms, RANGE + name, beyond)
            for name, declared in self._categories.items():
                texts = Counter([one[name] for one in chosen if type(one.get(name)) is str])
                if declared is not None:
                    odd = sum(n for value, n in texts.items() if value not in declared)
                    self._some(start_ms, UNDECLARED + name, odd)
                elif texts:
                    self._add(start_ms, VALUES + name, listed(texts))
            for name, values in zip(self._numbers, table[:, inside], strict=True):
                self._add(start_ms, ONE + name, _one(values[~np.isnan(values)]))

    def _delays(self, start_ms: int, messages: Sequence[Mapping[str, Any]]) -> None:
        """Count how much later than its event's time each record came, by producer."""
        if not messages:
            return
        minutes = [
            (each[RECORD_TIME] - each["event_time_ms"] + clocks.MINUTE_MS // 2) // clocks.MINUTE_MS
            for each in messages
        ]
        names = [(each.get("slices") or {}).get(self._producer) for each in messages]
        cut = [name and name[:LONGEST] for name in names]
        self._add(start_ms, DELAYS, clocks.delays(minutes, cut))

    def _some(self, start_ms: int, name: str, count: int) -> None:
        if count:
            self._add(start_ms, name, [count])

    def _add(self, time_ms: int, name: str, row: Row) -> None:
        rows = self._counts.setdefault(time_ms // self.bucket_ms * self.bucket_ms, {})
        known = rows.get(name)
        if known is None:
            if len(rows) < MOST_SERIES:
                rows[name] = row
        elif isinstance(row, dict):
            rows[name] = together((known, row))
        elif len(row) == 1:
            known[0] += row[0]
        elif len(row) == 2:
            rows[name] = clocks.combined((known, row))
        elif row[0]:
            varied = bool(known[2] or row[2] or (known[0] and known[1] != row[1]))
            value = None if varied else row[1]
            rows[name] = [known[0] + row[0], value, int(varied)]


class _Folded(Checked, Protocol):
    """What is known of a pipeline here."""

    @property
    def monitors(self) -> Sequence[Any]:
        """What is watched."""


def quality_fold(pipeline: _Folded) -> QualityFold | None:
    """Return an empty fold for one partition of a pipeline; None where quality is not watched."""
    for number, monitor in enumerate(pipeline.monitors):
        if isinstance(monitor, DataQuality):
            return QualityFold(number, monitor, pipeline)
    return None


def _has_all(features: Mapping[str, Any]) -> bool:
    """Say whether no feature is null, as far as is seen at a glance: all are numbers."""
    try:
        sum(features.values())
    except (TypeError, OverflowError):  # a null, or a text: a closer look tells
        return False
    return True


def _beyond(
    name: str,
    bounds: tuple[float | None, float | None],
    values: Any,
    features: Sequence[Mapping[str, Any]],
) -> int:
    """Return how many values are out of range, numbers beyond 1e100 among them."""
    least, most = (
        -inf if bounds[0] is None else bounds[0],
        inf if bounds[1] is None else bounds[1],
    )
    count = int(((values < least) | (values > most)).sum())
    for at in np.flatnonzero(np.isnan(values)).tolist():
        value = features[at].get(name)
        count += isinstance(value, int | float) and not least <= value <= most
    return count


def _one(values: Any) -> Row:
    """Return how many values there are, the one that they all are, and whether there are more.

    >>> _one(np.array([2.0, 2.0])), _one(np.array([2.0, 3.0]))
    ([2, 2.0, 0], [2, None, 1])
    """
    if not len(values):
        return [0, None, 0]
    varied = bool((values != values[0]).any())
    return [len(values), None if varied else float(values[0]) + 0.0, int(varied)]


def read_dead_letter(headers: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Return what is counted of a dead letter; None for those that are of no event.

    Those of the learner are of outcomes: they are counted, too, apart from events.

    >>> read_dead_letter({"stage": b"score", "reason": b"field_not_number", "watermark_ms": b"5",
    ...                   "error": b"field 'amount' is text ('x'), not a number"})
    {'reason': 'field_not_number amount', 'series': 'dead/', 'watermark_ms': 5}
    """
    reason = headers.get("reason", b"").decode("utf-8", "replace")
    series = _STAGES.get(headers.get("stage", b""))
    if series is None or "watermark_ms" not in headers or reason in _NO_EVENT:
        return None
    field = _FIELD.match(headers.get("error", b"").decode("utf-8", "replace"))
    if field is not None:
        reason = f"{reason} {field[1]}"
    return {"reason": reason, "series": series, "watermark_ms": int(headers["watermark_ms"])}
