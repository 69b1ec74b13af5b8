"""Brokers that are a few lists, as librdkafka shows them to a worker: one group, one member."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from faust.types import TP


class Record:
    """A record of a log, or the news that the log ends there."""

    def __init__(self, tp: TP, offset: int, value: bytes | None, end: bool = False) -> None:
        self._tp, self._offset, self._value, self._end = tp, offset, value, end
        self.topic: Callable[[], str] = lambda: str(tp.topic)
        self.partition: Callable[[], int] = lambda: int(tp.partition)
        self.offset: Callable[[], int] = lambda: offset
        self.value: Callable[[], bytes | None] = lambda: value
        self.key: Callable[[], bytes] = lambda: b"key"
        self.timestamp: Callable[[], tuple[int, int]] = lambda: (1, 0)
        self.headers: Callable[[], None] = lambda: None

    def error(self) -> KafkaError | None:
        """Return what librdkafka says at the end of a log."""
        return KafkaError(KafkaError._PARTITION_EOF) if self._end else None


class Brokers:
    """Logs, committed offsets, and a group whose generation the offsets are fenced by."""

    def __init__(self, *tps: TP) -> None:
        self.logs: dict[TP, list[Record]] = {tp: [] for tp in tps}
        self.committed: dict[TP, int] = {}
        self.written: list[tuple[str, bytes]] = []
        self.generation = 0
        self.fails: list[KafkaException] = []
        self.consumer: Consumer | None = None

    def append(self, tp: TP, records: dict[int, bytes]) -> None:
        """Append records, by their offsets, and let whoever polls know."""
        self.logs[tp] += [Record(tp, offset, value) for offset, value in records.items()]
        if self.consumer is not None:
            self.consumer.woken.set()

    def values(self, topic: str) -> list[bytes]:
        """Return what a reader of committed records sees in a topic."""
        return [value for at, value in self.written if at == topic]

    def new_consumer(self, config: dict[str, Any]) -> Consumer:
        """Stand in for ``confluent_kafka.Consumer``."""
        self.consumer = Consumer(self, config)
        return self.consumer

    def new_producer(self, config: dict[str, Any]) -> Producer:
        """Stand in for ``confluent_kafka.Producer``."""
        return Producer(self, transactional="transactional.id" in config)

    def rebalance(self, lost: bool = False) -> None:
        """Take all partitions away, and give them back under the next generation."""
        assert self.consumer is not None
        self.consumer.leave(lost)
        self.consumer.join()


class Consumer:
    """The group's one member: answers rebalances, and hands out records, in ``poll``."""

    def __init__(self, brokers: Brokers, config: dict[str, Any]) -> None:
        self._brokers = brokers
        self._tells_ends = bool(config.get("enable.partition.eof"))
        self._steps: deque[Callable[[], None]] = deque()
        self._at: dict[TP, int] = {}
        self._told: dict[TP, int] = {}
        self._fetched: list[Record] = []
        self._on: dict[str, Callable[[Any, list[Any]], None]] = {}
        self.woken = threading.Event()
        self.idle_polls = 0

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        """Join the group."""
        self._on = callbacks
        self.join()

    def unsubscribe(self) -> None:
        """Leave it."""
        self.leave(lost=False)

    def join(self) -> None:
        """Assign all partitions in one of the next polls."""
        self._steps.append(self._assigned)
        self.woken.set()

    def leave(self, lost: bool) -> None:
        """Revoke all in one of the next polls."""
        self._steps.append(lambda: self._revoked("on_lost" if lost else "on_revoke"))
        self.woken.set()

    def _assigned(self) -> None:
        self._brokers.generation += 1
        self._on["on_assign"](self, [SimpleNamespace(**_fields(tp)) for tp in self._brokers.logs])

    def _revoked(self, callback: str) -> None:
        self._at, self._fetched = {}, []
        self._on[callback](self, [SimpleNamespace(**_fields(tp)) for tp in self._brokers.logs])

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        """Return the committed offsets, -1001 where there is none."""
        for each in partitions:
            each.offset = self._brokers.committed.get(TP(each.topic, each.partition), -1001)
        return partitions

    def assign(self, partitions: list[Any]) -> None:
        """Read from these offsets on."""
        self._at = {TP(each.topic, each.partition): max(0, each.offset) for each in partitions}
        self._told.clear()

    def poll(self, timeout: float) -> Record | None:
        """Serve a rebalance, or return the next record."""
        if self._steps:
            self._steps.popleft()()
            return None
        for tp in self._at:
            self._fetch(tp)
        if self._fetched:
            return self._fetched.pop(0)
        if self.idle_polls > 0:  # the time they take is made to pass
            self.idle_polls -= 1
            return None
        self.woken.wait(timeout)
        self.woken.clear()
        return None

    def _fetch(self, tp: TP) -> None:
        found = [each for each in self._brokers.logs[tp] if each.offset() >= self._at[tp]]
        self._fetched += found
        if found:
            self._at[tp] = found[-1].offset() + 1
        if self._tells_ends and self._told.get(tp) != self._at[tp]:
            self._told[tp] = self._at[tp]
            self._fetched.append(Record(tp, self._at[tp], None, end=True))

    def consume(self, count: int, timeout: float) -> list[Record]:
        """Return what else was fetched."""
        found, self._fetched = self._fetched, []
        return found

    def commit(self, offsets: list[Any], asynchronous: bool = True) -> None:
        """Commit."""
        self._brokers.committed |= {TP(p.topic, p.partition): p.offset for p in offsets}

    def consumer_group_metadata(self) -> int:
        """Return the generation, as of now."""
        return self._brokers.generation

    def get_watermark_offsets(self, tp: Any, cached: bool) -> tuple[int, int]:
        """Return where the log ends."""
        log = self._brokers.logs[TP(tp.topic, tp.partition)]
        return 0, log[-1].offset() + 1 if log else 0

    def memberid(self) -> str:
        """Return no id: there is nobody to tell that this one leaves."""
        return ""

    def close(self) -> None:
        """Do nothing."""


