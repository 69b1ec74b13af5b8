"""The oracle must fail where something is lost, repeated or wrong: else it shows nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import numpy as np
import orjson
import pytest
from confluent_kafka import Message

from streamproc.models.versions import Store
from tests.kafka import payments_oracle
from tests.torture.ledger import Ledger, id_of, read
from tests.torture.memory import Life, generations, growth
from tests.torture.oracle import Verdict, _Predictions, steps_repeated

EVENTS, LABELS = "p.transactions", "p.labels"


class _Message:
    """As much of a message as the oracle looks at."""

    def __init__(self, value: dict[str, Any], partition: int = 0) -> None:
        self._value, self._partition = orjson.dumps(value), partition

    def value(self) -> bytes:
        return self._value

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return 0


def message(partition: int = 0, **value: Any) -> Message:
    """Return what looks like a message."""
    return cast(Message, _Message(value, partition))


def ledger(*dead: tuple[str, int, int]) -> Ledger:
    """Return the ledger of two payments and their labels."""
    made = Ledger("p", Counter(dead))
    for offset, name in enumerate(["1", "2"]):
        made.event(0, offset, name, flow=True)
        made.label(0, offset, name, flow=True)
    return made


def lost_and_repeated(made: Ledger) -> tuple[int, int, int, int]:
    """Return what the ledger found."""
    return made.events_lost, made.events_repeated, made.labels_lost, made.labels_repeated


@pytest.mark.parametrize(
    ("predicted", "joined", "found"),
    [
        ([(0, "1"), (0, "2")], [(0, "1"), (0, "2")], (0, 0, 0, 0)),
        ([(0, "1")], [(0, "1"), (0, "2")], (1, 0, 0, 0)),
        ([(0, "1"), (0, "2"), (0, "2")], [(0, "1"), (0, "2")], (0, 1, 0, 0)),
        ([(0, "1"), (1, "2")], [(0, "1"), (0, "2")], (1, 1, 0, 0)),
        ([(0, "1"), (0, "2"), (0, "3")], [(0, "1"), (0, "2")], (0, 1, 0, 0)),
        ([(0, "1"), (0, "2")], [(0, "1")], (0, 0, 1, 0)),
        ([(0, "1"), (0, "2")], [(0, "1"), (0, "2"), (0, "1")], (0, 0, 0, 1)),
    ],
    ids=["right", "lost", "again", "elsewhere", "of nothing", "outcome lost", "outcome again"],
)
def test_what_is_lost_or_repeated_is_found(
    predicted: list[tuple[int, str]],
    joined: list[tuple[int, str]],
    found: tuple[int, int, int, int],
) -> None:
    """One more, one less, or in another partition."""
    made = ledger()
    for partition, name in predicted:
        made.prediction(partition, name)
    for partition, name in joined:
        made.outcome(message(partition, id=name))
    assert lost_and_repeated(made) == found


@pytest.mark.parametrize(
    ("dead", "found"),
    [
        ([(EVENTS, 0, 0)], (1, 1, 0, 0)),  # a good payment, refused and predicted on
        ([(EVENTS, 0, 7)], (0, 1, 0, 0)),  # of no record
        ([(LABELS, 0, 1)], (0, 0, 1, 1)),
        ([("p.predictions", 0, 1)], (0, 1, 0, 0)),  # a fold's
    ],
)
def test_dead_letters_of_what_is_good_are_found(
    dead: list[tuple[str, int, int]], found: tuple[int, int, int, int]
) -> None:
    """A good record is no dead letter, and no record is one twice."""
    made = ledger(*dead)
    for name in ("1", "2"):
        made.prediction(0, name)
        made.outcome(message(id=name))
    assert lost_and_repeated(made) == found


def test_hostile_records_are_accounted_for() -> None:
    """Dead once, dead twice, predicted, without a word; a label that is held, one that is not."""
    made = Ledger("p", Counter([(EVENTS, 0, 0), (EVENTS, 0, 1), (EVENTS, 0, 1)]))
    made.event(0, 0, None)
    made.event(0, 1, "h1")
    assert lost_and_repeated(made) == (0, 1, 0, 0)
    made.event(0, 2, "h2")
    made.prediction(0, "h2")
    made.event(0, 3, None)
    made.label(0, 0, "h2")
    made.label(0, 1, "h9")
    assert lost_and_repeated(made) == (1, 1, 1, 0)
    assert made.labels_held == 1


def test_a_wrong_window_and_a_wrong_score_are_found() -> None:
    """A count off by one, a mean by a millionth, a score by less, a version that is not there."""
    payments = payments_oracle.Payments(
        ids=["1", "2"],
        texts=["2018-04-02T08:00:00Z", "2018-04-02T09:00:00Z"],
        times_s=np.array([1522656000, 1522659600]),
        customers=np.array([5, 5]),
        amounts=np.array([10.0, 20.0]),
        frauds=np.zeros(2, dtype=np.int64),
    )
    spans = {f"amount_count_{span}_by_customer_id": 2 for span in ("1d", "7d", "30d")}
    means = {f"amount_mean_{span}_by_customer_id": 15.0 for span in ("1d", "7d", "30d")}
    right = {"amount": 20.0, "is_weekend": False, "is_night": False, **spans, **means}
    seen = _Predictions(ledger(), payments, [], Store("unused"))

    def take(score: float, model: str, **changed: float) -> tuple[int, int]:
        seen.take(message(id="2", model=model, score=score, features=right | changed))
        return seen.wrong_windows, seen.wrong_scores

    assert take(0.5, "main@0") == (0, 0)
    assert take(0.5, "main@0", amount_count_7d_by_customer_id=1) == (1, 0)
    assert take(0.5, "main@0", amount_mean_1d_by_customer_id=15.000001) == (2, 0)
    assert take(0.5000001, "main@0") == (2, 1)
    assert take(0.5, "main@9") == (2, 2)  # no such version
    assert len(seen.shown) == 2


def test_a_later_payment_is_in_no_window_told_before() -> None:
    """Two of one second: each is in the other's window only where it came first, and is less."""
    payments = payments_oracle.Payments(
        ids=["8", "7", "9"],
        texts=["2018-04-02T08:00:00Z"] * 3,
        times_s=np.array([1522656000] * 3),
        customers=np.array([5, 5, 5]),
        amounts=np.array([10.0, 20.0, 30.0]),
        frauds=np.zeros(3, dtype=np.int64),
    )
    found = payments_oracle.features_of(payments, as_they_came=True)
    assert found[:, 3].tolist() == [1, 1, 3]


