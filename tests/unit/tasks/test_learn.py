"""The learner: one order whatever came when, the same bytes, and the same again after a crash."""

from __future__ import annotations

import random
from importlib import metadata
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import forest, linear_model

from streamproc.features import Field, Shared
from streamproc.tasks.learn import IDLE_MS
from streamproc.tasks.merge import WAIT_MS
from streamproc.tasks.records import Out
from tests.unit.tasks.kit import (
    LEARN,
    NOW_MS,
    Learning,
    Recorder,
    headers_of,
    news,
    outcome,
    pipeline,
)

END_MS = 10**9


def outcomes_of(times: list[int]) -> list[dict[str, Any]]:
    """Return an outcome a time, of which the id and the amount are its number."""
    return [outcome(number, t, float(number), number % 3 == 0) for number, t in enumerate(times)]


def split(outcomes: list[dict[str, Any]], partitions: int, rng: random.Random) -> list[list[Out]]:
    """Return what each of some score tasks would send, in pieces of its own choosing."""
    streams = []
    for partition in range(partitions):
        own = [o for o in outcomes if int(o["id"]) % partitions == partition]
        own.sort(key=lambda o: (o["label_time_ms"], int(o["id"])))
        sent, records, watermark_ms = 0, [], -1
        while own:
            piece = own[: rng.randint(1, 7)]
            own = own[len(piece) :]
            sent += len(piece)
            watermark_ms = piece[-1]["label_time_ms"]
            records.append(news(partition, watermark_ms, piece, sent))
        records.append(news(partition, END_MS, [], sent))
        streams.append(records)
    return streams


def interleaved(streams: list[list[Out]], rng: random.Random) -> list[Out]:
    """Return all records in some order that keeps each stream's own."""
    turns = [i for i, stream in enumerate(streams) for _ in stream]
    rng.shuffle(turns)
    remaining = [iter(stream) for stream in streams]
    return [next(remaining[turn]) for turn in turns]


def learnt(records: list[Out], partitions: int, made: Any, rng: random.Random) -> Learning:
    """Return a learner that took records in one by one and processed now and then."""
    learning = Learning(made, partitions)
    for each in records:
        learning.send([each])
        if rng.random() < 0.4:
            learning.run(most=rng.choice([1, 3, 500]))
    learning.run()
    return learning


TIMES = st.lists(st.integers(0, 60), max_size=60)


@settings(max_examples=60, deadline=None)
@given(TIMES, st.sampled_from([1, 4, 16]), st.randoms(use_true_random=False))
def test_the_order_is_time_then_id_whatever_came_when(
    times: list[int], partitions: int, rng: random.Random
) -> None:
    """On any number of partitions, in any arrival and pieces, the order is ``(time, id)``."""
    made = pipeline(model=Recorder(), publish_every=1000)
    records = interleaved(split(outcomes_of(times), partitions, rng), rng)
    learning = learnt(records, partitions, made, rng)
    expected = [float(n) for n, _ in sorted(enumerate(times), key=lambda e: (e[1], e[0]))]
    assert expected == learning.task.learner.model.amounts


@pytest.mark.parametrize("model", [linear_model.LogisticRegression(), forest.ARFClassifier(3)])
def test_versions_have_the_same_bytes_on_any_number_of_partitions(model: Any) -> None:
    """A version every so many outcomes, each the same file, on 1, 4 and 16 partitions."""
    rng = random.Random(5)
    outcomes = outcomes_of([rng.randrange(200) for _ in range(105)])
    found = []
    for partitions in (1, 4, 16):
        records = interleaved(split(outcomes, partitions, rng), rng)
        found.append(learnt(records, partitions, pipeline(model=model), rng).hashes())
    assert found[0] == found[1] == found[2]
    assert [(n + 1, 10 * (n + 1)) for n in range(10)] == [each[:2] for each in found[0]]
    assert len({sha256 for _, _, sha256 in found[0]}) == 10


