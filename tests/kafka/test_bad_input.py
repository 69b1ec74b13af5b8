"""Every bad input among good ones: none ends the worker, is lost, or spoils its neighbours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kafka.bad_inputs import (
    BAD_KEY,
    CASES,
    DAY_MS,
    EVENTS,
    LABELS,
    MINUTE_MS,
    START_MS,
    Case,
    event,
    label,
)
from tests.kafka.processes import STOP_WITHIN_S, Worker
from tests.kafka.topic_reader import TopicReader, as_json, read_all
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

CARDS = 10
GOOD = 400
LABELLED = {f"good-{i}" for i in range(GOOD) if i % 10 == 3}
_HEADERS = [("source", b"till-7"), ("source", b"\xff\x00")]
_PIPELINE = """
from river import linear_model, preprocessing
from streamproc import Drift, Events, Field, Labels, Pipeline, PredictionBias, Window

pipeline = Pipeline(
    name="bad",
    events=Events("bad.events", id="id", key="card", time="at"),
    labels=Labels("bad.labels", id="id", value="fraud", horizon="2d"),
    features=[
        Field("amount"),
        Window("amount", by="card", over=("1d",), aggregates=("count", "sum")),
    ],
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    monitors=[Drift(), PredictionBias()],
    publish_every=50,
)
"""
COUNT, SUM = "amount_count_1d_by_card", "amount_sum_1d_by_card"


@dataclass(frozen=True)
class Letter:
    """A dead letter as it was found."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    told: dict[str, str]


@dataclass
class Outcome:
    """What came of the run: where each case was put, and what the worker wrote."""

    offsets: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    letters: dict[tuple[str, int, int], list[Letter]] = field(default_factory=dict)
    predictions: dict[str, list[tuple[dict[str, Any], list[Any]]]] = field(default_factory=dict)
    outcomes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    late: list[dict[str, Any]] = field(default_factory=list)
    alive: bool = False

    def letters_of(self, case: Case) -> list[Letter]:
        """Return the dead letters of a case."""
        return self.letters.get(self.offsets[case.name], [])


def _good_events() -> list[tuple[str, int, int]]:
    """Return ids, times and cards of the good events: a minute apart, the cards by turns."""
    return [(f"good-{i}", START_MS + i * MINUTE_MS, i % CARDS) for i in range(GOOD)]


class _Sender:
    """Sends the good and the bad in the order of time, and notes where the bad ones came to."""

    def __init__(self, address: str, found: Outcome) -> None:
        self._found = found
        self._producer = Producer(
            {
                "bootstrap.servers": address,
                "message.max.bytes": 12_000_000,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
            }
        )

    def send(self, topic: str, key: bytes, value: bytes | None, at_ms: int) -> None:
        """Send a good record."""
        self._producer.produce(f"bad.{topic}", value, key, timestamp=at_ms)

    def send_bad(self, case: Case) -> None:
        """Send a bad record, with headers."""

        def delivered(error: Any, message: Message) -> None:
            assert error is None, error
            place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
            self._found.offsets[case.name] = place

        self._producer.produce(
            f"bad.{case.topic}",
            case.value,
            BAD_KEY,
            timestamp=case.timestamp_ms,
            headers=list(_HEADERS),
            on_delivery=delivered,
        )

    def send_the_run(self) -> None:
        """Send a run of good records, with the bad events after three quarters of it."""
        for i, (event_id, at_ms, card) in enumerate(_good_events()):
            if i == GOOD * 3 // 4:
                for case in EVENTS:
                    self.send_bad(case)
            self.send("events", b"%d" % card, event(event_id, at_ms, card, 10.0 + i), at_ms)
            if i % 10 == 3:
                self.send("labels", b"%d" % card, label(event_id, i % 20 == 3), at_ms + 1)
        for case in LABELS:
            self.send_bad(case)
        self.flush()

    def send_the_awaited(self) -> None:
        """Send the event whose label came before it."""
        at_ms = START_MS + GOOD * MINUTE_MS
        self.send("events", BAD_KEY, event("early", at_ms, int(BAD_KEY), 10.0), at_ms)
        self.flush()

    def send_later(self) -> None:
        """Send an event of each card after the horizon of all labels."""
        at_ms = START_MS + 4 * DAY_MS
        for card in range(CARDS):
            self.send("events", b"%d" % card, event(f"later-{card}", at_ms, card, 1.0), at_ms)
        self.flush()

    def flush(self) -> None:
        """Wait until all is delivered."""
        assert self._producer.flush(30) == 0

    def close(self) -> None:
        """End the connections."""
        self._producer.close()


