"""The poller, with a librdkafka that does as it is told."""

from __future__ import annotations

from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from agents import poller as poller_module
from agents.poller import Batch, Poller
from streamproc.errors import StreamprocError

CARDS = TP("cards", 0)
LABELS = TP("labels", 0)


class Message:
    """A record, or an error in place of one."""

    def __init__(self, tp: TP, offset: int, error: int | None = None) -> None:
        self._tp, self._offset, self._error = tp, offset, error

    def topic(self) -> str:
        """Return the topic."""
        return str(self._tp.topic)

    def partition(self) -> int:
        """Return the partition."""
        return int(self._tp.partition)

    def offset(self) -> int:
        """Return the offset."""
        return self._offset

    def error(self) -> KafkaError | None:
        """Return what went wrong."""
        return None if self._error is None else KafkaError(self._error)


class Rdkafka:
    """Remembers what it was asked for."""

    def __init__(self, committed: dict[TP, int] | None = None) -> None:
        self.known = committed or {}
        self.calls: list[tuple[str, Any]] = []
        self.script: list[Any] = []
        self.held_up = False
        self.refusals: list[int] = []

    def consumer_group_metadata(self) -> str:
        """Return what tells a member of this generation."""
        return "member"

    def memberid(self) -> str:
        """Return the member's id."""
        return "m-1"

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        """Remember."""
        self.calls.append(("subscribe", topics))

    def unsubscribe(self) -> None:
        """Remember."""
        self.calls.append(("unsubscribe", None))

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        """Return the committed offsets, -1001 where there is none."""
        if self.held_up:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if self.refusals:
            raise KafkaException(KafkaError(self.refusals.pop(0)))
        for each in partitions:
            each.offset = self.known.get(TP(each.topic, each.partition), -1001)
        return partitions

    def _note(self, what: str, partitions: list[Any]) -> None:
        self.calls.append((what, {(p.topic, p.partition): p.offset for p in partitions}))

    def assign(self, partitions: list[Any]) -> None:
        """Remember."""
        self._note("assign", partitions)

    def pause(self, partitions: list[Any]) -> None:
        """Remember."""
        self._note("pause", partitions)

    def resume(self, partitions: list[Any]) -> None:
        """Remember."""
        self._note("resume", partitions)

    def commit(self, offsets: list[Any], asynchronous: bool) -> list[Any]:
        """Remember."""
        self._note("commit", offsets)
        return offsets

    def poll(self, timeout: float) -> Any:
        """Return the next message; an entry that is a function is a rebalance, served here."""
        return self._next()

    def consume(self, count: int, timeout: float) -> list[Any]:
        """Return the next message as a list."""
        message = self._next()
        return [] if message is None else [message]

    def _next(self) -> Any:
        if not self.script:
            return None
        step = self.script.pop(0)
        return step() if callable(step) else step

    def close(self) -> None:
        """Remember."""
        self.calls.append(("close", None))

    def get_watermark_offsets(self, tp: Any, cached: bool) -> tuple[int, int]:
        """Return that a thousand records are there."""
        return 0, 1000


class Done:
    """A future that is done, or fails, and tells when it was waited for."""

    def __init__(self, calls: list[tuple[str, Any]]) -> None:
        self.calls = calls

    def result(self, timeout: float) -> None:
        """Remember."""
        self.calls.append(("waited", None))


class Rig:
    """A poller without its thread."""

    def __init__(self, committed: dict[TP, int] | None = None) -> None:
        self.delivered: list[tuple[int, list[Batch]]] = []
        self.rebalances: list[tuple[str, set[TP], int]] = []
        self.progress: dict[TP, int] = {}
        self.starts: dict[TP, int] = {}
        self.left: list[str] = []
        self.ended = 0
        loop: Any = self
        self.poller = Poller(
            {"group.id": "g", "bootstrap.servers": "127.0.0.1:1", "log_level": 0},
            loop, lambda *each: self.delivered.append(each), self.rebalanced,
            lambda offsets: {**offsets, **self.starts}, self.progress, self.end_open,
            self.left.append, lambda error: None,
        )  # fmt: skip
        self.poller.consumer.close()
        self.kafka: Any = Rdkafka(committed)
        setattr(self.poller, "consumer", self.kafka)  # noqa: B010

    def end_open(self) -> None:
        """End the transaction that holds the committed offsets up."""
        self.ended += 1
        self.kafka.held_up = False

    def rebalanced(self, what: str, tps: set[TP], generation: int) -> Done:
        """Remember."""
        self.rebalances.append((what, tps, generation))
        return Done(self.kafka.calls)

    def call_soon_threadsafe(self, call: Any, *args: Any) -> None:
        """Call now."""
        call(*args)

    def assign(self, *tps: TP) -> None:
        """Let librdkafka assign partitions."""
        self.poller._assign(self.kafka, [confluent_kafka.TopicPartition(*tp) for tp in tps])


