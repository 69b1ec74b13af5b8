"""The judge's task: what it tells is decided by its log, however it is read, cut and restored."""

from __future__ import annotations

import pickle
import random
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from streamproc import alerts
from streamproc.codec import JsonCodec
from streamproc.errors import StreamprocError
from streamproc.messages import Alert
from streamproc.models.versions import dumps, loads
from streamproc.monitors import Drift, PredictionBias, bias_fold, drift_fold
from streamproc.monitors.judge import Judge
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.state.tables import Rows
from streamproc.tasks import judging
from streamproc.tasks.judge import JudgeTask
from streamproc.tasks.judging import JudgeFreezer, check_kept, judge_fingerprint, thawed
from streamproc.tasks.records import Output, PlainRecord
from streamproc.tasks.waits import AGAIN_MS, IDLE_MS, WAIT_MS
from tests.unit.monitors.streams import Facts, payments, sent, silence
from tests.unit.tasks.judging_kit import (
    FACTS,
    PARTITIONS,
    chains_allowed,
    keep,
    new_judge,
    plain,
    sums_of,
)
from tests.unit.tasks.kit import headers_of, record

BUCKETS, OPERATIONS = "shop.buckets", "shop.operations"
ACKNOWLEDGED = {
    "command": "acknowledge",
    "by": "ada",
    "at_ms": 5,
    "alert_id": "a1",
    "comment": "on it",
}


@pytest.fixture(autouse=True, scope="module")
def _chains() -> Iterator[None]:
    with chains_allowed():
        yield


class Noting:
    """Keeps no alerts; notes what people ask for."""

    def __init__(self, judge: Judge) -> None:
        self.commands: list[tuple[Mapping[str, Any], int]] = []
        judge.operation = self.take  # type: ignore[method-assign]

    def take(self, operation: Mapping[str, Any], time_ms: int) -> list[Alert]:
        """Note it."""
        self.commands.append((operation, time_ms))
        return []


class Log:
    """The log of sums, as a broker has it: each record has the time at which it was appended."""

    def __init__(self) -> None:
        self.records: list[PlainRecord] = []
        self.now_ms = 0

    def append(self, value: bytes | None, later_ms: int = 0) -> None:
        """Append a record."""
        self.now_ms += later_ms
        self.records.append(PlainRecord(BUCKETS, len(self.records), self.now_ms, None, value))


def alerts_of(output: Output) -> list[dict[str, Any]]:
    """Return the alerts in an output."""
    return [orjson.loads(out["value"] or b"") for out in output.records.get("alerts", ())]


def whole(log: Log) -> tuple[JudgeTask, list[dict[str, Any]]]:
    """Return a task that has read all of a log at once, and what it has told."""
    task = JudgeTask(new_judge(), BUCKETS, JsonCodec())
    output = Output()
    for each in log.records:
        task._judge(each, output)
    return task, alerts_of(output)


def snapshots_at(url: str) -> Snapshots:
    """Return the snapshots of the judge, in memory; what cannot be used fails the test."""

    def told(name: str, why: str) -> None:
        raise AssertionError(f"{name}: {why}")

    return Snapshots(Files(url), "judge", {"monitors": judge_fingerprint(FACTS, PARTITIONS)}, told)


