"""Windows by another entity than the key: on any number of partitions as on one, to the bit."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any
from zlib import crc32

import orjson
import pytest

from streamproc.audit import rebuild
from streamproc.codec import JsonCodec
from streamproc.features import Field, LabelWindow, Over, Window
from streamproc.features.rekeyed import partition_of
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Output, PlainRecord
from streamproc.tasks.rekeyed import RekeyedTask
from streamproc.tasks.route import WAIT_MS
from streamproc.tasks.score import ScoreTask
from streamproc.tasks.sources import SENT_AGAIN, SILENT_MS
from tests.unit.tasks.cluster import Cluster
from tests.unit.tasks.kit import (
    EVENTS,
    LABELS,
    NOW_MS,
    Scoring,
    event,
    label,
    pipeline,
    record,
)


def shops(**changed: Any) -> Pipeline:
    """Return a pipeline with windows by the key and by two other entities, one over labels."""
    kinds = ("count", "sum", "mean", "std", "max")
    features = [
        Field("amount"),
        Window("amount", by="card", over=("50ms", "2s"), aggregates=("count", "sum")),
        Window("amount", by="shop", over=("50ms", "2s"), aggregates=kinds),
        Window("tip", by="shop", over=("80ms",), aggregates=("count", "median")),
        Window("amount", by=("shop", "card"), over=("1s",), aggregates=("count", "mean")),
        LabelWindow(by="shop", over=("100ms", "3s"), aggregates=("count", "sum", "mean")),
        Over("amount_mean_2s_by_shop", 5),
    ]
    return pipeline(**{"features": features, "lateness": "100ms", **changed})


Step = tuple[str, object, dict[str, Any]]


def stream(chance: random.Random, events: int, bad: bool = True) -> list[Step]:
    """Return events, and labels once they are known, in event time, by chance with bad ones."""
    steps: list[tuple[int, int, Step]] = []
    now = 0
    for order in range(events):
        now += chance.choice((0, 0, 1, 4, 30))
        card = chance.randrange(9)
        shop: Any = chance.choice(("s", "t", 5, "u", "v"))
        amount: Any = chance.choice((1.0, 2.5, 7.25, None, 3))
        if bad and chance.random() < 0.04:
            shop, amount = chance.choice(((None, 1.0), ([1], 1.0), ("s", "much")))
        more = {"tip": chance.choice((0.1, 0.2, 0.7))} if chance.random() < 0.7 else {}
        made = event(order, now, card=card, amount=amount, shop=shop, **more)
        steps.append((now, 1, (EVENTS, card, made)))
        if bad and chance.random() < 0.04:
            steps.append((now + chance.randrange(50), 1, (EVENTS, card, made)))
        if chance.random() < 0.8:
            known = now + chance.choice((0, 1, 20, 300))
            steps.append((known, 0, (LABELS, card, label(order, known, chance.randint(0, 1)))))
            if bad and chance.random() < 0.05:
                steps.append((known + 9, 0, (LABELS, card, label(order, known + 9, 1))))
    return [step for _, _, step in sorted(steps, key=lambda each: each[:2])]


def on_one(made: Pipeline, steps: list[Step]) -> Scoring:
    """Run a stream on one partition, where all windows are in one place."""
    scoring = Scoring(made)
    for topic, _, value in steps:
        scoring.put(topic, value)
    return scoring.run()


def features(said: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the features of predictions, by id; each is there once."""
    assert max(Counter(each["id"] for each in said).values()) == 1
    return {each["id"]: each["features"] for each in said}


