"""Following the topic of models: every worker reads all of it, outside the consumer group."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, TopicPartition

from agents.deployment import Deployment
from agents.reading import LOGGER, assign
from streamproc.errors import StreamprocError
from streamproc.messages import ModelVersion
from streamproc.models.scoring import Scorer

log = structlog.get_logger("models")
_POLL_S = 0.2
_AGAIN_S = 5.0
_LAST_VERSIONS = 20  # as far back as a start looks for one that can be loaded


def published_versions(at: Deployment) -> Iterator[ModelVersion]:
    """Yield the versions on the topic of models, without what else is told there."""
    for record in at.read(at.pipeline.topics.models, 0, 0, None):
        version: Any = at.codec.decode("model", record.value())
        if "sha256" in version:
            yield version


class ModelFollower(threading.Thread):
    """Hands on each promoted version, ready to score, and what the learner says of its progress.

    Versions that were superseded before they could be loaded are passed over, and where the newest
    can't be loaded the one before is taken. ``ready`` is set
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
        self._versions: deque[ModelVersion] = deque(maxlen=_LAST_VERSIONS)
        self._failed_s = float("-inf")
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
        assign(consumer, TopicPartition(self._at.pipeline.topics.models, 0, 0))
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
                if "sha256" in record:
                    self._versions.append(record)
            elif error.code() in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                self._read_all = True
        if self._read_all:
            self._take_up_newest()
            if progress is not None:
                self._on_progress(progress)
            self.ready.set()

    def _messages(self, consumer: Any) -> list[Any]:
        first = consumer.poll(_POLL_S)
        return [] if first is None else [first, *consumer.consume(1000, 0)]

    def _take_up_newest(self) -> None:
        """Hand on the newest version that can be loaded; one that can't is tried again later."""
        if time.monotonic() < self._failed_s + _AGAIN_S:
            return
        newer = [each for each in self._versions if each["version"] > self._taken_up]
        for version in sorted(newer, key=itemgetter("version"), reverse=True):
            try:
                model = self._at.store.load(version)
            except StreamprocError as error:
                self._failed_s = time.monotonic()
                log.error("model_not_loaded", model=version["model"], error=str(error))
                continue
            self._hand_on(version, model)
            return

    def _hand_on(self, version: ModelVersion, model: Any) -> None:
        at = self._at.pipeline
        scorer = Scorer(model, at.kind, at.classes, at.threshold, version["model"])
        self._taken_up = version["version"]
        self._on_version(version, scorer)
