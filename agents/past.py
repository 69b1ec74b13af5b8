"""The log of a pipeline as it was: predictions, the events they were made of, their models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

from agents.logs import outside
from agents.models import published_versions
from agents.restore import steps_of, without
from streamproc.audit import ANY_TIME_MS, END, Rebuilt, rebuild
from streamproc.errors import StreamprocError
from streamproc.features import LabelWindow
from streamproc.kafka.topics import probe
from streamproc.messages import ModelVersion
from streamproc.models.scoring import MODEL_FAILURES, Scorer
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.tasks.score import ScoreTask


class Past:
    """Reads what a pipeline did; takes part in nothing."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        """Ask the brokers; raises :class:`StreamprocError` where they or the topics are not."""
        cluster = probe(settings.kafka_config())
        partitions = cluster.partitions.get(pipeline.topics.predictions)
        if partitions is None:
            raise StreamprocError(
                f"there is no topic {pipeline.topics.predictions} at {settings.brokers}; has this "
                "pipeline run there?"
            )
        self.pipeline = pipeline
        self.at = outside(pipeline, settings, cluster, partitions)
        self.scorer_of = cache(self._scorer_of)

    def predictions(self, partition: int) -> Iterator[dict[str, Any]]:
        """Yield a partition's predictions."""
        for record in self.at.read(self.pipeline.topics.predictions, partition, 0, None):
            yield self.at.codec.decode("prediction", record.value())

    def find(self, prediction_id: str) -> tuple[int, dict[str, Any]]:
        """Return a prediction and its partition; raises :class:`StreamprocError` without one."""
        for partition in range(self.at.partitions):
            for prediction in self.predictions(partition):
                if prediction["id"] == prediction_id:
                    return partition, prediction
        raise StreamprocError(
            f"no prediction {prediction_id!r} is on {self.pipeline.topics.predictions}; its event "
            "may be a dead letter, or older than the topic's retention"
        )

    def rebuilt(self, partition: int) -> Iterator[Rebuilt]:
        """Yield a partition's events as they were scored, from the beginning of its log.

        With windows over labels, labels come in where they did: as the journal has it.
        """
        at, topics = self.at, self.pipeline.topics
        refused = at.refused(partition)
        events = without(refused, at.read(topics.events, partition, 0, None))
        if topics.labels is None or not self._over_labels:
            yield from rebuild(self.pipeline, at.codec, events)
            return
        labels = without(refused, at.read(topics.labels, partition, 0, None))
        steps = steps_of(at, partition, 0, END)
        yield from rebuild(
            self.pipeline, at.codec, events, labels, steps, self._unscored(partition)
        )

    @property
    def _over_labels(self) -> bool:
        return any(isinstance(each, LabelWindow) for each in self.pipeline.features)

    def _unscored(self, partition: int) -> set[str]:
        """Return the ids of events that the model made nothing of, by their dead letters."""
        events = self.pipeline.topics.events
        task = ScoreTask(self.pipeline, partition, self.at.codec)
        found: set[str] = set()
        for record in self.at.read(self.pipeline.topics.dead_letters, partition, 0, None):
            told = dict(record.headers() or ())
            reason = told.get("reason", b"").decode()
            if told.get("source_topic") == events.encode() and reason in MODEL_FAILURES:
                event = task.read_event(record, ANY_TIME_MS)
                found |= {event.id} if event else set()
        return found

    @cached_property
    def versions(self) -> dict[str, ModelVersion]:
        """The published versions, by name."""
        return {version["model"]: version for version in published_versions(self.at)}

    def _scorer_of(self, name: str) -> Scorer:
        """Return what scores with a version, as it was published."""
        pipeline = self.pipeline
        if name.endswith("@0"):
            model = pipeline.new_model()
        elif name in self.versions:
            model = self.at.store.load(self.versions[name])
        else:
            raise StreamprocError(f"no version {name} is on {pipeline.topics.models}")
        return Scorer(model, pipeline.kind, pipeline.classes, pipeline.threshold, name)
