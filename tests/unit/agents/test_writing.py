"""Transactions, with brokers that do as they are told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from agents.writing import MOST_RECORDS, ExactlyOnce, Lost
from streamproc.errors import StreamprocError
from streamproc.tasks.records import Out

CARDS = TP("cards", 0)


def error(code: int, retriable: bool = False, abort: bool = False) -> KafkaException:
    """Return what librdkafka raises."""
    return KafkaException(KafkaError(code, "told to", False, retriable, abort))


class Brokers:
    """What is committed, and what the next calls are to fail with."""

    def __init__(self) -> None:
        self.committed: list[tuple[list[bytes], dict[tuple[str, int], int], Any]] = []
        self.fails: dict[str, list[KafkaException]] = {}
        self.calls: list[str] = []
        self.producers = 0
        self.hangs: threading.Event | None = None
        self.taken: threading.Event | None = None

    def producer(self) -> Any:
        """Return a new producer."""
        self.producers += 1
        return Producer(self)

    def call(self, name: str) -> None:
        """Remember a call, and fail where told to."""
        self.calls.append(name)
        if self.fails.get(name):
            raise self.fails[name].pop(0)


class Producer:
    """A transactional producer of those brokers."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._values: list[bytes] = []
        self._offsets: dict[tuple[str, int], int] = {}
        self._group: Any = None

    def init_transactions(self, timeout: float) -> None:
        """Take the name; it may have to wait."""
        if self._brokers.taken is not None:
            self._brokers.taken.wait(10)
        self._brokers.call("init")

    def begin_transaction(self) -> None:
        """Begin."""
        self._values, self._offsets, self._group = [], {}, None
        self._brokers.call("begin")

    def produce_batch(self, topic: str, batch: list[Any], partition: int) -> int:
        """Keep them."""
        self._values += [each["value"] for each in batch]
        return len(batch)

    def produce(
        self, topic: str, value: bytes, key: Any, partition: int, headers: list[Any]
    ) -> None:
        """Keep it."""
        self._values.append(value)

    def send_offsets_to_transaction(self, offsets: list[Any], group: Any, timeout: float) -> None:
        """Keep them; the first time it may hang."""
        hangs, self._brokers.hangs = self._brokers.hangs, None
        if hangs is not None:
            hangs.wait(10)
        self._brokers.call("offsets")
        self._offsets = {(each.topic, each.partition): each.offset for each in offsets}
        self._group = group

    def commit_transaction(self, timeout: float) -> None:
        """Commit."""
        self._brokers.call("commit")
        self._brokers.committed.append((self._values, self._offsets, self._group))

    def abort_transaction(self, timeout: float) -> None:
        """Abort."""
        self._brokers.call("abort")


class Rig:
    """A writer on those brokers."""

    def __init__(self, start: bool = True) -> None:
        self.brokers = Brokers()
        self.group: str | None = "member of generation 1"
        self.writer = ExactlyOnce(self.brokers.producer, lambda: self.group, "w1")
        if start:
            self.writer.start()

    async def write(self, *values: bytes) -> None:
        """Write some values."""
        await self.writer.write("scores", 0, [Out(key=None, value=value) for value in values])

    def go(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a scenario."""
        asyncio.run(asyncio.wait_for(scenario(), 10))


def test_outputs_and_offsets_are_committed_together_in_order() -> None:
    """With the metadata of the assignment; what comes meanwhile is for the next transaction."""
    rig = Rig()

    async def scenario() -> None:
        await rig.write(b"1", b"2")
        letter = Out(key=None, value=b"3", headers=[("reason", b"late")])
        await rig.writer.write("dead", 0, [letter])
        assert await rig.writer.commit({CARDS: 3})
        await rig.write(b"4")
        assert await rig.writer.commit({CARDS: 4})
        await rig.writer.finish()
        assert not await rig.writer.commit({})

    rig.go(scenario)
    member = "member of generation 1"
    assert rig.brokers.committed == [
        ([b"1", b"2", b"3"], {("cards", 0): 3}, member),
        ([b"4"], {("cards", 0): 4}, member),
    ]


def test_what_may_help_is_tried_again_and_commits_once() -> None:
    """A call that timed out is made again, and nothing is aborted."""
    rig = Rig()
    rig.brokers.fails["commit"] = [error(KafkaError._TIMED_OUT, retriable=True)] * 3

    async def scenario() -> None:
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        await rig.writer.finish()

    rig.go(scenario)
    assert [values for values, _, _ in rig.brokers.committed] == [[b"1"]]
    assert rig.brokers.calls == ["init", "begin", "offsets", *["commit"] * 4]


def test_a_member_that_was_evicted_aborts_and_says_that_state_is_ahead() -> None:
    """The brokers refuse its generation."""
    rig = Rig()
    rig.brokers.fails["offsets"] = [error(KafkaError.ILLEGAL_GENERATION, abort=True)]

    async def scenario() -> None:
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        with pytest.raises(Lost):
            await rig.writer.finish()

    rig.go(scenario)
    assert rig.brokers.committed == []
    assert rig.brokers.calls[-1] == "abort"


def test_without_partitions_nothing_is_committed() -> None:
    """Metadata without a member would be taken by the brokers, and fence nobody."""
    rig = Rig()
    rig.group = None

    async def scenario() -> None:
        await rig.write(b"1")
        with pytest.raises(Lost):
            await rig.writer.commit({CARDS: 1})

    rig.go(scenario)
    assert rig.brokers.calls == ["init"]


def test_whoever_has_our_name_ends_us_with_a_word() -> None:
    """Once it may have been a worker who took us for dead; twice it is somebody of our name.

    Else two processes push each other out for ever.
    """
    rig = Rig()
    rig.brokers.fails["commit"] = [error(KafkaError._FENCED), error(KafkaError._FENCED)]

    async def scenario() -> None:
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        with pytest.raises(Lost):
            await rig.writer.finish()
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        with pytest.raises(StreamprocError, match="another process took the name 'w1'"):
            await rig.writer.finish()

    rig.go(scenario)
    assert (rig.brokers.committed, rig.brokers.producers) == ([], 2)


def test_a_transaction_that_expired_is_begun_anew_by_a_new_producer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The brokers have aborted it, and fenced us, because it took too long: a pause, say."""
    monkeypatch.setattr("agents.writing._CALL_S", 0.0)
    rig = Rig()
    rig.brokers.fails["commit"] = [error(KafkaError._FENCED)]

    async def scenario() -> None:
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        with pytest.raises(Lost):
            await rig.writer.finish()
        monkeypatch.setattr("agents.writing._CALL_S", 5.0)
        await rig.write(b"2")
        await rig.writer.commit({CARDS: 1})
        await rig.writer.finish()

    rig.go(scenario)
    assert [values for values, _, _ in rig.brokers.committed] == [[b"2"]]
    assert (rig.brokers.producers, rig.brokers.calls.count("init")) == (2, 2)


def test_brokers_without_transactions_are_told_of_with_the_remedy() -> None:
    """At the start, in one line."""
    brokers = Brokers()
    brokers.fails["init"] = [error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)]
    with pytest.raises(StreamprocError, match="STREAMPROC_GUARANTEE=at_least_once"):
        ExactlyOnce(brokers.producer, lambda: None, "w1").start()


