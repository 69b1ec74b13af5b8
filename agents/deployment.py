"""What the stages of one worker share: the pipeline, where it runs, and how to read topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import orjson
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from agents.reading import LOGGER, Readers
from agents.writing import TRANSACTION_TIMEOUT_S
from streamproc.codec import Codec, JsonCodec
from streamproc.errors import StreamprocError
from streamproc.eventtime import parse_time_ms
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.state.files import Files
from streamproc.state.snapshots import Offsets, Snapshots
from streamproc.tasks.records import Record

_LATELY_RECORDS = 2_000
_READ_TIMEOUT_S = 30.0
_ASK_AGAIN_S = 0.1


class Upstream(Protocol):
    """The stage before one, in the same worker: the same members share the same partitions."""

    def caught_up(self, partition: int) -> bool:
        """Say whether a partition's task, where it is here, has processed all there is."""


def codec_of(pipeline: Pipeline, settings: Settings) -> Codec:
    """Return what a pipeline's messages are written in: JSON, or Avro where a registry is set."""
    if settings.registry is None:
        return JsonCodec()
    from streamproc.kafka.registry import Registry  # its client takes half a second to import

    return Registry(settings.registry).codec(pipeline.topics)


@dataclass(frozen=True)
class Deployment:
    """A pipeline on a cluster; ``partitions`` are the events', ``epoch`` marks this run."""

    pipeline: Pipeline
    settings: Settings
    codec: Codec
    store: Store
    partitions: int
    embedded: bool
    exactly_once: bool
    epoch: int
    topic_ids: Mapping[str, str] = field(default_factory=dict)
    unblock: Callable[[Deployment], None] = lambda at: None  # ends dead workers' transactions
    fresh_model: bool = False
    state_from: str | None = None
    """Where state comes from at first: None is snapshots and the log; see ``agents.restore``."""

    def consumer_config(self) -> dict[str, Any]:
        """Return the configuration of the group's consumer."""
        return {
            **self.settings.kafka_config(),
            "group.id": self.pipeline.name,
            "client.id": self.settings.instance,
            **({} if self.embedded else {"group.instance.id": self.settings.instance}),
            "group.protocol": "classic",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "range",
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_000,
            "fetch.min.bytes": 100_000,
            "fetch.wait.max.ms": 2,
            "fetch.error.backoff.ms": 50,
            # Little is fetched ahead: no partition's records pile up before those of another.
            "queued.min.messages": 1_000,
            # By default a partition that has so much waits a whole second for its next fetch, and
            # with it the learner, who merges all partitions, and with it all the others.
            "fetch.queue.backoff.ms": 2,
            "allow.auto.create.topics": True,
            "topic.metadata.refresh.interval.ms": 5_000,
            "enable.partition.eof": True,
            "logger": LOGGER,
        }

    def producer_config(self) -> dict[str, Any]:
        """Return the configuration of the worker's producer."""
        return {
            **self.settings.kafka_config(),
            "client.id": self.settings.instance,
            # The embedded broker hands out one record batch a fetch: let them grow.
            "linger.ms": 5 if self.embedded else 0.5,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 200_000,
            "message.max.bytes": 20_000_000,
            "partitioner": "murmur2_random",
            "enable.idempotence": not self.embedded,
            "message.timeout.ms": 0,
            "delivery.report.only.error": True,
            "retry.backoff.ms": 20,
            "logger": LOGGER,
        }

    def transactional_config(self, instance: str) -> dict[str, Any]:
        """Return the configuration of the producer that writes as ``instance``, in transactions."""
        return {
            **self.producer_config(),
            "transactional.id": f"{self.pipeline.name}-{instance}",
            "transaction.timeout.ms": int(TRANSACTION_TIMEOUT_S * 1000),
            # The last transaction's markers may not be there yet: ask again soon.
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 20,
            "message.timeout.ms": int(TRANSACTION_TIMEOUT_S * 1000),
        }

    def lately_wrote(self) -> set[str]:
        """Return the instances that wrote the journal's last records."""
        journal = self.pipeline.topics.journal
        # Not what is in a transaction yet: that of a dead worker would be waited for.
        end = self.stable_end_of(journal, 0)
        records = self.read(journal, 0, max(0, end - _LATELY_RECORDS), end, unblock=False)
        return {orjson.loads(record.value() or b"{}").get("instance", "") for record in records}

    def refused(self, partition: int, since: int = 0) -> dict[str, set[int]]:
        """Return, by topic, the offsets of records that were refused and would not be again.

        Their time was ahead, and has come since; or they ended the process. ``since`` is where to
        read the dead letters from.
        """
        topics = self.pipeline.topics
        found: dict[str, set[int]] = {topics.events: set(), topics.labels or "": set()}
        for record in self.read(topics.dead_letters, partition, since, None):
            told = dict(record.headers() or ())
            source = told.get("source_topic", b"").decode()
            if source in found and told.get("reason") in (b"time_in_future", b"kills_worker"):
                found[source].add(int(told["source_offset"]))
        return found

    @cached_property
    def admin(self) -> AdminClient:
        """What asks the brokers."""
        return AdminClient({**self.settings.kafka_config(), "log_level": 4})

    def end_of(self, topic: str, partition: int) -> int:
        """Return the offset after a partition's last record, committed or not; 0 without topic."""
        return self._offset(topic, partition, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def start_of(self, topic: str, partition: int) -> int:
        """Return the offset of the first record that a partition still has."""
        return self._offset(topic, partition, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def stable_end_of(self, topic: str, partition: int) -> int:
        """Return the offset up to which a partition holds nothing that is not committed yet."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._offset(topic, partition, latest, IsolationLevel.READ_COMMITTED)

    def _offset(
        self,
        topic: str,
        partition: int,
        spec: Any,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> int:
        tp = TopicPartition(topic, partition)
        until_s = time.monotonic() + _READ_TIMEOUT_S
        while True:
            try:
                found = self.admin.list_offsets({tp: spec}, isolation_level=isolation)
                return int(found[tp].result(_READ_TIMEOUT_S).offset)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return 0
                if time.monotonic() > until_s:
                    raise
                # A broker that has only just come back has no leaders yet, or other ones.
                self.__dict__.pop("admin", None)
                time.sleep(_ASK_AGAIN_S)

    def tails(self, partition: int) -> dict[str, int]:
        """Return where the topics end that a restore reads besides the inputs, by name."""
        topics = self.pipeline.topics
        written = (topics.predictions, topics.dead_letters)
        return {name: self.end_of(name, partition) for name in written} | self.journal_tail()

    def journal_tail(self) -> dict[str, int]:
        """Return where the journal ends, by its name, where there is one."""
        journal = self.pipeline.topics.journal
        return {journal: self.end_of(journal, 0)} if self.exactly_once else {}

    def log_start(
        self, inputs: Sequence[str], partition: int, committed: Offsets, wanted: str | None
    ) -> Offsets:
        """Return from where on state is computed from the log of a task's inputs, by no snapshot.

        That is from the time that is ``wanted``, or its beginning. Raises :class:`StreamprocError`
        where that was deleted, unless ``earliest`` is wanted.
        """
        first = self.start_of(inputs[0], partition)
        if wanted is None and committed[0] and first:
            raise StreamprocError(
                f"there is no usable snapshot for {inputs[0]}/{partition}, and that"
                f" begins at offset {first}: windows might miss what was deleted. Give "
                "STREAMPROC_STORE as it was, or start once with --rebuild-from earliest"
            )
        if wanted is None or wanted == "earliest":
            return 0, 0
        spec = OffsetSpec.for_timestamp(parse_time_ms(wanted))
        topics = (*inputs, None)[:2]
        starts = [self._offset(topic, partition, spec) if topic else 0 for topic in topics]
        # Without a record of that time or later the answer is -1.
        return tuple(at if at >= 0 else to for at, to in zip(starts, committed, strict=True))  # type: ignore[return-value]

    def snapshots(
        self, task: str, names: Sequence[str], told: Callable[[str, str], None]
    ) -> Snapshots:
        """Return the snapshots of a task, as ``score-0``, whose inputs are topics of these names.

        ``told`` hears which can't be used.
        """
        ids = [f"{name} {self.topic_ids.get(name, '')}" for name in names]
        of = {"pipeline": self.pipeline.name, "task": task, "topics": ", ".join(ids)}
        folder = f"snapshots/{self.pipeline.name}/{task}"
        return Snapshots(Files(self.settings.store), folder, of, told)

    def read(
        self, topic: str, partition: int, start: int, end: int | None, unblock: bool = True
    ) -> Iterator[Record]:
        """Yield a partition's records from ``start`` to before ``end``, or what is there now.

        What is in a transaction yet is waited for, until it is committed or aborted; with
        ``unblock`` those of dead workers are ended. Raises :class:`StreamprocError` where the
        broker falls silent.
        """
        if end is None:
            end = self.end_of(topic, partition)
        stuck = (lambda: self.unblock(self)) if unblock else (lambda: None)
        return self.readers.read(TopicPartition(topic, partition, start), end, stuck)

    @cached_property
    def readers(self) -> Readers:
        """What this reads partitions by."""
        group = f"{self.pipeline.name}-restore"
        return Readers({**self.settings.kafka_config(), "group.id": group})
