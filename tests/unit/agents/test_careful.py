"""Records that end the process are found by processes that end; the others are not touched."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from agents.careful import find_killers, survives
from streamproc.tasks.score import ScoreTask
from tests.unit.tasks.kit import EVENTS, LABELS, NOW_MS, Scoring, event, label, record

ORDERS = range(1, 41)


def scoring_that_dies(monkeypatch: pytest.MonkeyPatch, killers: set[str]) -> Scoring:
    """Return a task whose process ends when it scores one of these."""
    whole = ScoreTask._score

    def score(self: ScoreTask, event: Any, *rest: Any) -> None:
        if event.id in killers:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, event, *rest)

    monkeypatch.setattr(ScoreTask, "_score", score)
    return Scoring()


@pytest.mark.parametrize("killers", [set(), {"1"}, {"40"}, {"7", "8", "33"}])
def test_each_killer_is_found_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, killers: set[str]
) -> None:
    """By their offsets; the task that goes on has not seen any of them, nor the others."""
    scoring = scoring_that_dies(monkeypatch, killers)
    scoring.put(LABELS, *(label(order, 10_000) for order in ORDERS))
    records = [record(EVENTS, order, event(order, order)) for order in ORDERS]
    found = asyncio.run(find_killers(scoring.task, EVENTS, records, NOW_MS, survives))
    assert found == {int(each) for each in killers}
    assert scoring.task.features.window_entries == 0
    scoring.task.refused[EVENTS] |= found
    scoring.task.take(EVENTS, records, True, NOW_MS)
    scoring.run()
    assert len(scoring.said("predictions")) == len(ORDERS) - len(killers)
    assert scoring.reasons() == ["kills_worker"] * len(killers)


def test_what_waits_for_another_input_is_tried_out_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a child nobody waits: the record is reached though labels are behind."""
    scoring = scoring_that_dies(monkeypatch, {"2"})
    scoring.task.labels.caught_up = False
    records = [record(EVENTS, order, event(order, order)) for order in ORDERS]
    assert asyncio.run(find_killers(scoring.task, EVENTS, records, NOW_MS, survives)) == {2}


def test_a_child_that_fails_or_hangs_does_not_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody handles and a loop without end are ends as well."""
    monkeypatch.setattr("agents.careful.TRY_OUT_S", 1.0)

    def fails() -> None:
        raise MemoryError

    def hangs() -> None:
        signal.pause()

    assert asyncio.run(survives(lambda: None))
    assert not asyncio.run(survives(fails))
    assert not asyncio.run(survives(hangs))