@pytest.mark.parametrize("crashes", [0.0, 0.02])
@pytest.mark.parametrize("partitions", [2, 4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_of_one_partition(seed: int, partitions: int, crashes: float) -> None:
    """Whatever order the partitions come in, and whoever dies meanwhile: the same features."""
    chance = random.Random(seed)
    made, steps = shops(), stream(chance, 250)
    one = on_one(made, steps)
    cluster = Cluster(made, partitions, chance)
    for step in steps:
        cluster.put(*step)
    cluster.run(crashes)
    found = features(cluster.said("predictions"))
    expected = features(one.said("predictions"))
    assert found.keys() == expected.keys()
    wrong = {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}
    assert not wrong, next(iter(wrong.items()))
    assert Counter(each["id"] for each in cluster.said("outcomes")) == Counter(
        each["id"] for each in one.said("outcomes")
    )
    rows = Counter(
        (said["from"], n, offset, entity)
        for n in range(partitions)
        for said in cluster.said_in("windows", n)
        for offset, entity, *_ in said.get("rows", ())
    )
    assert max(rows.values()) == 1, "an event was answered twice"
    if crashes:
        assert cluster.crashes > 10
        assert cluster.thawed > 3


class Pair:
    """Two partitions: the score task of the first, and the windows of one shop; all by hand."""

    def __init__(self) -> None:
        features = [
            Field("amount"),
            Window("amount", "shop", ("1s",), ("count", "sum")),
            Over("amount_count_1s_by_shop", 0),
        ]
        self.pipeline = pipeline(features=features)
        self.topics = self.pipeline.topics
        self.score = ScoreTask(self.pipeline, 0, JsonCodec(), partitions=2)
        self.there = partition_of("s", 2)
        self.windows = RekeyedTask(self.pipeline, self.there, 2)
        self.sent: list[PlainRecord] = []
        self.answers: list[PlainRecord] = []
        self.now_ms = NOW_MS
        self.events = 0

    def score_events(self, *events: dict[str, Any]) -> Output:
        """Let the score task take events in, and what it was answered, and process."""
        records = [record(EVENTS, self.events + i, each) for i, each in enumerate(events)]
        self.events += len(events)
        self.score.take(EVENTS, records, True, self.now_ms)
        self.score.take(LABELS, [], True, self.now_ms)
        self.score.take(self.topics.windows, self.answers, True, self.now_ms)
        self.answers = []
        output = self.score.process(self.now_ms)
        for out in output.sent.get(("rekeyed", self.there), ()):
            self.sent.append(PlainRecord("", len(self.sent), 0, None, out["value"]))
        return output

    def answer(self, *of_other: dict[str, Any]) -> Output:
        """Let the windows take in what was sent, by the other partition too, and process."""
        records = [*self.sent]
        for said in of_other:
            plan = self.windows.plan.signature
            value = {"source": 1, "plan": plan, "items": [], **said}
            records.append(record("", len(records), value))
        self.sent = []
        self.windows.take(self.topics.rekeyed, records, True, self.now_ms)
        output = self.windows.process(self.now_ms)
        for out in output.sent.get(("windows", 0), ()):
            self.answers.append(PlainRecord("", len(self.answers), 0, None, out["value"]))
        return output


def marks(output: Output) -> list[tuple[str, bytes]]:
    """Return the headers of the first prediction."""
    return list(output.records["predictions"][0].get("headers", ()))


def test_an_event_waits_until_the_other_partition_has_come_to_it() -> None:
    """Its windows may have to hold what that one still sends.

    partition 0   ─────── a(10) ───────
    partition 1   ── at 9 ─────── at 11
                        a waits ┘  └ a goes on
    """
    pair = Pair()
    assert not pair.score_events(event("a", 10, shop="s")).records.get("predictions")
    assert not pair.answer({"watermark": [9, "x"]}).sent
    assert pair.answer({"watermark": [11, "y"]}).sent
    (said,) = pair.score_events().records["predictions"]
    features = orjson.loads(said["value"] or b"")["features"]
    assert features["amount_count_1s_by_shop"] == 1
    assert features["amount_count_1s_by_shop_over_0"] == 1  # an encoder behind it
    assert "headers" not in said


def test_a_quiet_partition_is_asked_and_what_it_had_by_then_is_all() -> None:
    """Nobody waits for a partition that has read its log to the end; its silence says nothing."""
    pair = Pair()
    pair.score_events(event("a", 10, shop="s"))
    asked = pair.answer().sent["windows", 1]
    question = orjson.loads(asked[0]["value"] or b"")["ask"]
    pair.now_ms += SILENT_MS - 1
    pair.answer({"watermark": [-5, ""]})
    assert not pair.score_events().records.get("predictions")
    pair.answer({"watermark": [-5, ""], "complete": question})
    assert marks(pair.score_events()) == []


def test_the_answer_to_an_older_question_says_nothing_of_what_came_since() -> None:
    """It tells of what there was when it was asked."""
    pair = Pair()
    pair.score_events(event("a", 10, shop="s"))
    question = orjson.loads(pair.answer().sent["windows", 1][0]["value"] or b"")["ask"]
    pair.now_ms += 1
    pair.score_events(event("b", 20, shop="s"))
    pair.answer({"watermark": [-5, ""], "complete": question})
    found = pair.score_events().records["predictions"]
    assert [orjson.loads(out["value"] or b"")["id"] for out in found] == ["a"]


def test_a_partition_that_does_not_answer_is_left_out_and_that_is_told() -> None:
    """After as long as its owner may take to change; until it is heard again."""
    pair = Pair()
    pair.score_events(event("a", 10, shop="s"))
    pair.answer()
    pair.now_ms += SILENT_MS
    pair.answer()  # it is given up
    pair.answer()
    assert marks(pair.score_events(event("b", 11, shop="s"))) == [("incomplete", b"shop")]
    assert pair.windows.sources.expired_waits == 1
    pair.answer()
    assert marks(pair.score_events(event("c", 12, shop="s"))) == [("incomplete", b"shop")]
    pair.answer({"watermark": [30, "x"]})
    assert marks(pair.score_events()) == []
    assert pair.windows.short == 2


def test_windows_that_say_nothing_are_not_waited_for_for_ever() -> None:
    """The event is scored with nulls then, and the prediction names whose windows they are."""
    pair = Pair()
    pair.score_events(event("a", 10, shop="s"))
    pair.now_ms += WAIT_MS - 1
    assert not pair.score_events().records.get("predictions")
    pair.now_ms += 1
    output = pair.score_events()
    assert marks(output) == [("incomplete", b"shop")]
    said = orjson.loads(output.records["predictions"][0]["value"] or b"")
    assert said["features"]["amount_count_1s_by_shop"] is None
    assert pair.score.expired_waits == 1


def test_an_answer_that_comes_too_late_is_left() -> None:
    """Its event was scored without it."""
    pair = Pair()
    pair.score_events(event("a", 10, shop="s"))
    pair.now_ms += WAIT_MS
    pair.score_events()
    pair.score_events()
    pair.answer({"watermark": [11, "y"]})
    assert not pair.score_events().records.get("predictions")
    assert pair.score.positions()[pair.topics.windows] == 1


def test_as_long_as_windows_are_heard_they_are_waited_for() -> None:
    """They may themselves wait for a partition that lags."""
    pair = Pair()
    pair.score_events(event("a", 10, shop="s"))
    for _ in range(4):
        pair.now_ms += WAIT_MS // 2
        pair.answer({"watermark": [1, "x"]})
        assert not pair.score_events().records.get("predictions")


def test_the_same_id_in_two_partitions_waits_for_nobody() -> None:
    """Two score tasks that can go no further before their answers, at one order of events."""
    chance = random.Random(1)
    cluster = Cluster(shops(), 2, chance)
    of = {crc32(b"%d" % card) % 2: card for card in range(9)}  # a card of each partition
    cluster.put(EVENTS, of[0], event("a", 10, card=of[0], amount=1.0, shop="s"))
    for card in of.values():
        for other in ("s", "t", 5, "u", "v"):
            name = f"b{other}"
            cluster.put(EVENTS, card, event(name, 20, card=card, amount=1.0, shop=other))
            cluster.put(LABELS, card, label(name, 20))
    cluster.run()
    assert sum(task.expired_waits for task in cluster.score) == 0
    assert sum(task.sources.expired_waits for task in cluster.windows) == 0
    assert len(cluster.said("predictions")) == 11
    assert len(cluster.said("outcomes")) == 10


def test_what_an_aborted_task_sends_again_has_its_old_place() -> None:
    """A task that is kept forgets how far it had sent ahead."""
    pair = Pair()
    events = [event(name, at, shop="s") for name, at in (("a", 5), ("b", 500), ("c", 900))]
    pair.score_events(*events)
    sent = [orjson.loads(each.value() or b"") for each in pair.sent]
    pair.score.forget_waiting()
    pair.sent, pair.events = [], 0
    pair.now_ms += 50
    pair.score_events(*events)
    again = [orjson.loads(each.value() or b"") for each in pair.sent]
    first, second = ([item for said in each for item in said["items"]] for each in (sent, again))
    assert first == second
    assert len(first) == 3


def test_a_label_long_before_its_event_enters_behind_it() -> None:
    """However many labels came meanwhile: it has its event's place in the log."""
    pair = Pair()
    items = [
        [0, 5, "x", 0, "s", 5, "x", False, 1.0],
        [10 * SENT_AGAIN, 6, "x", 0, "s", 6, "y", False, 1.0],
        [3, 7, "x", 0, "s", 7, "z", True, 1.0],
        [3, 7, "x", 0, "s", 7, "z", True, 1.0],
    ]
    plan = pair.windows.plan.signature
    value = {"source": 0, "plan": plan, "items": items, "watermark": [9, "x"]}
    pair.windows.take(pair.topics.rekeyed, [record("", 0, value)], True, NOW_MS)
    assert pair.windows.sources.waiting == 3


def test_what_was_sent_to_other_windows_than_there_are_now_is_left() -> None:
    """As are their answers: what is not scored is sent again, to those there are."""
    pair = Pair()
    pair.score_events(event("a", 10, shop="s"))
    said = orjson.loads(pair.sent[0].value() or b"") | {"plan": "another"}
    task = pair.windows
    task.take(task.pipeline.topics.rekeyed, [record("", 0, said)], True, NOW_MS)
    assert task.sources.waiting == 0
    answer = {"from": pair.there, "plan": "another", "rows": [[0, 0, [1, 5.0, 6], False]]}
    pair.answers = [record("", 0, answer)]
    assert not pair.score_events().records.get("predictions")


def test_records_of_long_ids_fit_a_broker() -> None:
    """An id whose watermark stands for all that follow is counted with each of them."""
    pair = Pair()
    giant = "\U0001f600" * 1_000
    pair.score_events(event(giant, 9_000, shop="s"))
    sizes = []
    for at in range(0, 900, 300):
        events = [event(f"e{at + n}", 10 + n, shop="s") for n in range(300)]
        pair.sent = []
        pair.score_events(*events)
        sizes += [len(each.value() or b"") for each in pair.sent]
    assert max(sizes) < 900_000
    assert sum(sizes) > 3_000_000


def test_a_partition_with_records_yet_to_be_taken_in_is_not_complete() -> None:
    """It has more, whatever it was told when it last took some in."""
    for caught_up, told in ((False, None), (True, 7)):
        pair = Pair()
        pair.score.take(LABELS, [], True, NOW_MS)
        pair.score.take(EVENTS, [], caught_up, NOW_MS)
        asked = {"from": 1, "plan": "", "ask": 7}
        pair.score.take(pair.topics.windows, [record("", 0, asked)], True, NOW_MS)
        (out,) = pair.score.process(NOW_MS).sent["rekeyed", 1]
        assert orjson.loads(out["value"] or b"")["complete"] == told


def test_past_predictions_are_made_again_with_what_other_partitions_said() -> None:
    """The windows by the key, and what encoders make of both, are computed anew."""
    chance = random.Random(3)
    features = [each for each in shops().features if not isinstance(each, LabelWindow)]
    made, steps = shops(features=features), stream(chance, 120)
    cluster = Cluster(made, 4, chance)
    for step in steps:
        cluster.put(*step)
    cluster.run()
    for n in range(4):
        said = {each["id"]: each for each in cluster.said_in("predictions", n)}
        log = cluster.logs[EVENTS, n]
        again = rebuild(made, JsonCodec(), log, partitions=4, predictions=said)
        assert {each.id: each.features for each in again} == {
            key: each["features"] for key, each in said.items()
        }
