"""What a score task sends to windows of other entities, and what it waits for from them.

Events and labels are sent in their merged order, ahead of where they are scored. What becomes of
one is decided there as it will be when it is scored; where that depends on what is not scored yet,
nothing is sent beyond it before it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from streamproc.errors import BadRecord
from streamproc.eventtime import Order, order_of
from streamproc.features.batch import Batch
from streamproc.features.rekeyed import Entity, Plan, partition_of
from streamproc.labels import PendingLabels, Waiting
from streamproc.messages import Features
from streamproc.pipeline import Pipeline
from streamproc.tasks.intake import Event, Label, Unreadable
from streamproc.tasks.merge import AT_ONCE, Input, Merge
from streamproc.tasks.records import Out, Output, Record

AHEAD = 2_000
"""How many records are sent ahead of those that are scored."""

WAIT_MS = 30_000
"""How long windows that stay silent are waited for: above what a change of their owner takes."""

LONGEST_MS = 300_000
"""How long those are waited for that say they wait themselves."""

TELL_MS = 20
"""How often at most the clock is told where there is nothing else to send."""

_BYTES = 500_000

Queued = tuple[int, int, Any, bool]
"""Time, offset and record, and whether it is a label."""


class Router:
    """Sends a partition's events and labels to the windows of their entities; waits for answers.

    It stands between the merged inputs and the scoring: ``due`` and ``take`` are those of
    :class:`Merge`, but for an event that waits for an answer.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        rekeyed: Sequence[Entity],
        partition: int,
        partitions: int,
        merge: Merge,
        pending: PendingLabels[Record],
        new_batch: Callable[[], Batch],
    ) -> None:
        self.plan = Plan(pipeline.features, rekeyed, pipeline.events.key)
        self.watermark: Order = (AT_ONCE, 0, "")
        """The greatest order of an event that was sent."""
        self.answers = Input()
        self.expired_waits = 0
        self._pipeline, self._merge, self._pending = pipeline, merge, pending
        self._partition, self._partitions = partition, partitions
        self._new_batch = new_batch
        self._parked: deque[Queued] = deque()
        self._offsets: dict[bool, deque[int]] = {False: deque(), True: deque()}  # of labels: True
        self._entities: dict[str, list[str]] = {}  # of the events that are parked
        self._labelled: set[str] = set()  # the ids of labels that are parked
        self._stop = False
        self._said: dict[int, dict[int, tuple[list[Any], bool]]] = {}
        self._upto: deque[tuple[int, int]] = deque()
        self._asked: dict[int, int] = {}
        self._heard_ms: dict[int, int] = {}
        self._since_ms: int | None = None
        self._missed_ms: dict[int, int] = {}  # since when windows were last waited for in vain
        self._told: tuple[Order, int] = (self.watermark, AT_ONCE)
        self._items: dict[int, list[list[Any]]] = {}
        self._patient = True

    # ---------------------------------------------------------------- what is sent

    def route(self, now_ms: int, watermark_ms: int) -> None:
        """Let what is due be sent, as far as it may be decided.

        ``watermark_ms`` is the newest time that was scored.
        """
        merge, parked = self._merge, self._parked
        self.watermark = max(self.watermark, (watermark_ms, 0, ""))
        if not parked:
            self._stop = False
        while len(parked) < AHEAD and not self._stop and (queue := merge.due(now_ms)):
            time_ms, offset, item = queue[0]
            if parked and self._depends(item):
                break
            queue.popleft()
            label = queue is merge.first.items
            if type(item) is Event:
                item = self._route_event(item)
            elif type(item) is Label:
                self._route_label(item)
            parked.append((time_ms, offset, item, label))
            self._offsets[label].append(offset)

    def _depends(self, item: Event | Label | Unreadable) -> bool:
        """Say whether what becomes of a record depends on those that are parked."""
        if type(item) is Event:
            return (
                item.id in self._entities or item.id in self._labelled or item.id in self._pending
            )
        if type(item) is Label and self.plan.labelled:
            if item.id in self._entities:
                return True
            waiting = self._pending.peek(item.id)
            floor_ms = self.watermark[0] - self._pending.horizon_ms
            return waiting is not None and waiting.event_time_ms < floor_ms
        return False

    def _route_event(self, event: Event) -> Event | Unreadable:
        """Send an event to the windows of its entities; return it, or what is wrong with it."""
        if event.id in self._pending:
            return event  # repeated: it will be a dead letter
        plan, fields = self.plan, event.fields
        try:
            late = event.time_ms < self.watermark[0] - self._pipeline.lateness_ms
            if late and self._pipeline.late == "dead_letter":
                return event  # it will be one
            self._new_batch().add(fields, event.id, event.key, event.time_ms, late)
            texts = self.texts(fields, event.key)
        except BadRecord as error:
            return Unreadable(error, event.record)
        self.watermark = max(self.watermark, order_of(event.time_ms, event.id))
        for entity, text in enumerate(texts):
            values = [fields.get(name) for name in plan.values[entity]]
            self._send(event.record.offset(), entity, text, event.time_ms, event.id, late, values)
        self._entities[event.id] = texts
        # Its label goes to the windows behind it, once it is scored.
        self._stop = bool(plan.labelled) and self._pending.holds(event.id)
        return event

    def _route_label(self, label: Label) -> None:
        """Send a label to the windows of its event's entities, where that waits for it."""
        if not self.plan.labelled or label.id in self._labelled:
            return
        self._labelled.add(label.id)
        waiting = self._pending.peek(label.id)
        if waiting is not None:
            self.send_label(waiting, label.record.offset(), label.label, label.id, label.time_ms)

    def send_label(
        self,
        waiting: Waiting,
        offset: int,
        label: Any,
        event_id: str,
        known_ms: int,
        early: bool = False,
    ) -> None:
        """Send a label to the windows of the entities of its event, a prediction that waits.

        Where it came ``early``, before the event, the offset is the event's.
        """
        if not self.plan.labelled:
            return
        names: list[str] = orjson.loads(waiting.entities or b"[]")
        *_, signature = names[: -len(self.plan)] or [""]
        if signature != self.plan.signature:
            return  # it was scored when there were other windows
        texts = names[-len(self.plan) :]
        number = self._pipeline.label_number(label)
        for entity in self.plan.labelled:
            self._send(offset, entity, texts[entity], known_ms, event_id, early, number)

    def _send(
        self, offset: int, entity: int, text: str, time_ms: int, record_id: str, late: bool,
        values: Any,
    ) -> None:  # fmt: skip
        to = partition_of(text, self._partitions)
        place = offset * len(self.plan) + entity
        upto_ms, _, upto = self.watermark
        own = None if upto == record_id else upto
        item = [place, upto_ms, own, entity, text, time_ms, record_id, late, values]
        self._items.setdefault(to, []).append(item)

    def texts(self, fields: dict[str, Any], key: str) -> list[str]:
        """Return the names of an event's entities."""
        return [read(fields, key) for read in self.plan.readers]

    @property
    def head_ms(self) -> int:
        """The time of the first record that waits for its turn."""
        return self._parked[0][0] if self._parked else AT_ONCE

    def tell(self, now_ms: int, output: Output) -> None:
        """Write what is to be sent, answers to those who asked, and to all how far time has come.

        That is with what was scored, whose labels may be among it.
        """
        items, self._items = self._items, {}
        asked, self._asked = self._asked, {}
        told, at_ms = self._told
        to_all = self.watermark > told and now_ms - at_ms >= TELL_MS
        if to_all:
            self._told = (self.watermark, now_ms)
        caught_up = self._merge.read_to_the_end
        for to in range(self._partitions) if to_all else sorted({*items, *asked}):
            complete = asked.get(to) if caught_up else None
            for out in self._records(items.get(to, []), complete):
                output.sent_to("rekeyed", to).append(out)

    def _records(self, items: list[list[Any]], complete: int | None) -> Iterator[Out]:
        """Yield items in records of some size; the last tells how far all came."""
        said: dict[str, Any] = {"source": self._partition, "plan": self.plan.signature}
        piece: list[list[Any]] = []
        size = 0
        for item in items:
            values = item[8] if type(item[8]) is list else ()
            letters = len(item[2] or "") + len(item[4]) + len(item[6])
            item_bytes = 6 * letters + 25 * len(values) + 100  # a letter has six bytes at most
            if piece and size + item_bytes > _BYTES:
                _, upto_ms, upto, *_, record_id, _, _ = piece[-1]
                watermark = (upto_ms, record_id if upto is None else upto)
                yield _out(said | {"watermark": watermark, "items": piece})
                piece, size = [], 0
            piece.append(item)
            size += item_bytes
        watermark = (self.watermark[0], self.watermark[2])
        yield _out(said | {"watermark": watermark, "items": piece, "complete": complete})

    # ---------------------------------------------------------------- what comes back

    def hear(self, records: Sequence[Record], now_ms: int) -> None:
        """Take in what windows say: what they hold of events, and what they ask."""
        first = self._first_event
        for record in records:
            said = orjson.loads(record.value() or b"{}")
            self._heard_ms[said["from"]] = now_ms
            self._missed_ms.pop(said["from"], None)
            if "ask" in said:
                self._asked[said["from"]] = said["ask"]
            newest = -1
            same = said["plan"] == self.plan.signature
            for offset, entity, values, short in said.get("rows", ()) if same else ():
                if first is None or offset >= first:
                    self._said.setdefault(offset, {})[entity] = (values, short)
                newest = max(newest, offset)
            self._upto.append((record.offset(), newest))
            self.answers.next_offset = record.offset() + 1

    @property
    def _first_event(self) -> int | None:
        """The offset of the first event that is not scored."""
        return self.position(label=False)

    def position(self, label: bool) -> int | None:
        """Return the offset of the first event, or label, that is not processed."""
        offsets = self._offsets[label]
        source = self._merge.first if label else self._merge.second
        return offsets[0] if offsets else source.position

    @property
    def answers_position(self) -> int | None:
        """The offset of the first answer that is still of use."""
        first = self._first_event
        while self._upto and first is not None and self._upto[0][1] < first:
            self._upto.popleft()
        return self._upto[0][0] if self._upto else self.answers.next_offset

    def parked(self, label: bool) -> int:
        """Return how many events, or labels, were sent and wait for their turn."""
        return len(self._offsets[label])

    @property
    def caught_up(self) -> bool:
        """Whether all that both logs held is processed."""
        return self._merge.caught_up and not self._parked

    def due(self, now_ms: int) -> deque[Any] | None:
        """Return what is parked, where the first may be processed."""
        if not self._parked:
            return None
        _, offset, item, _ = self._parked[0]
        if type(item) is not Event or item.id not in self._entities or not self._patient:
            return self._parked
        if self._entities_missing(offset) and self._waits(item, offset, now_ms):
            return None
        self._since_ms = None
        return self._parked

    def _entities_missing(self, offset: int) -> list[int]:
        said = self._said.get(offset, {})
        return [entity for entity in range(len(self.plan)) if entity not in said]

    def _waits(self, event: Event, offset: int, now_ms: int) -> bool:
        """Say whether to wait on for an event's answers; not where windows are silent for long."""
        if self._since_ms is None:
            self._since_ms = now_ms
        texts = self._entities[event.id]
        for entity in self._entities_missing(offset):
            there = partition_of(texts[entity], self._partitions)
            missed_ms = self._missed_ms.setdefault(there, now_ms)
            heard_ms = max(missed_ms, self._heard_ms.get(there, AT_ONCE))
            if now_ms - heard_ms >= WAIT_MS or now_ms - self._since_ms >= LONGEST_MS:
                self.expired_waits += 1
                return False
        return True

    def take(self, parked: deque[Any]) -> None:
        """Take away the first of what :meth:`due` returned."""
        _, _, item, label = parked.popleft()
        self._offsets[label].popleft()
        if type(item) is Event:
            self._entities.pop(item.id, None)
        elif type(item) is Label:
            self._labelled.discard(item.id)

    def given(self, offset: int) -> tuple[Features, list[str]]:
        """Return what windows said of an event, and the entities of those that did not, or not all.

        What is returned is forgotten.
        """
        said = self._said.pop(offset, {})
        features: Features = {}
        short: list[str] = []
        for entity, by in enumerate(self.plan.entities):
            values, left_out = said.get(entity, (None, True))
            if values is not None:
                features.update(self.plan.named(entity, values))
            if left_out:
                short.append("_and_".join(by))
        return features, short

    def forget(self) -> None:
        """Forget all that was sent and is not processed: it will be taken in again."""
        self.answers.next_offset = self.answers_position
        self._parked.clear()
        for offsets in self._offsets.values():
            offsets.clear()
        self._entities.clear()
        self._labelled.clear()
        self._said.clear()
        self._upto.clear()
        self._stop, self._since_ms = False, None
        self.watermark = (AT_ONCE, 0, "")  # route() raises it to what was scored
        self._told = (self.watermark, AT_ONCE)
        self._items.clear()

    def wait_for_nothing(self) -> None:
        """Process events without answers from now on."""
        self._patient = False


def _out(said: dict[str, Any]) -> Out:
    return Out(key=None, value=orjson.dumps(said))
