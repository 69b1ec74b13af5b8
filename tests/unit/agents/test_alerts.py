"""The judge's stage: where its state comes from, and which partitions are idle."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from agents.alerts import AlertStage
from agents.idle import Lag
from agents.metrics import Metrics
from streamproc.codec import JsonCodec
from streamproc.errors import StreamprocError
from streamproc.monitors import Drift
from streamproc.pipeline import Pipeline
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.tasks.judging import thawed
from streamproc.tasks.records import PlainRecord
from streamproc.tasks.waits import Place
from tests.unit.tasks import judging_kit
from tests.unit.tasks.judging_kit import chains_allowed, new_judge, plain, sums_of
from tests.unit.tasks.kit import pipeline

PIPELINE: Pipeline = pipeline(monitors=[Drift(features=("amount",))], lateness="0s")
TOPICS = PIPELINE.topics


class Admin:
    """Answers what the group has committed."""

    def __init__(self, at: Deployed) -> None:
        self._at = at

    def list_consumer_group_offsets(self, groups: list[Any], **how: Any) -> dict[str, Any]:
        """Answer for one partition of the pipeline's group; what is pending is waited for."""
        assert how["require_stable"]
        (group,) = groups
        (asked,) = group.topic_partitions
        topic, partition = asked.topic, asked.partition
        self._at.asked.append(f"committed {topic}")
        if topic == self._at.failing:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        found = self._at.committed.get((topic, partition), -1001)

        class Found:
            topic_partitions = (TopicPartition(topic, partition, found),)

            def result(self, timeout_s: float) -> Any:
                return self

        return {group.group_id: Found()}


@dataclass
class Deployed:
    """A pipeline on a cluster that has what the test says it has."""

    pipeline: Pipeline = PIPELINE
    partitions: int = 2
    embedded: bool = False
    codec: JsonCodec = field(default_factory=JsonCodec)
    store: str = field(default_factory=lambda: f"memory://{uuid.uuid4().hex}")
    log: list[bytes] = field(default_factory=list)
    first: int = 0
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    markers: set[tuple[str, int]] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    failing: str = ""

    @property
    def admin(self) -> Any:
        """Return what asks the brokers."""
        return Admin(self)

    def start_of(self, topic: str, partition: int) -> int:
        """Return the offset of the first record there is."""
        return self.first

    def end_of(self, topic: str, partition: int) -> int:
        """Return the offset after the last record."""
        self.asked.append(f"end {topic}")
        return self.ends.get((topic, partition), 0)

    def read(
        self, topic: str, partition: int, start: int, end: int | None, unblock: bool = True
    ) -> Iterator[PlainRecord]:
        """Yield the records of the log of sums; of other topics one, unless all are markers."""
        if topic == TOPICS.buckets:
            for n in range(max(start, self.first), end or 0):
                yield PlainRecord(topic, n, n, None, self.log[n])
        elif (topic, partition) not in self.markers:
            yield PlainRecord(topic, start, 0, None, b"{}")

    def snapshots(self, task: str, names: Any, told: Callable[[str, str], None]) -> Snapshots:
        """Return the snapshots of a task."""
        of = {"task": task, "topics": ", ".join(names)}
        return Snapshots(Files(self.store), task, of, lambda _, why: self.told.append(why))


def stage_at(at: Any) -> AlertStage:
    """Return the stage on a cluster."""
    return AlertStage(at, Metrics("w"))


def started(stage: AlertStage, at: int) -> Any:
    """Return the task that a stage starts at an offset."""
    return stage.start(0, {TOPICS.buckets: at, TOPICS.operations: 0})


@pytest.fixture(autouse=True)
def _chains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("agents.alerts.new_judge", new_judge)
    with chains_allowed():
        yield


def log_of() -> list[bytes]:
    """Return a log of sums of two partitions, of 198 records."""
    return sums_of(33, 2)


def keep(stage: AlertStage, at: int) -> None:
    """Write a snapshot of the stage's judge."""
    snapshots = stage._snapshots()
    assert stage.task is not None
    assert snapshots is not None
    judging_kit.keep(snapshots, stage.task, at)