def _letter(message: Message) -> tuple[tuple[str, int, int], Letter]:
    headers: list[tuple[str, bytes]] = list(message.headers() or [])  # type: ignore[arg-type]
    told = {name: value.decode("utf-8", "replace") for name, value in headers}
    place = (told["source_topic"], int(told["source_partition"]), int(told["source_offset"]))
    return place, Letter(message.key(), message.value(), headers, told)


def _with_headers(message: Message) -> tuple[dict[str, Any], list[Any]]:
    return as_json(message), list(message.headers() or [])


@pytest.fixture(scope="module")
def found(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run it all once; print what became of each input."""
    folder = tmp_path_factory.mktemp("bad")
    _make_inputs(kafka.address)
    pipeline = folder / "bad.py"
    pipeline.write_text(_PIPELINE)
    found = Outcome()
    sender = _Sender(kafka.address, found)
    with Worker(pipeline, kafka.address, folder) as worker:
        worker.wait_until_scoring(partitions=2)
        _run(sender, worker, kafka.address, found)
    sender.close()
    _print_table(found)
    return found


def _run(sender: _Sender, worker: Worker, address: str, found: Outcome) -> None:
    """Send everything, each part when the one before is done with, and collect what was written.

    The horizon must not pass before the labels are in: an input that is caught up holds nobody.
    """
    with (
        TopicReader(address, "bad.predictions", _with_headers) as predictions,
        TopicReader(address, "bad.outcomes", as_json) as outcomes,
        TopicReader(address, "bad.dead-letters", _letter) as letters,
    ):
        sender.send_the_run()
        letters.until_count(sum(case.reason is not None for case in CASES) - 1, 30, worker.check)
        outcomes.until_count(len(LABELLED), 30, worker.check)
        sender.send_the_awaited()
        outcomes.until_count(len(LABELLED) + 1, 30, worker.check)
        sender.send_later()
        letters.until_count(sum(case.reason is not None for case in CASES), 30, worker.check)
        used = sum(case.reason is None for case in EVENTS)
        predictions.until_count(GOOD + CARDS + 1 + used, 30, worker.check)
        found.alive = worker.alive
        assert worker.stop() < STOP_WITHIN_S, worker.tail()
        for place, letter in letters.until_end():
            found.letters.setdefault(place, []).append(letter)
        for prediction, headers in predictions.until_end():
            found.predictions.setdefault(prediction["id"], []).append((prediction, headers))
        found.late = read_all(address, "bad.late", as_json)
        for outcome in outcomes.until_end():
            found.outcomes.setdefault(outcome["id"], []).append(outcome)


def _make_inputs(address: str) -> None:
    config = {"max.message.bytes": "12000000", "retention.ms": "-1"}
    topics = [NewTopic(f"bad.{each}", 2, config=config) for each in ("events", "labels")]
    admin = AdminClient({"bootstrap.servers": address})
    for made in admin.create_topics(topics).values():
        made.result(20)


def _print_table(found: Outcome) -> None:
    print(f"\n{'input':28}{'outcome':14}{'reason':22}offset")
    for case in CASES:
        letters = found.letters_of(case)
        reason = letters[0].told["reason"] if letters else ""
        used = found.outcomes if case.topic == "labels" else found.predictions
        late = case.id == "late" and "late=true"
        became = "dead letter" if letters else "used" if case.id in used else "NOTHING"
        topic, partition, offset = found.offsets[case.name]
        print(f"{case.name:28}{became:14}{reason or late or '-':22}{topic}/{partition}/{offset}")


@pytest.mark.parametrize("case", [case for case in CASES if case.reason], ids=str)
def test_what_cannot_be_used_is_a_dead_letter(case: Case, found: Outcome) -> None:
    """There is one dead letter, with the record's own bytes, key and headers, and the reason."""
    (letter,) = found.letters_of(case)
    assert letter.told["reason"] == case.reason
    assert letter.value == case.value
    assert letter.key == BAD_KEY
    assert letter.headers[: len(_HEADERS)] == _HEADERS
    assert letter.told["stage"] == "score"
    assert 0 < len(letter.told["error"]) < 300
    assert "\n" not in letter.told["error"]


@pytest.mark.parametrize("name", ["null", "absent"])
def test_a_number_that_is_not_there_is_null(name: str, found: Outcome) -> None:
    """The event is scored with a null feature, and its windows count the others only."""
    ((prediction, headers),) = found.predictions[name]
    before = [
        i for i, (_, _, card) in enumerate(_good_events()[: GOOD * 3 // 4]) if card == int(BAD_KEY)
    ]
    assert prediction["features"]["amount"] is None
    assert prediction["features"][COUNT] == len(before)
    assert prediction["features"][SUM] == sum(10.0 + i for i in before)
    assert 0 < prediction["score"] < 1
    assert headers == []


def test_an_event_that_is_too_late_is_scored_and_marked(found: Outcome) -> None:
    """Its prediction says that it was late, its windows are those of its own time; no other is."""
    ((prediction, headers),) = found.predictions["late"]
    assert headers == [("late", b"true")]
    assert prediction["features"] == {"amount": 10.0, COUNT: 1, SUM: 10.0}
    marked = {name for name, found_ in found.predictions.items() for _, head in found_ if head}
    assert marked == {"late"}
    (case,) = [case for case in EVENTS if case.id == "late"]
    (told,) = found.late
    place = (told["source_topic"], told["source_partition"], told["source_offset"])
    assert (told["id"], told["scored"], place) == ("late", True, found.offsets[case.name])
    assert told["late_by_ms"] == told["watermark_ms"] - told["event_time_ms"] - 3_600_000 > 0


def test_a_label_before_its_event_waits_for_it(found: Outcome) -> None:
    """The outcome is made when the event comes."""
    (outcome,) = found.outcomes["early"]
    assert outcome["label"] == 1
    assert outcome["label_time_ms"] == START_MS


def test_a_repeated_id_and_a_second_label_change_nothing(found: Outcome) -> None:
    """The first event and the first label stay what they were."""
    ((prediction, _),) = found.predictions["good-13"]
    assert prediction["features"]["amount"] == 23.0
    (outcome,) = found.outcomes["good-3"]
    assert outcome["label"] == 1


def test_every_good_record_has_its_prediction(found: Outcome) -> None:
    """All good events are scored once, with the windows that good events alone give."""
    assert {len(each) for each in found.predictions.values()} == {1}
    sums: Counter[int] = Counter()
    counts: Counter[int] = Counter()
    for i, (event_id, _, card) in enumerate(_good_events()):
        ((prediction, _),) = found.predictions[event_id]
        counts[card] += 1
        sums[card] += 10 + i
        assert prediction["features"] == {"amount": 10.0 + i, COUNT: counts[card], SUM: sums[card]}


def test_every_good_label_is_joined(found: Outcome) -> None:
    """All good labels have their outcome, and no other event has one."""
    assert found.outcomes.keys() == LABELLED | {"early"}
    assert {len(each) for each in found.outcomes.values()} == {1}


def test_the_worker_is_alive_and_goes_on(found: Outcome) -> None:
    """After all this the same process scores the next events; nothing else was dead-lettered."""
    assert found.alive
    assert {f"later-{card}" for card in range(CARDS)} < found.predictions.keys()
    places = {found.offsets[case.name] for case in CASES if case.reason}
    assert found.letters.keys() == places
