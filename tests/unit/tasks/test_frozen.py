"""A task that is brought back from a snapshot and its log does what one does that never stopped."""

from __future__ import annotations

import dataclasses
import random
import uuid
from typing import Any

import pytest
from river import linear_model

from streamproc.codec import JsonCodec
from streamproc.errors import StreamprocError
from streamproc.events import Events, Labels
from streamproc.features import Field, LabelWindow, Window
from streamproc.labels import PendingLabels
from streamproc.pipeline import Pipeline
from streamproc.state import snapshots
from streamproc.state.files import Files
from streamproc.state.snapshots import Snapshots
from streamproc.state.tables import Rows
from streamproc.tasks import frozen
from streamproc.tasks.frozen import Freezer, UnfitError, thaw
from streamproc.tasks.records import Record
from streamproc.tasks.replaying import replay
from streamproc.tasks.score import ScoreTask
from tests.unit.tasks.kit import EVENTS, LABELS, NOW_MS, Scoring, event, label, pipeline, record

ALL = ("count", "sum", "mean", "std", "var", "min", "max")


def watched() -> Pipeline:
    """Return a pipeline with every aggregate, and a horizon that streams of a second outlive."""
    return pipeline(
        features=[
            Field("amount"),
            Window("amount", by="card", over=("50ms", "200ms"), aggregates=ALL),
            Window("amount", by="card", over=("90ms",), aggregates=("count", "mean")),
            LabelWindow(by="card", over=("30ms", "300ms"), aggregates=("count", "mean")),
            Window("amount", by="card", over=("60ms",), aggregates=("sum", "growth"), every="20ms"),
            LabelWindow(by="card", over=("60ms",), every="60ms"),
        ]
    )


class Stopped(Scoring):
    """A task that is frozen now and then, and is started again from what was written."""

    def __init__(self) -> None:
        super().__init__(watched(), track=True)
        self.kept = Snapshots(Files(f"memory://{uuid.uuid4().hex}"), "shop/score-0", {"task": "0"})
        self.freezer: Freezer | None = Freezer(self.task)
        self.logs: dict[str, list[Record]] = {EVENTS: [], LABELS: []}
        self.committed = (0, 0)
        self.steps: list[tuple[int, int]] = []
        self.covers: tuple[int, int] | None = None
        self.restarts = self.thawed = 0

    def put(self, topic: str, *values: Any, **options: Any) -> Stopped:
        """Keep what is put, for a restart."""
        first = self.offsets[topic]
        self.logs[topic] += [record(topic, first + i, value) for i, value in enumerate(values)]
        super().put(topic, *values, **options)
        return self

    def commit(self) -> None:
        """Process all, as one transaction."""
        self.run()
        self.committed = (len(self.logs[EVENTS]), len(self.logs[LABELS]))
        self.steps.append(self.committed)

    def freeze(self, everything: bool) -> None:
        """Begin a snapshot of what is committed."""
        if self.covers is None and self.freezer is not None:
            self.freezer.begin(everything)
            self.covers = self.committed

    def pack(self, most: int) -> None:
        """Pack a little; write it when that was all."""
        if self.covers is not None and self.freezer is not None and self.freezer.pack(most):
            taken = self.freezer.take()
            if taken.everything:
                self.kept.chain = []
            self.kept.write(self.covers, taken.tables, taken.meta, taken.floors, {})
            self.covers = None

    def restart(self) -> None:
        """Drop the task, and start another from what was written and the log since."""
        predictions = {each["id"]: value for each, value in self._published()}
        self.task = ScoreTask(self.pipeline, 0, JsonCodec(), track=True)
        self.freezer, self.covers = Freezer(self.task), None
        found = self.kept.newest(self.committed)
        start = (0, 0)
        if found is not None:
            thaw(self.task, found)
            start = found.offsets
            self.thawed += 1
        events, labels = self.logs[EVENTS][start[0] :], self.logs[LABELS][start[1] :]
        published = predictions.get
        replay(self.task, events, labels, lambda each: published(each.id), self.steps, NOW_MS)
        for topic in self.task.waiting():
            self.task.take(topic, [], True, NOW_MS)
        self.restarts += 1

    def _published(self) -> list[tuple[dict[str, Any], bytes]]:
        outs = self.out.get("predictions", [])
        return [
            (each, out["value"] or b"")
            for each, out in zip(self.said("predictions"), outs, strict=True)
        ]


AMOUNTS = (1, 2.5, 0.1, -3, None, 1e100, 1e-300, -0.0, 2.0**70, 1 / 3)


