"""The embedded broker: a process that serves, and that ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer

from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import PARTITIONS, EmbeddedBroker
from streamproc.kafka.topics import probe

_TIMEOUT_S = 10.0


def _becomes_true(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def _refuses(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) != 0


def test_what_is_produced_is_consumed(embedded: EmbeddedBroker) -> None:
    """A record comes out with the key and the value that went in."""
    producer = Producer({"bootstrap.servers": embedded.address})
    producer.produce("letters", b"hello", key=b"k")
    assert producer.flush(_TIMEOUT_S) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": embedded.address,
            "group.id": "readers",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["letters"])
    message = consumer.poll(_TIMEOUT_S)
    consumer.close()
    assert message is not None
    assert (message.key(), message.value()) == (b"k", b"hello")


def test_a_topic_comes_to_be_on_first_use(embedded: EmbeddedBroker) -> None:
    """Producing to a topic makes it, with the one number of partitions it knows."""
    producer = Producer({"bootstrap.servers": embedded.address})
    producer.produce("letters", b"hello")
    assert producer.flush(_TIMEOUT_S) == 0
    assert probe({"bootstrap.servers": embedded.address}).partitions == {"letters": PARTITIONS}


def test_it_ends_with_the_block() -> None:
    """After the with block nothing listens at its address any more."""
    with EmbeddedBroker() as broker:
        address = broker.address
        assert not _refuses(address)
    assert _refuses(address)


def test_it_ends_when_its_parent_is_killed() -> None:
    """A broker does not outlive a parent that had no time to end it."""
    program = (
        "import time; from streamproc.kafka.embedded import EmbeddedBroker\n"
        "print(EmbeddedBroker().start().address, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        address = parent.stdout.readline().strip()
        assert not _refuses(address)
        parent.kill()
        parent.wait()
    assert _becomes_true(lambda: _refuses(address))


def test_a_broker_that_was_killed_is_noticed(embedded: EmbeddedBroker) -> None:
    """Waiting tells whether the broker is still there."""
    assert not embedded.wait(timeout_s=0)
    os.kill(embedded.pid, signal.SIGKILL)
    assert embedded.wait(_TIMEOUT_S)


def test_a_broker_that_was_not_started_has_no_pid() -> None:
    """Using a broker before its start says what to do."""
    with pytest.raises(StreamprocError, match="call start"):
        _ = EmbeddedBroker().pid