def damage(at: Deployed, name: str) -> None:
    """Let the disk lose half of a file."""
    files = Files(at.store)
    (file,) = (
        each for each in files.names("judge") if each.startswith(name) and each.endswith(".tables")
    )
    files.put(f"judge/{file}", files.get(f"judge/{file}")[:40])


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_judge_from_a_snapshot_is_that_of_the_whole_log(damaged: int) -> None:
    """The newest that covers nothing beyond what is committed, else an older one, else the log."""
    at = Deployed(log=log_of())
    stage = stage_at(at)
    expected = plain(started(stage_at(at), 150).judge)
    for offset in (60, 120, 180):
        started(stage, offset)
        keep(stage, offset)
    for offset in (120, 60)[:damaged]:
        damage(at, f"{offset:016d}")
    at.told.clear()
    seen: list[int] = []
    read = at.read

    def reading(topic: str, partition: int, start: int, *rest: Any, **how: Any) -> Any:
        seen.append(start)
        return read(topic, partition, start, *rest, **how)

    at.read = reading  # type: ignore[method-assign]
    again = started(stage_at(at), 150)
    assert plain(again.judge) == expected
    assert seen == [(120, 60, 0)[damaged]]
    assert len(at.told) == damaged
    assert again.positions() == {TOPICS.buckets: 150}


def test_what_was_learnt_of_other_monitors_is_not_gone_on_with() -> None:
    """The log is judged by the new ones, and why is told."""
    at = Deployed(log=log_of())
    stage = stage_at(at)
    started(stage, 100)
    keep(stage, 100)
    at.pipeline = pipeline(monitors=[Drift(features=("amount",), bucket="2h")], lateness="0s")
    assert started(stage_at(at), 150).judge.sealer._lengths_ms == {0: 7_200_000}
    (why,) = at.told
    assert why.startswith("it is of monitors")


def test_a_snapshot_that_no_judge_comes_out_of_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where it names a class that is no more: an older one is taken."""
    at = Deployed(log=log_of())
    stage = stage_at(at)
    for offset in (60, 120):
        started(stage, offset)
        keep(stage, offset)

    def failing(snapshot: Any) -> Any:
        if snapshot.offsets[0] == 120:
            raise StreamprocError("the judge in it cannot be read")
        return thawed(snapshot)

    monkeypatch.setattr("agents.alerts.thawed", failing)
    expected = plain(started(stage_at(Deployed(log=at.log)), 150).judge)
    at.told.clear()
    assert plain(started(stage_at(at), 150).judge) == expected
    assert at.told == ["the judge in it cannot be read"]


def test_sums_that_were_deleted_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    """What remains is judged."""
    started(stage_at(Deployed(log=log_of(), first=40)), 150)
    assert "sums_deleted" in capsys.readouterr().out
    started(stage_at(Deployed(log=log_of())), 150)
    assert "sums_deleted" not in capsys.readouterr().out


def idle(at: Any, *places: Place) -> frozenset[Place]:
    """Return which of these partitions are idle."""
    lag = Lag(at)
    assert lag.answer() is None
    lag.ask(places)
    until_s = time.monotonic() + 10
    while (found := lag.answer()) is None:
        assert time.monotonic() < until_s
        time.sleep(0.001)
    return found


DRIFT, BIAS = ("drift", 1), ("bias", 1)
WAY = {DRIFT: [TOPICS.events, TOPICS.predictions]}
WAY[BIAS] = [TOPICS.events, str(TOPICS.labels), TOPICS.outcomes]


@pytest.mark.parametrize("place", [DRIFT, BIAS])
def test_a_partition_is_idle_where_all_on_the_way_to_the_judge_is_read(place: Place) -> None:
    """An input is looked at before what is made of it, its end before what is committed."""
    at, way = Deployed(), WAY[place]
    at.ends = {(topic, 1): 7 for topic in way}
    at.committed = dict(at.ends)
    assert idle(at, place) == {place}
    assert at.asked == [said for topic in way for said in (f"end {topic}", f"committed {topic}")]
    for topic in way:
        at.committed[topic, 1] = 6
        assert idle(at, place) == set(), topic
        at.markers = {(topic, 1)}  # what is left are markers of transactions
        assert idle(at, place) == {place}, topic
        at.committed[topic, 1], at.markers = 7, set()


def test_a_partition_that_never_had_anything_is_idle() -> None:
    """Nothing is committed for it, and nothing is due."""
    assert idle(Deployed(), DRIFT, BIAS, ("drift", 0)) == {DRIFT, BIAS, ("drift", 0)}


def test_nobody_is_idle_where_the_brokers_do_not_say(capsys: pytest.CaptureFixture[str]) -> None:
    """The judge waits, and asks again."""
    assert idle(Deployed(failing=TOPICS.predictions), DRIFT) == set()
    assert "lag_unknown" in capsys.readouterr().out