def steps_of(chance: random.Random) -> list[tuple[Any, ...]]:
    """Return what happens to a task, by chance: events, labels, time, and what we do to it."""
    kinds = ("event", "label", "jump", "commit", "freeze", "pack", "restart")
    steps: list[tuple[Any, ...]] = []
    for kind in chance.choices(kinds, (45, 20, 3, 7, 7, 13, 5), k=150):
        if kind == "event":
            order = chance.randint(0, 60 if chance.random() < 0.4 else 10**6)
            amount = chance.choice(AMOUNTS)
            at = chance.randint(0, 60) if chance.random() < 0.8 else chance.randint(-250, 0)
            steps.append((kind, order, at, int(chance.expovariate(0.4)), amount))
        elif kind == "label":
            steps.append((kind, chance.randint(0, 60), chance.randint(-20, 60)))
        elif kind == "jump":
            steps.append((kind, chance.choice((100, 700, 1500))))
        elif kind == "freeze":
            steps.append((kind, chance.random() < 0.2))
        else:
            steps.append((kind, chance.randint(1, 8)) if kind == "pack" else (kind,))
    return steps


def play(steps: list[tuple[Any, ...]]) -> tuple[Scoring, Stopped]:
    """Do the same to a task that goes on all the time and to one that is stopped."""
    never, stopped = Scoring(watched()), Stopped()
    now = 0
    for what, *how in steps:
        if what in ("event", "label"):
            topic, at = (EVENTS, now + how[1]) if what == "event" else (LABELS, now + how[1])
            made = event(how[0], at, *how[2:]) if what == "event" else label(how[0], at)
            never.put(topic, made)
            stopped.put(topic, made)
            now += 3
        elif what == "jump":
            now += how[0]
        else:
            never.run()
            stopped.commit()
            if what == "freeze":
                stopped.freeze(*how)
            elif what == "pack":
                stopped.pack(*how)
            elif what == "restart":
                stopped.restart()
    never.run()
    stopped.commit()
    return never, stopped


def state_of(scoring: Scoring) -> dict[str, Any]:
    """Return what a task knows, in numbers."""
    task = scoring.task
    pending: PendingLabels[Record] = task.pending
    counts = (pending.waiting, pending.held, pending.unlabelled, pending.number)
    return {"at": task.watermark_ms, "late": task.late, "pending": counts}


@pytest.fixture(autouse=True)
def _merge_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "FANOUT", 2)


@pytest.mark.parametrize("seed", range(60))
def test_a_restart_changes_nothing(seed: int) -> None:
    """Every output comes once, with the bytes that it has when nothing was stopped."""
    never, stopped = play(steps_of(random.Random(seed)))
    for role in ("predictions", "outcomes", "dead_letters"):
        assert stopped.out.get(role) == never.out.get(role)
    assert state_of(stopped) == state_of(never)
    assert stopped.restarts


def test_restarts_begin_with_snapshots() -> None:
    """The streams above do what they are for: snapshots merged, and most restarts from one."""
    played = [play(steps_of(random.Random(seed)))[1] for seed in range(20)]
    restarts, thawed = sum(each.restarts for each in played), sum(each.thawed for each in played)
    assert thawed > restarts / 2 > 20


def test_a_new_window_is_refused_and_one_less_is_not() -> None:
    """State that a changed pipeline cannot follow is named; what it no longer needs is left."""
    stopped = Stopped()
    stopped.put(EVENTS, event(1, 5)).commit()
    stopped.freeze(everything=True)
    stopped.pack(100)
    snapshot = stopped.kept.newest(stopped.committed)
    assert snapshot is not None
    fewer = pipeline(features=watched().features[:2], threshold=0.9)
    thaw(ScoreTask(fewer, 0, JsonCodec()), snapshot)
    more = Window("amount", by="card", over=("70ms",), aggregates=("count",))
    other = pipeline(features=[*watched().features, more])
    with pytest.raises(UnfitError, match="no window of 'amount' by 'card' over 70ms"):
        thaw(ScoreTask(other, 0, JsonCodec()), snapshot)
    with pytest.raises(UnfitError):  # late records would find less than they may ask for
        thaw(
            ScoreTask(pipeline(features=watched().features, lateness="1s"), 0, JsonCodec()),
            snapshot,
        )


def test_a_window_that_hops_now_is_another_window() -> None:
    """Its records may have been let go when they had left the one that it was."""
    stopped = Stopped()
    stopped.put(EVENTS, event(1, 5)).commit()
    stopped.freeze(everything=True)
    stopped.pack(100)
    snapshot = stopped.kept.newest(stopped.committed)
    assert snapshot is not None
    changed = [
        dataclasses.replace(each, every="30ms") if isinstance(each, Window) and each.every else each
        for each in watched().features
    ]
    with pytest.raises(UnfitError, match="no window of 'amount' by 'card' over 60ms, every 30ms"):
        thaw(ScoreTask(pipeline(features=changed), 0, JsonCodec()), snapshot)


