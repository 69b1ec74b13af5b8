"""Sealing: which buckets are complete when, by the records of the log alone."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.monitors.sealing import PARTS, Sealed, Sealer
from streamproc.monitors.sums import add_rows

HOUR_MS = 3_600_000


def added(number: int, parts: Sequence[list[float]]) -> list[float]:
    """Return the sum of rows."""
    return add_rows(parts)


class Stream:
    """A sealer, and the hours of the buckets it has handed out."""

    def __init__(self, partitions: int, lateness_ms: int = HOUR_MS) -> None:
        self.sealer = Sealer(["drift"], {0: HOUR_MS}, partitions, lateness_ms)
        self.sealed: list[int] = []

    def tell(self, partition: int, hours: list[int]) -> list[int]:
        """Send one event at the begin of each hour; return all that is sealed by now."""
        return self.take(sums(partition, hours))

    def take(self, record: dict[str, Any] | None) -> list[int]:
        """Take a record of the log; return all that is sealed by now."""
        if record is not None:
            self.sealed += [
                start_ms // HOUR_MS for _, start_ms, _ in self.sealer.take(record, added)
            ]
        return self.sealed

    def seal_without(self, *partitions: int) -> dict[str, Any] | None:
        """Return the record that seals without some partitions."""
        passed_ms = [source.watermark_ms for source in self.sealer.sources["drift"]]
        return self.sealer.seal_without("drift", partitions, passed_ms)


def sums(partition: int, hours: list[int], watermark: int | None = None) -> dict[str, Any]:
    """Return what a fold sends of one event at the begin of each hour."""
    return {
        "stage": "drift",
        "partition": partition,
        "watermark_ms": (max(hours) if watermark is None else watermark) * HOUR_MS,
        "caught_up": False,
        "buckets": [
            {"monitor": 0, "bucket_ms": hour * HOUR_MS, "series": {"x": [1, 0.25, 0.0]}}
            for hour in hours
        ],
    }


def test_a_bucket_is_sealed_when_all_have_passed_it() -> None:
    """The slowest partition's watermark, less the lateness, decides.

    hour          0   1   2   3   4
    partition 0   x   x       x   x
    partition 1   x           x
    sealed        |-------|           3 - 1 = 2 hours: buckets 0 and 1
    """
    stream = Stream(partitions=2)
    assert stream.tell(0, [0, 1, 3, 4]) == []
    assert stream.tell(1, [0, 3]) == [0, 1]
    assert stream.tell(1, [6]) == [0, 1]
    assert stream.tell(0, [6]) == [0, 1, 3, 4]


def test_a_record_says_who_is_waited_for_no_longer() -> None:
    """It seals what the others had passed; nothing is sealed until it comes back in the log."""
    stream = Stream(partitions=3)
    stream.tell(0, [0, 1, 9])
    stream.tell(1, [0])
    stream.tell(2, [4])
    assert stream.seal_without(2) is None
    seal = stream.seal_without(1)
    assert seal == {"stage": "seal", "of": "drift", "until_ms": 3 * HOUR_MS, "without": [1]}
    assert stream.sealed == []
    assert stream.take(seal) == [0, 1]
    assert stream.seal_without(1) is None
    assert stream.take(stream.seal_without(1, 2)) == [0, 1, 4]


def test_a_seal_that_comes_again_or_late_does_nothing() -> None:
    """Two judges in a row may have asked for the same."""
    stream = Stream(partitions=2)
    stream.tell(0, [0, 1, 5])
    early = stream.seal_without(1)
    stream.tell(0, [9])
    late = stream.seal_without(1)
    assert stream.take(late) == [0, 1, 5]
    assert stream.take(early) == stream.take(late) == [0, 1, 5]
    stream.tell(1, [12])
    assert stream.take(late) == [0, 1, 5]
    assert stream.take({"stage": "seal", "of": "bias", "until_ms": 99 * HOUR_MS}) == [0, 1, 5]


def test_what_comes_after_the_seal_is_counted_and_left_out() -> None:
    """A bucket is handed out once; sums for it that come later are late."""
    stream = Stream(partitions=1)
    stream.tell(0, [0, 5])
    assert stream.tell(0, [0, 6]) == [0]
    assert stream.sealer.late == 1


def test_buckets_with_the_present_in_them_stay_open() -> None:
    """When all are silent the newest bucket is still not complete: more of it may come."""
    stream = Stream(partitions=2, lateness_ms=0)
    stream.tell(0, [0, 1])
    stream.tell(1, [1])
    assert stream.take(stream.seal_without(0, 1)) == [0]


def test_a_monitor_says_how_its_rows_are_put_together() -> None:
    """Any number of them, a few at a time, so that no more than a few are kept."""
    sealer = Sealer(["drift"], {0: HOUR_MS, 1: HOUR_MS}, 1, 0)

    def larger(number: int, parts: Sequence[list[float]]) -> list[float]:
        return max(parts) if number else added(number, parts)

    for n in range(5 * PARTS):
        record = sums(0, [0], watermark=0)
        (bucket,) = record["buckets"]
        record["buckets"] += [{**bucket, "monitor": 1, "series": {"x": [n]}}]
        assert sealer.take(record, larger) == []
        assert len(pickle.dumps(sealer)) < 3_000
    (zero, one) = sealer.take(sums(0, [], watermark=1), larger)
    assert (zero, one) == ((0, 0, {"x": [5 * PARTS, 20.0, 0.0]}), (1, 0, {"x": [5 * PARTS - 1]}))


def test_rows_come_in_the_order_of_their_names() -> None:
    """Whoever sent them first: a monitor may have room for some only."""
    sealer = Sealer(["drift"], {0: HOUR_MS}, 1, 0)
    record = sums(0, [0], watermark=1)
    record["buckets"][0]["series"] = {name: [1, 0.25, 0.0] for name in "cab"}
    ((_, _, rows),) = sealer.take(record, added)
    assert list(rows) == ["a", "b", "c"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_order_of_partitions_does_not_matter(data: st.DataObject) -> None:
    """However the records of partitions are mixed, the same buckets have the same rows."""
    partitions = data.draw(st.integers(1, 4))
    hours = st.lists(st.integers(0, 12), min_size=1, max_size=6).map(sorted)
    sent = [sums(partition, [hour]) for partition in range(partitions) for hour in data.draw(hours)]
    mixed = data.draw(st.permutations(range(len(sent))))
    last = [sums(partition, [], watermark=99) for partition in range(partitions)]
    places = [int(sent[i]["partition"]) for i in mixed]
    queues = {p: iter([s for s in sent if s["partition"] == p]) for p in range(partitions)}
    found: list[list[Sealed]] = []
    for order in (sent, [next(queues[p]) for p in places]):
        sealer = Sealer(["drift"], {0: HOUR_MS}, partitions, lateness_ms=HOUR_MS)
        found.append([each for record in [*order, *last] for each in sealer.take(record, added)])
        assert sealer.late == 0
    assert found[0] == found[1]
