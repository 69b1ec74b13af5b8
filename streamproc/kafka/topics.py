"""The topics a pipeline needs: which, how they are kept, and making those that are missing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streamproc.errors import StreamprocError

DEFAULT_PARTITIONS = 4
"""Partitions of an input that is made because it is missing."""

MAX_DEAD_LETTER_BYTES = 16 * 1024 * 1024
"""The largest dead letter: what an input with a larger limit than Kafka's 1 MiB let in."""

_DAY_MS = 86_400_000
_KEPT = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"}
_PUBLIC = {**_KEPT, "retention.ms": str(7 * _DAY_MS)}
_RECORDS = {**_KEPT, "retention.ms": str(30 * _DAY_MS)}
_COMPACTED = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "compact",
    "retention.ms": "-1",
}
_INPUT = {"cleanup.policy": "delete", "retention.ms": "-1"}
_POLL_S = 0.5
_CREATE_TIMEOUT_S = 20.0


class TopicNames(Protocol):
    """The full names of a pipeline's topics; ``labels`` is None where there are none."""

    @property
    def events(self) -> str: ...  # noqa: D102
    @property
    def labels(self) -> str | None: ...  # noqa: D102
    @property
    def predictions(self) -> str: ...  # noqa: D102
    @property
    def outcomes(self) -> str: ...  # noqa: D102
    @property
    def models(self) -> str: ...  # noqa: D102
    @property
    def alerts(self) -> str: ...  # noqa: D102
    @property
    def dead_letters(self) -> str: ...  # noqa: D102
    @property
    def journal(self) -> str: ...  # noqa: D102
    @property
    def learn(self) -> str: ...  # noqa: D102
    @property
    def buckets(self) -> str: ...  # noqa: D102


class HasTopics(Protocol):
    """A pipeline, as far as this module cares."""

    @property
    def topics(self) -> TopicNames: ...  # noqa: D102


@dataclass(frozen=True)
class Cluster:
    """Who answered: its ``address`` as asked for, its id, and whether it is the embedded broker."""

    address: str
    cluster_id: str
    embedded: bool
    partitions: Mapping[str, int]
    """How many partitions each topic has that is there, by name."""


@dataclass(frozen=True)
class Topic:
    """One topic a pipeline needs; ``present`` where the cluster already has it."""

    name: str
    purpose: str
    partitions: int
    owned: bool
    config: Mapping[str, str] = field(repr=False)
    present: bool = False


def probe(config: Mapping[str, Any], timeout_s: float = 3.0) -> Cluster:
    """Ask the brokers of a client configuration who they are.

    Raises :class:`StreamprocError` that names the address where none answers in ``timeout_s``.

    >>> probe({"bootstrap.servers": "127.0.0.1:9"}, timeout_s=0.2)
    Traceback (most recent call last):
    streamproc.errors.StreamprocError: no broker answered at 127.0.0.1:9; start one with \
`streamproc broker`, or name yours in STREAMPROC_BROKERS
    """
    address = str(config["bootstrap.servers"])
    admin = _admin(config)
    deadline_s = time.monotonic() + timeout_s
    while True:  # asked for again and again, since ctrl-C waits for each call to return
        left_s = deadline_s - time.monotonic()
        try:
            metadata = admin.list_topics(timeout=max(0.05, min(_POLL_S, left_s)))
        except KafkaException as error:
            if left_s <= _POLL_S:
                raise StreamprocError(_unanswered(address, config, error.args[0])) from None
            continue
        cluster_id = str(metadata.cluster_id or "")
        return Cluster(
            address=address,
            cluster_id=cluster_id,
            embedded=cluster_id.startswith("mockCluster"),
            partitions={
                name: len(topic.partitions)
                for name, topic in metadata.topics.items()
                if topic.error is None
            },
        )


