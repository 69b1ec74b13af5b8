"""The tasks that fold a partition's records into sums for the judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from streamproc.codec import Codec, Kind
from streamproc.errors import BadRecord
from streamproc.eventtime import parse_time_ms
from streamproc.monitors import DataQuality, Folds, Reactions, prediction_fold, prediction_folds
from streamproc.monitors.fold import NEVER, check
from streamproc.monitors.folds import Fold
from streamproc.monitors.quality_fold import RECORD_TIME, quality_fold, read_dead_letter
from streamproc.monitors.reactions import ReactionFold, reaction_of, reactions_plan
from streamproc.pipeline import Pipeline
from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Out, Output, Record, dead_letter
from streamproc.tasks.sums import sums_in_records

SEND_EVERY_MS = 5_000
"""How often at most a fold's sums are sent while its records stay in one bucket, and go on coming:
what is sent is as large for ten times as many events, and has to be added up by the judge."""

QUIET_MS = 500
"""After how long without a record what was folded is sent."""

SETTLED_MS = 500
"""After how long all predictions are fetched that were written before a dead letter."""

SLICES = "slices"
"""The header of a prediction with the fields of its event that it is sliced by."""

Read = Callable[[Record], dict[str, Any] | None]
"""Returns the message in a record, or None for one that is not folded."""


class FoldTask:
    """Folds one partition of predictions or outcomes and sends the sums to the judge.

    ``more`` are further topics, each with how a record is read and what its messages are folded by;
    sums are sent as far as those have come, too, unless they had been read to their end.
    """

    def __init__(
        self,
        stage: str,
        partition: int,
        fold: Fold,
        topic: str,
        kind: Kind,
        codec: Codec,
        upstream_caught_up: Callable[[], bool] = lambda: True,
        more: Mapping[str, tuple[Read, Fold]] | None = None,
    ) -> None:
        self.stage = stage
        self.partition = partition
        self._fold = fold
        self._topic = topic
        self._kind = kind
        self._codec = codec
        self._more = dict(more or {})
        self._behind: dict[str, int] = {}
        self._refused_ms = self._passed_ms = NEVER
        self._refused_at_ms: int | None = None
        self._upstream_caught_up = upstream_caught_up
        self._caught_up = False
        self._taken_ms = AT_ONCE
        self._next: dict[str, int] = {}
        self._sent: tuple[dict[str, int], int, bool, int] = ({}, AT_ONCE, False, AT_ONCE)
        self._dead: list[Out] = []

    def waiting(self) -> dict[str, int]:
        """Return that no record waits: each is dealt with as it is taken in."""
        return dict.fromkeys((self._topic, *self._more), 0)

    def positions(self) -> dict[str, int]:
        """Return the offsets up to which the sums were sent."""
        return dict(self._sent[0])

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Fold records in."""
        if topic in self._more:
            self._take_more(topic, records, caught_up, now_ms)
        else:
            self._take_main(records)
            self._caught_up = caught_up
            if caught_up:
                self._passed_ms = self._refused_ms
        if records:
            self._next[topic] = records[-1].offset() + 1
            self._taken_ms = now_ms

    def _take_main(self, records: Sequence[Record]) -> None:
        try:
            messages = self._codec.decode_many(self._kind, [record.value() for record in records])
            self._complete(records, messages)
        except BadRecord:
            messages = self._readable(records, self._read)
        if messages:
            self._fold.update(messages)

    def _read(self, record: Record) -> dict[str, Any]:
        message = self._codec.decode(self._kind, record.value())
        self._complete([record], [message])
        return message

    def _complete(self, records: Sequence[Record], messages: Sequence[dict[str, Any]]) -> None:
        """Check messages, and give predictions what their headers have for folds."""
        if self._kind == "prediction":
            for record, message in zip(records, messages, strict=True):
                message.pop(RECORD_TIME, None)  # a field of this name is none of ours
                for name, value in record.headers() or ():
                    if name == SLICES and value:
                        message["slices"] = _slices(value)
                    elif name == RECORD_TIME and (time_ms := _time_ms(value)) is not None:
                        message[RECORD_TIME] = time_ms
        check(self._kind, messages)

    def _readable(self, records: Sequence[Record], read: Read) -> list[dict[str, Any]]:
        """Return what can be read and is to be folded; what can't is dead letters."""
        found = []
        for record in records:
            try:
                message = read(record)
            except BadRecord as bad:
                self._dead.append(dead_letter(record, bad, self.stage))
                continue
            if message is not None:
                found.append(message)
        return found

    def _take_more(
        self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int
    ) -> None:
        read, fold = self._more[topic]
        found = self._readable(records, read)
        if found:
            fold.update(found)
            refused = [message["watermark_ms"] for message in found if "reason" in message]
            self._refused_ms = max(self._refused_ms, *refused, NEVER)
            if refused and self._refused_at_ms is None:
                self._refused_at_ms = now_ms
        if caught_up:
            self._behind.pop(topic, None)
        elif found:
            self._behind[topic] = max(message["watermark_ms"] for message in found)

    @property
    def _watermark_ms(self) -> int:
        """How far all that is folded has come."""
        return min((max(self._fold.watermark_ms, self._passed_ms), *self._behind.values()))

    def _let_refused_count(self, now_ms: int) -> None:
        """Go on by what is refused where nothing else comes, predictions being read to their end.

        Not at once: what was predicted before may not have been fetched yet.
        """
        if self._refused_at_ms is None or now_ms - self._refused_at_ms < SETTLED_MS:
            return
        if self._caught_up:
            self._passed_ms = self._refused_ms
            self._refused_at_ms = None

    def process(self, now_ms: int) -> Output:
        """Send the sums: when a bucket ended, when nothing comes, and every now and then."""
        output = Output()
        if self._dead:
            output.to("dead_letters").extend(self._dead)
            self._dead = []
        self._let_refused_count(now_ms)
        fold, fold_ms = self._fold, self._watermark_ms
        offsets, watermark_ms, caught_up, sent_ms = self._sent
        new = self._next != offsets
        bucket_ended = watermark_ms // fold.bucket_ms < fold_ms // fold.bucket_ms
        caught_up_now = self._caught_up and not self._behind and self._upstream_caught_up()
        now_caught_up = caught_up_now and not caught_up
        due = now_ms - sent_ms >= SEND_EVERY_MS or (
            min(now_ms - self._taken_ms, now_ms - sent_ms) >= QUIET_MS
        )
        if not (bucket_ended or (new and due)) and not (now_caught_up and (due or not new)):
            return output
        told = (self.stage, self.partition, fold_ms, caught_up_now)
        for value in sums_in_records(*told, fold.take()):
            output.to("buckets").append(Out(key=None, value=value))
        self._sent = (dict(self._next), fold_ms, caught_up_now, now_ms)
        return output


