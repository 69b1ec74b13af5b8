"""The alerts of a pipeline and what was asked of them, as they are on its topics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from agents.logs import outside
from streamproc.alerts.commands import Command, read_command
from streamproc.cli.alert_file import find, newest_of
from streamproc.errors import BadRecord, StreamprocError
from streamproc.kafka.topics import probe
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.tasks.records import Record

_SEND_S = 10.0


class AlertLog:
    """Reads the topics of alerts and operations to their present end, and writes commands.

    Raises :class:`StreamprocError` where the brokers or the topics are not there.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._settings = settings
        self._cluster = probe(settings.kafka_config())
        self.name = pipeline.topics.alerts
        self.listed = "streamproc alerts list --all"
        self._operations = pipeline.topics.operations
        self._need(self.name)
        self._at = outside(pipeline, settings, self._cluster, 1)

    def steps(self) -> list[dict[str, Any]]:
        """Return all steps that are still on the topic, in order; compaction takes older ones."""
        found = []
        for record in self._records(self.name):
            try:
                found.append(self._at.codec.decode("alert", record.value()))
            except BadRecord:
                continue  # not ours, or taken away
        return found

    def find(self, alert_id: str) -> dict[str, Any]:
        """Return the newest step of an alert; raises :class:`StreamprocError` without one."""
        return find(newest_of(self.steps()), alert_id, self.name, self.listed)

    def commands(self) -> list[Command]:
        """Return what was asked so far, in order; none where the topic is not there."""
        found = []
        for record in self._records(self._operations):
            try:
                found.append(read_command(record.value()))
            except BadRecord:
                continue  # a worker puts it aside
        return found

    def send(self, command: Command) -> None:
        """Write a command; raises :class:`StreamprocError` where it does not arrive."""
        self._need(self._operations)
        failed: list[str] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error.str())

        producer = Producer(
            {
                **self._settings.kafka_config(),
                "enable.idempotence": True,
                "message.timeout.ms": int(_SEND_S * 1_000),
                "log_level": 0,
            }
        )
        producer.produce(
            self._operations,
            command.value(),
            key=command.alert_id,
            partition=0,
            on_delivery=delivered,
        )
        if producer.flush(_SEND_S + 2) or failed:
            raise StreamprocError(
                f"{command.command} did not arrive at {self._operations}: "
                f"{failed[0] if failed else 'no answer'}; see whether the broker is up"
            )

    def _records(self, topic: str) -> Iterator[Record]:
        for partition in range(self._cluster.partitions.get(topic, 0)):
            end = self._at.stable_end_of(topic, partition)
            yield from self._at.read(topic, partition, 0, end, unblock=False)

    def _need(self, topic: str) -> None:
        if topic not in self._cluster.partitions:
            raise StreamprocError(
                f"there is no topic {topic} at {self._settings.brokers}; start the worker, or make "
                "it by `streamproc topics`"
            )
