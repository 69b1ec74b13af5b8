"""The topics a pipeline needs: which, how they are kept, and making those that are missing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import PARTITIONS as EMBEDDED_PARTITIONS

if TYPE_CHECKING:  # a client of the brokers needs the names, not River and what else it imports
    from streamproc.pipeline import Topics

DEFAULT_PARTITIONS = 4
"""Partitions of an input that is made because it is missing."""

MAX_DEAD_LETTER_BYTES = 16 * 1024 * 1024
"""The largest dead letter: what an input with a larger limit than Kafka's 1 MiB let in."""

_DAY_MS = 86_400_000
_KEPT = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"}
_PUBLIC = {**_KEPT, "retention.ms": str(7 * _DAY_MS)}
_RECORDS = {**_KEPT, "retention.ms": str(30 * _DAY_MS)}
_KEPT_FOR_EVER = {**_KEPT, "retention.ms": "-1"}
_COMPACTED = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "compact",
    "retention.ms": "-1",
    # They are read whole at each start: what is superseded goes soon.
    "segment.bytes": str(2 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.2",
}
# Read for a week, a history of alerts; then how each stands.
_ALERTS = {**_COMPACTED, "min.compaction.lag.ms": str(7 * _DAY_MS)}
_INPUT = {"cleanup.policy": "delete", "retention.ms": "-1"}
_TABLE = {"cleanup.policy": "compact", "retention.ms": "-1"}
_POLL_S = 0.5
_CREATE_TIMEOUT_S = 20.0


class HasTopics(Protocol):
    """A pipeline, as far as its topics go."""

    @property
    def topics(self) -> Topics:
        """The names of its topics."""

    @property
    def lookup_topics(self) -> tuple[str, ...]:
        """The topics that are looked up in."""

    @property
    def reaction_topics(self) -> tuple[str, ...]:
        """The topics of reactions."""

    @property
    def horizon_ms(self) -> int:
        """How long a prediction waits for its label; 0 where it waits for none."""

    @property
    def reports(self) -> bool:
        """Whether reports of performance are made."""

    def rekeyed(self, partitions: int) -> tuple[tuple[str, ...], ...]:
        """Return the entities whose windows are computed where these are, and not the events."""


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
    names, there = pipeline.topics, cluster.partitions
    count = there.get(names.events) or (there.get(names.labels) if names.labels else None)
    count = count or partitions or DEFAULT_PARTITIONS
    one = 1
    if cluster.embedded:  # there every topic has the same number, and nothing changes that
        count = one = EMBEDDED_PARTITIONS
    # A restart finds what waits for its label among the predictions: they outlive the horizon.
    kept_ms = max(int(_PUBLIC["retention.ms"]), 2 * pipeline.horizon_ms)
    public = {**_PUBLIC, "retention.ms": str(kept_ms)}
    dead_letters = {**_RECORDS, "max.message.bytes": str(MAX_DEAD_LETTER_BYTES)}
    wanted = [
        Topic(names.predictions, "a prediction an event", count, True, public),
        Topic(names.outcomes, "predictions with their labels", count, True, public),
        # The models and the alerts of a pipeline have one order, so one partition.
        Topic(names.models, "published model versions", one, True, _COMPACTED),
        Topic(names.alerts, "what went wrong, and when it ended", one, True, _ALERTS),
        Topic(names.dead_letters, "records that could not be used", count, True, dead_letters),
        Topic(names.late, "events later than the lateness", count, True, _RECORDS),
        Topic(names.journal, "what each task consumed", count, True, _RECORDS),
        Topic(names.learn, "outcomes on their way to the learner", one, True, _RECORDS),
        Topic(names.buckets, "sums on their way to the judge", one, True, _RECORDS),
        # Who silenced what, and when, is asked long after.
        Topic(names.operations, "what people ask of the monitors", one, True, _KEPT_FOR_EVER),
    ]
    if pipeline.reports:
        wanted.append(Topic(names.metrics, "how good predictions were", one, True, _RECORDS))
    if pipeline.rekeyed(count):
        wanted += [
            Topic(names.rekeyed, "events on their way to another entity", count, True, _RECORDS),
            Topic(names.windows, "what windows by it say of them", count, True, _RECORDS),
        ]
    wanted[:0] = [  # every worker reads all of them: any number of partitions will do
        Topic(name, "rows to look up", there.get(name, count), False, _TABLE)
        for name in pipeline.lookup_topics
    ]
    wanted[:0] = [
        Topic(name, "reactions in", count, False, _INPUT) for name in pipeline.reaction_topics
    ]
    if names.labels is not None:
        wanted.insert(0, Topic(names.labels, "labels in", count, False, _INPUT))
    wanted.insert(0, Topic(names.events, "events in", count, False, _INPUT))
    for topic in wanted:
        if topic.name in there and there[topic.name] != topic.partitions:
            raise StreamprocError(_unequal(topic, there[topic.name], names))
    return [replace(topic, present=topic.name in there) for topic in wanted]


def create(
    config: Mapping[str, Any], pipeline: HasTopics, partitions: int | None = None
) -> list[Topic]:
    """Make what is missing of a pipeline's topics; return all, ``present`` where nothing was done.

    The events come first. The embedded broker makes topics with its own number of partitions and
    keeps no settings. Raises :class:`StreamprocError` where no broker answers, where the partitions
    of topics that are there do not fit, or where the cluster refuses.
    """
    cluster = probe(config)
    topics = describe(pipeline, cluster, partitions)
    missing = [topic for topic in topics if not topic.present]
    if not missing:
        return topics
    admin = _admin(config)
    if cluster.embedded:
        for topic in missing:  # being asked about one is its first use
            admin.list_topics(topic.name, timeout=_CREATE_TIMEOUT_S)
    else:
        _create(admin, missing)
    _wait_until_led(admin, missing)
    # Another worker may have been faster, with another count: look again at what there is.
    after = describe(pipeline, probe(config), partitions)
    return [
        replace(topic, present=before.present) for before, topic in zip(topics, after, strict=True)
    ]


def topic_ids(config: Mapping[str, Any], names: list[str]) -> dict[str, str]:
    """Return the ids that the cluster gave to topics (KIP-516): others when they are made anew."""
    admin = _admin(config)  # kept until all is answered
    found = admin.describe_topics(TopicCollection(names), request_timeout=_CREATE_TIMEOUT_S)
    try:
        return {name: str(each.result(_CREATE_TIMEOUT_S).topic_id) for name, each in found.items()}
    except KafkaException as error:
        raise StreamprocError(
            f"the topics' ids are not told ({error.args[0].str()}); see whether the brokers are up "
            "and this user may describe them"
        ) from error


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


def _wait_until_led(admin: AdminClient, topics: list[Topic]) -> None:
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


def _unequal(topic: Topic, actual: int, names: Topics) -> str:
    if topic.name == names.labels:
        return (
            f"{names.events} has {topic.partitions} partitions and {topic.name} has {actual}; an "
            "event and its label must meet in one partition, so give both the same number (and "
            "the same key and partitioner)"
        )
    return (
        f"{topic.name} has {actual} partitions where {topic.partitions} are due; delete it so that "
        "it is made anew, or give the pipeline another name"
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