def test_partitions_are_read_from_where_they_were_committed_or_told_to() -> None:
    """Committed offsets, the earliest where there is none, and what the stages say first."""
    rig = Rig({CARDS: 7})
    rig.starts = {TP("learn", 0): 3}
    rig.assign(CARDS, LABELS, TP("learn", 0))
    expected = {("cards", 0): 7, ("labels", 0): confluent_kafka.OFFSET_BEGINNING, ("learn", 0): 3}
    assert rig.kafka.calls == [("assign", expected)]
    assert rig.poller.offsets == {CARDS: 7, LABELS: 0, TP("learn", 0): 3}
    assert rig.rebalances == [("assigned", {CARDS, LABELS, TP("learn", 0)}, 1)]


def test_offsets_are_committed_before_partitions_are_given_up() -> None:
    """The handlers run first, and what they ask to be committed is, before another may read."""
    rig = Rig()
    rig.assign(CARDS, LABELS)
    rig.poller.commit({CARDS: 5})
    rig.poller.commit({CARDS: 9, LABELS: 2})
    rig.poller._revoke(rig.kafka, [confluent_kafka.TopicPartition(*CARDS)])
    assert rig.kafka.calls[1:] == [
        ("waited", None),
        ("commit", {("cards", 0): 9, ("labels", 0): 2}),
    ]
    assert (rig.poller.assigned, rig.rebalances[-1]) == ({LABELS}, ("revoked", {CARDS}, 2))


def test_a_fetch_becomes_a_batch_a_partition() -> None:
    """In the log's order; caught up where the end of the log was seen last."""
    rig = Rig()
    rig.assign(CARDS, LABELS)
    end = KafkaError._PARTITION_EOF
    rig.poller._deliver(
        [
            Message(CARDS, 1),
            Message(LABELS, 4),
            Message(CARDS, 2),
            Message(CARDS, 3, end),
            Message(LABELS, 5, end),
            Message(LABELS, 5),
        ]
    )
    ((generation, batches),) = rig.delivered
    found = {b.topic: ([r.offset() for r in b.records], b.caught_up, b.end) for b in batches}
    assert (generation, found) == (
        1,
        {"cards": ([1, 2], True, 1000), "labels": ([4, 5], False, 1000)},
    )


def test_batches_join_without_a_gap_whatever_offsets_the_log_leaves_out() -> None:
    """Each starts where the one before ended; the first where the partition is read from."""
    rig = Rig({CARDS: 7})
    rig.assign(CARDS)
    end = KafkaError._PARTITION_EOF
    for some in ([Message(CARDS, 9)], [Message(CARDS, 12, end)], [Message(CARDS, 12)]):
        rig.poller._deliver(some)
    found = [(b.start, b.next_offset) for _, (b,) in rig.delivered]
    assert found == [(7, 10), (10, 10), (10, 13)]
    assert rig.poller.offsets == {CARDS: 7}, "where reading began, whatever came since"


def test_what_was_fetched_before_a_rebalance_is_not_delivered_after_it() -> None:
    """A rebalance may be served in the middle of a fetch: its first records are not ours then."""
    rig = Rig({CARDS: 7})
    rig.assign(CARDS)

    def rebalance() -> None:
        rig.poller._revoke(rig.kafka, [confluent_kafka.TopicPartition(*CARDS)])
        rig.assign(CARDS)

    rig.kafka.script = [Message(CARDS, 7), rebalance, Message(CARDS, 7), None, rig.poller.stop]
    rig.poller.run()
    found = [(generation, [r.offset() for r in b.records]) for generation, (b,) in rig.delivered]
    assert found == [(3, [7])]


def test_a_dead_workers_transaction_is_ended_where_it_holds_the_offsets_up() -> None:
    """Once, and then the offsets are there."""
    rig = Rig({CARDS: 7})
    rig.kafka.held_up = True
    rig.assign(CARDS)
    assert (rig.ended, rig.poller.offsets) == (1, {CARDS: 7})


