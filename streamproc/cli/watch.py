"""`streamproc watch`: follow what a pipeline puts out, without taking part in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any, cast
from uuid import uuid4

import typer
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, TopicPartition

from streamproc.cli.common import AsJson, PipelineFile, load_pipeline, load_settings, print_json
from streamproc.cli.lines import (
    alert_line,
    late_line,
    letter_fields,
    letter_line,
    outcome_line,
    prediction_line,
)
from streamproc.codec import Codec, JsonCodec, Kind
from streamproc.errors import BadRecord, StreamprocError
from streamproc.kafka.registry import Registry
from streamproc.kafka.topics import probe
from streamproc.settings import Settings
from streamproc.tasks.records import Record

_POLL_S = 0.1
_FETCH_RECORDS = 500
_FATAL = (KafkaError._ALL_BROKERS_DOWN, KafkaError.TOPIC_AUTHORIZATION_FAILED)


class What(StrEnum):
    """What can be watched."""

    predictions = "predictions"
    alerts = "alerts"
    outcomes = "outcomes"
    late = "late"
    dead_letters = "dead-letters"


def watch(
    what: Annotated[What, typer.Argument(help="Which topic.", show_default=False)],
    pipeline: PipelineFile = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also what is there already.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="End after so many.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow predictions, outcomes, alerts, late events or dead letters; JSON lines when piped."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    topic = getattr(chosen.topics, what.name)
    as_json = as_json or not sys.stdout.isatty()
    with ExitStack() as stack:
        codec: Codec = JsonCodec()
        if settings.registry is not None:
            codec = stack.enter_context(Registry(settings.registry)).codec(chosen.topics)
        show = _shower(what, codec, as_json)
        records = stack.enter_context(closing(_records(settings, topic, from_beginning)))
        for record in islice(records, limit):
            show(record)


def _records(settings: Settings, topic: str, from_beginning: bool) -> Generator[Record, None, None]:
    """Yield a topic's records as they come, partition by partition; commits nothing."""
    config = settings.kafka_config()
    partitions = probe(config).partitions.get(topic)
    if partitions is None:
        raise StreamprocError(
            f"there is no topic {topic} at {settings.brokers}; start the worker, or make it by "
            "`streamproc topics`"
        )
    consumer = Consumer(
        {
            **config,
            "group.id": f"streamproc-watch-{uuid4().hex}",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "log_level": 0,
        }
    )
    offset = OFFSET_BEGINNING if from_beginning else OFFSET_END
    try:
        consumer.assign([TopicPartition(topic, number, offset) for number in range(partitions)])
        while True:
            for record in consumer.consume(_FETCH_RECORDS, _POLL_S):
                error = record.error()
                if error is None:
                    yield cast(Record, record)
                elif error.code() in _FATAL or error.fatal():
                    raise StreamprocError(
                        f"{topic} cannot be read from {settings.brokers}: {error.str()}; see "
                        "whether the broker is up"
                    )
    finally:
        consumer.close()


def _shower(what: What, codec: Codec, as_json: bool) -> Callable[[Record], None]:
    """Return what prints a record."""
    if what is What.dead_letters:
        return _printer(letter_fields, letter_line, as_json)
    kinds: dict[What, tuple[Kind, Callable[[dict[str, Any]], str]]] = {
        What.predictions: ("prediction", prediction_line),
        What.outcomes: ("outcome", outcome_line),
        What.alerts: ("alert", alert_line),
        What.late: ("late", late_line),
    }
    kind, line = kinds[what]
    return _printer(lambda record: codec.decode(kind, record.value()), line, as_json)


def _printer(
    read: Callable[[Record], dict[str, Any]], line: Callable[[dict[str, Any]], str], as_json: bool
) -> Callable[[Record], None]:
    def show(record: Record) -> None:
        try:
            found = read(record)
        except BadRecord as bad:
            place = f"{record.topic()}/{record.partition()} at {record.offset()}"
            typer.echo(f"streamproc: {place} is left out: {bad.reason}", err=True)
            return
        if as_json:
            print_json(found)
        else:
            print(line(found), flush=True)

    return show