@settings(max_examples=80, deadline=None)
@given(
    TIMES, st.sampled_from([1, 3]), st.randoms(use_true_random=False), st.sets(st.integers(0, 60))
)
def test_a_crash_at_any_point_changes_no_byte(
    times: list[int], partitions: int, rng: random.Random, crashes: set[int]
) -> None:
    """Cut wherever, restored and fed again: the versions are those of an uninterrupted run."""
    made = pipeline(publish_every=4)
    records = interleaved(split(outcomes_of(times), partitions, rng), rng)
    whole = learnt(records, partitions, made, rng)
    cut = Learning(made, partitions)
    for number, each in enumerate(records):
        cut.send([each])
        if rng.random() < 0.4:
            cut.run(most=3)
        if number in crashes:
            cut.crash()
    cut.run()
    assert whole.hashes() == cut.hashes()
    assert whole.task.learner.outcomes == cut.task.learner.outcomes


@pytest.mark.parametrize("seed", range(40))
def test_versions_that_cannot_be_read_are_learnt_again(seed: int) -> None:
    """From the version before them, or from nothing: the same bytes, and none comes twice."""
    rng = random.Random(seed)
    made, partitions = pipeline(publish_every=4), rng.choice([1, 3])
    times = [rng.randint(0, 60) for _ in range(40)]
    records = interleaved(split(outcomes_of(times), partitions, rng), rng)
    whole, cut = learnt(records, partitions, made, rng), Learning(made, partitions)
    for each in records:
        cut.send([each])
        if rng.random() < 0.4:
            cut.run(most=3)
        if rng.random() < 0.1:
            cut.crash(unreadable=rng.choice([1, 3, 99]))
    cut.run()
    assert whole.hashes() == cut.hashes()


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=6, max_size=40),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_a_crash_loses_and_repeats_no_outcome_that_came_late(
    times: list[int], most: int, rng: random.Random
) -> None:
    """Outcomes behind the time the learner has come to are learnt once too, whatever is cut."""
    learning = Learning(pipeline(model=Recorder(), publish_every=3), 1)
    for sent, each in enumerate(outcomes_of(times), 1):  # by their ids, and so in no order of time
        learning.send([news(0, END_MS, [each], sent)])
        if rng.random() < 0.5:
            learning.run(most=most, rounds=1)
        if learning.versions and rng.random() < 0.5:
            learning.crash()
    learning.run()
    assert sorted(map(float, range(len(times)))) == sorted(learning.task.learner.model.amounts)


def test_what_partitions_told_is_known_after_a_crash() -> None:
    """One that has nothing more to say is not waited for: its word may be behind what is read."""
    learning = Learning(pipeline(publish_every=3), 2)
    learning.send([news(1, END_MS, [], 0)])
    learning.send([news(0, END_MS, outcomes_of([1, 2, 3, 4, 5]), 5)])
    learning.run()
    learning.crash()
    learning.run()
    assert learning.task.learner.outcomes == 5


def test_nothing_is_learnt_before_every_partition_has_passed_it() -> None:
    """An outcome at a watermark's own time waits: more may come at that time.

    partition 0   o(5)  o(7)  watermark 7
    partition 1               watermark 5, then 6
    """
    learning = Learning(pipeline(model=Recorder()), 2)
    amounts = learning.task.learner.model.amounts
    learning.send([news(0, 7, [outcome(1, 5, 1.0), outcome(2, 7, 2.0)], 2), news(1, 5, [], 0)])
    learning.run()
    assert amounts == []
    learning.send([news(1, 6, [], 0)])
    learning.run()
    assert amounts == [1.0]


