"""The log of a pipeline as it was: predictions, the events they were made of, their models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any

from agents.logs import outside
from agents.models import published_versions
from agents.restore import steps_of, without
from streamproc.audit import ANY_TIME_MS, END, Rebuilt, rebuild
from streamproc.errors import StreamprocError
from streamproc.features import LabelWindow
from streamproc.features.lookup import Row, read_record, row_readers, version_of
from streamproc.features.lookup_tables import NamedRows, named_rows
from streamproc.kafka.topics import probe
from streamproc.messages import ModelVersion
from streamproc.models.scoring import MODEL_FAILURES, Scorer
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.tasks.records import Record
from streamproc.tasks.replaying import Step
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

    def rebuilt(
        self, partition: int, predictions: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Rebuilt]:
        """Yield a partition's events as they were scored, from the beginning of its log.

        ``predictions``, by id, name the rows that were looked up for them, and say what windows
        of other partitions did. With windows over labels, labels come in where they did: as the
        journal has it.
        """
        at, topics, lookups = self.at, self.pipeline.topics, self.pipeline.lookups
        rows = NamedRows(lookups, predictions, self._rows(predictions.values()))
        refused = at.refused(partition)
        events = without(refused, at.read(topics.events, partition, 0, None))
        labels: Iterable[Record] = ()
        steps: Iterable[Step] = (END,)
        unscored: set[str] = set()
        if topics.labels is not None and self._over_labels:
            labels = without(refused, at.read(topics.labels, partition, 0, None))
            steps, unscored = steps_of(at, partition, 0, END), self._unscored(partition)
        made = (self.pipeline, at.codec, events, labels, steps, unscored, rows)
        yield from rebuild(*made, partitions=at.partitions, predictions=predictions)

    @property
    def _over_labels(self) -> bool:
        """Whether windows over labels are computed where an event is scored."""
        rekeyed = self.pipeline.rekeyed(self.at.partitions)
        windows = [each for each in self.pipeline.features if isinstance(each, LabelWindow)]
        return any(each.entity not in rekeyed for each in windows)

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

    def _rows(
        self, predictions: Iterable[Mapping[str, Any]]
    ) -> dict[tuple[str, str], tuple[str | None, Row]]:
        """Return the rows that predictions name, as far as they are still there."""
        readers = row_readers(self.pipeline.lookups)
        found: dict[tuple[str, str], tuple[str | None, Row]] = {}
        for (topic, partition), offsets in named_rows(predictions, readers).items():
            for record in self.at.read(topic, partition, min(offsets), max(offsets) + 1):
                if record.offset() in offsets:
                    decode = self.at.codec.decode_input
                    entity, row, _ = read_record(record, readers[topic], decode)
                    if row is not None:
                        found[topic, version_of(row)] = (entity, row)
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
