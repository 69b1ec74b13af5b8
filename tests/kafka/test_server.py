"""The servers that the tests start are what the tests take them for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from streamproc.kafka.topics import probe
from tests.kafka_server import KafkaServer
from tests.registry_server import RegistryServer
from tests.servers import ROOT


def test_records_have_kafkas_default_limit(kafka: KafkaServer) -> None:
    """A record that is too large here is too large for most clusters."""
    admin = AdminClient({"bootstrap.servers": kafka.address})
    resource = ConfigResource("broker", "1")
    (told,) = admin.describe_configs([resource]).values()
    assert told.result(20)["message.max.bytes"].value == "1048588"


def test_a_registry_gives_a_schema_back(registry: RegistryServer) -> None:
    """A schema that was registered is read by its id."""
    schema = Schema('{"type":"record","name":"Note","fields":[]}', "AVRO")
    with SchemaRegistryClient({"url": registry.url}) as client:
        schema_id = client.register_schema("notes-value", schema)
        assert client.get_schema(schema_id).schema_type in ("AVRO", None)
        assert client.get_subjects() == ["notes-value"]


@pytest.mark.kafka
def test_in_the_foreground_it_tells_its_address_and_ends_on_ctrl_c() -> None:
    """`make kafka` serves until it is interrupted, and says where."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.kafka_server"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    with server.stdout:
        address = server.stdout.readline().split(" answers at ")[1].partition(";")[0]
        assert not probe({"bootstrap.servers": address}).embedded
        server.send_signal(2)
        assert server.wait(30) == 0
        assert "stopping" in server.stdout.read()
