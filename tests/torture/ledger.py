"""An account of every record of the inputs: what became of it, once, by its place in the log.

An event is a prediction or a dead letter, a label an outcome or a dead letter; or it is held, where
no event of its id came to its partition. What may be read is decided here by Python's own json.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from confluent_kafka import Message

from tests.kafka.payments_oracle import Payments
from tests.kafka.topic_reader import read_all
from tests.torture.avro import decoded, fields_of
from tests.torture.flow import FLOW

Place = tuple[str, int, int]
Schemas = Mapping[int, Any]
"""Avro's, by their ids in the registry."""

_JSON: Schemas = {}
_DEEPEST = 10_000
_SOURCE = ("topic", "partition", "offset")


class Ledger:
    """Counts what comes in against what comes out; ``dead`` are the places of dead letters.

    >>> ledger = Ledger("p", Counter({("p.transactions", 0, 1): 1}))
    >>> ledger.event(0, 0, "a"), ledger.event(0, 1, None), ledger.event(0, 2, "b")
    (True, False, True)
    >>> ledger.prediction(0, "a"); ledger.prediction(0, "a")
    >>> ledger.events_lost, ledger.events_repeated
    (1, 1)
    """

    def __init__(self, name: str, dead: Counter[Place]) -> None:
        self.flow_labels = 0
        self._events_topic, self._labels_topic = f"{name}.transactions", f"{name}.labels"
        self._dead = dead
        self._events: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._unread = Counter[str]()
        self._hostile = Counter[str]()

    def event(self, partition: int, offset: int, event_id: str | None, flow: bool = False) -> bool:
        """Enter an event; return whether it is to be predicted on."""
        return self._enter(self._events_topic, partition, offset, event_id, flow)

    def label(self, partition: int, offset: int, event_id: str | None, flow: bool = False) -> bool:
        """Enter a label; return whether it is to be joined."""
        self.flow_labels += flow
        return self._enter(self._labels_topic, partition, offset, event_id, flow)

    def _enter(
        self, topic: str, partition: int, offset: int, event_id: str | None, flow: bool
    ) -> bool:
        entries = self._events if topic == self._events_topic else self._labels
        key = f"{partition}:{event_id}"
        letters = self._dead.pop((topic, partition, offset), 0) if self._dead else 0
        self._hostile[topic] += not flow
        if letters:
            self._hostile[f"{topic} dead"] += not flow
            self._unread[f"{topic} repeated"] += letters - 1
            # A good one is no dead letter, but where the broker took it twice.
            self._unread[f"{topic} lost"] += flow and key not in entries
            return False
        if event_id is None:
            self._unread[f"{topic} lost"] += 1
            return False
        entries[key] += 1
        return True

    def prediction(self, partition: int, event_id: str) -> None:
        """Enter a prediction: it settles an event."""
        self._events[f"{partition}:{event_id}"] -= 1

    def outcome(self, message: Message) -> None:
        """Enter an outcome: it settles a label."""
        self._labels[f"{message.partition()}:{decoded(message, 'outcome')['id']}"] -= 1

    @property
    def events_lost(self) -> int:
        """How many events have neither a prediction nor a dead letter."""
        left = sum(count for count in self._events.values() if count > 0)
        return left + self._unread[f"{self._events_topic} lost"]

    @property
    def events_repeated(self) -> int:
        """How many predictions and dead letters there are beyond one for each event."""
        beyond = -sum(count for count in self._events.values() if count < 0)
        unknown = sum(n for place, n in self._dead.items() if place[0] != self._labels_topic)
        return beyond + unknown + self._unread[f"{self._events_topic} repeated"]

    @property
    def labels_lost(self) -> int:
        """How many labels of events that came have neither an outcome nor a dead letter."""
        left = sum(n for key, n in self._labels.items() if n > 0 and key in self._events)
        return left + self._unread[f"{self._labels_topic} lost"]

    @property
    def labels_held(self) -> int:
        """How many labels are of an event that never came to their partition."""
        return sum(n for key, n in self._labels.items() if n > 0 and key not in self._events)

    @property
    def labels_repeated(self) -> int:
        """How many outcomes and dead letters there are beyond one for each label."""
        beyond = -sum(count for count in self._labels.values() if count < 0)
        unknown = sum(n for place, n in self._dead.items() if place[0] == self._labels_topic)
        return beyond + unknown + self._unread[f"{self._labels_topic} repeated"]

    def notes(self) -> list[str]:
        """Tell of the hostile records, where there were any."""
        found = [f"{n} {what}" for what, n in sorted(self._unread.items()) if n]
        if self.labels_lost or self.labels_repeated:
            found.append(f"outcomes: {self.labels_lost} lost, {self.labels_repeated} repeated")
        for topic, used in ((self._events_topic, "predicted"), (self._labels_topic, "used")):
            if sent := self._hostile[topic]:
                dead = self._hostile[f"{topic} dead"]
                held = self.labels_held if topic == self._labels_topic else 0
                held_too = f", {held:,} held" if held else ""
                kind = topic.rpartition(".")[2]
                found.append(
                    f"{sent:,} hostile {kind}: {dead:,} dead letters, "
                    f"{sent - dead - held:,} {used}{held_too}"
                )
        return found


