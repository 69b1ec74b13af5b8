"""`streamproc performance`: how good the predictions of a running pipeline are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Any
from uuid import uuid4

import typer
from confluent_kafka import Consumer, KafkaError, TopicPartition
from rich.console import Console

from streamproc.cli.common import (
    AsJson,
    PipelineFile,
    load_pipeline,
    load_settings,
    print_json,
    width,
)
from streamproc.cli.performance_table import newest, tell_performance
from streamproc.codec import Codec, JsonCodec
from streamproc.errors import BadRecord, DefinitionError, StreamprocError
from streamproc.kafka.registry import Registry
from streamproc.kafka.topics import probe
from streamproc.settings import Settings

TAIL = 8_192
"""How many of the last records are looked at: more than a window's pane writes."""

_TIMEOUT_S = 10.0


def performance(
    pipeline: PipelineFile = None,
    slices: Annotated[
        bool, typer.Option("--slices", help="Also each slice, the largest first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell how good predictions are, beside baselines, from the newest reports."""
    settings = load_settings()
    chosen = load_pipeline(pipeline, settings)
    if not chosen.reports:
        raise DefinitionError(
            f"{chosen.name}: no performance is reported; add Performance() to its monitors"
        )
    with ExitStack() as stack:
        codec: Codec = JsonCodec()
        if settings.registry is not None:
            codec = stack.enter_context(Registry(settings.registry)).codec(chosen.topics)
        reports = newest(_reports(settings, chosen.topics.metrics, codec))
    found = [report for report in reports if slices or report["slice"] is None]
    if as_json:
        for report in found:
            print_json(report)
        return
    if not found:
        typer.echo("no report yet: there is one once a bucket's labels are all known")
    console = Console(width=width(), highlight=False)
    for report in found:
        tell_performance(report, console)
        console.print()


def _reports(settings: Settings, topic: str, codec: Codec) -> Iterator[dict[str, Any]]:
    """Yield the last reports on the topic; what can't be read is left out."""
    if topic not in probe(settings.kafka_config()).partitions:
        raise StreamprocError(
            f"there is no topic {topic} at {settings.brokers}; start the worker, or make it by "
            "`streamproc topics`"
        )
    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": f"streamproc-performance-{uuid4().hex}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        place = TopicPartition(topic, 0)
        low, high = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
        consumer.assign([TopicPartition(topic, 0, max(low, high - TAIL))])
        while True:
            record = consumer.poll(_TIMEOUT_S)
            if record is None:
                raise StreamprocError(f"{topic} at {settings.brokers} does not answer; is it up?")
            error = record.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise StreamprocError(f"{topic} cannot be read from {settings.brokers}: {error}")
            try:
                yield codec.decode("performance", record.value())
            except BadRecord:
                continue
    finally:
        consumer.close()