def describe(pipeline: HasTopics, cluster: Cluster, partitions: int | None = None) -> list[Topic]:
    """List the topics of a pipeline in the order of an event's way, as they are or would be made.

    ``partitions`` is for inputs that are missing; without it they take the other input's count, or
    :data:`DEFAULT_PARTITIONS`. Raises :class:`StreamprocError` where topics that must have the same
    number of partitions differ.
    """
    names = pipeline.topics
    there = cluster.partitions
    count = there.get(names.events) or (there.get(names.labels) if names.labels else None)
    count = count or partitions or DEFAULT_PARTITIONS
    # The models and alerts of a pipeline have one order, so one partition.
    wanted: list[tuple[str | None, str, int, dict[str, str]]] = [
        (names.events, "events in", count, _INPUT),
        (names.labels, "labels in", count, _INPUT),
        (names.predictions, "a prediction an event", count, _PUBLIC),
        (names.outcomes, "predictions with their labels", count, _PUBLIC),
        (names.models, "published model versions", 1, _COMPACTED),
        (names.alerts, "alerts", 1, _COMPACTED),
        (
            names.dead_letters,
            "records that could not be used",
            count,
            {**_RECORDS, "max.message.bytes": str(MAX_DEAD_LETTER_BYTES)},
        ),
        (names.journal, "what each task consumed", count, _RECORDS),
        (names.learn, "outcomes on their way to the learner", 1, _RECORDS),
        (names.buckets, "sums on their way to the judge", 1, _RECORDS),
    ]
    inputs = (names.events, names.labels)
    topics = [
        Topic(name, purpose, there.get(name, number), name not in inputs, config, name in there)
        for name, purpose, number, config in wanted
        if name is not None
    ]
    if not cluster.embedded:  # there every topic has the same number, and nothing changes that
        _check_partitions(topics, {name: number for name, _, number, _ in wanted if name}, names)
    return topics


def create(
    config: Mapping[str, Any], pipeline: HasTopics, partitions: int | None = None
) -> list[Topic]:
    """Make what is missing of a pipeline's topics; return those that were missing.

    The embedded broker makes them with its own number of partitions and keeps no settings. Raises
    :class:`StreamprocError` where no broker answers, where the partitions of topics that are there
    do not fit, or where the cluster refuses.
    """
    cluster = probe(config)
    missing = [topic for topic in describe(pipeline, cluster, partitions) if not topic.present]
    if not missing:
        return []
    admin = _admin(config)
    if cluster.embedded:
        for topic in missing:  # being asked about one is its first use
            admin.list_topics(topic.name, timeout=_CREATE_TIMEOUT_S)
    else:
        _create(admin, missing)
    _wait_until(admin, missing)
    # Another worker may have been faster, with another count: look again at what there is.
    describe(pipeline, probe(config), partitions)
    return missing


def _admin(config: Mapping[str, Any]) -> AdminClient:
    """Return a client that leaves it to its caller to say what is wrong."""
    quiet: dict[str, Any] = {**config, "log_level": 0, "error_cb": lambda _: None}
    return AdminClient(quiet)


def _create(admin: AdminClient, missing: list[Topic]) -> None:
    new = [
        NewTopic(topic.name, topic.partitions, replication_factor=-1, config=dict(topic.config))
        for topic in missing
    ]
    for name, created in admin.create_topics(new, operation_timeout=_CREATE_TIMEOUT_S).items():
        try:
            created.result()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:  # a worker beside this one did
                raise StreamprocError(
                    f"topic {name} could not be made: {reason.str()}; make it by hand, or allow "
                    "this user to create topics"
                ) from None


def _wait_until(admin: AdminClient, topics: list[Topic]) -> None:
    """Wait until the brokers tell of the topics, which is a little after they are made."""
    deadline_s = time.monotonic() + _CREATE_TIMEOUT_S
    while True:
        known = admin.list_topics(timeout=_CREATE_TIMEOUT_S).topics
        ready = {
            name
            for name, topic in known.items()
            if topic.error is None and all(part.leader >= 0 for part in topic.partitions.values())
        }
        missing = [topic.name for topic in topics if topic.name not in ready]
        if not missing:
            return
        if time.monotonic() > deadline_s:
            raise StreamprocError(
                f"topics {', '.join(missing)} were made but have no leader after "
                f"{_CREATE_TIMEOUT_S:.0f} s; look at the broker's log"
            )
        time.sleep(0.02)


def _check_partitions(topics: list[Topic], wanted: Mapping[str, int], names: TopicNames) -> None:
    for topic in topics:
        expected = wanted[topic.name]
        if topic.partitions == expected:
            continue
        if topic.name == names.labels:
            raise StreamprocError(
                f"{names.events} has {expected} partitions and {topic.name} has "
                f"{topic.partitions}; an event and its label must meet in one partition, so give "
                "both the same number (and the same key and partitioner)"
            )
        raise StreamprocError(
            f"{topic.name} has {topic.partitions} partitions where {expected} are due; delete it "
            "so that it is made anew, or give the pipeline another name"
        )


def _unanswered(address: str, config: Mapping[str, Any], error: KafkaError) -> str:
    if str(config.get("security.protocol", "plaintext")).lower() != "plaintext":
        return (
            f"no broker answered at {address} ({error.str()}); check STREAMPROC_BROKERS and "
            "STREAMPROC_SECURITY_*"
        )
    return (
        f"no broker answered at {address}; start one with `streamproc broker`, or name yours in "
        "STREAMPROC_BROKERS"
    )
