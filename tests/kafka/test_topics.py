"""Topics on a real Apache Kafka."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from streamproc.errors import StreamprocError
from streamproc.kafka.topics import create, probe
from tests.kafka_server import KafkaServer
from tests.pipelines import topics_of

_TIMEOUT_S = 20.0


def _make(config: dict[str, Any], name: str, partitions: int) -> None:
    admin = AdminClient(config)  # by a name, or it is gone before its future is
    admin.create_topics([NewTopic(name, partitions)])[name].result(_TIMEOUT_S)


def _config_of(config: dict[str, Any], name: str) -> dict[str, str]:
    resource = ConfigResource("topic", name)
    admin = AdminClient(config)
    (told,) = admin.describe_configs([resource]).values()
    return {entry.name: entry.value for entry in told.result(_TIMEOUT_S).values()}


@pytest.fixture
def config(kafka: KafkaServer) -> dict[str, Any]:
    """Return what a client of the test's Kafka needs."""
    return {"bootstrap.servers": kafka.address}


def test_what_is_missing_is_made(config: dict[str, Any]) -> None:
    """Every topic is made once, with the partitions of the events that were there."""
    pipeline = replace(topics_of("made"), reports=True)
    names = pipeline.topics
    _make(config, names.events, 3)
    made = create(config, pipeline)
    missing = {topic.name for topic in made if not topic.present}
    assert missing == set(vars(names).values()) - {names.events}
    there = probe(config).partitions
    assert there[names.predictions] == there["made.labels"] == there[names.journal] == 3
    assert there[names.learn] == there[names.models] == 1
    assert all(topic.present for topic in create(config, pipeline))


def test_topics_keep_what_is_promised(config: dict[str, Any]) -> None:
    """The broker holds the settings that were asked for."""
    pipeline = topics_of("kept")
    names = pipeline.topics
    create(config, pipeline, partitions=1)
    predictions = _config_of(config, names.predictions)
    assert predictions["message.timestamp.type"] == "LogAppendTime"
    assert predictions["retention.ms"] == "604800000"
    assert _config_of(config, names.alerts)["cleanup.policy"] == "compact"
    assert _config_of(config, names.dead_letters)["max.message.bytes"] == "16777216"
    events = _config_of(config, names.events)
    assert events["message.timestamp.type"] == "CreateTime"
    assert events["retention.ms"] == "-1"


def test_unequal_inputs_are_refused_and_nothing_is_made(config: dict[str, Any]) -> None:
    """A pipeline whose labels cannot meet its events leaves the cluster as it was."""
    pipeline = topics_of("unequal")
    names = pipeline.topics
    _make(config, names.events, 2)
    _make(config, "unequal.labels", 3)
    before = probe(config).partitions
    with pytest.raises(StreamprocError, match=r"unequal\.labels has 3"):
        create(config, pipeline)
    assert probe(config).partitions == before


def test_workers_that_start_together_make_topics_once(config: dict[str, Any]) -> None:
    """Two workers that both find nothing both end up with everything."""
    pipeline = replace(topics_of("together"), reports=True)
    names = pipeline.topics
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: create(config, pipeline, partitions=2), range(4)))
    assert set(vars(names).values()) <= set(probe(config).partitions)


def test_a_kafka_is_told_from_the_embedded_broker(config: dict[str, Any]) -> None:
    """What answers is known to hold transactions and settings."""
    assert not probe(config).embedded