class Producer:
    """Writes at once, or in transactions that the brokers refuse to a stale generation."""

    def __init__(self, brokers: Brokers, transactional: bool) -> None:
        self._brokers, self._transactional = brokers, transactional
        self._values: list[tuple[str, bytes]] = []
        self._offsets: dict[TP, int] = {}

    def __len__(self) -> int:
        """Return that all has arrived."""
        return 0

    def produce_batch(self, topic: str, batch: list[Any], partition: int, **more: Any) -> int:
        """Write records."""
        self._values += [(topic, each["value"]) for each in batch]
        if not self._transactional:
            self.commit_transaction(0)
        return len(batch)

    def produce(self, topic: str, value: bytes, key: Any, partition: int, **more: Any) -> None:
        """Write one."""
        self.produce_batch(topic, [{"value": value}], partition)

    def poll(self, timeout: float) -> int:
        """Return that nothing happened."""
        return 0

    def init_transactions(self, timeout: float) -> None:
        """Do nothing: a name is anybody's here."""

    def begin_transaction(self) -> None:
        """Begin with nothing."""
        self._values, self._offsets = [], {}

    abort_transaction = init_transactions

    def send_offsets_to_transaction(self, offsets: list[Any], group: int, timeout: float) -> None:
        """Keep offsets, unless they come from a member of another generation."""
        if self._brokers.fails:
            raise self._brokers.fails.pop(0)
        if group != self._brokers.generation:
            raise refusal(KafkaError.ILLEGAL_GENERATION)
        self._offsets = {TP(each.topic, each.partition): each.offset for each in offsets}

    def commit_transaction(self, timeout: float) -> None:
        """Write and commit, both or neither."""
        self._brokers.written += self._values
        self._brokers.committed |= self._offsets
        self._values = []


def refusal(code: int) -> KafkaException:
    """Return what librdkafka raises when a transaction has to be aborted, or its producer ends."""
    return KafkaException(KafkaError(code, "told to", False, False, code != KafkaError._FENCED))


def _fields(tp: TP) -> dict[str, Any]:
    return {"topic": tp.topic, "partition": tp.partition, "offset": -1001}