def restored(log: Log, committed: int, snapshots: Snapshots) -> JudgeTask:
    """Return a task as of what is committed, of the newest snapshot and the log since."""
    snapshot = snapshots.newest((committed, 0))
    judge = thawed(snapshot) if snapshot else new_judge()
    since = snapshot.offsets[0] if snapshot else 0
    task = JudgeTask(judge, BUCKETS, JsonCodec(), committed, OPERATIONS)
    task.replay(log.records[since:committed])
    return task


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    batch=st.integers(1, 40),
    crash=st.sampled_from([0.0, 0.05, 0.3]),
    keeps=st.booleans(),
)
def test_what_is_told_is_decided_by_the_log(
    seed: int, batch: int, crash: float, keeps: bool
) -> None:
    """Batches, crashes, restarts with or without snapshots, and the clock change nothing.

    Whoever reads the log as it came to be, at once, has told the same and knows the same.
    """
    chance = random.Random(seed)
    log, coming, told = Log(), sums_of(30), list[dict[str, Any]]()
    snapshots = snapshots_at(f"memory://judge-{uuid.uuid4()}")
    task, at, committed = restored(log, 0, snapshots), 0, 0
    while coming or committed < len(log.records):
        for value in coming[: (more := chance.randint(0, 9))]:
            log.append(value, chance.randint(0, 40))
        del coming[:more]
        step = log.records[at : at + chance.randint(1, batch)]
        at += len(step)
        log.now_ms += chance.choice([1, IDLE_MS, WAIT_MS])
        task.take(BUCKETS, step, False, log.now_ms)
        output = task.process(log.now_ms)
        if chance.random() < crash:  # its transaction is aborted
            task, at = restored(log, committed, snapshots), committed
            continue
        committed = task.positions().get(BUCKETS, 0)
        told += alerts_of(output)
        for out in output.records.get("buckets", ()):
            log.append(out["value"], 1)
        if keeps and chance.random() < 0.3:
            keep(snapshots, task, task.positions().get(BUCKETS, 0))
        if chance.random() < crash:
            task, at = restored(log, committed, snapshots), committed
    again, expected = whole(log)
    assert told == expected
    assert len(told) >= 3
    assert plain(task.judge) == plain(again.judge)


def test_the_time_of_an_alert_is_that_of_the_record_that_sealed() -> None:
    """Not that of the clock when it is judged, which another run has another of."""
    log = Log()
    for value in sums_of(30):
        log.append(value, 10)
    task = JudgeTask(new_judge(), BUCKETS, JsonCodec())
    task.take(BUCKETS, log.records, False, 7)
    told = alerts_of(task.process(1 << 40))
    assert len(told) >= 3
    assert {each["detected_at_ms"] for each in told} <= {each.time_ms for each in log.records}


def test_a_wait_that_is_over_is_written_to_the_log_and_done_when_it_comes_back() -> None:
    """Nothing is judged by the clock itself."""
    values = sums_of(30)
    task, log = JudgeTask(new_judge(), BUCKETS, JsonCodec()), Log()
    for value in values:  # one partition says nothing
        if orjson.loads(value)["partition"] < 2:
            log.append(value)
    task.take(BUCKETS, log.records, False, 0)
    assert task.process(0).records == {}
    assert task.process(WAIT_MS - 1).records == {}
    output = task.process(WAIT_MS)
    (seal,) = (orjson.loads(out["value"] or b"") for out in output.records["buckets"])
    assert (seal["of"], seal["without"]) == ("drift", [0, 1, 2])  # all are silent by now
    assert set(output.records) == {"buckets"}
    assert task.process(WAIT_MS + AGAIN_MS - 1).records == {}
    log.append(output.records["buckets"][0]["value"])
    task.take(BUCKETS, log.records[-1:], False, WAIT_MS)
    assert alerts_of(task.process(WAIT_MS))
    assert task.positions() == {BUCKETS: len(log.records)}
    assert task.process(9 * WAIT_MS).records == {}


def test_what_people_ask_for_is_written_to_the_log_and_done_when_it_comes_back() -> None:
    """Its offset is committed with that; what time it is says the log."""
    judge = new_judge()
    noting = Noting(judge)
    task, log = JudgeTask(judge, BUCKETS, JsonCodec(), 0, OPERATIONS), Log()
    task.take(OPERATIONS, [record(OPERATIONS, 7, ACKNOWLEDGED)], True, 0)
    assert task.positions() == {}
    (out,) = task.process(0).records["buckets"]
    assert task.positions() == {OPERATIONS: 8}
    assert noting.commands == []
    log.append(out["value"], 33)
    task.take(BUCKETS, log.records, True, 0)
    task.process(99)
    assert noting.commands == [(ACKNOWLEDGED, 33)]
    assert task.waiting() == {BUCKETS: 0, OPERATIONS: 0}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty_value"),
        (b"{", "not_json"),
        (b"[1]", "not_an_object"),
        ({**ACKNOWLEDGED, "command": "stop"}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "command": ["silence"]}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "by": ""}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "by": 5}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "at_ms": "now"}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "at_ms": True}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "alert_id": None}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "match": {"kind": 1}}, "operation_not_valid"),
        ({**ACKNOWLEDGED, "comment": "x" * 100_000}, "operation_not_valid"),
    ],
)
def test_a_bad_operation_is_a_dead_letter(value: Any, reason: str) -> None:
    """It is told of with its bytes, and what comes after it is passed on."""
    task = JudgeTask(new_judge(), BUCKETS, JsonCodec(), 0, OPERATIONS)
    bad, good = record(OPERATIONS, 0, value), record(OPERATIONS, 1, ACKNOWLEDGED)
    task.take(OPERATIONS, [bad, good], True, 0)
    output = task.process(0)
    (letter,) = output.records["dead_letters"]
    told = headers_of(letter)
    assert (letter["value"], told["reason"], told["stage"]) == (bad.value(), reason, "alerts")
    assert len(output.records["buckets"]) == 1
    assert task.positions() == {OPERATIONS: 2}