def test_the_name_is_taken_while_the_rest_starts() -> None:
    """The first transaction waits for it; where it can't be had, that is told."""
    for refused in (False, True):
        rig = Rig(start=False)
        taken = rig.brokers.taken = threading.Event()
        if refused:
            rig.brokers.fails["init"] = [error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)]

        async def scenario(rig: Rig = rig, taken: threading.Event = taken) -> None:
            rig.writer.start_meanwhile()
            await rig.write(b"1")
            await rig.writer.commit({CARDS: 1})
            await asyncio.sleep(0.05)
            assert rig.brokers.calls == []
            taken.set()
            await rig.writer.finish()

        if refused:
            with pytest.raises(StreamprocError, match="STREAMPROC_GUARANTEE=at_least_once"):
                rig.go(scenario)
        else:
            rig.go(scenario)
            assert rig.brokers.calls == ["init", "begin", "offsets", "commit"]


def test_what_waits_for_a_slow_transaction_is_bounded() -> None:
    """With many records waiting, writing waits for the one on its way; its end is told by check."""
    rig = Rig()
    rig.brokers.fails["commit"] = [error(KafkaError.ILLEGAL_GENERATION, abort=True)]

    async def scenario() -> None:
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        await rig.write(*[b"2"] * MOST_RECORDS)
        assert not rig.writer.due(1.0)
        await rig.write(b"3")
        with pytest.raises(Lost):
            rig.writer.check()
        assert rig.writer.due(1.0)

    rig.go(scenario)


def test_a_producer_that_does_not_come_back_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call hangs; the next one takes the name, and what the old one says then is no news."""
    monkeypatch.setattr("agents.writing.STUCK_S", 0.05)
    monkeypatch.setattr("agents.writing._LOOK_S", 0.01)
    rig, hanging = Rig(), threading.Event()
    rig.brokers.hangs = hanging

    async def scenario() -> None:
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        with pytest.raises(Lost):
            await rig.writer.finish()
        rig.brokers.fails["commit"] = [error(KafkaError._FENCED)]
        hanging.set()
        while rig.brokers.fails["commit"]:
            await asyncio.sleep(0.001)
        await rig.write(b"2")
        await rig.writer.commit({CARDS: 1})
        await rig.writer.finish()

    rig.go(scenario)
    assert [values for values, _, _ in rig.brokers.committed] == [[b"2"]]
    assert (rig.brokers.producers, rig.brokers.calls.count("init")) == (2, 2)


def test_a_transaction_after_a_long_silence_is_not_taken_for_stuck() -> None:
    """Its thread may not have begun when it is looked at."""
    rig = Rig()
    rig.writer._called_s = float("-inf")  # the last call was long ago

    async def scenario() -> None:
        await rig.write(b"1")
        await rig.writer.commit({CARDS: 1})
        rig.writer.check()
        await rig.writer.finish()

    rig.go(scenario)
    assert [values for values, _, _ in rig.brokers.committed] == [[b"1"]]
    assert rig.brokers.producers == 1


def test_what_was_computed_before_a_loss_is_dropped_with_it() -> None:
    """It was made from state that the log does not know."""
    rig = Rig()

    async def scenario() -> None:
        await rig.write(b"1")
        rig.writer.drop()
        await rig.write(b"2")
        await rig.writer.commit({CARDS: 1})
        await rig.writer.finish()

    rig.go(scenario)
    assert [values for values, _, _ in rig.brokers.committed] == [[b"2"]]
