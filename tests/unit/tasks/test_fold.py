"""Folding: what is sent and when, and going on from a position."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc import Field
from streamproc.alerts import new_judge
from streamproc.codec import JsonCodec
from streamproc.monitors import (
    DataQuality,
    Drift,
    Performance,
    PredictionBias,
    drift_fold,
    outcome_fold,
    prediction_fold,
)
from streamproc.monitors.fold import NEVER
from streamproc.tasks.fold import QUIET_MS, SEND_EVERY_MS, SETTLED_MS, FoldTask, predictions_task
from streamproc.tasks.records import Output, PlainRecord
from streamproc.tasks.sums import MOST_BYTES, sums_in_records
from tests.unit.monitors.streams import counts_of
from tests.unit.tasks.kit import NOW_MS, headers_of, outcome, pipeline

HOUR_MS = 3_600_000
PREDICTIONS = "shop.predictions"


def predictions(times: list[int]) -> list[PlainRecord]:
    """Return a prediction a time."""
    records = []
    for offset, time_ms in enumerate(times):
        said = {**outcome(offset, time_ms, float(offset)), "event_time_ms": time_ms}
        records.append(PlainRecord(PREDICTIONS, offset, 0, b"k", orjson.dumps(said)))
    return records


def fold_task() -> FoldTask:
    """Return a fold of the hours of ``amount`` and the score."""
    fold = drift_fold(pipeline(monitors=[Drift(features=("amount",))]))
    return FoldTask("drift", 0, fold, PREDICTIONS, "prediction", JsonCodec())


def sums_of(sent: list[dict[str, Any]]) -> dict[tuple[int, str], int]:
    """Return how many values were folded, by bucket and series, over all that was sent."""
    counts: dict[tuple[int, str], int] = {}
    for record in sent:
        for bucket in record["buckets"]:
            for series, row in bucket["series"].items():
                at = (bucket["bucket_ms"], series)
                if isinstance(row, list):  # and no sample, which is no sum
                    counts[at] = counts.get(at, 0) + sum(counts_of(row))
    return counts


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5 * HOUR_MS), min_size=1, max_size=60),
    st.lists(st.integers(1, 20), min_size=1),
    st.sets(st.integers(0, 20)),
)
def test_a_restart_from_the_position_folds_each_record_once(
    times: list[int], sizes: list[int], crashes: set[int]
) -> None:
    """Cut wherever: what was sent before, and what is folded anew, is every record once."""
    records, task, sent = predictions(times), fold_task(), list[dict[str, Any]]()
    at, committed, round_ = 0, 0, 0
    while at < len(records) or committed < len(records):
        size = sizes[round_ % len(sizes)]
        task.take(PREDICTIONS, records[at : at + size], at + size >= len(records), NOW_MS)
        at = min(at + size, len(records))
        output = task.process(NOW_MS + round_ * 100)
        sent += [orjson.loads(out["value"] or b"") for out in output.records.get("buckets", ())]
        committed = task.positions().get(PREDICTIONS, committed)
        if round_ in crashes:
            task, at = fold_task(), committed
        round_ += 1
        assert round_ < 1000
    whole = fold_task()
    whole.take(PREDICTIONS, records, True, NOW_MS)
    output = whole.process(NOW_MS)
    expected = [orjson.loads(out["value"] or b"") for out in output.records["buckets"]]
    assert sums_of(sent) == sums_of(expected)
    assert sum(n for (_, series), n in sums_of(sent).items() if series == "amount") == len(times)


def test_sums_are_sent_at_the_end_of_a_bucket_of_the_log_and_now_and_then() -> None:
    """Within a bucket sums wait some seconds; an ended one's go at once; nothing new, nothing."""
    task, records = fold_task(), predictions([1, 2, 3, HOUR_MS, HOUR_MS + 1])

    def sends(upto: slice, caught_up: bool, now_ms: int) -> int:
        task.take(PREDICTIONS, records[upto], caught_up, now_ms)
        return len(task.process(now_ms).records.get("buckets", ()))

    assert sends(slice(0, 1), False, NOW_MS) == 1
    assert sends(slice(1, 2), False, NOW_MS + 1) == 0
    assert task.positions() == {PREDICTIONS: 1}
    assert sends(slice(0, 0), False, NOW_MS + SEND_EVERY_MS) == 1
    assert sends(slice(2, 3), False, NOW_MS + SEND_EVERY_MS + 1) == 0
    assert sends(slice(3, 4), False, NOW_MS + SEND_EVERY_MS + 2) == 1
    assert sends(slice(4, 5), True, NOW_MS + SEND_EVERY_MS + 3) == 0
    assert sends(slice(0, 0), True, NOW_MS + 2 * SEND_EVERY_MS + 3) == 1
    assert sends(slice(0, 0), True, NOW_MS + 9 * SEND_EVERY_MS) == 0
    assert task.positions() == {PREDICTIONS: 5}