def test_a_repeated_alert_is_found() -> None:
    """The same step of an alert twice, whatever else is in it; it may be opened again later."""
    steps = [
        {"alert_id": "a", "status": status, "step": step, "samples": 4}
        for step, status in enumerate(["open", "update", "update", "resolved"])
    ]
    assert steps_repeated(steps) == 0
    assert steps_repeated([*steps, steps[0] | {"samples": 9}]) == 1
    assert steps_repeated([*steps, steps[3] | {"status": "open"}]) == 1
    assert steps_repeated([*steps, steps[0] | {"step": 4}]) == 0
    assert steps_repeated([*steps, steps[0] | {"alert_id": "b"}]) == 0


@pytest.mark.parametrize("name", ["lost", "repeated", "wrong_windows", "alerts_repeated"])
def test_one_of_anything_does_not_hold(name: str) -> None:
    """A single one fails the scenario."""
    verdict = Verdict(9, 0, 0, 0, 0, 9, 0, 0, 1, 0, 2, 0)
    assert verdict.holds
    setattr(verdict, name, 1)
    assert not verdict.holds


def test_what_python_reads_as_json_is_not_more_than_json() -> None:
    """Python's own json would take NaN."""
    assert id_of(read(b'{"transaction_id":1,"transaction_id":"h"}')) == "h"
    for value in (None, b"", b"\xff", b'{"transaction_id":NaN}', b"[]", b'{"transaction_id":true}'):
        assert id_of(read(value)) is None


def test_memory_that_grows_is_found() -> None:
    """In one process, and from one process to the next."""
    leaking = Life("w1", 0.0, [(float(age), 100.0 + age) for age in range(300)])
    assert not growth(leaking, 100.0)[2]
    lives = [Life("w1", 60.0 * n, [(50.0, 100.0 + 20 * n)]) for n in range(10)]
    assert not generations(lives, "w1", 120.0)[1]
    assert generations(lives[:3], "w1", 120.0)[1]
