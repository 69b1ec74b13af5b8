"""One stream on 1, 4 and 16 partitions, by any hash of the key: the same to the bit."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.codec import JsonCodec
from streamproc.tasks.score import ScoreTask
from tests.unit.tasks.kit import (
    EVENTS,
    LABELS,
    NOW_MS,
    Learning,
    collect,
    event,
    label,
    pipeline,
    record,
)

Entries = list[tuple[str, dict[str, Any], str]]


def stream(rng: random.Random, events: int) -> Entries:
    """Return events of a few cards, with ties in time, and labels 30 to 90 ms later, in order."""
    timed: list[tuple[int, int, str, dict[str, Any], str]] = []
    now_ms = 0
    for number in range(events):
        now_ms += rng.choice([0, 0, 1, 3, 10])
        card = f"card {rng.randrange(9)}"
        amount = rng.choice([None, rng.gauss(0, 100), 1e-9, 1e12])
        timed.append((now_ms, 1, EVENTS, event(number, now_ms, card, amount), card))
        due_ms = now_ms + rng.choice([30, 60, 90])
        timed.append((due_ms, 0, LABELS, label(number, due_ms, rng.randrange(2)), card))
    timed.sort(key=lambda each: each[:2])
    return [(topic, value, card) for _, _, topic, value, card in timed]


def run(
    entries: Entries, partitions: int, place: Callable[[str], int], rng: random.Random, most: int
) -> tuple[list[Any], list[Any], list[tuple[int, int, str]]]:
    """Run a stream on so many partitions; return what is in predictions and outcomes, and versions.

    The tasks get their records in pieces, and turns, as chance has it.
    """
    made = pipeline(publish_every=7)
    tasks = [ScoreTask(made, p, JsonCodec()) for p in range(partitions)]
    logs: dict[tuple[str, int], list[Any]] = {
        (t, p): [] for t in (EVENTS, LABELS) for p in range(partitions)
    }
    for topic, value, card in entries:
        log = logs[topic, place(card) % partitions]
        log.append(record(topic, len(log), value))
    learning, out = Learning(made, partitions), dict[str, list[Any]]()
    while any(logs.values()) or any(sum(task.waiting().values()) for task in tasks):
        for partition in rng.sample(range(partitions), partitions):
            task = tasks[partition]
            for topic in (EVENTS, LABELS):
                log, size = logs[topic, partition], rng.randrange(20)
                task.take(topic, log[:size], size >= len(log), NOW_MS)
                del log[:size]
            output = task.process(NOW_MS, most)
            collect(out, output)
            learning.send(output.records.get("learn", []))
            learning.run()
    for task in tasks:
        learning.send(task.process(NOW_MS).records.get("learn", []))
    learning.run(NOW_MS + 1000)
    said = {role: [orjson.loads(o["value"]) for o in outs] for role, outs in out.items()}
    features = sorted((int(p["id"]), list(p["features"].items())) for p in said["predictions"])
    outcomes = sorted((int(o["id"]), o["label"], o["label_time_ms"]) for o in said["outcomes"])
    return features, outcomes, learning.hashes()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 7, 500]))
def test_features_outcomes_and_versions_are_the_same(seed: int, most: int) -> None:
    """Whatever the partitions, the hash, the pieces and the turns: the same, to the bit."""
    rng = random.Random(seed)
    entries = stream(rng, 60)
    expected = run(entries, 1, lambda card: 0, rng, 500)
    assert [number for number, _ in expected[0]] == list(range(60))
    assert len(expected[1]) == 60
    for partitions in (4, 16):
        salt = rng.randbytes(4)
        found = run(entries, partitions, lambda k: zlib.crc32(salt + k.encode()), rng, most)  # noqa: B023
        assert found == expected


@pytest.mark.parametrize("most", [1, 7, 500])
def test_the_size_of_a_batch_changes_nothing(most: int) -> None:
    """One record at a time or five hundred: the same predictions, outcomes and versions."""
    entries = stream(random.Random(3), 200)
    expected = run(entries, 1, lambda card: 0, random.Random(4), 500)
    assert run(entries, 1, lambda card: 0, random.Random(5), most) == expected
