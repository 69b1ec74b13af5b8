"""The learn task: outcomes of all partitions in, merged by time; model versions out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from streamproc.codec import Codec, JsonCodec
from streamproc.errors import BadRecord
from streamproc.eventtime import Order, order_of
from streamproc.features.shared import definitions
from streamproc.messages import Features, ModelVersion
from streamproc.metrics import prequential_report
from streamproc.models.guard import PROBES, Guard, Trouble
from streamproc.models.lineage import code_of
from streamproc.models.scoring import Learner
from streamproc.models.versions import build_version, dumps
from streamproc.pipeline import Pipeline
from streamproc.tasks.merge import AT_ONCE, WAIT_MS
from streamproc.tasks.records import Out, Output, PlainRecord, Record, dead_letter

IDLE_MS = 200
"""How long without news a partition that said it had caught up is waited for."""

_TELL_OUTCOMES = 50
_TELL_EVERY_MS = 50
VARIANT = "main"
_COMPLETE = 1 << 62


@dataclass(slots=True)
class Source:
    """What the learner knows of one partition of the score stage.

    ``watermark_ms`` is how far events and labels have come, ``scored_ms`` events alone.
    ``learnt`` counts the outcomes learnt of those that the score task's present run (``epoch``)
    sent.
    """

    watermark_ms: int = AT_ONCE
    scored_ms: int = AT_ONCE
    caught_up: bool = False
    news_ms: int = 0
    given_up: bool = False
    learnt: int = 0
    epoch: int = 0


class _Good(NamedTuple):
    """The bytes of the last version whose numbers were sound, and what it had learnt from."""

    blob: bytes
    outcomes: int
    label_time_ms: int = AT_ONCE


class _Held(NamedTuple):
    """An outcome that waits for its turn; ``number`` counts those its score task sent.

    ``come_ms`` is how far event time had come with it: when its label became known, but no further
    than events had come where it was scored, and no less than they had when that was told before.
    """

    order: Order
    outcome: dict[str, Any]
    partition: int
    offset: int
    epoch: int
    number: int
    come_ms: int


class LearnTask:
    """Learns from outcomes in the order ``(time, id)``, whatever partition they come from.

    An outcome's time is when its label became known, or its event's where that is later. It is
    learnt when every partition's watermark has passed it; a partition that said it had caught up
    and is silent for :data:`IDLE_MS` counts as complete, another is waited for for ``WAIT_MS``.
    """

    def __init__(self, pipeline: Pipeline, partitions: int, codec: Codec | None = None) -> None:
        self.pipeline = pipeline
        self._codec = codec or JsonCodec()
        model = pipeline.new_model()
        self._guard = Guard.of(model)
        self._good = _Good(dumps(model), 0)
        self.learner = Learner(model, pipeline.kind, pipeline.classes)
        self.sources = {p: Source() for p in range(partitions)}
        self.version = 0
        self.silent_until = 0
        """Up to this version nothing is written: it was published, and is only learnt again."""
        self.failed = 0
        self.held_back = 0
        """How many versions were held back for the numbers in them."""
        self.expired_waits = 0
        self.next_offset = 0
        self.resume_offset = 0
        self._until: Order = (AT_ONCE, 0, "")
        self._restored: tuple[int, Order] = (0, self._until)
        self._owed: set[tuple[int, int]] = set()
        self._complete = True
        self._held: list[_Held] = []
        # Of what the next version learns from, which itself is let go at once.
        self._labels: list[Any] = []
        self._scores: list[Any] = []
        self._probes: deque[Features] = deque(maxlen=PROBES)
        self._started_ms: int | None = None
        self._untold, self._told_ms = 0, AT_ONCE

    @property
    def until_version(self) -> int:
        """How many more outcomes the next version takes."""
        return self.pipeline.publish_every - len(self._labels)

    def restore(self, published: ModelVersion, model: Any, blob: bytes) -> None:
        """Go on from a published version and its bytes; what was sent since is taken in again.

        That is ``.learn`` from :attr:`resume_offset` on; what the version knows already is not
        learnt twice, and nothing is learnt before all that it had taken in is there again.
        """
        self.learner = Learner(model, self.pipeline.kind, self.pipeline.classes)
        self.learner.outcomes = published["outcomes"]
        self.version = published["version"]
        sources = published["sources"]
        same = sources.get("learns_what") == self.pipeline.learns_what
        self._guard = (
            Guard(sources["numbers"]) if same and "numbers" in sources else Guard.of(model)
        )
        self._good = _Good(blob, published["outcomes"], published["label_time_ms"])
        self.next_offset = self.resume_offset = sources["resume_offset"]
        self._until = tuple(sources["until"])
        self._restored = (sources["next_offset"], self._until)
        self._owed = {(offset, number) for offset, number in sources["owed"]}
        self._complete = self.next_offset >= sources["next_offset"]
        for partition, (watermark_ms, caught_up) in sources.get("told", {}).items():
            if source := self.sources.get(int(partition)):
                source.watermark_ms, source.caught_up = watermark_ms, caught_up

    @property
    def queued(self) -> int:
        """The number of outcomes that wait for their turn."""
        return len(self._held)

    def waiting(self) -> dict[str, int]:
        """Return that no record waits: what they bring is held, as much as score tasks may send."""
        return {self.pipeline.topics.learn: 0}

    def positions(self) -> dict[str, int]:
        """Return where to go on after a restart: the newest version knows what was before."""
        return {self.pipeline.topics.learn: self.resume_offset}

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Take in what the score tasks sent."""
        for record in records:
            news = orjson.loads(record.value() or b"{}")
            source = self.sources.get(news.get("partition"))
            if source is not None:  # else it is of a definition that was different
                self._hold(news, source, record.offset(), now_ms)
            self.next_offset = record.offset() + 1
        self._complete = self._complete or caught_up or self.next_offset >= self._restored[0]

    def _hold(self, news: dict[str, Any], source: Source, offset: int, now_ms: int) -> None:
        """Hold the outcomes of one record, but for those that a restored version knows."""
        source.watermark_ms = news["watermark_ms"]
        before_ms = source.scored_ms
        source.scored_ms = max(before_ms, news.get("scored_ms", AT_ONCE))
        source.caught_up = news["caught_up"]
        source.news_ms, source.given_up = now_ms, False
        if news["epoch"] != source.epoch:
            source.epoch, source.learnt = news["epoch"], 0
        outcomes = news["outcomes"]
        number = news["outcomes_sent"] - len(outcomes)
        partition, epoch = news["partition"], source.epoch
        before_offset, until = self._restored
        taken_in_before = offset < before_offset
        for outcome in outcomes:
            number += 1
            order = order_of(max(outcome["label_time_ms"], outcome["event_time_ms"]), outcome["id"])
            if taken_in_before and order <= until and (offset, number) not in self._owed:
                source.learnt = max(source.learnt, number)
                continue
            come_ms = min(max(order[0], before_ms), source.scored_ms)
            self._held.append(_Held(order, outcome, partition, offset, epoch, number, come_ms))

    def process(self, now_ms: int, most: int = 500) -> Output:
        """Learn from the outcomes that are due, at most ``most``; publish versions as they come."""
        if self._started_ms is None:
            self._started_ms = now_ms
        output = Output()
        due = self._due(now_ms)
        if len(due) > most:
            self._held = due[most:] + self._held
            due = due[:most]
        self._untold += len(due)
        due.reverse()
        while due:  # popped one by one: what was learnt needs no memory any more
            self._learn(due.pop(), output)
            if not self.until_version:
                self._publish([*reversed(due), *self._held], now_ms, output)
        silent_ms = now_ms - self._told_ms
        if self._untold >= _TELL_OUTCOMES or (self._untold and silent_ms >= _TELL_EVERY_MS):
            output.to("models").append(self._progress())
            self._untold, self._told_ms = 0, now_ms
        return output

    def _due(self, now_ms: int) -> list[_Held]:
        """Take the outcomes that every partition has passed, in order."""
        if not self._held or not self._complete:
            return []
        until_ms = min(self._watermark(source, now_ms) for source in self.sources.values())
        due = [held for held in self._held if held.order[0] < until_ms]
        if due:
            due.sort(key=itemgetter(0))
            self._held = [held for held in self._held if held.order[0] >= until_ms]
        return due

    def _watermark(self, source: Source, now_ms: int) -> int:
        silent_ms = now_ms - max(source.news_ms, self._started_ms or 0)
        if source.caught_up and silent_ms >= IDLE_MS:
            return _COMPLETE
        if silent_ms >= WAIT_MS:
            self.expired_waits += not source.given_up
            source.given_up = True
            return _COMPLETE
        return source.watermark_ms

    def _learn(self, held: _Held, output: Output) -> None:
        source = self.sources[held.partition]
        if held.epoch == source.epoch and held.number > source.learnt:
            source.learnt = held.number
        if held.order > self._until:
            self._until = held.order
        outcome = held.outcome
        try:
            self.learner.learn(outcome["features"], outcome["label"])
        except BadRecord as bad:
            self.failed += 1
            if self.version >= self.silent_until:
                output.to("dead_letters").append(self._dead_letter(held, bad))
            return
        self._labels.append(outcome["label"])
        self._scores.append(outcome["score"])
        self._probes.append(outcome["features"])

    def _publish(self, rest: list[_Held], now_ms: int, output: Output) -> None:
        """Publish what the model is now; ``rest`` are the outcomes taken in but not yet learnt.

        Where its numbers went wrong the last good version is published again, under the next
        number, and is learnt on from. Before there is one, nothing is.
        """
        trouble = self._look()
        if trouble is None or self.version:
            self.version += 1
            self.resume_offset = min((held.offset for held in rest), default=self.next_offset)
        if self.version > self.silent_until or (trouble and not self.silent_until):
            if self.version:
                self._write(self._sources(rest, trouble), now_ms, output)
            if self.pipeline.watches_health:
                output.to("buckets").append(self._told(trouble, now_ms))
        self._labels, self._scores = [], []
        self._probes.clear()

    def _look(self) -> Trouble | None:
        """Return what is wrong with the model, having gone back to the last good one."""
        model = self.learner.model
        blob = self.learner.snapshot()  # and go on with a copy: this one is tried out
        pipeline = self.pipeline
        trouble = self._guard.trouble(model, pipeline.kind, pipeline.classes, self._probes)
        if trouble is None:
            self._good = _Good(blob, self.learner.outcomes, self._until[0])
            return None
        self.held_back += 1
        self.learner.go_back(self._good.blob, self._good.outcomes)
        return trouble

    def _write(self, sources: dict[str, Any], now_ms: int, output: Output) -> None:
        """Write the last good version under the present number."""
        good = self._good
        record = build_version(
            good.blob,
            version=self.version,
            variant=VARIANT,
            outcomes=good.outcomes,
            label_time_ms=good.label_time_ms,
            published_at_ms=now_ms,
            fingerprint=self.pipeline.fingerprint,
            metrics=self._metrics(),
            sources=sources,
        )
        output.blobs[record["sha256"]] = good.blob
        value = self._codec.encode("model", record)
        output.to("models").append(Out(key=record["model"].encode(), value=value))
        promoted = orjson.dumps({"promoted": record["model"]})
        output.to("models").append(Out(key=f"promoted/{VARIANT}".encode(), value=promoted))

    def _sources(self, rest: list[_Held], trouble: Trouble | None) -> dict[str, Any]:
        """Return what a learner needs to go on from here, and why a version was held back."""
        found = {
            "learns_what": self.pipeline.learns_what,
            "code": code_of(),
            "shared": definitions(self.pipeline.shared),
            "resume_offset": self.resume_offset,
            "next_offset": self.next_offset,
            "until": list(self._until),
            # What was told before the offset to resume from is not read again.
            "told": {str(p): [s.watermark_ms, s.caught_up] for p, s in self.sources.items()},
            # Late ones: behind what was learnt, and yet to be learnt.
            "owed": [[held.offset, held.number] for held in rest if held.order <= self._until],
            "numbers": self._guard.known,
        }
        if trouble is not None:
            found["held_back"] = self._why(trouble)
        return found

    def _why(self, trouble: Trouble) -> dict[str, Any]:
        features, outcomes = list(trouble.features), len(self._labels)
        return {"why": trouble.why, "features": features, "outcomes": outcomes}

    def _told(self, trouble: Trouble | None, now_ms: int) -> Out:
        """Tell the judge whether the numbers in the model are sound."""
        held = None if trouble is None else self._why(trouble)
        told = {
            "stage": "model",
            "version": self.version,
            "label_time_ms": self._good.label_time_ms,
            "at_ms": now_ms,
            "held_back": held,
        }
        return Out(key=None, value=orjson.dumps(told))

    def _metrics(self) -> dict[str, float | None]:
        """How well the versions before did on the outcomes that this one learnt from."""
        if self.pipeline.labels is None:
            return {}
        pipeline = self.pipeline
        return prequential_report(
            pipeline.kind, self._labels, self._scores, pipeline.threshold, pipeline.classes
        )

    def _progress(self) -> Out:
        """Tell the score tasks how far the learner has come; see ``agents.runner``."""
        learnt = {str(p): [source.epoch, source.learnt] for p, source in self.sources.items()}
        value = orjson.dumps({"progress": VARIANT, "learnt": learnt})
        return Out(key=f"progress/{VARIANT}".encode(), value=value)

    def _dead_letter(self, held: _Held, bad: BadRecord) -> Out:
        key, value = held.outcome["key"].encode(), orjson.dumps(held.outcome)
        record = PlainRecord(self.pipeline.topics.learn, held.offset, 0, key, value)
        come_ms = held.come_ms if held.come_ms > AT_ONCE else None
        return dead_letter(record, bad, "learn", come_ms)