@pytest.mark.parametrize(("caught_up", "wait_ms"), [(True, IDLE_MS), (False, WAIT_MS)])
def test_a_silent_partition_is_waited_for_so_long(caught_up: bool, wait_ms: int) -> None:
    """One that had caught up for 200 ms, another for 10 s; the wait that expired counts once."""
    learning = Learning(pipeline(model=Recorder()), 2)
    learning.send([news(0, 7, [outcome(1, 5)], 1), news(1, 1, [], 0, caught_up=caught_up)])
    learning.run(NOW_MS)
    amounts = learning.task.learner.model.amounts
    for at_ms in range(NOW_MS, NOW_MS + wait_ms, wait_ms // 4):
        learning.send([news(0, 7, [], 1)], at_ms)
        learning.run(at_ms)
    learning.run(NOW_MS + wait_ms - 1)
    assert amounts == []
    for late_ms in range(5):
        learning.run(NOW_MS + wait_ms + late_ms)
    assert amounts == [1.0]
    learning.send([news(0, 9, [outcome(2, 8)], 2)], NOW_MS + wait_ms)
    for late_ms in range(5, 10):
        learning.run(NOW_MS + wait_ms + late_ms)
    assert (0 if caught_up else 1) == learning.task.expired_waits


def test_an_outcome_the_model_fails_on_is_a_dead_letter() -> None:
    """It is told of with its place, and counts for no version."""
    learning = Learning(pipeline(model=Recorder(), publish_every=2), 1)
    amounts = [1.0, -1.0, 2.0]
    sent = [outcome(n, n, amount) for n, amount in enumerate(amounts)]
    learning.send([news(0, END_MS, sent, 3)])
    output = learning.task.process(NOW_MS)
    (letter,) = output.records["dead_letters"]
    expected = {
        "error": "ValueError: cannot bear this", "reason": "model_failed", "source_topic": LEARN,
        "source_partition": "0", "source_offset": "0", "stage": "learn",
    }  # fmt: skip
    assert expected == headers_of(letter)
    assert sent[1] == orjson.loads(letter["value"] or b"")
    versions = [orjson.loads(out["value"] or b"{}") for out in output.records["models"]]
    assert [v["outcomes"] for v in versions if "sha256" in v] == [2]


def test_a_dead_letter_of_the_learner_says_how_far_events_had_come() -> None:
    """With its label, where its event was scored: no further than events, nor back in time."""
    learning = Learning(pipeline(model=Recorder()), 2)
    known_ms, come_ms = (10, 12, 20, 35), ("10", "30", "7", "35")
    bad = [outcome(n, at_ms, -1.0) for n, at_ms in enumerate(known_ms)]
    learning.send([
        news(0, 30, bad[:1], 1, scored_ms=30),
        news(0, END_MS, [bad[1], bad[3]], 3, scored_ms=40),
        news(1, END_MS, [bad[2]], 1, scored_ms=7),
    ])  # fmt: skip
    letters = learning.task.process(NOW_MS).records["dead_letters"]
    assert tuple(headers_of(letter)["watermark_ms"] for letter in letters) == come_ms


def test_a_version_is_written_with_its_lineage_and_promoted() -> None:
    """Its record, then what is promoted, each under its own key; and how far the learner is."""
    amounts = Shared([Field("amount")], name="amounts", version=3)
    learning = Learning(pipeline(publish_every=2, features=[amounts]), 1)
    learning.send([news(0, END_MS, [outcome(n, n + 5, fraud=n % 2) for n in range(4)], 4)])
    learning.run()
    first, second = learning.versions
    assert [(v["parent"], v["outcomes"], v["label_time_ms"]) for v in (first, second)] == [
        (None, 2, 6),
        ("main@1", 4, 8),
    ]
    assert learning.pipeline.fingerprint == second["fingerprint"]
    assert second["sources"]["code"]["river"] == metadata.version("river")
    said = {"version": 3, "definition": amounts.definition}
    assert second["sources"]["shared"] == {"amounts": said}
    keys = [out["key"] for out in learning.out["models"]]
    promoted = b"promoted/main"
    assert [b"main@1", promoted, b"main@2", promoted, b"progress/main"] == keys
    progress = orjson.loads(learning.out["models"][-1]["value"] or b"")
    assert progress == {"progress": "main", "learnt": {"0": [0, 4]}}


def test_a_new_run_of_a_score_task_counts_anew() -> None:
    """Progress is told by run, so that a task that started again isn't told of the one before."""
    learning = Learning(pipeline(), 1)
    learning.send([news(0, 3, [outcome(1, 1), outcome(2, 2)], 2)])
    learning.run()
    assert (learning.task.sources[0].epoch, learning.task.sources[0].learnt) == (0, 2)
    learning.send([news(0, 9, [outcome(3, 4)], 1, epoch=5)])
    learning.run()
    assert (learning.task.sources[0].epoch, learning.task.sources[0].learnt) == (5, 1)


def test_no_record_breaks_the_learner() -> None:
    """A tombstone, or news of a partition that is no more, is passed over."""
    learning = Learning(pipeline(), 1)
    learning.send([Out(key=b"0", value=None), news(4, 9, [], 0), news(0, 9, [outcome(1, 1)], 1)])
    learning.run()
    assert (learning.task.learner.outcomes, learning.task.next_offset) == (1, 3)
