"""Following the topic of models: every worker reads all of it, outside the consumer group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, TopicPartition

from agents.deployment import LOGGER, Deployment
from streamproc.errors import StreamprocError
from streamproc.messages import ModelVersion
from streamproc.models.scoring import Scorer

log = structlog.get_logger("models")
_POLL_S = 0.2


def published_versions(at: Deployment) -> Iterator[ModelVersion]:
    """Yield the versions on the topic of models, without what else is told there."""
    for record in at.read(at.pipeline.topics.models, 0, 0, None):
        version: Any = at.codec.decode("model", record.value())
        if "sha256" in version:
            yield version


def newest_version(at: Deployment) -> ModelVersion | None:
    """Return the newest version on the topic of models, or None where none was published."""
    return max(published_versions(at), key=itemgetter("version"), default=None)


class ModelFollower(threading.Thread):
    """Hands on each promoted version, ready to score, and what the learner says of its progress.

    Versions that were superseded before they could be loaded are passed over. ``ready`` is set
    when all that was on the topic at the start has been read.
    """

    def __init__(
        self,
        at: Deployment,
        on_version: Callable[[ModelVersion, Scorer], None],
        on_progress: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__(name="models", daemon=True)
        self.ready = threading.Event()
        self._at = at
        self._on_version = on_version
        self._on_progress = on_progress
        self._stopping = threading.Event()
        self._taken_up = 0
        self._newest: ModelVersion | None = None
        self._read_all = False

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

    def run(self) -> None:
        """Follow the topic until stopped."""
        config = {
            **self._at.settings.kafka_config(),
            "group.id": f"{self._at.pipeline.name}-models",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
            "logger": LOGGER,
        }
        consumer = confluent_kafka.Consumer(config)
        consumer.assign([TopicPartition(self._at.pipeline.topics.models, 0, 0)])
        try:
            while not self._stopping.is_set():
                self._follow(consumer)
        finally:
            consumer.close()

    def _follow(self, consumer: Any) -> None:
        """Read what is there; take up the newest version, and only then tell of the progress.

        In this order, since score tasks that wait for the learner are to go on with what it learnt.
        """
        progress = None
        for message in self._messages(consumer):
            error = message.error()
            if error is None:
                record: Any = self._at.codec.decode("model", message.value())
                progress = record.get("learnt", progress)
                self._newest = record if "sha256" in record else self._newest
            elif error.code() in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                self._read_all = True
        if self._read_all:
            self._take_up(self._newest)
            if progress is not None:
                self._on_progress(progress)
            self.ready.set()

    def _messages(self, consumer: Any) -> list[Any]:
        first = consumer.poll(_POLL_S)
        return [] if first is None else [first, *consumer.consume(1000, 0)]

    def _take_up(self, version: ModelVersion | None) -> None:
        """Load a version and hand it on; the last good one stays where that fails."""
        if version is None or version["version"] <= self._taken_up:
            return
        pipeline = self._at.pipeline
        try:
            model = self._at.store.load(version)
        except StreamprocError as error:
            log.error("model_not_loaded", model=version["model"], error=str(error))
            return
        scorer = Scorer(
            model, pipeline.kind, pipeline.classes, pipeline.threshold, version["model"]
        )
        self._taken_up = version["version"]
        self._on_version(version, scorer)