def test_a_broker_that_came_back_is_asked_until_it_is_the_coordinator_again() -> None:
    """It says for a while that it is not; what else it says is not waited for."""
    rig = Rig({CARDS: 7})
    rig.kafka.refusals = [KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS] * 2
    rig.assign(CARDS)
    assert (rig.kafka.refusals, rig.poller.offsets) == ([], {CARDS: 7})
    rig.kafka.refusals = [KafkaError._TIMED_OUT, KafkaError.GROUP_AUTHORIZATION_FAILED]
    with pytest.raises(KafkaException):
        rig.assign(CARDS)


def test_the_groups_metadata_is_of_this_assignment_or_none() -> None:
    """Taken when partitions come, dropped when they go: what was computed then is not committed."""
    rig = Rig()
    found = [rig.poller.group]
    rig.assign(CARDS)
    found.append(rig.poller.group)
    rig.poller._revoke(rig.kafka, [confluent_kafka.TopicPartition(*CARDS)])
    assert [*found, rig.poller.group] == [None, "member", None]


def test_asked_to_it_gives_all_up_and_asks_again_and_at_its_end_it_leaves() -> None:
    """The way back to what is committed; and a static member has to say that it goes."""
    rig = Rig()
    rig.poller.subscribe(["cards"])
    rig.poller.rejoin()
    rig.kafka.script = [None, rig.poller.stop]
    rig.poller.run()
    expected = [("subscribe", ["cards"]), ("unsubscribe", None), ("subscribe", ["cards"])]
    assert rig.kafka.calls == [*expected, ("close", None)]
    assert rig.left == ["m-1"]


def test_the_end_of_an_empty_log_is_news() -> None:
    """A partition without records says that it is caught up."""
    rig = Rig()
    rig.assign(CARDS)
    rig.poller._deliver([Message(CARDS, 0, KafkaError._PARTITION_EOF)])
    ((_, (batch,)),) = rig.delivered
    assert (list(batch.records), batch.caught_up) == ([], True)


def test_an_error_that_lasts_ends_the_poller_and_another_does_not() -> None:
    """Bad credentials are fatal; a broker that is away for a while is not."""
    rig = Rig()
    rig.poller._deliver([Message(CARDS, 0, KafkaError._TRANSPORT)])
    with pytest.raises(KafkaException):
        rig.poller._deliver([Message(CARDS, 0, KafkaError._AUTHENTICATION)])


def test_a_partition_that_is_far_ahead_is_paused_and_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than its share waits: paused; a third of it left: resumed; the others are read on."""
    monkeypatch.setattr(poller_module, "QUEUED_RECORDS", 20)
    monkeypatch.setattr(poller_module, "_LEAST_RECORDS", 5)
    rig = Rig()
    rig.assign(CARDS, LABELS)
    rig.poller._deliver([Message(CARDS, n) for n in range(11)] + [Message(LABELS, 0)])
    states = []
    for dealt_with in (0, 5, 8, 9):
        rig.progress[CARDS] = dealt_with
        rig.poller._pause_and_resume()
        states.append([what for what, _ in rig.kafka.calls[1:]])
    assert states == [["pause"], ["pause"], ["pause"], ["pause", "resume"]]
    assert all(list(tps) == [("cards", 0)] for _, tps in rig.kafka.calls[1:])


class FencedMessage(Message):
    """What librdkafka says once the group knows another member by this name."""

    def error(self) -> KafkaError:
        """Return it."""
        return KafkaError(KafkaError._FATAL, "Static consumer fenced by other consumer", True)


def test_a_broker_that_came_back_and_forgot_us_is_joined_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a new consumer, once; without an absence another process has the name, and we end."""
    rig = Rig()
    setattr(rig.poller, "_away_s", float("-inf"))  # noqa: B010  its real consumer may have told
    fenced: Any = FencedMessage(CARDS, 0)
    with pytest.raises(StreamprocError, match="STREAMPROC_INSTANCE"):
        rig.poller._deliver_unless_fenced([fenced])
    anew = Rdkafka()
    monkeypatch.setattr("agents.poller.confluent_kafka.Consumer", lambda config: anew)
    rig.poller._note_away(KafkaError(KafkaError._TIMED_OUT))
    with pytest.raises(StreamprocError, match="STREAMPROC_INSTANCE"):
        rig.poller._deliver_unless_fenced([fenced])
    rig.poller._note_away(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    rig.poller._deliver_unless_fenced([fenced])
    assert rig.kafka.calls == [("close", None)]
    assert anew.calls == [("subscribe", [])]
    with pytest.raises(StreamprocError, match="STREAMPROC_INSTANCE"):
        rig.poller._deliver_unless_fenced([fenced])
