"""What people do with predictions: clicks, overrides, reports, from a topic of their own.

A reaction names the prediction it is about and has a value, a number or yes or no. Two things are
watched, by the time of the reaction: how many there are for each prediction made meanwhile, and how
their values are distributed. They are sums, so that nothing has to be held until a reaction comes,
and a restart counts none twice; whether a reaction's prediction exists is not looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import numpy as np

from streamproc.errors import BadRecord, DefinitionError
from streamproc.eventtime import parse_duration_ms, parse_time_ms
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.fold import NEVER
from streamproc.monitors.growing import Span
from streamproc.monitors.series import Limits, SeriesTest
from streamproc.monitors.sketch import Sketch, added, unpacked
from streamproc.monitors.sums import LARGEST
from streamproc.monitors.tilts import Rate

PREDICTIONS, VALUES = "predictions", "values"

FUTURE_MS = 3_600_000
"""How far ahead of its record's timestamp a reaction's time may be."""

_HELD = 2_048


@dataclass(frozen=True)
class Reactions:
    """Watches a topic of reactions to predictions, keyed as the events are.

    A record is a JSON object: ``id`` names the field with the prediction's id, ``value`` the one
    with a number or a boolean, ``time`` the one with its time, without which it is the record's
    timestamp. How many come for a prediction is tested both ways, and so is the distribution of the
    values. ``bucket``, ``reference``, ``tolerance`` and ``weight`` are as `Drift` has them.

    >>> Reactions("payments.overrides", id="transaction_id", value="overridden").bucket_ms
    3600000
    """

    topic: str
    id: str
    value: str
    time: str | None = None
    bucket: str = "1h"
    reference: str = "7d"
    tolerance: float = 0.1
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("topic", "id", "value", *(["time"] if self.time is not None else [])):
            given = getattr(self, name)
            if not isinstance(given, str) or not given:
                raise DefinitionError(f"Reactions: {name} is a name, such as 'overridden'")
        if parse_duration_ms(self.bucket, "Reactions, bucket") == 0:
            raise DefinitionError("Reactions, bucket: a bucket of 0 holds nothing; write '1h'")
        parse_duration_ms(self.reference, "Reactions, reference")
        if not 0 <= self.tolerance < 100:
            raise DefinitionError("Reactions: tolerance is in standard deviations, such as 0.1")
        if not 0 < self.weight < inf:
            raise DefinitionError("Reactions: weight must be a number above 0, such as 1.0")

    @property
    def bucket_ms(self) -> int:
        """How much time a bucket spans."""
        return parse_duration_ms(self.bucket, "Reactions, bucket")

    @property
    def span(self) -> Span:
        """How much the first reference holds."""
        return Span(parse_duration_ms(self.reference, "Reactions, reference"))


def reaction_of(spec: Reactions, fields: Mapping[str, Any], timestamp_ms: int) -> dict[str, Any]:
    """Return what is counted of a reaction.

    Raises `BadRecord` for one without id, for one whose value is no finite number or boolean, and
    for one whose time is more than an hour after that of its record.

    >>> clicks = Reactions("shop.clicks", id="order", value="clicked")
    >>> reaction_of(clicks, {"order": 7, "clicked": True}, timestamp_ms=5)
    {'watermark_ms': 5, 'value': 1.0}
    """
    if fields.get(spec.id) is None:
        raise BadRecord("missing_id", f"field {spec.id!r} is missing or null")
    value = fields.get(spec.value)
    if not isinstance(value, bool | int | float) or not -LARGEST <= value <= LARGEST:
        raise BadRecord(
            "field_not_number", f"field {spec.value!r} is {value!r:.40}, no number or boolean"
        )
    time = None if spec.time is None else fields.get(spec.time)
    if spec.time is not None and time is None:
        raise BadRecord("missing_time", f"field {spec.time!r} is missing or null")
    time_ms = timestamp_ms if time is None else parse_time_ms(time)
    if time_ms > timestamp_ms + FUTURE_MS:  # its bucket would wait for ever
        raise BadRecord(
            "time_in_future", f"field {spec.time!r} is {time!r:.40}, over an hour ahead"
        )
    return {"watermark_ms": time_ms, "value": float(value)}


class ReactionFold:
    """Folds predictions into counts, and reactions into sketches of their values, per bucket.

    >>> clicks = Reactions("shop.clicks", id="order", value="clicked")
    >>> fold = ReactionFold(0, clicks)
    >>> fold.update([{"event_time_ms": 5}, {"event_time_ms": 6}, {"watermark_ms": 7, "value": 1.0}])
    >>> rows = fold.take()[0]["series"]
    >>> rows["predictions"], unpacked(rows["values"]).values.tolist()
    ([2], [1.0])
    """

    def __init__(self, number: int, spec: Reactions) -> None:
        self.bucket_ms = spec.bucket_ms
        self.watermark_ms = NEVER
        self._number = number
        self._counts: dict[int, int] = {}
        self._values: dict[int, list[float]] = {}
        self._sketches: dict[int, list[Sketch]] = {}

    def update(self, messages: Sequence[dict[str, Any]]) -> None:
        """Fold messages in: predictions, or reactions as :func:`reaction_of` has them."""
        length_ms = self.bucket_ms
        for message in messages:
            if "value" in message:
                time_ms = message["watermark_ms"]
                start_ms = time_ms // length_ms * length_ms
                held = self._values.setdefault(start_ms, [])
                held.append(message["value"])
                if len(held) >= _HELD:
                    self._fold(start_ms)
            else:
                time_ms = message["event_time_ms"]
                self.watermark_ms = max(self.watermark_ms, time_ms)
                start_ms = time_ms // length_ms * length_ms
                self._counts[start_ms] = self._counts.get(start_ms, 0) + 1

    def take(self) -> list[dict[str, Any]]:
        """Return the sums of what was folded since they were last taken."""
        for start_ms in list(self._values):
            self._fold(start_ms)
        counts, self._counts = self._counts, {}
        sketches, self._sketches = self._sketches, {}
        found = []
        for start_ms in sorted({*counts, *sketches}):
            series: dict[str, Any] = {}
            if start_ms in counts:
                series[PREDICTIONS] = [counts[start_ms]]
            if start_ms in sketches:
                series[VALUES] = added(sketches[start_ms]).packed()
            found.append({"stage": "drift", "monitor": self._number, "bucket_ms": start_ms,
                          "series": series})  # fmt: skip
        return found

    def _fold(self, start_ms: int) -> None:
        values = np.array(self._values.pop(start_ms))
        self._sketches.setdefault(start_ms, []).append(Sketch.of(values))


class ReactionMonitor:
    """Tests how many reactions a prediction gets, and what they are."""

    def __init__(self, spec: Reactions, alarm_ms: float) -> None:
        limits = Limits(2 * alarm_ms, spec.bucket_ms, spec.tolerance, spec.span)
        self._spec = spec
        self._rate = SeriesTest(Rate(), limits)
        self._values = DistributionTest(
            "performance",
            f"{spec.topic}, {spec.value}",
            limits,
            noun=f"{spec.value} in {spec.topic}",
            look_at="look at the model's last versions, and at what people were shown",
        )

    def combined(self, parts: Sequence[Any]) -> Any:
        """Return one row for several of one series and bucket, whatever their order."""
        if len(parts[0]) == 1:
            return [sum(part[0] for part in parts)]
        return added([unpacked(part) for part in parts]).packed()

    def update(self, start_ms: int, rows: dict[str, Any]) -> list[Finding]:
        """Take in a sealed bucket."""
        sketch = unpacked(rows[VALUES]) if VALUES in rows else None
        predictions = rows.get(PREDICTIONS, [0])[0]
        count = min(sketch.n if sketch else 0, predictions)  # there may be several a prediction
        found = []
        if predictions:
            found = self._of_rate(start_ms, count, predictions)
        of_values = self._values.update(start_ms, sketch) if sketch else None
        return [*found, *([of_values] if of_values else [])]

    def relearn(self, key: str) -> bool:
        """Learn anew what is usual for what a finding's key is about; return whether it is here."""
        if key == f"performance/{self._spec.topic}, how many":
            self._rate.relearn()
        elif key == self._values.key:
            self._values.relearn()
        else:
            return False
        return True

    def _of_rate(self, start_ms: int, count: float, predictions: float) -> list[Finding]:
        test, topic = self._rate, self._spec.topic
        said = test.update(start_ms, np.array([predictions - count, count], float))
        if said is None:
            return []
        over = said == "over"
        usual, n = float(test.usual[1]), float(test.found.sum())
        now = count / predictions if over or not n else float(test.found[1]) / n
        summary = (
            f"{now:.2%} of the predictions get a reaction in {topic} since {when(test.since_ms)}, "
            f"where {usual:.2%} is usual; look at the model's last versions, at what people were "
            "shown, and at what writes the topic."
        )
        if over:
            summary = f"As many predictions as usual get a reaction in {topic} ({now:.2%})."
        ratio = max(now, 1e-4) / max(usual, 1e-4)
        effect = max(ratio, 1 / ratio)
        evidence = max(test.detector.evidence, 0.0)
        return [Finding("performance", f"{topic}, how many", None, not over, "warning", effect,
                        evidence, test.detector.threshold, usual, now, int(n), test.since_ms,
                        summary)]  # fmt: skip


class _Watched(Protocol):
    """What is known of a pipeline here."""

    @property
    def monitors(self) -> Sequence[Any]:
        """What is watched."""


def reactions_plan(pipeline: _Watched) -> list[tuple[int, Reactions]]:
    """Return the monitors of reactions with their numbers."""
    return [(i, m) for i, m in enumerate(pipeline.monitors) if isinstance(m, Reactions)]
