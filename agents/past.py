"""The log of a pipeline as it was: predictions, the events they were made of, their models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

from agents.deployment import Deployment, codec_of
from agents.models import published_versions
from streamproc.audit import Rebuilt, rebuild
from streamproc.errors import StreamprocError
from streamproc.kafka.topics import probe
from streamproc.messages import ModelVersion
from streamproc.models.scoring import Scorer
from streamproc.models.versions import Store
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings


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
        self.at = Deployment(
            pipeline=pipeline,
            settings=settings,
            codec=codec_of(pipeline, settings),
            store=Store(settings.store),
            partitions=partitions,
            embedded=cluster.embedded,
            exactly_once=not cluster.embedded,
            epoch=0,
        )
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
        """Yield a partition's events as they were scored, from the beginning of its log."""
        topic = self.pipeline.topics.events
        records = self.at.read(topic, partition, 0, None)
        return rebuild(self.pipeline, self.at.codec, records, self.at.refused(partition)[topic])

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
