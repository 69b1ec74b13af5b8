"""The logs of a pipeline's events and labels, from outside the group, up to where they end now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from agents.deployment import Deployment, codec_of
from streamproc.errors import DefinitionError, StreamprocError
from streamproc.eventtime import format_time, parse_time_ms
from streamproc.kafka.topics import Cluster, describe, probe, topic_ids
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.tasks.feeding import InputCodec
from streamproc.tasks.records import Record
from streamproc.tasks.score import ScoreTask
from streamproc.training import history_ms

Offsets = Mapping[int, tuple[int, int]]
"""By partition: the offset of the first record that is read, and that after the last."""


def outside(
    pipeline: Pipeline, settings: Settings, cluster: Cluster, partitions: int
) -> Deployment:
    """Return what reads the topics of a pipeline and takes part in nothing."""
    return Deployment(
        pipeline=pipeline,
        settings=settings,
        codec=codec_of(pipeline, settings),
        store=Store(settings.store),
        partitions=partitions,
        embedded=cluster.embedded,
        exactly_once=not cluster.embedded,
        epoch=0,
    )


@dataclass(frozen=True)
class _Read:
    """What is read: as the manifest of an export says it."""

    offsets: Mapping[str, Offsets]
    refused: Mapping[str, Mapping[int, list[int]]]
    ids: Mapping[str, str]
    read_ms: int

    @property
    def described(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "topics": {
                topic: {str(partition): list(both) for partition, both in of.items()}
                for topic, of in self.offsets.items()
            },
            "refused": {
                topic: {str(partition): each for partition, each in of.items()}
                for topic, of in self.refused.items()
            },
            "topic_ids": dict(self.ids),
            "read_at": format_time(self.read_ms),
        }

    @classmethod
    def of(cls, manifest: Path) -> _Read:
        """Return what was read; raises :class:`DefinitionError` where a file doesn't say."""
        try:
            said = orjson.loads(manifest.read_bytes())
            return cls(
                {
                    topic: {int(partition): (int(a), int(b)) for partition, (a, b) in of.items()}
                    for topic, of in said["topics"].items()
                },
                {
                    topic: {int(partition): list(map(int, each)) for partition, each in of.items()}
                    for topic, of in said["refused"].items()
                },
                dict(said["topic_ids"]),
                parse_time_ms(said["read_at"]),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise DefinitionError(
                f"--offsets: {manifest} is no manifest of an export from topics; name the "
                "manifest.json of one"
            ) from None


@dataclass
class TopicLogs:
    """Implements ``streamproc.training.Logs``; ``at`` reads, ``read`` says what."""

    at: Deployment
    read: _Read
    read_ms: int = field(init=False)
    partitions: int = field(init=False)

    def __post_init__(self) -> None:
        self.read_ms, self.partitions = self.read.read_ms, self.at.partitions
        self.codec = self.at.codec

    @property
    def described(self) -> dict[str, Any]:
        """What the manifest says: offsets by topic and partition, those left out, and the time."""
        return self.read.described

    def events(self, partition: int) -> Iterator[Record]:
        """Yield a partition's events."""
        return self._records(self.at.pipeline.topics.events, partition)

    def labels(self, partition: int) -> Iterator[Record]:
        """Yield a partition's labels."""
        topic = self.at.pipeline.topics.labels
        return iter(()) if topic is None else self._records(topic, partition)

    def _records(self, topic: str, partition: int) -> Iterator[Record]:
        begin, end = self.read.offsets[topic][partition]
        refused = set(self.read.refused.get(topic, {}).get(partition, ()))
        for record in self.at.read(topic, partition, begin, end, unblock=False):
            if record.offset() not in refused:
                yield record
        if (first := self.at.start_of(topic, partition)) > begin:
            raise _deleted(topic, partition, begin, first)


def open_logs(
    pipeline: Pipeline, settings: Settings, from_ms: int, manifest: Path | None = None
) -> TopicLogs:
    """Return the logs from their beginning to where they end now, or as a manifest says.

    Raises :class:`StreamprocError` where the brokers or topics are not there, where ``manifest``
    names what is not, and where windows from ``from_ms`` on would miss what was deleted.
    """
    cluster = probe(settings.kafka_config())
    topics = _inputs(pipeline)
    for topic in topics:
        if topic not in cluster.partitions:
            raise StreamprocError(
                f"there is no topic {topic} at {settings.brokers}; name the brokers that have it "
                "in STREAMPROC_BROKERS, or give --files"
            )
    describe(pipeline, cluster)  # which fails where the two have other numbers of partitions
    at = outside(pipeline, settings, cluster, cluster.partitions[pipeline.topics.events])
    if manifest is not None:
        read = _Read.of(manifest)
        _check(at, read, _ids(at, topics))
        return TopicLogs(at, read)
    offsets = {
        topic: {
            p: (at.start_of(topic, p), at.stable_end_of(topic, p)) for p in range(at.partitions)
        }
        for topic in topics
    }
    refused: dict[str, dict[int, list[int]]] = {topic: {} for topic in topics}
    for partition in range(at.partitions):
        for topic, found in at.refused(partition).items():
            if found:
                refused[topic][partition] = sorted(found)
    logs = TopicLogs(at, _Read(offsets, refused, _ids(at, topics), time.time_ns() // 1_000_000))
    _check_beginning(logs, from_ms)
    return logs


def _inputs(pipeline: Pipeline) -> list[str]:
    topics = pipeline.topics
    return [topics.events, *([topics.labels] if topics.labels else [])]


def _ids(at: Deployment, topics: list[str]) -> dict[str, str]:
    return {} if at.embedded else topic_ids(at.settings.kafka_config(), topics)


def _check(at: Deployment, read: _Read, ids: Mapping[str, str]) -> None:
    """Raise where what was read once can't be read again."""
    for topic in _inputs(at.pipeline):
        said = read.offsets.get(topic, {})
        if sorted(said) != list(range(at.partitions)) or read.ids.get(topic) != ids.get(topic):
            raise StreamprocError(
                f"--offsets: it was read from another {topic}: one that was made anew since, or has"
                " other partitions; leave --offsets out to read this one"
            )
        for partition, (begin, end) in said.items():
            if (first := at.start_of(topic, partition)) > begin:
                raise _deleted(topic, partition, begin, first)
            if (last := at.stable_end_of(topic, partition)) < end:
                raise StreamprocError(
                    f"--offsets: {topic}/{partition} ends at offset {last}, before {end}; it has "
                    "lost records since"
                )


def _deleted(topic: str, partition: int, begin: int, first: int) -> StreamprocError:
    return StreamprocError(
        f"{topic}/{partition} begins at offset {first} now, and is to be read from {begin}: the "
        "records between were deleted; export again without --offsets, with a later --from"
    )


def _check_beginning(logs: TopicLogs, from_ms: int) -> None:
    """Raise where records were deleted that features or labels from ``from_ms`` on need."""
    pipeline = logs.at.pipeline
    task = ScoreTask(pipeline, 0, InputCodec(logs.codec))
    of_events, of_labels = history_ms(pipeline)
    readers: list[tuple[Callable[[int], Iterator[Record]], Callable[[Record], Any], str, int]] = [
        (logs.events, lambda each: task.read_event(each, logs.read_ms), pipeline.events.topic,
         of_events),
    ]  # fmt: skip
    if pipeline.labels is not None:
        readers.append((logs.labels, task.read_label, pipeline.labels.topic, of_labels))
    worst: tuple[int, str] | None = None
    for records, read, topic, needed_ms in readers:
        for partition, (begin, end) in logs.read.offsets[topic].items():
            if not 0 < begin < end:
                continue
            first = next(filter(None, map(read, records(partition))), None)
            if first is not None and (worst is None or first.time_ms + needed_ms > worst[0]):
                said = f"{topic}/{partition} begins at offset {begin}, {format_time(first.time_ms)}"
                worst = (first.time_ms + needed_ms, said)
    if worst is not None and worst[0] > from_ms:
        raise StreamprocError(
            f"{worst[1]}: what was before is deleted, and windows and labels need it; give --from "
            f"{format_time(worst[0])} or a later time"
        )
