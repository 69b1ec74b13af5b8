"""The judge: buckets sealed by watermark, and one verdict however records were spread."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest

from streamproc.alerts import new_judge
from streamproc.messages import Alert
from streamproc.monitors import Drift, PredictionBias, drift_fold
from streamproc.monitors import slices as slices_module
from tests.unit.monitors.streams import (
    DAY_MS,
    HOUR_MS,
    Facts,
    judged,
    payments,
    sent,
    silence,
    steps,
)

MONITORS: list[Drift | PredictionBias] = [
    Drift(bucket="6h"),
    PredictionBias(slices=("country",), bucket="6h"),
]


def without_times(alerts: list[Alert]) -> list[Alert]:
    """Return alerts but for when they were detected, which is the clock's."""
    return [Alert(**{**alert, "detected_at_ms": 0}) for alert in alerts]


@pytest.fixture(scope="module")
def faulty() -> list[dict[str, Any]]:
    """Outcomes with a drift of the amount and a bias in one country."""
    return payments(
        1,
        60,
        amount=lambda day, rng: round(rng.gauss(50, 25) * (1.5 if 20 <= day < 26 else 1), 2),
        rate=lambda day, country: 0.25 if country == "FR" and 30 <= day < 40 else 0.05,
    )


@pytest.mark.parametrize("stage", ["drift", "bias"])
def test_the_verdict_is_the_same_on_any_number_of_partitions(
    stage: str, faulty: list[dict[str, Any]]
) -> None:
    """1, 4 and 16 partitions, in order and shuffled, give the same alerts to the bit."""
    facts = Facts(monitors=MONITORS, lateness_ms=DAY_MS)
    one = without_times(judged(facts, stage, faulty))

    assert [status for status, _ in steps(one)] == ["open", "resolved"]
    for partitions in (1, 4, 16):
        for seed in (1, 2):
            shuffled = judged(facts, stage, faulty, partitions, 300, random.Random(seed))
            assert without_times(shuffled) == one


def test_an_alert_is_told_once(faulty: list[dict[str, Any]]) -> None:
    """Each alert opens once and resolves once, under one id, with updates only in between."""
    facts = Facts(monitors=MONITORS)
    alerts = judged(facts, "drift", faulty) + judged(facts, "bias", faulty)
    lives: dict[str, list[str]] = {}
    for alert in alerts:
        lives.setdefault(alert["alert_id"], []).append(alert["status"])

    assert len(lives) == 2
    for life in lives.values():
        assert life[0] == "open"
        assert life[-1] == "resolved"
        assert set(life[1:-1]) <= {"update"}


def test_sums_of_another_definition_are_ignored() -> None:
    """Sums of a stage, partition or monitor that is no longer there change nothing."""
    judge = new_judge(Facts(monitors=[Drift()]), 1)
    bucket = {"stage": "drift", "monitor": 7, "bucket_ms": 0, "series": {"x": [1, 1.0, 0.0]}}
    base = {"watermark_ms": DAY_MS, "caught_up": True}
    told = [
        {**base, "stage": "bias", "partition": 0, "buckets": []},
        {**base, "stage": "drift", "partition": 5, "buckets": []},
        {**base, "stage": "drift", "partition": 0, "buckets": [bucket]},
    ]

    assert judge.update(told, 0) == []


def test_the_judge_survives_a_pickle_mid_way(faulty: list[dict[str, Any]]) -> None:
    """A judge that is pickled while alerts are open goes on as if it had not been."""
    facts = Facts(monitors=[Drift(bucket="6h")])
    fold, judge = drift_fold(facts), new_judge(facts, 1)
    alerts = []
    for i in range(0, len(faulty), 500):
        fold.update(faulty[i : i + 500])
        judge = pickle.loads(pickle.dumps(judge))
        alerts += judge.update([sent("drift", 0, fold)], i // 500)
        assert len(judge.open_alerts()) == sum(
            {"open": 1, "resolved": -1}.get(alert["status"], 0) for alert in alerts
        )

    assert without_times(alerts) == without_times(judged(facts, "drift", faulty))


def test_slices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap slices are counted and left out; those known stay watched."""
    monkeypatch.setattr(slices_module, "MAX_SLICES", 3)
    monitor = slices_module.BiasMonitor(HOUR_MS, "binary", learns=False, alarm_ms=1e9)
    for hour in range(400):
        row = {"bins": {"70": [100, 5, 5 << 30]}, "n": 100, "delay_ms": 0}
        rows = {f'{{"country":"{hour}{i}"}}': row for i in range(5)}
        monitor.update(hour * HOUR_MS, {"": row, **rows})

    assert monitor.overflowed == 5 * 400 - 3
    assert len(pickle.dumps(monitor)) < 200_000


def test_without_labels_only_drift_is_judged(faulty: list[dict[str, Any]]) -> None:
    """A pipeline without bias monitors ignores the bias stage altogether."""
    facts = Facts(monitors=[Drift(bucket="6h")])
    judge = new_judge(facts, 2)
    fold = drift_fold(facts)
    fold.update(faulty)

    assert judge.update([sent("drift", 0, fold)], 0) == []
    assert [a["kind"] for a in judge.update(silence(judge), 0) if a["status"] == "open"] == [
        "covariate_drift"
    ]
