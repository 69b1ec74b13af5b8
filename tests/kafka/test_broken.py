"""A little of ``make torture``: what is broken here must cost nothing, for those who read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.__main__ import break_it
from tests.torture.payments import FOLDER
from tests.torture.scenarios import SCENARIOS

pytestmark = [pytest.mark.kafka, pytest.mark.data, pytest.mark.timeout(600)]

ROUNDS = [
    "kill",
    "zombie",
    "gone",
    "twins",
    "broker",
    "cut",
    "store",
    "sixteen",
    "rekeyed",
    "alerts4",
    "hostile",
]


@pytest.mark.parametrize("name", ROUNDS)
def test_nothing_is_lost_repeated_or_wrong(name: str, data: Path, tmp_path: Path) -> None:
    """A round of each fault, and then an independent calculation of what should have come out."""
    assert FOLDER.parent == data
    (took_s,), found = break_it(name, SCENARIOS[name], tmp_path, rounds=1, seed=7)
    print(f"\n{SCENARIOS[name].fault}: went on after {took_s:.2f} s; {found}")
    assert found.holds, found
    assert found.events > 100