def read_inputs(address: str, name: str, schemas: Schemas = _JSON) -> tuple[Ledger, Payments]:
    """Enter all that the inputs hold; return the payments of the flow, too."""
    ledger = Ledger(name, Counter(read_all(address, f"{name}.dead-letters", _source)))
    kept: list[tuple[str, str, int, float]] = []

    def event(message: Message) -> None:
        fields, flow = read(message.value(), schemas), _is_flow(message)
        found = ledger.event(*_place(message), id_of(fields), flow)
        if found and flow:
            text, customer = fields["event_time"], fields["customer_id"]
            kept.append((id_of(fields) or "", text, customer, fields["amount"]))

    def label(message: Message) -> None:
        name = id_of(read(message.value(), schemas))
        ledger.label(*_place(message), name, _is_flow(message))

    read_all(address, f"{name}.transactions", event)
    read_all(address, f"{name}.labels", label)
    texts = [text for _, text, _, _ in kept]
    times = np.array([text.removesuffix("Z") for text in texts], dtype="datetime64[s]")
    return ledger, Payments(
        ids=[event_id for event_id, _, _, _ in kept],
        texts=texts,
        times_s=times.astype(np.int64),
        customers=np.array([customer for _, _, customer, _ in kept], dtype=np.int64),
        amounts=np.array([amount for _, _, _, amount in kept], dtype=np.float64),
        frauds=np.zeros(len(kept), dtype=np.int64),
    )


def read(value: bytes | None, schemas: Schemas = _JSON) -> dict[str, Any]:
    """Return the fields of an event or a label; none where it cannot be read."""
    if schemas and value and value[0] == 0:
        return fields_of(value, schemas)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _DEEPEST))  # or it refuses what is JSON
    try:
        fields = json.loads((value or b"").decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def id_of(fields: dict[str, Any]) -> str | None:
    """Return the id of an event or a label as text; None where it has none that can be used."""
    found = fields.get("transaction_id")
    if type(found) is int:
        return str(found)
    return found if isinstance(found, str) and found else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _place(message: Message) -> tuple[int, int]:
    return message.partition() or 0, message.offset() or 0


def _is_flow(message: Message) -> bool:
    return any(name == FLOW for name, _ in _headers(message))


def _headers(message: Message) -> list[tuple[str, Any]]:
    found: Any = message.headers()  # typed as what may be sent, too
    return list(found or ())


def _source(message: Message) -> Place:
    told = dict(_headers(message))  # the last of a name counts
    topic, partition, offset = (_text(told[f"source_{name}"]) for name in _SOURCE)
    return topic, int(partition), int(offset)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
