"""The score task of one partition: events and labels in, predictions and outcomes out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from streamproc.codec import Codec
from streamproc.errors import BadRecord
from streamproc.features.batch import Batch
from streamproc.features.lookup import Find
from streamproc.labels import HELD_LABELS, PendingLabels, Waiting
from streamproc.messages import Features
from streamproc.models.scoring import Scorer
from streamproc.monitors.quality_fold import RECORD_TIME
from streamproc.pipeline import Pipeline
from streamproc.tasks.bounds import Bounds
from streamproc.tasks.intake import Event, Intake, Label, Unreadable, slices_of
from streamproc.tasks.late import late_event, too_late
from streamproc.tasks.merge import AT_ONCE, Input, Merge
from streamproc.tasks.news import News
from streamproc.tasks.records import NO_TIME, Out, Output, Record, dead_letter
from streamproc.tasks.route import Router

MEMORY_MS = 86_400_000
"""How long ids are remembered where no label is waited for."""

BACKLOG = 100
"""With so many events waiting a task is behind, even where it has read its log to the end."""

TRACEPARENT_BYTES = 55

_Found = Features | BadRecord | None
_Ahead = tuple[Event | Label | Unreadable, _Found]
"""What was taken off an input, and, of an event, its features or why it has none."""

_ANY_TIME_MS = 1 << 62


class ScoreTask:
    """Scores the events of one partition and joins its labels; pure but for its own state.

    Records are taken in by ``take`` and processed by ``process``, in the merged order. ``epoch``
    tells this run of the task from an earlier one. ``ahead`` bounds how many outcomes the task may
    be ahead of the learner while it works off a backlog; None is no bound. ``track`` keeps what
    changes for snapshots. Where events have several ``partitions``, windows by another entity than
    the key are computed elsewhere, and waited for; see :class:`Router`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        partition: int,
        codec: Codec,
        epoch: int = 0,
        ahead: int | None = None,
        track: bool = False,
        partitions: int = 1,
    ) -> None:
        self.pipeline = pipeline
        self.partition = partition
        self.merge = Merge()
        self.labels, self.events = self.merge.first, self.merge.second
        self.labels.caught_up = pipeline.labels is None
        rekeyed = pipeline.rekeyed(partitions)
        self.features = pipeline.new_features(track, rekeyed)
        self._labels_enter = bool(self.features.over_labels)
        self._refuses_late = pipeline.late == "dead_letter"
        self.pending: PendingLabels[Record] = PendingLabels(
            pipeline.labels.horizon_ms if pipeline.labels else MEMORY_MS, track
        )
        self.router: Router | None = None
        if rekeyed:
            where = (rekeyed, partition, partitions)
            self.router = Router(pipeline, *where, self.merge, self.pending, self.features.batch)
        self._source = self.router or self.merge
        self.scorer = Scorer(
            pipeline.new_model(), pipeline.kind, pipeline.classes, pipeline.threshold, "main@0"
        )
        self.watermark_ms = AT_ONCE
        self.label_ms = AT_ONCE
        """The newest time at which a label became known, since this task started."""
        self._expired_ms = AT_ONCE
        self.late = 0
        self.overtaken_labels = 0
        """Labels for windows that an event of their time or later was scored before."""
        self.oldest_ms: int | None = None
        self.bounds: Bounds | None = None
        self.news = News(partition, epoch, ahead if pipeline.learns else None)
        self._codec = codec
        self._intake = Intake(pipeline, codec)
        self._inputs: dict[str, tuple[Input, Callable[[Record, int], Event | Label]]] = {
            pipeline.events.topic: (self.events, self._intake.event)
        }
        if pipeline.labels:
            self._inputs[pipeline.labels.topic] = (self.labels, self._intake.label)
        self.refused: dict[str, set[int]] = {topic: set() for topic in self._inputs}
        """By topic, the offsets of records that end the process: they become dead letters."""
        self._slices = pipeline.slice_fields
        self._sliced = pipeline.drift_slice_fields
        self._timed = bool(pipeline.producer_fields)
        self._short: dict[str, bytes] = {}
        self.elsewhere: Callable[[str], Features] = lambda event_id: {}
        """In a replay, what windows that are computed elsewhere said of an event, by its id."""
        source = f"{pipeline.events.topic}/{partition}"
        self._trace_id = hashlib.sha256(source.encode()).hexdigest()[:16]

    def waiting(self) -> dict[str, int]:
        """Return, by topic, the number of records taken in and not yet processed."""
        found = {topic: len(source.items) for topic, (source, _) in self._inputs.items()}
        if self.router is not None:
            for topic, (source, _) in self._inputs.items():
                found[topic] += self.router.parked(source is self.labels)
            found[self.pipeline.topics.windows] = 0
        return found

    def positions(self) -> dict[str, int]:
        """Return, by topic, the offset of the first record not yet processed."""
        found = {topic: self._position(source) for topic, (source, _) in self._inputs.items()}
        if self.router is not None:
            found[self.pipeline.topics.windows] = self.router.answers_position
        return {topic: at for topic, at in found.items() if at is not None}

    def _position(self, source: Input) -> int | None:
        """Return the offset of an input's first record not yet processed."""
        router = self.router
        return source.position if router is None else router.position(source is self.labels)

    @property
    def expired_entities(self) -> int:
        """How many entities were idle for so long that their windows were let go."""
        return self.features.expired_entities

    @property
    def caught_up(self) -> bool:
        """Whether all that both logs held is processed."""
        return self._source.caught_up

    @property
    def expired_waits(self) -> int:
        """How many waits for a lagging input, or for windows elsewhere, were given up."""
        return self.merge.expired_waits + (self.router.expired_waits if self.router else 0)

    def forget_waiting(self) -> None:
        """Forget the records taken in and not yet processed: they will be taken in again."""
        positions = self.positions()
        if self.router is not None:
            self.router.forget()
        for topic, (source, _) in self._inputs.items():
            source.next_offset = positions.get(topic)
            source.items.clear()
            source.caught_up = False

    def look_up(self, find: Find) -> None:
        """Look rows up there from the next event on."""
        if self.features.lookups is not None:
            self.features.lookups.find = find

    def take_up(self, scorer: Scorer) -> None:
        """Score with this model version from the next event on."""
        self.scorer = scorer

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Take events or labels in; what cannot be read keeps its place, and is told of there.

        All or none: where reading needs something that is away, nothing was taken in.
        """
        if self.router is not None and topic == self.pipeline.topics.windows:
            self.router.hear(records, now_ms)
            return
        source, read = self._inputs[topic]
        items: list[tuple[int, int, Any]] = []
        append, refused = items.append, self.refused[topic]
        many = source is self.events and not refused
        plain = self._intake.events(records, now_ms) if many else None
        for event in plain or ():
            append((event.time_ms, event.record.offset(), event))
        for record in () if plain else records:
            try:
                if refused and record.offset() in refused:
                    raise BadRecord("kills_worker", "this record ended the process, twice")
                item = read(record, now_ms)
                append((item.time_ms, record.offset(), item))
            except BadRecord as error:
                append((AT_ONCE, record.offset(), Unreadable(error, record)))
        source.items.extend(items)
        if records:
            source.next_offset = records[-1].offset() + 1
        source.caught_up, source.given_up = caught_up, False

    def try_out(
        self, topic: str, records: Sequence[Record], now_ms: int, refused: set[int]
    ) -> None:
        """Process records, waiting for nothing; for a process that is thrown away after it."""
        self.refused[topic] = self.refused[topic] | refused
        self.take(topic, records, True, now_ms)
        self.events.caught_up = self.labels.caught_up = True
        self.news = News(self.partition, 0, None)
        if self.router is not None:
            self.router.wait_for_nothing()
        while not self.caught_up:
            self.process(now_ms)

    def process(self, now_ms: int, most: int = 500) -> Output:
        """Process what is due, at most ``most`` records; return what is to be written."""
        output, outcomes = Output(), list[bytes]()
        waiting = len(self.events.items)
        if self.router is not None:
            self.router.route(now_ms, self.watermark_ms)
            waiting += self.router.parked(label=False)
        backlog = not self.events.caught_up or waiting > BACKLOG
        self.oldest_ms = None  # the timestamp of the first event that this call scores
        done = 0
        while run := self._next_run(most - done, now_ms, backlog, len(outcomes)):
            for item, found in run:
                self._handle(item, found, now_ms, output, outcomes)
                if self.watermark_ms > self._expired_ms:  # at once, whatever else is in this batch
                    self._expire(output)
            done += len(run)
        if done:
            self.features.sweep(done)
            if self.bounds is not None:
                at = (self._position(self.events), self._position(self.labels))
                self.bounds.note((at[0] or 0, at[1] or 0))
            if self.pending.held > HELD_LABELS:
                self._expire(output)
        if self.router is not None:
            self.router.tell(now_ms, output)
            # What is before that is merged, though it may yet wait for its answer.
            self.news.merged_ms = max(self.news.merged_ms, self.router.head_ms)
        if self.pipeline.learns:
            self.news.scored_ms = self.watermark_ms
            for told in self.news.tell(outcomes, self.caught_up, now_ms):
                output.to("learn").append(told)
        return output

    def _next_run(self, most: int, now_ms: int, backlog: bool, outcomes: int) -> list[_Ahead]:
        """Take what is due off the inputs, its events into the windows, for all to be handled next.

        A run ends where what comes depends on what is made of it: before an id that is repeated,
        since the first may be forgotten by then, and where the learner may have to be waited for.
        """
        run: list[_Ahead] = []
        batch, pending = self.features.batch(), self.pending
        entered: dict[str, int] = {}
        labelled: set[str] = set()
        watermark_ms, lateness_ms = self.watermark_ms, self.pipeline.lateness_ms
        source, router = self._source, self.router
        due, last = source.due, False
        while len(run) < most and not last and (queue := due(now_ms)):
            item = queue[0][2]
            if type(item) is Event and run and (item.id in entered or item.id in pending):
                break
            if type(item) is Label and run and self._label_waits(item.id, entered, watermark_ms):
                break
            if self._waits_for_learner(queue[0][0], backlog, outcomes + len(run), now_ms):
                break
            offset = queue[0][1]
            source.take(queue)
            found: _Found = None
            if type(item) is Label and self._labels_enter and item.id not in labelled:
                self._take_ahead(item, batch)
                labelled.add(item.id)
            if type(item) is Event:
                try:
                    pending.check_new(item.id)
                    late = item.time_ms < watermark_ms - lateness_ms
                    if late and self._refuses_late:
                        raise too_late(item, watermark_ms)
                    given = self._given(router, offset, item.id) if router else None
                    looked_up = batch.add(item.fields, item.id, item.key, item.time_ms, late, given)
                    item = item._replace(lookups=looked_up) if looked_up else item
                    entered[item.id] = len(run)
                    watermark_ms = max(watermark_ms, item.time_ms)
                    # Its label enters the windows behind it, if it is scored.
                    last = self._labels_enter and (item.id in labelled or pending.holds(item.id))
                except BadRecord as error:
                    found = error
            run.append((item, found))
        for index, features in zip(entered.values(), batch.enter(), strict=True):
            run[index] = (run[index][0], features)
        return run

    def _given(self, router: Router, offset: int, record_id: str) -> Features:
        """Return what windows elsewhere say of an event; note where that is not all."""
        features, short = router.given(offset)
        if short:
            self._short[record_id] = ",".join(short).encode()
        return features

    def _label_waits(self, record_id: str, entered: Mapping[str, int], watermark_ms: int) -> bool:
        """Say whether a label has to wait for the run before it.

        It enters windows, and its event is in that run, or may be forgotten by then.
        """
        if not self._labels_enter or record_id in entered:
            return self._labels_enter
        waiting = self.pending.peek(record_id)
        floor_ms = watermark_ms - self.pending.horizon_ms
        return waiting is not None and waiting.event_time_ms < floor_ms

    def _take_ahead(self, label: Label, batch: Batch) -> None:
        """Let the label of an event that waits for it enter its windows."""
        waiting = self.pending.peek(label.id)
        if waiting is not None:
            self._add_label(batch, waiting, label.id, label.label, label.time_ms)

    def _add_label(
        self, batch: Batch, waiting: Waiting, event_id: str, label: Any, known_ms: int
    ) -> None:
        if self._labels_enter:
            number = self.pipeline.label_number(label)
            own = orjson.loads(waiting.entities)[: len(self.features.over_labels)]
            batch.add_label(own, number, event_id, known_ms)

    def _enter_label(self, waiting: Waiting, event_id: str, label: Any, known_ms: int) -> None:
        """Let a label enter its windows by itself."""
        batch = self.features.batch()
        self._add_label(batch, waiting, event_id, label, known_ms)
        batch.enter()

    def _waits_for_learner(self, time_ms: int, backlog: bool, outcomes: int, now_ms: int) -> bool:
        """Say whether to go no further in time before the learner has come closer.

        Records of one time are not parted: the learner goes on only once their time has passed.
        """
        news = self.news
        if time_ms > news.merged_ms:
            news.merged_ms = time_ms  # what is before is merged, though this may yet wait
        if time_ms > news.passed_ms:
            if backlog and news.too_far_ahead(outcomes, now_ms):
                return True
            news.passed_ms = time_ms
        return False

    def _handle(
        self,
        item: Event | Label | Unreadable,
        found: _Found,
        now_ms: int,
        output: Output,
        outcomes: list[bytes],
    ) -> None:
        try:
            if isinstance(found, BadRecord):
                raise found
            if type(item) is Event and found is not None:
                self._score(item, found, now_ms, output, outcomes)
            elif type(item) is Label:
                self._join(item, now_ms, output, outcomes)
            elif type(item) is Unreadable:
                raise item.error
        except BadRecord as bad:
            come_ms = self.watermark_ms
            if type(item) is Event and bad.reason != "late":
                come_ms = max(come_ms, item.time_ms)
            output.to("dead_letters").append(self._dead_letter(item.record, bad, come_ms))
            if type(item) is Event and bad.reason == "late":
                self._report_late(item, output, scored=False)

    def _dead_letter(self, record: Record, bad: BadRecord, come_ms: int) -> Out:
        """Return a dead letter that says how far event time had come, if any event has."""
        return dead_letter(record, bad, "score", come_ms if come_ms > AT_ONCE else None)

    def read_event(self, record: Record, now_ms: int) -> Event | None:
        """Return the event in a record, or None where it was a dead letter."""
        try:
            return self._intake.event(record, now_ms)
        except BadRecord:
            return None

    def read_label(self, record: Record) -> Label | None:
        """Return the label in a record, or None where it was a dead letter."""
        try:
            return self._intake.label(record, now_ms=_ANY_TIME_MS)
        except BadRecord:
            return None

    def replay_event(
        self, event: Event, predictions: Mapping[str, bytes]
    ) -> tuple[Features, bool] | None:
        """Bring an event back into windows and memory, emitting nothing.

        ``predictions`` holds what was published, by id. Returns the event's features and whether it
        was late; None where it was a dead letter.
        """
        pending = self.pending
        try:
            pending.check_new(event.id)
            late = event.time_ms < self.watermark_ms - self.pipeline.lateness_ms
            if late and self._refuses_late and event.id not in predictions:
                self.late += 1
                return None
            if self.router is not None:
                self.router.texts(event.fields, event.key)
            given = self.elsewhere(event.id) if self.router is not None else None
            place = (event.id, event.key, event.time_ms)
            found = self.features.compute(event.fields, *place, late, given)
        except BadRecord:
            return None  # it was told of when it was first read
        self.watermark_ms = max(self.watermark_ms, event.time_ms)
        self.late += late
        prediction = predictions.get(event.id)
        early = None if prediction is None else pending.early(event.id)
        if prediction is None or early is not None:
            pending.remember(event.id, event.time_ms)
        else:
            pending.add(event.id, self._waiting(event, prediction))
        if early is not None:
            waiting = self._waiting(event, b"")
            self._enter_label(waiting, event.id, early.label, early.label_time_ms)
        pending.expire(self.watermark_ms)
        return found, late

    def replay_label(self, label: Label) -> None:
        """Bring a label back to where it belongs, emitting nothing."""
        with suppress(BadRecord):  # it was told of when it was first read
            waiting = self.pending.join(label.id, label.label, label.time_ms, label.record)
            if waiting is not None:
                self._enter_label(waiting, label.id, label.label, label.time_ms)

    def _waiting(self, event: Event, prediction: bytes) -> Waiting:
        slices = orjson.dumps(slices_of(event.fields, self._slices)) if self._slices else b""
        # A copy: orjson's own bytes keep the room they were written in, 4 kB for one of 500 bytes.
        kept = bytes(memoryview(prediction))
        number = self.pending.number
        entities = b""
        router = self.router
        if self._labels_enter or (router is not None and router.plan.labelled):
            names = self.features.label_entities(event.fields, event.key)
            if router is not None:
                names += [router.plan.signature, *router.texts(event.fields, event.key)]
            entities = orjson.dumps(names)
        return Waiting(event.key.encode(), event.time_ms, kept, slices, number, entities)

    def _score(
        self,
        event: Event,
        features: Features,
        now_ms: int,
        output: Output,
        outcomes: list[bytes],
    ) -> None:
        record_id, key, time_ms, _, record, looked_up = event
        pending = self.pending
        late = time_ms < self.watermark_ms - self.pipeline.lateness_ms
        if time_ms > self.watermark_ms:
            self.watermark_ms = time_ms
        try:
            score, decision = self.scorer.score(features)
        except BadRecord:
            # The windows hold it: it shall not enter them twice.
            pending.remember(record_id, time_ms)
            self._short.pop(record_id, None)
            if late:
                self._report_late(event, output, scored=False)
            raise
        said = {
            "id": record_id,
            "key": key,
            "event_time_ms": time_ms,
            "score": score,
            "decision": decision,
            "model": self.scorer.name,
            "features": features,
            "scored_at_ms": now_ms,
            "trace": self._trace(record),
        }
        if looked_up is not None:
            said["lookups"] = looked_up
        prediction = orjson.dumps(said)
        waiting = self._waiting(event, prediction)
        out: Out = {"key": waiting.key, "value": self._codec.publish("prediction", prediction)}
        if late:
            self._report_late(event, output, scored=True)
        if late or self._sliced or record_id in self._short:  # who is timed is sliced
            out["headers"] = self._marks(event, late)
        output.to("predictions").append(out)
        if self.oldest_ms is None:
            self.oldest_ms = record.timestamp()[1]
        if self.pipeline.labels is None:
            pending.remember(record_id, time_ms)
            if self.pipeline.learns:  # without labels an outcome is the prediction itself
                outcomes.append(joined(waiting, None, time_ms, now_ms))
            return
        early = pending.early(record_id)
        if early is None:
            pending.add(record_id, waiting)
            return
        pending.remember(record_id, time_ms)
        self._outcome(waiting, early.label, early.label_time_ms, now_ms, output, outcomes)
        self._enter_label(waiting, record_id, early.label, early.label_time_ms)
        if self.router is not None:
            known = (early.label, record_id, early.label_time_ms)
            self.router.send_label(waiting, record.offset(), *known, early=True)

    def _report_late(self, event: Event, output: Output, scored: bool) -> None:
        self.late += 1
        told = late_event(event, self.watermark_ms, self.pipeline.lateness_ms, scored)
        data = self._codec.encode("late", told)
        output.to("late").append({"key": event.key.encode(), "value": data})

    def _marks(self, event: Event, late: bool) -> list[tuple[str, bytes]]:
        """Return a prediction's headers: how it is not as others, its record's time, its slices."""
        marks = [("late", b"true")] if late else []
        if (short := self._short.pop(event.id, None)) is not None:
            marks.append(("incomplete", short))
        time_type, time_ms = event.record.timestamp() if self._timed else (NO_TIME, 0)
        if time_type != NO_TIME:
            marks.append((RECORD_TIME, b"%d" % time_ms))
        if self._sliced:
            marks.append(("slices", orjson.dumps(slices_of(event.fields, self._sliced))))
        return marks

    def _expire(self, output: Output) -> None:
        """Forget what is beyond the horizon; give up the labels whose event never came."""
        self._expired_ms = self.watermark_ms
        for early in self.pending.expire(self.watermark_ms):
            never = BadRecord("unknown_id", "no event with this id came within the horizon")
            letter = self._dead_letter(early.record, never, self.watermark_ms)
            output.to("dead_letters").append(letter)

    def _join(self, label: Label, now_ms: int, output: Output, outcomes: list[bytes]) -> None:
        if label.time_ms > self.label_ms:
            self.label_ms = label.time_ms
        waiting = self.pending.join(label.id, label.label, label.time_ms, label.record)
        if waiting is not None:
            if self._labels_enter and label.time_ms <= self.watermark_ms:
                self.overtaken_labels += 1
            self._outcome(waiting, label.label, label.time_ms, now_ms, output, outcomes)

    def _outcome(
        self,
        waiting: Waiting,
        label: Any,
        label_time_ms: int,
        now_ms: int,
        output: Output,
        outcomes: list[bytes],
    ) -> None:
        outcome = joined(waiting, label, label_time_ms, now_ms)
        outcomes.append(outcome)
        out: Out = {"key": waiting.key, "value": self._codec.publish("outcome", outcome)}
        output.to("outcomes").append(out)

    def _trace(self, record: Record) -> str:
        """Return the event's W3C traceparent, or one made of its place in the log."""
        for name, value in record.headers() or ():
            if name == "traceparent" and value and len(value) == TRACEPARENT_BYTES:
                return value.decode("ascii", "replace")
        offset = record.offset()
        return f"00-{self._trace_id}{offset:016x}-{offset + 1:016x}-01"


def joined(waiting: Waiting, label: Any, label_time_ms: int, now_ms: int) -> bytes:
    """Return the outcome's JSON: all of the prediction's, and the label.

    The prediction's own bytes are carried over, so that it stays what was published, to the bit.

    >>> joined(Waiting(b"k", 0, b'{"id":"a"}', b""), 1, 5, 6)
    b'{"id":"a","label":1,"label_time_ms":5,"labelled_at_ms":6}'
    """
    slices = b',"slices":' + waiting.slices if waiting.slices else b""
    return b'%b,"label":%b,"label_time_ms":%d,"labelled_at_ms":%d%b}' % (
        waiting.prediction[:-1],
        orjson.dumps(label),
        label_time_ms,
        now_ms,
        slices,
    )
