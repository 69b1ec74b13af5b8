"""Ending what dead workers left open: by one who waits, once, and whatever the brokers say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agents import leaving
from streamproc.errors import StreamprocError


@pytest.mark.timeout(10)
def test_who_looks_for_dead_writers_does_not_wait_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading who wrote lately may be slow as well, and then asks for the same."""
    asked: list[str] = []

    def lately_wrote() -> set[str]:
        asked.append("once")
        leaving.end_open_transactions(at)
        return {"w1", "w2"}

    at: Any = SimpleNamespace(
        exactly_once=True, lately_wrote=lately_wrote, settings=SimpleNamespace(instance="w1")
    )
    monkeypatch.setattr(leaving, "_members", lambda at: {"w2"})
    leaving.end_open_transactions(at)
    assert asked == ["once"]


def test_brokers_that_do_not_answer_end_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is tried again; the next attempt is not held up by the one that failed."""

    def fails(at: Any) -> set[str]:
        raise StreamprocError("the members are not known")

    at: Any = SimpleNamespace(
        exactly_once=True, lately_wrote=lambda: {"w2"}, settings=SimpleNamespace(instance="w1")
    )
    monkeypatch.setattr(leaving, "_members", fails)
    leaving.end_open_transactions(at)
    monkeypatch.setattr(leaving, "_members", lambda at: {"w2"})
    leaving.end_open_transactions(at)
    assert not leaving._ending.locked()
