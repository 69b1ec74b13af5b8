"""Servers for the tests that need them, and what happens where they cannot be had.

A test that needs more than Python carries a marker (or takes the fixture, which gives it the
marker). Where the need is not met the test is left out and named at the end; with ``CI=true`` it
fails instead, so that nothing is left out there unseen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamproc.kafka.embedded import EmbeddedBroker
from tests.alertmanager_server import AlertmanagerServer, alertmanager_missing
from tests.kafka_server import KafkaServer, fetch_kafka
from tests.receiver import Receiver
from tests.registry_server import RegistryServer, fetch_registry
from tests.servers import ROOT, java_missing

DATA = ROOT.parent / "shared" / "data"
_LEFT_OUT = pytest.StashKey[dict[str, list[str]]]()


def _data_missing() -> str | None:
    return None if DATA.is_dir() else f"no folder {os.path.relpath(DATA, ROOT)} beside the project"


def _promtool_missing() -> str | None:
    found = shutil.which("promtool")
    return None if found else "promtool is not on the PATH (Debian's package prometheus has it)"


NEEDS: dict[str, Callable[[], str | None]] = {
    "kafka": java_missing,
    "registry": java_missing,
    "data": _data_missing,
    "promtool": _promtool_missing,
    "alertmanager": alertmanager_missing,
}
"""Marker -> what says why it cannot be met, or None."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here, with the reason; with CI=true nothing is left out."""
    left_out: dict[str, list[str]] = {}
    kept: list[pytest.Item] = []
    for item in items:
        for name in NEEDS:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(name)
        reasons = [
            f"{name}: {reason}"
            for name, missing in NEEDS.items()
            if item.get_closest_marker(name) and (reason := missing())
        ]
        if not reasons:
            kept.append(item)
        elif os.environ.get("CI") == "true":
            item.user_properties.append(("missing", "; ".join(reasons)))
            kept.append(item)
        else:
            left_out.setdefault("; ".join(reasons), []).append(item.nodeid)
    config.stash[_LEFT_OUT] = left_out
    dropped = [item for item in items if item not in set(kept)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test in CI whose needs are not met."""
    for name, value in item.user_properties:
        if name == "missing":
            pytest.fail(f"CI=true leaves nothing out, but {value}", pytrace=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what the servers need before the first test, whose time-out is not for downloads."""
    if session.config.option.collectonly or java_missing():
        return
    for name, fetch_it in (("kafka", fetch_kafka), ("registry", fetch_registry)):
        if any(item.get_closest_marker(name) for item in session.items):
            fetch_it()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last which tests were left out, and why."""
    left_out = terminalreporter.config.stash.get(_LEFT_OUT, {})
    if not left_out:
        return
    terminalreporter.section("left out", yellow=True)
    for reason, nodes in left_out.items():
        terminalreporter.line(f"{len(nodes)} test(s) left out, {reason}")
        for node in nodes:
            terminalreporter.line(f"  {node}")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Return the Apache Kafka of this run; give topics and groups names of your own."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Return the schema registry of this run."""
    server = RegistryServer(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a server that takes what is posted to it."""
    with Receiver() as made:
        yield made


@pytest.fixture
def alertmanager(tmp_path: Path, receiver: Receiver) -> Iterator[AlertmanagerServer]:
    """Return an Alertmanager that knows of nothing, and notifies the receiver."""
    folder = tmp_path / "alertmanager"
    folder.mkdir()
    server = AlertmanagerServer(folder, receiver.address)
    yield server
    server.stop()


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    """Return an embedded broker with nothing in it."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of the real data."""
    return DATA