def _slices(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadRecord("not_ours", f"the header {SLICES!r} is no JSON: {error}") from None


def _time_ms(value: bytes | None) -> int | None:
    """Return a record's timestamp; None where it is none, as producers may set any."""
    try:
        return parse_time_ms(int(value or b""))
    except (ValueError, BadRecord):
        return None


def predictions_task(
    pipeline: Pipeline,
    partition: int,
    codec: Codec,
    upstream_caught_up: Callable[[], bool] = lambda: True,
) -> FoldTask:
    """Return what folds a partition of predictions for all monitors that look at them."""
    folds = prediction_folds(pipeline)
    more: dict[str, tuple[Read, Fold]] = {}
    topics, quality = pipeline.topics, quality_fold(pipeline)
    if quality is not None:
        folds.append(quality)

        def read_late(record: Record) -> dict[str, Any]:
            late: dict[str, Any] = codec.decode("late", record.value())
            return late

        more[topics.dead_letters] = (
            lambda record: read_dead_letter(dict(record.headers() or ())),
            quality,
        )
        more[topics.late] = (read_late, quality)
    for number, monitor in reactions_plan(pipeline):
        reactions = ReactionFold(number, monitor)
        folds.append(reactions)
        more[monitor.topic] = (_reading(monitor, codec), reactions)
    return FoldTask("drift", partition, Folds(folds), topics.predictions, "prediction", codec,
                    upstream_caught_up, more)  # fmt: skip


def folded_topics(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the topics that :func:`predictions_task` folds, predictions first."""
    topics = pipeline.topics
    beside = (topics.dead_letters, topics.late) if pipeline.watches_quality else ()
    return (topics.predictions, *beside, *pipeline.reaction_topics)


def _reading(monitor: Reactions, codec: Codec) -> Read:
    def read(record: Record) -> dict[str, Any]:
        fields = codec.decode_input(monitor.topic, record.value())
        return reaction_of(monitor, fields, record.timestamp()[1])

    return read


def watches_predictions(pipeline: Pipeline) -> bool:
    """Say whether any monitor looks at predictions."""
    looks = DataQuality | Reactions
    others = any(isinstance(monitor, looks) for monitor in pipeline.monitors)
    return others or prediction_fold(pipeline) is not None
