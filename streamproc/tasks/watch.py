"""The tasks that watch: folding a partition's records into sums, and judging the sums of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import orjson

from streamproc.alerts.commands import read_command
from streamproc.codec import Codec, Kind
from streamproc.errors import BadRecord
from streamproc.monitors.judge import OPERATION, Judge
from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Out, Output, Record, dead_letter
from streamproc.tasks.waits import Believed, Idle, Waits

SEND_EVERY_MS = 500
"""How often at most a fold's sums are sent while its records stay in one bucket."""

SLICES = "slices"
"""The header of a prediction with the fields of its event that it is sliced by."""


class Fold(Protocol):
    """Folds messages into sums per bucket of event time; see ``streamproc.monitors.fold``.

    ``watermark_ms`` is the newest time folded, ``bucket_ms`` how long a bucket is.
    """

    bucket_ms: int
    watermark_ms: int

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
                message = self._codec.decode(self._kind, record.value())
            except BadRecord as bad:
                self._dead.append(dead_letter(record, bad, self.stage))
                continue
            for name, value in record.headers() or ():
                if name == SLICES and value:
                    message["slices"] = orjson.loads(value)
            messages.append(message)
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
        sums = {
            "stage": self.stage,
            "partition": self.partition,
            "watermark_ms": fold_ms,
            "caught_up": caught_up_now,
            "buckets": fold.take(),
        }
        self._sent = (self._next_offset, fold_ms, caught_up_now, now_ms)
        output.to("buckets").append(Out(key=None, value=orjson.dumps(sums)))
        return output


class JudgeTask:
    """Judges the sums of all partitions and emits alerts.

    What it does is decided by the log of sums, record by record, and by nothing else: waits that
    are over and what people ask for are written to it first, and done when they come back. So who
    reads the log again knows the same, and has told the same. ``begins_at`` is the offset up to
    which the judge has read it. While it is ``held`` it judges nothing.
    """

    def __init__(
        self,
        judge: Judge,
        topic: str,
        codec: Codec,
        begins_at: int = 0,
        operations: str | None = None,
        idle: Idle | None = None,
    ) -> None:
        self.judge = judge
        self.held = False
        self._topic = topic
        self._codec = codec
        self._operations = operations
        self._waits = Waits(judge.sealer, idle or Believed())
        self._positions = {topic: begins_at} if begins_at else {}
        self._taken: list[Record] = []
        self._asked: list[Record] = []

    def waiting(self) -> dict[str, int]:
        """Return that no record waits: each is dealt with as it is taken in."""
        return dict.fromkeys(filter(None, (self._topic, self._operations)), 0)

    def positions(self) -> dict[str, int]:
        """Return the offsets of the first records not yet dealt with."""
        return dict(self._positions)

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Take sums in, or what people ask for."""
        (self._taken if topic == self._topic else self._asked).extend(records)

    def replay(self, records: Iterable[Record]) -> None:
        """Take in what was judged before, and tell nothing."""
        for record in records:
            self._judge(record, Output())

    def process(self, now_ms: int) -> Output:
        """Judge what was taken in; pass on to the log what is to be in it."""
        output = Output()
        if self.held:
            return output
        taken, self._taken = self._taken, []
        for record in taken:
            self._judge(record, output, now_ms)
        asked, self._asked = self._asked, []
        for record in asked:
            self._pass_on(record, output)
        for topic, records in ((self._topic, taken), (self._operations, asked)):
            if records and topic:
                self._positions[topic] = records[-1].offset() + 1
        for seal in self._waits.seals(now_ms):
            output.to("buckets").append(Out(key=None, value=orjson.dumps(seal)))
        return output

    def _judge(self, record: Record, output: Output, now_ms: int | None = None) -> None:
        said = _object_in(record.value())
        if said is None:
            bad = BadRecord("not_an_object", "nothing of ours writes such a record")
            output.to("dead_letters").append(dead_letter(record, bad, "alerts"))
            return
        if now_ms is not None and "partition" in said:
            self._waits.heard(said["stage"], said["partition"], now_ms)
        for alert in self.judge.update([said], record.timestamp()[1]):
            value = self._codec.encode("alert", alert)
            output.to("alerts").append(Out(key=alert["key"].encode(), value=value))

    def _pass_on(self, record: Record, output: Output) -> None:
        try:
            command = read_command(record.value())
        except BadRecord as bad:
            output.to("dead_letters").append(dead_letter(record, bad, "alerts"))
            return
        said = {"stage": OPERATION, "operation": command.fields()}
        output.to("buckets").append(Out(key=None, value=orjson.dumps(said)))


def _object_in(value: bytes | None) -> dict[str, Any] | None:
    try:
        said = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) and "stage" in said else None
