"""The tasks that watch: folding a partition's records into sums, and judging the sums of all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import orjson

from streamproc.codec import Codec, Kind
from streamproc.errors import BadRecord
from streamproc.monitors.fold import NEVER
from streamproc.monitors.judge import Judge
from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Out, Output, Record, dead_letter

MOST_BYTES = 500_000
"""How large a record of sums becomes, about; a broker's limit is 1 MB."""

SEND_EVERY_MS = 500
"""How often at most a fold's sums are sent while its records stay in one bucket."""

Step = tuple[str, str, int]
"""A step in an alert's life; see :func:`step_of`."""


class Fold(Protocol):
    """Folds messages into sums per bucket of event time; see ``streamproc.monitors.fold``.

    ``watermark_ms`` is the newest time folded, ``bucket_ms`` how long a bucket is.
    """

    bucket_ms: int

    @property
    def watermark_ms(self) -> int:
        """The newest time folded."""

    def update(self, messages: Sequence[dict[str, Any]]) -> None:
        """Fold messages in."""

    def take(self) -> list[dict[str, Any]]:
        """Return the sums of what was folded since they were last taken."""


class FoldTask:
    """Folds one partition of predictions or outcomes and sends the sums to the judge."""

    def __init__(
        self,
        stage: str,
        partition: int,
        fold: Fold,
        topic: str,
        kind: Kind,
        codec: Codec,
        upstream_caught_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self.stage = stage
        self.partition = partition
        self._fold = fold
        self._topic = topic
        self._kind = kind
        self._codec = codec
        self._upstream_caught_up = upstream_caught_up
        self._caught_up = False
        self._next_offset: int | None = None
        self._sent: tuple[int | None, int, bool, int] = (None, AT_ONCE, False, AT_ONCE)
        self._dead: list[Out] = []

    def waiting(self) -> dict[str, int]:
        """Return that no record waits: each is dealt with as it is taken in."""
        return {self._topic: 0}

    def positions(self) -> dict[str, int]:
        """Return the offset up to which the sums were sent."""
        offset = self._sent[0]
        return {} if offset is None else {self._topic: offset}

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Fold records in."""
        messages = []
        for record in records:
            try:
                messages.append(self._codec.decode(self._kind, record.value()))
            except BadRecord as bad:
                self._dead.append(dead_letter(record, bad, self.stage))
        if messages:
            self._fold.update(messages)
        if records:
            self._next_offset = records[-1].offset() + 1
        self._caught_up = caught_up

    def process(self, now_ms: int) -> Output:
        """Send the sums: when a bucket ended, at the end of the log, and every now and then."""
        output = Output()
        if self._dead:
            output.to("dead_letters").extend(self._dead)
            self._dead = []
        fold, fold_ms = self._fold, self._fold.watermark_ms
        offset, watermark_ms, caught_up, sent_ms = self._sent
        new = self._next_offset != offset
        bucket_ended = watermark_ms // fold.bucket_ms < fold_ms // fold.bucket_ms
        caught_up_now = self._caught_up and self._upstream_caught_up()
        now_caught_up = caught_up_now and not caught_up
        due = now_ms - sent_ms >= SEND_EVERY_MS
        if not (new and (bucket_ended or due)) and not (now_caught_up and (due or not new)):
            return output
        told = (self.stage, self.partition, fold_ms, caught_up_now)
        for value in sums_in_records(*told, fold.take()):
            output.to("buckets").append(Out(key=None, value=value))
        self._sent = (self._next_offset, fold_ms, caught_up_now, now_ms)
        return output


def sums_in_records(
    stage: str,
    partition: int,
    watermark_ms: int,
    caught_up: bool,
    buckets: list[dict[str, Any]],
    most_bytes: int = MOST_BYTES,
) -> list[bytes]:
    """Return sums as records for the judge: one, or several where that would be too large.

    Only the last tells how far the partition has come, since all belongs to it.

    >>> wide = [{"stage": "bias", "monitor": 0, "bucket_ms": 0, "series": {"a": [1], "b": [2]}}]
    >>> records = sums_in_records("bias", 0, 9, True, wide, most_bytes=150)
    >>> [orjson.loads(value)["caught_up"] for value in records]
    [False, True]
    """
    sums = {
        "stage": stage,
        "partition": partition,
        "watermark_ms": watermark_ms,
        "caught_up": caught_up,
        "buckets": buckets,
    }
    value = orjson.dumps(sums)
    if len(value) <= most_bytes:
        return [value]
    halves = _halves(buckets)
    if halves is None:  # one series of one bucket
        return [value]
    first, second = halves
    head = sums_in_records(stage, partition, NEVER, False, first, most_bytes)
    tail = sums_in_records(stage, partition, watermark_ms, caught_up, second, most_bytes)
    return head + tail


def _halves(
    buckets: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    middle = len(buckets) // 2
    if middle:
        return buckets[:middle], buckets[middle:]
    bucket = buckets[0] if buckets else {"series": {}}
    series = list(bucket["series"].items())
    middle = len(series) // 2
    if not middle:
        return None
    parts = (dict(series[:middle]), dict(series[middle:]))
    first, second = ([{**bucket, "series": part}] for part in parts)
    return first, second


class JudgeTask:
    """Judges the sums of all partitions and emits alerts.

    Its state is rebuilt from the log of sums: up to ``silent_until`` nothing is emitted, since the
    run before did so. ``emitted`` holds the alerts on the topic, as :func:`step_of` them, and
    ``reported_ms`` up to when performance was reported on, of outcomes and of predictions: a bucket
    that was sealed early, by a silence, is sealed a little later when it is judged again.
    """

    def __init__(
        self,
        judge: Judge,
        topic: str,
        codec: Codec,
        silent_until: int = 0,
        emitted: Collection[Step] = (),
        reported_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.judge = judge
        self._reported_ms = dict(reported_ms or {})
        self._emitted = frozenset(emitted)
        self._topic = topic
        self._codec = codec
        self._silent_until = silent_until
        self._next_offset = self._judged_until = silent_until
        self._taken: list[dict[str, Any]] = []
        self._silent: list[dict[str, Any]] = []

    def waiting(self) -> dict[str, int]:
        """Return that no record waits: each is dealt with as it is taken in."""
        return {self._topic: 0}

    def positions(self) -> dict[str, int]:
        """Return the offset of the first sums not yet judged."""
        return {self._topic: self._judged_until} if self._judged_until else {}

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Take sums in."""
        for record in records:
            into = self._silent if record.offset() < self._silent_until else self._taken
            into.append(orjson.loads(record.value() or b"{}"))
            self._next_offset = max(self._next_offset, record.offset() + 1)

    def process(self, now_ms: int) -> Output:
        """Judge the buckets that are sealed; return the alerts."""
        output = Output()
        if self._silent:
            self.judge.update(self._silent, now_ms)
            self.judge.take_reports()
            self._silent = []
        taken, self._taken = self._taken, []
        self._judged_until = self._next_offset
        for alert in self.judge.update(taken, now_ms):
            if step_of(alert) in self._emitted:
                continue
            value = self._codec.encode("alert", alert)
            output.to("alerts").append(Out(key=alert["key"].encode(), value=value))
        for report in self.judge.take_reports():
            if report["to_ms"] > self._reported_ms.get(report["about"], NEVER):
                value = self._codec.encode("performance", report)
                key = slice_key(report["about"], report["slice"])
                output.to("metrics").append(Out(key=key.encode(), value=value))
        return output


def slice_key(about: str, slice_: Mapping[str, str] | None) -> str:
    """Return the key of a report.

    >>> slice_key("outcomes", None), slice_key("outcomes", {"country": "FR"})
    ('outcomes', 'outcomes/country=FR')
    """
    if not slice_:
        return about
    return f"{about}/" + ",".join(f"{field}={value}" for field, value in sorted(slice_.items()))


def step_of(alert: Mapping[str, Any]) -> Step:
    """Return what tells one step in an alert's life from another: its id, status and samples.

    >>> step_of({"alert_id": "a1", "status": "open", "samples": 40})
    ('a1', 'open', 0)
    """
    updated = alert["status"] == "update"
    return (alert["alert_id"], alert["status"], alert["samples"] if updated else 0)