_SUMS = {
    "stage": "drift",
    "partition": 0,
    "watermark_ms": 5,
    "caught_up": False,
    "buckets": [{"monitor": 0, "bucket_ms": 0, "series": {}}],
}
NOT_OURS = [
    *(({**_SUMS, name: ...}, "not_ours") for name in _SUMS),
    ({**_SUMS, "watermark_ms": "5"}, "not_ours"),
    ({**_SUMS, "partition": True}, "not_ours"),
    ({**_SUMS, "buckets": [5]}, "not_ours"),
    ({**_SUMS, "buckets": [{"monitor": 0, "bucket_ms": 0}]}, "not_ours"),
    ({"stage": "seal", "of": "drift"}, "not_ours"),
    ({"stage": "health", "instance": "w1"}, "not_ours"),
    ({"stage": "model"}, "not_ours"),
    ({"stage": "model", "held_back": None, "at_ms": 1}, "not_ours"),
    ({"stage": "health", "instance": "w1", "at_ms": 1, "values": {"behind_ms": "x"}}, "not_ours"),
    ({"stage": "operation"}, "not_ours"),
    ({"stage": "operation", "operation": {}}, "operation_not_valid"),
    (5, "not_an_object"),
    (b"{", "not_an_object"),
    (None, "not_an_object"),
]


@pytest.mark.parametrize(("said", "reason"), NOT_OURS)
def test_a_record_of_the_log_that_is_not_ours_is_a_dead_letter(said: Any, reason: str) -> None:
    """Whoever wrote it, the judge goes on, and so does one that reads it again."""
    task = JudgeTask(new_judge(), BUCKETS, JsonCodec())
    if isinstance(said, dict):  # without the field that is left out
        said = {name: value for name, value in said.items() if value is not ...}
    value = said if isinstance(said, bytes | None) else orjson.dumps(said)
    records = [PlainRecord(BUCKETS, 0, 0, None, value)]
    task.take(BUCKETS, records, True, 0)
    (letter,) = task.process(0).records["dead_letters"]
    assert headers_of(letter)["reason"] == reason
    task.replay(records)
    assert task.positions() == {BUCKETS: 1}


def test_a_report_of_health_is_from_no_partition_whatever_it_says() -> None:
    """A field that it does not have is not gone by."""
    task = JudgeTask(new_judge(), BUCKETS, JsonCodec())
    said = {"stage": "health", "instance": "w1", "at_ms": 1, "values": {}, "partition": []}
    task.take(BUCKETS, [PlainRecord(BUCKETS, 0, 0, None, orjson.dumps(said))], True, 0)
    assert task.process(0).empty


def test_a_judge_is_read_from_a_snapshot_only_by_what_it_is_made_of() -> None:
    """Bytes that ask for anything else, or hold no judge, are refused."""
    for blob, why in ((pickle.dumps(print), "builtins.print"), (dumps({"a": 1}), "no judge")):
        snapshots, rows = snapshots_at(f"memory://{uuid.uuid4()}"), Rows()
        rows.append("judge", 0, 0, blob)
        snapshots.write((1, 0), {"judge": rows.table()}, {}, {}, {})
        snapshot = snapshots.newest((1, 0))
        assert snapshot is not None
        with pytest.raises(StreamprocError, match=why):
            thawed(snapshot)


