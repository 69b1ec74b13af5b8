"""docker-compose.yml is one that Docker takes, and says what the rest of the project says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streamproc.settings import Settings
from tests.servers import ROOT

COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture
def compose() -> Any:
    """Return what docker-compose.yml says."""
    return yaml.safe_load(COMPOSE.read_text())


def _docker_has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def test_docker_takes_it(compose: Any) -> None:
    """`docker compose config` accepts the file, or where there is none the specification does."""
    if _docker_has_compose():
        environment = {**os.environ, "STREAMPROC_METRICS_TOKEN": "t"}
        command = ["docker", "compose", "-f", str(COMPOSE), "config", "--quiet"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    else:
        schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(compose)


def test_the_worker_is_given_settings_that_there_are(compose: Any) -> None:
    """Every STREAMPROC_ variable of the worker is a setting, and its values are good ones."""
    environment = compose["services"]["worker"]["environment"]
    given = {name.removeprefix("STREAMPROC_").lower(): value for name, value in environment.items()}
    assert set(given) <= set(Settings.model_fields)
    assert Settings.load(**given).brokers == "kafka:9092"


def test_every_file_it_mounts_is_there(compose: Any) -> None:
    """Docker makes an empty folder of a mount that is missing, which nobody notices."""
    mounts = [
        mount.partition(":")[0]
        for service in compose["services"].values()
        for mount in service.get("volumes", [])
        if mount.startswith("./")
    ]
    assert mounts
    assert [mount for mount in mounts if not (ROOT / mount).exists()] == []


def test_nothing_but_this_machine_reaches_it(compose: Any) -> None:
    """Kafka without a password is published to the loopback address only."""
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_the_pictures_are_pinned(compose: Any) -> None:
    """Every image names a version."""
    images = [s["image"] for s in compose["services"].values() if "image" in s]
    images += [
        line.split()[1]
        for line in (ROOT / "deploy/Dockerfile").read_text().splitlines()
        if line.startswith("FROM ")
    ]
    for image in images:
        name, _, version = image.partition(":")
        assert name
        assert version[-1:].isalnum()
        assert version != "latest"


def test_the_worker_is_not_root() -> None:
    """The last user that the Dockerfile names is not root, and its packages come by hash."""
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1] == "10001"
    assert any("--require-hashes" in line for line in lines)


def test_the_kafka_of_compose_is_the_one_of_the_tests(compose: Any) -> None:
    """Both are of one version and read the same settings."""
    version = compose["services"]["kafka"]["image"].partition(":")[2]
    assert f"<version>{version}</version>" in (ROOT / "tests/kafka/pom.xml").read_text()
    mounts = compose["services"]["kafka"]["volumes"]
    assert any(mount.startswith("./deploy/kafka/server.properties:") for mount in mounts)