def test_sums_are_sent_when_no_more_comes_for_a_while() -> None:
    """Records that go on coming wait; the last ones of a stream don't."""
    task, records = fold_task(), predictions([1, 2, 3, 4])
    sent = []
    for at, record in enumerate(records):
        task.take(PREDICTIONS, [record], True, NOW_MS + at * (QUIET_MS - 1))
        sent.append(len(task.process(NOW_MS + at * (QUIET_MS - 1)).records.get("buckets", ())))
    assert sent == [1, 0, 0, 0]
    last_ms = NOW_MS + 3 * (QUIET_MS - 1)
    assert task.process(last_ms + QUIET_MS - 1).empty
    assert len(task.process(last_ms + QUIET_MS).records["buckets"]) == 1
    assert task.positions() == {PREDICTIONS: 4}


def test_a_record_that_is_no_message_is_a_dead_letter() -> None:
    """It is told of with its bytes, and the fold goes on."""
    task = fold_task()
    good = predictions([1, 2])
    task.take(PREDICTIONS, [PlainRecord(PREDICTIONS, 0, 0, b"k", b"{"), good[1]], True, NOW_MS)
    output = task.process(NOW_MS)
    (letter,) = output.records["dead_letters"]
    assert (letter["value"], headers_of(letter)["stage"]) == (b"{", "drift")
    assert headers_of(letter)["reason"] == "not_json"
    assert len(output.records["buckets"]) == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"event_time_ms": ...}, "not_ours"),
    ({"event_time_ms": "1"}, "not_ours"),
    ({"event_time_ms": 1.5}, "not_ours"),
    ({"event_time_ms": 10**18}, "time_not_valid"),
    ({"features": None}, "not_ours"),
    ({"features": [1]}, "not_ours"),
    ({"score": ...}, "not_ours"),
    ({"model": 7}, "not_ours"),
    ({"slices": 7}, "not_ours"),
    ({"slices": {"country": ["NL"]}}, "not_ours"),
]


@pytest.mark.parametrize(
    ("kind", "wrong", "reason"),
    [
        *((kind, *each) for kind in ("prediction", "outcome") for each in WRONG),
        ("prediction", {"scored_at_ms": ...}, "not_ours"),
        ("outcome", {"label_time_ms": ...}, "not_ours"),
    ],
)
def test_what_anybody_wrote_to_our_topics_is_a_dead_letter(
    kind: str, wrong: dict[str, Any], reason: str
) -> None:
    """A message that lacks what folds go by, or has it of another type; those beside it count."""
    watched = pipeline(
        monitors=[Drift(slices=("country",)), PredictionBias(), Performance(), DataQuality()]
    )

    def folded(records: list[PlainRecord]) -> Output:
        task = predictions_task(watched, 0, JsonCodec())
        if kind == "outcome":
            made = outcome_fold(watched)
            assert made is not None
            task = FoldTask("bias", 0, made, PREDICTIONS, "outcome", JsonCodec())
        task.take(PREDICTIONS, records, True, NOW_MS)
        return task.process(NOW_MS)

    good, other, third = predictions([1, 2, 3])
    message = {**orjson.loads(other.value() or b""), **wrong}
    bad = orjson.dumps({name: value for name, value in message.items() if value is not ...})
    output = folded([good, PlainRecord(PREDICTIONS, 1, 0, b"k", bad), third])
    (letter,) = output.records["dead_letters"]
    assert (letter["value"], headers_of(letter)["reason"]) == (bad, reason)
    assert output.records["buckets"] == folded([good, third]).records["buckets"]


@pytest.mark.parametrize("value", [b"x", b"", b"9" * 30, b"9" * 5_000, b"1.5", None])
def test_a_records_time_that_is_none_says_nothing(value: bytes | None) -> None:
    """Producers set timestamps as they like: the prediction is folded as others are, without it.

    Nor is a field of that name what the header is.
    """
    task = predictions_task(pipeline(monitors=[DataQuality()]), 0, JsonCodec())
    good, odd = predictions([1, 2])
    body = orjson.dumps({**orjson.loads(odd.value() or b""), "record_time_ms": "x"})
    headers: Any = [("record_time_ms", value)]
    task.take(
        PREDICTIONS, [good, PlainRecord(PREDICTIONS, 1, 0, b"k", body, headers)], True, NOW_MS
    )
    output = task.process(NOW_MS)
    assert not output.records.get("dead_letters")
    (sums,) = [orjson.loads(out["value"] or b"") for out in output.records["buckets"]]
    assert sums["buckets"][0]["series"]["events"] == [2]
    assert "delays" not in sums["buckets"][0]["series"]


