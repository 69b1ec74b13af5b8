"""Labels of one class: told as a fault of the data, and never as a model that is no good."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from streamproc.alerts import new_judge
from streamproc.messages import Alert
from streamproc.monitors import outcome_fold
from streamproc.monitors.oneclass import MISSED, NEVER, OneClass
from streamproc.monitors.outcomespec import LabelShift
from streamproc.monitors.performance import PerformanceMonitor
from streamproc.monitors.performance_spec import Performance
from tests.unit.monitors.streams import HOUR_MS, Facts, sent

AN_HOUR, DAY = 30, 24
KEY = "data_quality/labels, all one class"
Label = Callable[[int, float, random.Random], Any]


def alerts_of(label: Label, days: int, partitions: int = 1, kind: str = "binary") -> list[Alert]:
    """Return the alerts of a model that is right where ``label`` says yes with its probability."""
    facts = Facts(
        monitors=[Performance(), LabelShift()],
        kind=kind,
        classes=None if kind == "multiclass" else (0, 1),
        lateness_ms=0,
        learns=False,
    )
    folds: list[Any] = [outcome_fold(facts) for _ in range(partitions)]
    judge, rng, told = new_judge(facts, partitions), random.Random(5), []
    for hour in range(days * DAY):
        for i in range(AN_HOUR):
            p = rng.betavariate(1, 19)
            at_ms = hour * HOUR_MS + i * HOUR_MS // AN_HOUR
            score: Any = {"a": 1 - p, "b": p} if kind == "multiclass" else p
            made = {"id": f"{hour}-{i}", "event_time_ms": at_ms, "label_time_ms": at_ms,
                    "features": {}, "score": score, "model": "main@1", "slices": {},
                    "decision": "a" if kind == "multiclass" else False,
                    "label": label(hour, p, rng)}  # fmt: skip
            folds[i % partitions].update([made])
        for at, fold in enumerate(folds):
            told += judge.update([sent("bias", at, fold)], hour * HOUR_MS)
    return told


def steps(alerts: list[Alert]) -> list[tuple[str, str]]:
    """Return what became of each."""
    return [(each["key"], str(each["reason"])) for each in alerts]


@pytest.mark.parametrize("label", [0, 1])
def test_a_class_that_was_never_seen_opens_no_page_about_the_model(label: int) -> None:
    """A finding about the data, once there are so many, and nothing else; no number is infinite."""
    (alert,) = alerts_of(lambda hour, p, rng: label, 30)
    assert (alert["key"], alert["severity"], alert["samples"]) == (KEY, "warning", NEVER)
    assert "All 3,000 labels so far are" in alert["summary"]


def test_several_classes_that_become_one_are_told_the_same() -> None:
    """Named as the class is."""
    alerts = alerts_of(lambda hour, p, rng: "a", 30, kind="multiclass")
    assert steps(alerts) == [(KEY, "found")]
    assert "labels so far are a," in alerts[0]["summary"]


@pytest.mark.parametrize("partitions", [1, 3])
def test_labels_that_stop_being_yes_are_one_alert_that_ends(partitions: int) -> None:
    """It takes the shift of labels over, which says less; and it is over when yes comes again."""

    def label(hour: int, p: float, rng: random.Random) -> int:
        return int(rng.random() < p and not 20 * DAY <= hour < 25 * DAY)

    alerts = alerts_of(label, 30, partitions)
    assert steps(alerts[-2:]) == [("label_shift/labels", "explained"), (KEY, "recovered")]
    (found,) = [each for each in alerts if each["key"] == KEY and each["reason"] == "found"]
    assert found["first_seen_ms"] == 20 * DAY * HOUR_MS
    assert found["members_in_all"] == 2
    assert not [each for each in alerts if each["kind"] == "performance"]
    if partitions > 1:
        assert alerts == alerts_of(label, 30)


def test_a_rare_yes_is_no_finding() -> None:
    """One in a thousand: runs of no are long, and of no consequence."""
    found = OneClass()
    rng = random.Random(1)
    told = []
    for hour in range(4_000):
        yes = sum(rng.random() < 0.001 for _ in range(100))
        told.append(found.update(hour, {"yes": yes, "no": 100 - yes}, 0))
    assert [each for each in told[100:] if each] == []


def test_how_many_have_to_be_missed() -> None:
    """Of a twentieth that were yes, thirty: six hundred labels."""
    found = OneClass()
    for hour in range(100):
        assert found.update(hour, {"yes": 5, "no": 95}, 0) is None
    told = [found.update(100 + hour, {"no": 100}, 7) for hour in range(8)]
    assert [each is not None for each in told] == [False] * 5 + [True] * 3
    first = next(each for each in told if each)
    assert first.statistic == pytest.approx(MISSED)
    assert first.first_seen_ms == 100 - 7
    assert found.all_one_since(100)
    assert not found.all_one_since(99)
    over = found.update(108, {"no": 9, "yes": 1}, 0)
    assert over is not None
    assert not over.ongoing
    assert not found.all_one_since(108)


@pytest.mark.parametrize("never", [True, False])
def test_what_is_accepted_is_told_again_once_others_have_come(never: bool) -> None:
    """Neither that it lasts nor its end; what was accepted is usual from then on."""
    watch = PerformanceMonitor(Performance(), "binary", float("inf"))
    labels = watch._labels
    for hour in range(0 if never else 100):
        assert labels.update(hour, {"yes": 5, "no": 95}, 0) is None
    told = []
    for hour in range(100, 1_000):
        found = labels.update(hour, {"no": 100}, 0)
        if found is not None:
            told.append(hour)
            assert watch.relearn(KEY)
    assert told == [129 if never else 105]
    assert labels.update(1_000, {"no": 99, "yes": 1}, 0) is None
    assert all(labels.update(hour, {"no": 100}, 0) is None for hour in range(1_001, 1_040))
