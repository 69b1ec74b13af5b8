"""Topics on the embedded broker, and a broker that is not there."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.kafka.topics import create, probe
from tests.pipelines import topics_of
from tests.servers import free_port

PIPELINE = replace(topics_of("card"), reports=True)
NAMES = PIPELINE.topics


def test_all_topics_come_to_be_with_its_own_partitions(embedded: EmbeddedBroker) -> None:
    """Without a request to create topics they are all there, and a second time nothing is due."""
    config = {"bootstrap.servers": embedded.address}
    made = create(config, PIPELINE, partitions=7)
    assert {topic.name for topic in made if not topic.present} == set(vars(NAMES).values())
    assert probe(config).partitions == dict.fromkeys(vars(NAMES).values(), 4)
    assert {topic.partitions for topic in made} == {4}
    assert all(topic.present for topic in create(config, PIPELINE))


def test_it_says_what_it_is(embedded: EmbeddedBroker) -> None:
    """The embedded broker is known by its cluster id."""
    cluster = probe({"bootstrap.servers": embedded.address})
    assert (cluster.embedded, cluster.address) == (True, embedded.address)


def test_no_broker_is_one_line_that_says_where_and_what_to_do() -> None:
    """The address that did not answer is named, and how to start a broker, in time."""
    address = f"127.0.0.1:{free_port()}"
    begun_s = time.monotonic()
    with pytest.raises(StreamprocError) as raised:
        probe({"bootstrap.servers": address}, timeout_s=0.5)
    assert time.monotonic() - begun_s < 2
    assert str(raised.value) == (
        f"no broker answered at {address}; start one with `streamproc broker`, or name yours in "
        "STREAMPROC_BROKERS"
    )


def test_no_broker_behind_tls_points_at_the_security_settings() -> None:
    """Where TLS or a login is in play, that may be what is wrong."""
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(StreamprocError, match="STREAMPROC_SECURITY_"):
        probe({"bootstrap.servers": address, "security.protocol": "ssl"}, timeout_s=0.2)


def test_a_label_topic_is_not_made_without_labels(embedded: EmbeddedBroker) -> None:
    """A pipeline without labels has no topic of them."""
    config = {"bootstrap.servers": embedded.address}
    create(config, topics_of("card", labels=False))
    assert "card.labels" not in probe(config).partitions