def test_state_goes_by_the_names_that_it_always_had() -> None:
    """Names and fingerprints of windows that slide are those of deployed pipelines' state."""
    deployed = Pipeline(
        name="shop",
        events=Events("orders", id="id", key="card", time="at"),
        labels=Labels("paid", id="id", value="fraud", horizon="30d"),
        features=[
            Window("amount", by="card", over=("1d", "7d"), aggregates=("count", "mean")),
            LabelWindow(by="card", over=("1d",)),
        ],
        model=linear_model.LogisticRegression(),
    )
    names = [
        (frozen.name_of(deployed, window), frozen.declared_name(deployed, window, spec))
        for window in deployed.new_features().windows
        for spec in window.specs
    ]
    assert names == [
        ("records-0f78cf24b464", "window-80c7ec1c4d15"),
        ("labels-e8eed1244238", "label-window-22e32081c0f8"),
    ]
    assert (deployed.fingerprint, deployed.learns_what) == ("a8e73e7841cb", "2a4d821f7fed")


def test_ids_that_are_missing_are_noticed() -> None:
    """A table without some of its rows is not taken for a smaller state."""
    stopped = Stopped()
    stopped.put(EVENTS, event(1, 5), event(2, 6), event(3, 7)).commit()
    stopped.freeze(everything=True)
    stopped.pack(100)
    snapshot = stopped.kept.newest(stopped.committed)
    assert snapshot is not None
    rows = Rows()
    rows.append("1", 5, 0, b"")
    rows.append("3", 7, 2, b"")
    short = dataclasses.replace(snapshot, tables={**snapshot.tables, "remembered": [rows.table()]})
    with pytest.raises(StreamprocError, match="2 ids are there, of those up to number 3"):
        thaw(ScoreTask(watched(), 0, JsonCodec()), short)


def test_changes_that_nobody_takes_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a store stays away the changes do not pile up: then everything is taken."""
    monkeypatch.setattr(frozen, "MOST_CHANGES", 5)
    stopped = Stopped()
    assert stopped.freezer is not None
    stopped.put(EVENTS, *(event(order, order) for order in range(5))).commit()
    assert not stopped.freezer.too_many_changes()
    stopped.put(EVENTS, event(6, 6)).commit()
    assert stopped.freezer.too_many_changes()
    assert stopped.task.pending.changes == 0


def test_a_late_event_sees_as_little_after_a_restart() -> None:
    """What may have been let go is left out, whether it was or not: the newest time is kept."""
    never, stopped = Scoring(watched()), Stopped()
    for order, at, card in ((1, 0, 7), (2, 300, 8)):
        never.put(EVENTS, event(order, at, card)).run()
        stopped.put(EVENTS, event(order, at, card)).commit()
    stopped.freeze(everything=True)
    stopped.pack(100)
    stopped.restart()
    never.put(EVENTS, event(3, 190, 7)).run()
    stopped.put(EVENTS, event(3, 190, 7)).commit()
    assert stopped.said("predictions")[-1] == never.said("predictions")[-1]
    assert never.said("predictions")[-1]["features"]["amount_count_200ms_by_card"] == 1


def test_everything_is_what_did_not_change_as_well() -> None:
    """A snapshot that builds on nothing holds entities that were seen, thawed, or neither."""
    stopped = Stopped()
    for card in (1, 2, 3):
        stopped.put(EVENTS, event(card, card, card)).commit()
        stopped.freeze(everything=card == 3)
        stopped.pack(100)
    stopped.restart()
    stopped.put(EVENTS, event(4, 4, 3)).commit()
    stopped.freeze(everything=True)
    stopped.pack(100)
    stopped.restart()
    stopped.put(EVENTS, *(event(10 + card, 10, card) for card in (1, 2, 3))).commit()
    counts = [
        each["features"]["amount_count_200ms_by_card"] for each in stopped.said("predictions")
    ]
    assert counts[-3:] == [2, 2, 3]


def test_a_label_that_was_given_up_stays_so() -> None:
    """A held label that became a dead letter is none again after a restart."""
    stopped = Stopped()
    stopped.put(LABELS, label(99, 5)).commit()
    for everything in (True, False):
        stopped.freeze(everything)
        stopped.pack(100)
        stopped.put(EVENTS, event(int(everything), 5000)).commit()
    assert stopped.reasons() == ["unknown_id"]
    stopped.freeze(everything=False)
    stopped.pack(100)
    stopped.restart()
    assert stopped.task.pending.held == 0


def test_what_does_not_track_keeps_no_changes() -> None:
    """A backtest takes no snapshots, and its memory does not grow for them."""
    scoring = Scoring(watched()).put(EVENTS, event(1, 5)).put(LABELS, label(1, 6), label(9, 6))
    scoring.run()
    assert scoring.task.pending.changes == 0
    assert not any(window.changes for window in scoring.task.features.windows)
