"""The task that computes windows by entities that are not the events' key, for one partition.

It takes in what the score tasks of all partitions send of its entities, merges it by event time,
and answers each event's task with what the windows hold of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from streamproc.eventtime import Order, order_of
from streamproc.features.rekeyed import EntityWindows, Item, Plan
from streamproc.pipeline import Pipeline
from streamproc.tasks.merge import AT_ONCE
from streamproc.tasks.records import Out, Output, Record
from streamproc.tasks.sources import SENT_AGAIN, Seen, Sent, Sources

REPLAYED_BUT = 1 << 13
"""More than this, by each entity, never waits of one source: it would not send more."""

ALIVE_MS = 2_000
"""How often a task that waits says so to those that wait for it."""

_BYTES = 400_000
"""How large a record of answers gets, about."""


class RekeyedTask:
    """Windows by other entities, of the entities in one partition.

    ``partitions`` is how many the events have. ``queued`` is what a journal has to hold, beside the
    offsets, for the state to be made again: how many of each source's items wait yet.
    """

    def __init__(
        self, pipeline: Pipeline, partition: int, partitions: int, track: bool = False
    ) -> None:
        self.pipeline = pipeline
        self.partition = partition
        self.plan = Plan(pipeline.features, pipeline.rekeyed(partitions), pipeline.events.key)
        self.state = EntityWindows(self.plan, pipeline.lateness_ms, track)
        self.sources = Sources(partitions, max(1, len(self.plan)))
        self.short = 0
        """How many events were answered without what a silent source may have had before them."""
        self.overtaken_labels = 0
        """Labels for windows that an event of their time or later was answered before."""
        self._topic = pipeline.topics.rekeyed
        self._next_offset: int | None = None
        self._told_ms: dict[int, int] = {}
        self._newest_ms = AT_ONCE

    def waiting(self) -> dict[str, int]:
        """Return that no record waits: all are taken in, as what is behind them is needed."""
        return {self._topic: 0}

    def positions(self) -> dict[str, int]:
        """Return the offset of the first record that was not taken in."""
        return {} if self._next_offset is None else {self._topic: self._next_offset}

    @property
    def queued(self) -> dict[str, int]:
        """How many items of each source were taken in and wait for their turn."""
        return {str(n): len(source.queue) for n, source in enumerate(self.sources.all)}

    @property
    def expired_entities(self) -> int:
        """How many entities were idle for so long that their windows were let go."""
        return sum(window.expired_entities for window in self.state.windows)

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Take in what score tasks sent."""
        for record in records:
            said = orjson.loads(record.value() or b"{}")
            items = self._read(said)
            watermark, complete = order_of(*said["watermark"]), said.get("complete")
            self.sources.hear(said["source"], watermark, items, now_ms, complete)
            self._next_offset = record.offset() + 1

    def _read(self, said: Mapping[str, Any]) -> list[Sent]:
        """Return the items of a record; of other windows than there are now there are none.

        Those of them that are not scored yet are sent again.
        """
        if said["plan"] != self.plan.signature:
            return []
        found = []
        for place, upto_ms, upto, entity, text, time_ms, record_id, late, values in said["items"]:
            item = Item(entity, text, time_ms, record_id, late, values)
            found.append(Sent(place, order_of(upto_ms, record_id if upto is None else upto), item))
        return found

    def process(self, now_ms: int) -> Output:
        """Let what is due enter the windows; return the answers, and questions to the silent."""
        output = Output()
        released = self.sources.release()
        if released:
            self._answer(released, output)
        else:
            for number in self.sources.ask(now_ms):
                self._say({"ask": now_ms}, number, output)
            self._tell_alive(now_ms, output)
        return output

    def _answer(self, released: list[tuple[int, Sent, bool]], output: Output) -> None:
        rows: dict[int, list[list[Any]]] = {}
        found = iter(self._enter([sent.item for _, sent, _ in released]))
        for number, sent, short in released:
            if sent.item.is_event:
                offset = sent.place // len(self.plan)
                row = [offset, sent.item.entity, next(found), short]
                rows.setdefault(number, []).append(row)
                self.short += short
        most = max(1, _BYTES // (50 + 25 * max(map(len, self.plan.names))))
        for number, each in rows.items():
            for at in range(0, len(each), most):
                self._say({"rows": each[at : at + most]}, number, output)

    def _enter(self, items: list[Item]) -> list[list[Any]]:
        """Let items enter the windows; return what these say of each event."""
        for item in items:
            if item.is_event:
                self._newest_ms = max(self._newest_ms, item.time_ms)
            elif item.time_ms <= self._newest_ms:
                self.overtaken_labels += 1
        found = self.state.observe(items)
        self.state.move_to(self.sources.released[0])
        self.state.sweep(len(items))
        return found

    def _say(self, what: dict[str, Any], number: int, output: Output) -> None:
        value = orjson.dumps({"from": self.partition, "plan": self.plan.signature, **what})
        output.sent_to("windows", number).append(Out(key=None, value=value))

    def _tell_alive(self, now_ms: int, output: Output) -> None:
        """Tell those whose events wait here that they are waited for, and by whom."""
        for number, source in enumerate(self.sources.all):
            if source.queue and now_ms - self._told_ms.setdefault(number, now_ms) >= ALIVE_MS:
                self._told_ms[number] = now_ms
                self._say({}, number, output)

    # ---------------------------------------------------------------- what outlives the process

    def replay(self, records: Sequence[Record]) -> None:
        """Take records in as before, without answering, and let go on what surely went on.

        The windows' state is the same in whatever order their records came. At the end comes
        :meth:`settle`.
        """
        for record in records:
            self.take(self._topic, (record,), caught_up=False, now_ms=AT_ONCE)
        self._enter_all(lambda source: REPLAYED_BUT * len(self.plan))

    def settle(self, queued: Mapping[str, int]) -> None:
        """Let all go on that went on before: so many of each source waited still."""
        self._enter_all(lambda source: queued.get(source, 0))

    def begin_at(self, offset: int) -> None:
        """Stand at an offset, up to which all was taken in."""
        self._next_offset = offset

    def _enter_all(self, but: Callable[[str], int]) -> None:
        items = [
            sent.item
            for number in range(len(self.sources.all))
            for sent in self.sources.drain(number, but(str(number)))
        ]
        if items:
            self._enter(items)

    def meta(self) -> dict[str, Any]:
        """Return what is to be kept besides the windows' records, as JSON has it."""
        return {
            "plan": self.plan.signature,
            "released": self.sources.released,
            "sources": [
                {
                    "queue": [[sent.place, sent.order, *sent.item] for sent in source.queue],
                    "events": [source.events.floor, sorted(source.events.places)],
                    "labels": [source.labels.floor, sorted(source.labels.places)],
                    "early": [source.early.floor, sorted(source.early.places)],
                    "passed": source.passed,
                }
                for source in self.sources.all
            ],
        }

    def restore(self, meta: Mapping[str, Any]) -> None:
        """Become what :meth:`meta` told of; the windows are restored by themselves."""
        self.sources.released = _order(meta["released"])
        for source, told in zip(self.sources.all, meta["sources"], strict=True):
            for place, order, *item in told["queue"]:
                source.queue.append(Sent(place, _order(order), Item(*item)))
            again = SENT_AGAIN * len(self.plan)
            for name in ("events", "labels", "early"):
                floor, places = told[name]
                setattr(source, name, Seen(floor, places, again))
            source.passed = (_order(told["passed"][0]), told["passed"][1])


def _order(told: Sequence[Any]) -> Order:
    time_ms, length, record_id = told
    return time_ms, length, record_id
