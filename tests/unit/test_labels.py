"""Joining predictions with labels, against a model that remembers everything for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamproc import labels
from streamproc.errors import BadRecord
from streamproc.labels import EarlyLabel, PendingLabels, Waiting

HORIZON_MS = 10
IDS = st.sampled_from("abcdefgh")


def waiting(time_ms: int) -> Waiting:
    """Return a prediction of that time."""
    return Waiting(b"key", time_ms, b"{}", b"")


class Joining(RuleBasedStateMachine):
    """Events and labels come in order of time; the model keeps a plain dict of each."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: PendingLabels[str] = PendingLabels(HORIZON_MS)
        self.now_ms = 0
        self.seen: dict[str, tuple[int, bool]] = {}
        self.early: dict[str, int] = {}
        self.unlabelled = 0

    @rule(record_id=IDS)
    def event(self, record_id: str) -> None:
        """An event is new, or refused; a label that waits for it is handed out, once."""
        if record_id in self.seen:
            with pytest.raises(BadRecord, match="repeated_id"):
                self.pending.check_new(record_id)
            return
        self.pending.check_new(record_id)
        early = self.pending.early(record_id)
        expected = self.early.pop(record_id, None)
        assert (early and early.label_time_ms) == expected
        if early is None:
            self.pending.add(record_id, waiting(self.now_ms))
        else:
            self.pending.remember(record_id, self.now_ms)
        self.seen[record_id] = (self.now_ms, early is not None)

    @rule(record_id=IDS)
    def label(self, record_id: str) -> None:
        """A label joins once; before its event it is held, once; else it is a second one."""
        known = self.seen.get(record_id)
        if (known and known[1]) or record_id in self.early:
            with pytest.raises(BadRecord, match="second_label"):
                self.pending.join(record_id, 1, self.now_ms, "record")
            return
        joined = self.pending.join(record_id, 1, self.now_ms, "record")
        if known:
            assert waiting(known[0]) == joined
            self.seen[record_id] = (known[0], True)
        else:
            assert joined is None
            self.early[record_id] = self.now_ms

    @rule(by_ms=st.integers(0, 15))
    def time_passes(self, by_ms: int) -> None:
        """What is older than the horizon is forgotten, what is exactly as old is not."""
        self.now_ms += by_ms
        floor = self.now_ms - HORIZON_MS
        gone = self.pending.expire(self.now_ms)
        expected = [time_ms for time_ms in self.early.values() if time_ms < floor]
        assert sorted(expected) == [each.label_time_ms for each in gone]
        self.early = {i: t for i, t in self.early.items() if t >= floor}
        self.unlabelled += sum(t < floor and not has for t, has in self.seen.values())
        self.seen = {i: (t, has) for i, (t, has) in self.seen.items() if t >= floor}

    @invariant()
    def counts(self) -> None:
        """What it counts is what the model counts."""
        assert self.unlabelled == self.pending.unlabelled
        assert len(self.early) == self.pending.held
        assert sum(not has for _, has in self.seen.values()) == self.pending.waiting

    @precondition(lambda self: self.seen)
    @invariant()
    def knows(self) -> None:
        """It knows the ids inside the horizon."""
        assert all(record_id in self.pending for record_id in self.seen)


Joining.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestJoining = Joining.TestCase


@given(st.lists(st.integers(0, 1000), max_size=300))
def test_events_out_of_order_are_all_let_go(times: list[int]) -> None:
    """Whatever order events came in, nothing is left once all are older than the horizon."""
    pending: PendingLabels[None] = PendingLabels(HORIZON_MS)
    for number, time_ms in enumerate(times):
        pending.add(str(number), waiting(time_ms))
        pending.expire(max(times[: number + 1]))
    pending.expire(10_000)
    assert (0, len(times)) == (pending.waiting, pending.unlabelled)
    assert not any(str(number) in pending for number in range(len(times)))


def test_held_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the label held longest is given up, so that memory is."""
    monkeypatch.setattr(labels, "HELD_LABELS", 3)
    pending: PendingLabels[str] = PendingLabels(HORIZON_MS)
    for name in "abcde":
        assert pending.join(name, 1, 5, f"record {name}") is None
    assert [EarlyLabel(1, 5, "record a"), EarlyLabel(1, 5, "record b", 1)] == pending.expire(5)
    assert pending.held == 3


def test_a_label_that_is_ahead_of_time_keeps_no_other_from_being_given_up() -> None:
    """Labels are given up by their own age, also behind one with a time that is yet to come."""
    pending: PendingLabels[str] = PendingLabels(HORIZON_MS)
    pending.join("ahead", 1, 1_000, "record")
    pending.join("old", 1, 5, "record")
    assert [each.label_time_ms for each in pending.expire(100)] == [5]
    assert pending.held == 1
