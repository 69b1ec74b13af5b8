"""What should have come out, worked out from the input topics alone.

Nothing of the project's features or tasks is used: windows by comparing each of a customer's
payments with each other, scores by the published model that a prediction names. Every record of
the inputs is accounted for, see :mod:`tests.torture.ledger`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streamproc.models.versions import Store
from tests.kafka import payments_oracle
from tests.kafka.topic_reader import read_all
from tests.torture.avro import decoded
from tests.torture.ledger import Ledger, Schemas, read_inputs
from tests.torture.terminals import Terminals, expected_of

_SETTLE_S = 60.0
_SHOWN = 3


@dataclass
class Verdict:
    """What was found, in events; ``notes`` are for people, ``faults`` what else did not hold."""

    events: int
    lost: int
    repeated: int
    wrong_windows: int
    wrong_scores: int
    labels: int
    outcomes_lost: int
    outcomes_repeated: int
    versions: int
    versions_wrong: int
    alerts: int
    alerts_repeated: int
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, repeated or wrong."""
        found = (self.lost, self.repeated, self.wrong_windows, self.wrong_scores)
        outcomes = (self.outcomes_lost, self.outcomes_repeated)
        return not any(
            (*found, *outcomes, self.versions_wrong, self.alerts_repeated, len(self.faults))
        )


def settle(address: str, name: str, silent_s: float = _SETTLE_S) -> None:
    """Wait until the pipeline has dealt with all of its inputs, or goes no further."""
    left, heard_s = -1, time.monotonic()
    while (now_left := lag(address, name)) and time.monotonic() - heard_s < silent_s:
        if now_left != left:
            left, heard_s = now_left, time.monotonic()
        time.sleep(0.2)
    time.sleep(2.0)  # what comes twice comes late: give it the time


def lag(address: str, name: str) -> int:
    """Return how many records of its inputs a pipeline has not committed."""
    config = {"bootstrap.servers": address, "group.id": name, "log_level": 0}
    consumer = Consumer(config | {"enable.auto.commit": False})
    try:
        waiting = 0
        for topic in (f"{name}.transactions", f"{name}.labels"):
            found = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            for each in consumer.committed([TopicPartition(topic, n) for n in found], timeout=10):
                waiting += consumer.get_watermark_offsets(each, timeout=10)[1] - max(each.offset, 0)
        return waiting
    except KafkaException:  # in the middle of a transaction, or of a broker's start
        return 1
    finally:
        consumer.close()


def judge(
    address: str, name: str, store: Path, schemas: Schemas, terminals: bool = False
) -> Verdict:
    """Compare what came out with what should have; ``schemas`` are those of Avro's inputs."""
    ledger, payments = read_inputs(address, name, schemas)
    models = read_all(address, f"{name}.models", lambda message: decoded(message, "model"))
    versions = [each for each in models if "sha256" in each]
    numbers = [version["version"] for version in versions]
    of_terminals = Terminals(expected_of(address, name)) if terminals else None
    seen = _Predictions(ledger, payments, versions, Store(str(store)), of_terminals)
    read_all(address, f"{name}.predictions", seen.take)
    read_all(address, f"{name}.outcomes", ledger.outcome)
    alerts = read_all(address, f"{name}.alerts", lambda message: decoded(message, "alert"))
    return Verdict(
        events=len(payments),
        lost=ledger.events_lost,
        repeated=ledger.events_repeated,
        wrong_windows=seen.wrong_windows,
        wrong_scores=seen.wrong_scores,
        labels=ledger.flow_labels,
        outcomes_lost=ledger.labels_lost,
        outcomes_repeated=ledger.labels_repeated,
        versions=len(versions),
        versions_wrong=len(set(range(1, len(numbers) + 1)) ^ set(numbers))
        + len(numbers) - len(set(numbers)),
        alerts=len(alerts),
        alerts_repeated=steps_repeated(alerts),
        notes=[*ledger.notes(), *seen.shown, *(of_terminals.notes() if of_terminals else ())],
        faults=of_terminals.faults() if of_terminals else [],
    )  # fmt: skip


def steps_repeated(alerts: Iterable[Mapping[str, Any]]) -> int:
    """Count steps in the lives of alerts that came again.

    >>> told = {"alert_id": "a", "status": "update", "step": 1}
    >>> steps_repeated([told, told | {"step": 2}])
    0
    >>> steps_repeated([told, told])
    1
    >>> steps_repeated([told | {"status": "open"}, told | {"status": "resolved"}])
    1
    """
    steps = Counter((each["alert_id"], each["step"]) for each in alerts)
    return sum(steps.values()) - len(steps)


class _Predictions:
    """Holds each prediction, as it is read, against the windows and scores it should have."""

    def __init__(
        self,
        ledger: Ledger,
        payments: payments_oracle.Payments,
        versions: list[dict[str, Any]],
        store: Store,
        terminals: Terminals | None = None,
    ) -> None:
        self._terminals = terminals
        self.wrong_windows = self.wrong_scores = 0
        self.shown: list[str] = []
        self._ledger = ledger
        self._place = {event_id: i for i, event_id in enumerate(payments.ids)}
        self._expected = np.empty(0)
        if len(payments):
            self._expected = payments_oracle.features_of(payments, as_they_came=True)
        self._published: dict[str, Any] = {version["model"]: version for version in versions}
        self._models: dict[str, Any] = {}
        self._store = store

    def take(self, message: Message) -> None:
        """Judge a prediction; keep nothing of it."""
        found = decoded(message, "prediction")
        self._ledger.prediction(message.partition() or 0, found["id"])
        if self._terminals is not None:
            self._terminals.take(message, found)
        place = self._place.get(found["id"])
        if place is not None:
            actual = payments_oracle.as_row(found["features"])
            off = np.abs(np.array(actual) - self._expected[place])
            if not off.max() <= 1e-9:
                self.wrong_windows += 1
                self._show(message, found["id"], actual, place)
        self.wrong_scores += found["score"] != self._score(found["model"], found["features"])

    def _show(self, message: Message, event_id: str, actual: list[float], place: int) -> None:
        if self.wrong_windows > _SHOWN:
            return
        names = payments_oracle.NAMES
        wanted = self._expected[place].tolist()
        wrong = [(n, a, w) for n, a, w in zip(names, actual, wanted, strict=True) if a != w]
        told = ", ".join(f"{n} is {a:g} instead of {w:g}" for n, a, w in wrong)
        where = f"{message.partition()}/{message.offset()}"
        self.shown.append(f"prediction {where} of {event_id}: {told}")

    def _score(self, name: str, features: dict[str, Any]) -> float:
        """Score an event again by River itself, with the model that its prediction names."""
        if name == "main@0":
            return 0.5
        if name not in self._published:
            return float("nan")  # equal to no score
        if name not in self._models:
            self._models[name] = self._store.load(self._published[name])
        given = {feature: value for feature, value in features.items() if value is not None}
        score: float = self._models[name].predict_proba_one(given)[True]
        return score
