"""Writing what tasks want written, together with the offsets of what it was made from.

Two guarantees: at least once, where offsets are committed after what was made of them has arrived;
and exactly once, where both go into one transaction (KIP-98, KIP-447).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Producer as KafkaProducer
from faust.types import TP

from streamproc.errors import StreamprocError
from streamproc.tasks.records import Out

log = structlog.get_logger("writing")

COMMIT_EVERY_S = 0.5
"""How often offsets are committed at least once: as soon as all that was written has arrived."""

COMMIT_WITHIN_S = 2.0
"""How often at least; where more is written all the time, rounds stand still until it arrived."""

TRANSACTION_EVERY_S = 0.02
"""How long at least from the beginning of one transaction to that of the next."""

REKEYED_TRANSACTION_EVERY_S = 0.04
"""The same where windows are re-keyed: a transaction has eight partitions and more besides then."""

TRANSACTION_TIMEOUT_S = 10.0
"""After what time the brokers abort a transaction; readers of the outputs wait so long for it."""

MOST_RECORDS = 20_000
"""With so many records for the next transaction, rounds wait for the one on its way."""

_FLUSH_S = 1.0
STUCK_S = 10.0
"""A call that takes so long, twice its time limit, will not return."""

_TWINS_S = 30.0  # two of one name push each other out more often than that
_CALL_S = 5.0
_INIT_S = 1.0  # and again: a ctrl-C has to wait for it
_LOOK_S = 0.5

Written = dict[tuple[str, int], list[Out]]
"""What is to be written, in order, by topic and partition."""


class Lost(Exception):  # noqa: N818  it is not an error of anybody's
    """A transaction was aborted: tasks know more than the log does, so they are to be restored."""


class Writer(Protocol):
    """What the runner writes by.

    ``round_every_s`` is how long at least a round and the wait for the next take together, unless
    there is a backlog.
    """

    round_every_s: float

    async def write(self, topic: str, partition: int, records: list[Out]) -> None:
        """Write records, in order, or see to it; may wait for room."""

    @property
    def settled(self) -> bool:
        """Whether what was committed is known to be; checked last by :meth:`check`."""

    def due(self, since_s: float) -> bool:
        """Say whether to commit, so many seconds after the last time."""

    async def commit(self, offsets: dict[TP, int]) -> bool:
        """Commit offsets with what was written; return whether that was done, or has begun."""

    async def finish(self) -> None:
        """Wait for what has begun. Raises :class:`Lost`."""

    def check(self) -> None:
        """Serve the producer; raise what went wrong since the last time."""

    def drop(self) -> None:
        """Forget what was to be written and has not begun to be."""

    def stop(self) -> None:
        """Wait for brokers no longer."""


class AtLeastOnce:
    """Writes at once; ``commit_offsets`` is called with offsets whose outputs have arrived."""

    round_every_s = 0.004

    def __init__(
        self, producer: KafkaProducer, commit_offsets: Callable[[dict[TP, int]], None]
    ) -> None:
        self._producer = producer
        self.commit_offsets = commit_offsets
        self._failed: str | None = None
        self._stopping = False

    async def write(self, topic: str, partition: int, records: list[Out]) -> None:
        """Hand records to librdkafka, in order; wait where its queue is full."""
        for step in steps(self._producer, topic, partition, records, self._delivered):
            if step:
                await asyncio.to_thread(self._producer.poll, 0.05)
                if self._stopping:
                    raise StreamprocError(
                        "stopped while the brokers took nothing; what came since the last commit "
                        "is processed when the worker starts again"
                    )

    @property
    def settled(self) -> bool:
        """True: nothing is taken back, and a commit that fails is made up for by the next."""
        return True

    def due(self, since_s: float) -> bool:
        """Say whether all has arrived, or it is time to wait for that."""
        return since_s >= COMMIT_WITHIN_S or (since_s >= COMMIT_EVERY_S and not len(self._producer))

    async def commit(self, offsets: dict[TP, int]) -> bool:
        """Flush what was written, then commit the offsets of what it was made from."""
        left = len(self._producer)
        if left:
            left = await asyncio.to_thread(self._producer.flush, _FLUSH_S)
        self.check()
        if left:
            log.warning("broker_slow", unwritten_records=left)
            return False
        if offsets:
            self.commit_offsets(offsets)
        return True

    async def finish(self) -> None:
        """Do nothing: what was committed is committed."""

    def check(self) -> None:
        """Raise what kept a record from being written."""
        self._producer.poll(0)
        if self._failed:
            raise StreamprocError(
                f"a record could not be written to {self._failed}; nothing after the last commit "
                "is lost: mend the topic and start the worker again"
            )

    def drop(self) -> None:
        """Do nothing: all was written at once."""

    def stop(self) -> None:
        """Wait for room no longer."""
        self._stopping = True

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None and self._failed is None:
            self._failed = f"{message.topic()}/{message.partition()}: {error.str()}"


class ExactlyOnce:
    """Writes in transactions, one at a time, while the next is being computed.

    ``new_producer`` makes a transactional producer; ``group`` returns the group's metadata as of
    the assignment, or None where there is none: nothing is committed then, since metadata without
    a member would be taken by the brokers, and fence nobody. ``every_s`` is how long at least from
    the beginning of one transaction to that of the next.
    """

    def __init__(
        self,
        new_producer: Callable[[], KafkaProducer],
        group: Callable[[], Any],
        instance: str,
        every_s: float = TRANSACTION_EVERY_S,
    ) -> None:
        self._every_s = every_s
        # What a round writes waits for the next transaction: fewer, larger rounds come no later.
        self.round_every_s = every_s / 2
        self._new_producer = new_producer
        self._producer = new_producer()
        self.group = group
        self._instance = instance
        self._pending: Written = {}
        self._records = 0
        self._running: asyncio.Task[None] | None = None
        self._taking: Future[None] | None = None
        self._called_s = 0.0
        self._fenced_s = float("-inf")
        self._stopping = False

    def start(self) -> None:
        """Take the name: whoever had it is fenced, and its open transaction aborted."""
        try:
            self._until_done(lambda: self._producer.init_transactions(_INIT_S))
        except KafkaException as error:
            raise StreamprocError(
                f"no transactions on these brokers ({error.args[0].str()}); see their log, or set "
                "STREAMPROC_GUARANTEE=at_least_once"
            ) from error

    def start_meanwhile(self) -> None:
        """Do as :meth:`start` does in a thread; the first transaction waits for it.

        Half a second goes by where the name's last transaction has to be aborted first.
        """
        self._taking = ThreadPoolExecutor(1, "name").submit(self.start)

    async def write(self, topic: str, partition: int, records: list[Out]) -> None:
        """Keep records for the next transaction; wait where it is full already."""
        self._pending.setdefault((topic, partition), []).extend(records)
        self._records += len(records)
        while self._records > MOST_RECORDS and self._running and not self._running.done():
            await asyncio.wait({self._running}, timeout=_LOOK_S)
            self._free_stuck()  # what became of it is for check() to tell

    @property
    def settled(self) -> bool:
        """Whether no transaction is on its way."""
        return self._running is None

    def due(self, since_s: float) -> bool:
        """Say whether the last transaction is over and the next may begin."""
        return since_s >= self._every_s and self._running is None

    async def commit(self, offsets: dict[TP, int]) -> bool:
        """Begin the transaction of all that is to be written, and these offsets."""
        await self.finish()
        if not offsets and not self._pending:
            return False
        group = self.group()
        if group is None:
            raise Lost("the partitions were taken away")
        written, self._pending, self._records = self._pending, {}, 0
        self._called_s = time.monotonic()
        self._running = asyncio.create_task(
            asyncio.to_thread(self._transact, written, offsets, group)
        )
        return True

    async def finish(self) -> None:
        """Wait for the transaction on its way."""
        while self._running is not None and not self._running.done():
            await asyncio.wait({self._running}, timeout=_LOOK_S)
            self._free_stuck()
        self.check()

    def check(self) -> None:
        """Raise what ended the last transaction, if it is over, or what kept the name from us."""
        self._free_stuck()
        if self._taking is not None and self._taking.done():
            taking, self._taking = self._taking, None
            taking.result()
        if self._running is not None and self._running.done():
            running, self._running = self._running, None
            running.result()

    def drop(self) -> None:
        """Forget what was to be written."""
        self._pending, self._records = {}, 0

    def _free_stuck(self) -> None:
        """Leave a producer alone that does not come back, and begin anew with another.

        A call that sends offsets may never return when the group's coordinator went away
        (librdkafka #5456, #5511). The new producer fences the old one.
        """
        running = self._running
        if running is None or running.done() or time.monotonic() - self._called_s < STUCK_S:
            return
        log.warning("transaction_stuck", after_s=STUCK_S)
        running.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._called_s = time.monotonic()
        self._running = asyncio.create_task(
            asyncio.to_thread(self._replace, "it did not come back")
        )

    def _renew(self) -> None:
        """Take the name anew, by a new producer: one that outlived an absence may get stuck."""
        self._producer = self._new_producer()
        self.start()

    def _replace(self, why: str) -> None:
        """Go on by a new producer; what the old one had not committed is aborted, and lost."""
        self._renew()
        raise Lost(why)

    def stop(self) -> None:
        """Try again no longer."""
        self._stopping = True

    def _transact(self, written: Written, offsets: dict[TP, int], group: Any) -> None:
        taking = self._taking
        if taking is not None:
            taking.result()
        began_s = time.monotonic()
        producer = self._producer
        try:
            producer.begin_transaction()
            for (topic, partition), records in written.items():
                for step in steps(producer, topic, partition, records, None):
                    if step:
                        producer.poll(0.05)
            if offsets:
                to_send = [TopicPartition(*tp, at) for tp, at in offsets.items()]
                self._until_done(
                    lambda: producer.send_offsets_to_transaction(to_send, group, _CALL_S)
                )
            self._until_done(lambda: producer.commit_transaction(_CALL_S))
            if time.monotonic() - began_s > _CALL_S and producer is self._producer:
                self._renew()
        except KafkaException as error:
            if producer is self._producer:  # else it was left alone, and this is no news
                self._abort(error.args[0], time.monotonic() - began_s)

    def _abort(self, error: KafkaError, took_s: float) -> None:
        """Abort the transaction and raise :class:`Lost`, or say who has our name."""
        log.warning("transaction_aborted", error=error.str(), after_s=round(took_s, 2))
        if took_s > _CALL_S:
            self._replace(error.str())
        if error.txn_requires_abort():
            with suppress(KafkaException):  # then the brokers do it when it times out
                self._until_done(lambda: self._producer.abort_transaction(_CALL_S))
                raise Lost(error.str())
        if error.code() in _FENCED and self._fenced_lately():
            raise StreamprocError(
                f"another process took the name {self._instance!r}, which is this worker's; give "
                "each its own STREAMPROC_INSTANCE"
            )
        self._replace(error.str())

    def _fenced_lately(self) -> bool:
        """Say whether this is the second time; once it may have been who took us for dead."""
        last_s, self._fenced_s = self._fenced_s, time.monotonic()
        return self._fenced_s - last_s < _TWINS_S

    def _until_done(self, call: Callable[[], object]) -> None:
        """Call until it succeeds, as long as the error says that this may help."""
        while True:
            try:
                self._called_s = time.monotonic()
                call()
                return
            except KafkaException as error:
                if self._stopping or not error.args[0].retriable():
                    raise
                log.warning("transaction_waits", error=error.args[0].str())


_FENCED = (
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
)


def steps(
    producer: KafkaProducer,
    topic: str,
    partition: int,
    records: list[Out],
    on_delivery: Callable[[Any, Any], None] | None,
) -> Any:
    """Hand records to librdkafka, in order; yield True wherever there is no room."""
    more: dict[str, Any] = {} if on_delivery is None else {"on_delivery": on_delivery}
    batch: list[Any] = []
    for record in records:
        if "headers" not in record:
            batch.append(record)
            continue
        yield from _batch_steps(producer, topic, partition, batch, more)
        batch = []
        while True:
            try:
                headers: list[Any] = list(record["headers"])
                producer.produce(
                    topic, record["value"], record["key"], partition, headers=headers, **more
                )
                break
            except BufferError:
                yield True
    yield from _batch_steps(producer, topic, partition, batch, more)


def _batch_steps(
    producer: KafkaProducer, topic: str, partition: int, batch: list[Any], more: dict[str, Any]
) -> Any:
    while batch:
        with suppress(BufferError):  # what did not go in says so itself
            producer.produce_batch(topic, batch, partition=partition, **more)
        left = [(record, record.pop("_error", None)) for record in batch]
        for _, error in left:
            if isinstance(error, KafkaError) and error.code() != KafkaError._QUEUE_FULL:
                raise KafkaException(error)  # to try it again would be for ever
        batch = [record for record, error in left if error is not None]
        if batch:
            yield True
