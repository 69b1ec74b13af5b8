"""A little of ``make torture``: what is broken here must cost nothing, for those who read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka_server import KafkaServer
from tests.torture import oracle
from tests.torture.__main__ import DATA, RATE
from tests.torture.field import Field
from tests.torture.scenarios import SCENARIOS

pytestmark = [pytest.mark.kafka, pytest.mark.data, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", ["kill", "zombie", "gone", "twins", "broker"])
def test_nothing_is_lost_repeated_or_wrong(name: str, data: Path, tmp_path: Path) -> None:
    """A round of each fault, and then an independent calculation of what should have come out."""
    assert DATA.parent.parent == data
    kafka = KafkaServer(tmp_path)
    try:
        with Field(kafka, tmp_path, name, DATA, RATE, seed=7) as field:
            took_s = SCENARIOS[name].round(field)
            field.stop_flow()
            oracle.settle(kafka.address, name)
            for worker in field.workers.values():
                worker.stop()
        found = oracle.judge(kafka.address, name, DATA, tmp_path / "store")
    finally:
        kafka.stop()
    print(f"\n{SCENARIOS[name].fault}: went on after {took_s:.2f} s; {found}")
    assert found.holds
    assert found.events > 500