def test_a_header_with_slices_that_is_no_json_is_a_dead_letter() -> None:
    """Its text says so, as nothing in the value does."""
    task, (good, bad) = fold_task(), predictions([1, 2])
    bad = PlainRecord(PREDICTIONS, 1, 0, b"k", bad.value(), [("slices", b"{")])
    task.take(PREDICTIONS, [good, bad], True, NOW_MS)
    (letter,) = task.process(NOW_MS).records["dead_letters"]
    assert "header 'slices'" in headers_of(letter)["error"]


def test_dead_letters_that_are_read_first_do_not_seal_what_is_to_come() -> None:
    """They say how far events had come; predictions up to there may still have to be read."""
    task = predictions_task(pipeline(monitors=[DataQuality()]), 0, JsonCodec())
    headers = [("stage", b"score"), ("reason", b"not_json"), ("watermark_ms", b"36000000")]
    letter = PlainRecord("shop.dead-letters", 0, 0, b"k", b"{", headers)

    def told(topic: str, records: list[PlainRecord], caught_up: bool, now_ms: int) -> int:
        task.take(topic, records, caught_up, now_ms)
        (out,) = task.process(now_ms).records["buckets"]
        return int(orjson.loads(out["value"] or b"")["watermark_ms"])

    letters = next(topic for topic in task.waiting() if "dead" in topic)
    later_ms = 2 * SEND_EVERY_MS
    assert told(letters, [letter], True, NOW_MS) == NEVER
    assert told(PREDICTIONS, predictions([1, 2])[:1], False, NOW_MS + later_ms) == 1
    assert told(PREDICTIONS, predictions([1, 2])[1:], True, NOW_MS + 2 * later_ms) == 10 * HOUR_MS
    again = PlainRecord(
        "shop.dead-letters", 1, 0, b"k", b"{", [*headers[:2], ("watermark_ms", b"72000000")]
    )
    assert told(letters, [again], True, NOW_MS + 3 * later_ms) == 10 * HOUR_MS
    (out,) = task.process(NOW_MS + 3 * later_ms + SETTLED_MS).records["buckets"]  # none but these
    assert orjson.loads(out["value"] or b"")["watermark_ms"] == 20 * HOUR_MS


@given(
    st.lists(
        st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(0, 999)), max_size=6
    ),
    st.integers(80, 400),
)
def test_sums_that_are_too_large_go_in_several_records(
    series: list[dict[str, int]], most_bytes: int
) -> None:
    """Nothing is lost, and only the last says how far the partition has come."""
    buckets = [
        {"stage": "bias", "monitor": 0, "bucket_ms": i, "series": of} for i, of in enumerate(series)
    ]
    records = sums_in_records("bias", 3, 77, True, buckets, most_bytes)
    told = [orjson.loads(record) for record in records]
    found: list[dict[str, int]] = [{} for _ in series]
    for record in told:
        assert (record["stage"], record["partition"]) == ("bias", 3)
        for bucket in record["buckets"]:
            found[bucket["bucket_ms"]] |= bucket["series"]
    assert found == series
    assert [record["caught_up"] for record in told] == [False] * (len(told) - 1) + [True]
    assert [record["watermark_ms"] for record in told[:-1]] == [NEVER] * (len(told) - 1)
    assert told[-1]["watermark_ms"] == 77
    for record, data in zip(told, records, strict=True):
        single = sum(len(bucket["series"]) for bucket in record["buckets"]) <= 1
        assert len(data) <= most_bytes or single


def test_samples_of_long_texts_go_in_several_records() -> None:
    """A sample is one row: whole it would be more than a broker takes, and the worker would end."""
    names = tuple(f"text{i}" for i in range(40))
    made = pipeline(
        features=[Field(name, type="text") for name in names],
        monitors=[Drift(), PredictionBias()],
    )
    texts = dict.fromkeys(names, "é" * 500)
    said = [{**outcome(i, 5, 0.0), "features": texts, "model": "main@1"} for i in range(600)]
    folds = prediction_fold(made), outcome_fold(made)
    for fold, stage in zip(folds, ("drift", "bias"), strict=True):
        assert fold is not None
        fold.update(said)
        taken = fold.take()
        assert len(orjson.dumps(taken)) > 1_000_000
        records = sums_in_records(stage, 0, 9, True, taken)
        assert max(map(len, records)) <= MOST_BYTES
        judge = new_judge(made, 1)
        rows = [
            b["series"]["=sample"]
            for r in records
            for b in orjson.loads(r)["buckets"]
            if "=sample" in b["series"]
        ]
        (number,) = {b["monitor"] for b in taken}
        whole = next(b["series"]["=sample"] for b in taken)
        assert judge._combined(number, rows) == orjson.loads(orjson.dumps(whole))