def test_while_it_is_frozen_the_judge_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the rows is what it was when that began, and what came meanwhile comes after."""
    facts = Facts(monitors=[Drift(bucket="6h"), PredictionBias(slices=("country",), bucket="6h")])
    stream = payments(1, 12, per_day=150)
    task = JudgeTask(alerts.new_judge(facts, 1), BUCKETS, JsonCodec())
    log = Log()
    for part in (stream[:900], stream[900:]):
        for stage, fold in (("drift", drift_fold(facts)), ("bias", bias_fold(facts))):
            fold.update(part)
            log.append(orjson.dumps(sent(stage, 0, fold)))
    task.take(BUCKETS, log.records[:2], False, 0)
    task.process(0)
    before = plain(task.judge)
    monkeypatch.setattr(judging, "PACKED_BYTES", 1)
    freezer, rounds = JudgeFreezer(task), 0
    freezer.begin()
    task.take(BUCKETS, log.records[2:], False, 0)
    while not freezer.pack():
        assert task.process(0).records == {}
        assert task.positions() == {BUCKETS: 2}
        rounds += 1
    assert rounds >= 2  # the amount, the score, and what is biased
    snapshots = snapshots_at(f"memory://{uuid.uuid4()}")
    snapshots.write((2, 0), freezer.take().tables, {}, {}, {})
    snapshot = snapshots.newest((2, 0))
    assert snapshot is not None
    judge = thawed(snapshot)
    assert plain(judge) == before
    task.process(0)
    assert task.positions() == {BUCKETS: 4}
    again = JudgeTask(judge, BUCKETS, JsonCodec())
    again.replay(log.records[2:])
    assert plain(again.judge) == plain(task.judge) != before


def test_a_detector_that_cannot_be_read_back_is_named() -> None:
    """Before anything is kept: of River's any can be, of a user's none."""
    check_kept(Facts(monitors=[Drift(detector=drift.PageHinkley()), Drift()]))
    detector: Any = type("Own", (drift.ADWIN,), {"__module__": __name__})()
    with pytest.raises(StreamprocError, match="Own"):
        check_kept(Facts(monitors=[Drift(detector=detector)]))


DETECTORS = [
    made
    for module in (drift, drift.binary)
    for made in vars(module).values()
    if isinstance(made, type) and made is not drift.DriftRetrainingClassifier
]


@pytest.mark.parametrize("made", DETECTORS)
def test_any_detector_of_rivers_is_read_back(made: Any) -> None:
    """Whatever a monitor tests with, its state goes on as it was."""
    detector, chance = made(), random.Random(7)
    for _ in range(300):
        detector.update(chance.random() < 0.2)
    again = loads(dumps(detector))
    for n in range(300):
        for each in (detector, again):
            each.update(random.Random(n).random() < 0.6)
        assert again.drift_detected == detector.drift_detected


def test_another_definition_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learnt of other monitors, or kept in another form, is not gone on with."""
    ours = judge_fingerprint(FACTS, 4)
    others = [
        judge_fingerprint(FACTS, 16),
        judge_fingerprint(Facts(monitors=[Drift(bucket="2h")]), 4),
        judge_fingerprint(Facts(monitors=FACTS.monitors, lateness_ms=5), 4),
        judge_fingerprint(Facts(monitors=FACTS.monitors, warmup=5), 4),
    ]
    monkeypatch.setattr(judging, "FORMAT", judging.FORMAT + 1)
    others.append(judge_fingerprint(FACTS, 4))
    assert len({ours, *others}) == 6


def test_silence_seals_what_is_left() -> None:
    """The records that the tests of monitors end their streams with are those of the waits."""
    log = Log()
    for value in sums_of(30):
        if orjson.loads(value)["partition"] < 2:
            log.append(value)
    task, _ = whole(log)
    task.process(0)
    output = task.process(WAIT_MS)
    seals = [orjson.loads(out["value"] or b"") for out in output.records["buckets"]]
    assert seals == silence(task.judge)
