"""River's detectors as the test: they open for what moved, and what is back closes."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from math import pi, sin
from typing import Any

import pytest
from river import drift

from streamproc.monitors import Drift
from streamproc.monitors.detectors import TOLERANCE, DetectorTest
from streamproc.monitors.finding import Finding
from streamproc.monitors.recent import Bucket, Reference
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, judged, payments, steps

BUCKET_MS = 6 * HOUR_MS
PAGE_HINKLEY = drift.PageHinkley(min_instances=1, delta=0.5, threshold=12.0, alpha=1.0)


def found(
    mean: Callable[[int, random.Random], float],
    buckets: int = 240,
    seed: int = 1,
    n: int = 100,
    bucket_ms: int = BUCKET_MS,
    detector: Any = None,
    **how: Any,
) -> list[tuple[int, Finding]]:
    """Return the findings by bucket for series of ``n`` values of sd 1 a bucket."""
    rng = random.Random(seed)
    detector = detector or PAGE_HINKLEY
    test = DetectorTest("covariate_drift", "amount", bucket_ms, detector, **how)
    findings = []
    for i in range(buckets):
        value = mean(i, rng) + rng.gauss(0, n**-0.5)
        finding = test.update(Bucket(i * bucket_ms, n, value, 1.0))
        if finding is not None:
            findings.append((i, finding))
    return findings


def shifted(size: float) -> Callable[[int, random.Random], float]:
    """Return a mean that is off by so much in buckets 100 to 139."""
    return lambda i, _: 5.0 + size * (100 <= i < 140)


@pytest.mark.parametrize("size", [0.5, -0.5, 1.0, 3.0, 1e6])
def test_a_shift_opens_and_closes_by_itself(size: float) -> None:
    """From the bucket it began in, within ten buckets; over within ten of its end."""
    findings = found(shifted(size))
    opened, first = findings[0]
    over = [i for i, finding in findings if not finding.ongoing]

    assert 101 <= opened < 110
    assert abs(first.first_seen_ms - 100 * BUCKET_MS) <= 2 * BUCKET_MS
    assert first.observed - first.expected == pytest.approx(size, abs=0.1 * abs(size) + 0.15)
    assert len(over) == 1
    assert 142 <= over[0] < 150


@pytest.mark.parametrize("size", [0.0, 0.1, -0.1])
def test_what_is_tolerated_is_not_told(size: float) -> None:
    """No finding for nothing, nor for a shift below the tolerance, in 20 streams."""
    findings = [found(shifted(size), seed=seed) for seed in range(20)]

    assert findings == [[]] * 20


def test_one_wild_bucket_is_no_drift() -> None:
    """A bucket far off alone is an outlier; three are a change."""
    assert found(lambda i, _: 1e9 * (i == 100)) == []
    assert found(lambda i, _: 1e9 * (100 <= i < 103)) != []


@pytest.mark.parametrize(
    "season",
    [
        pytest.param(lambda i, rng: sin(2 * pi * i / 24), id="day and night"),
        pytest.param(lambda i, rng: random.Random(i // 24).gauss(0, 0.2), id="days differ"),
        pytest.param(lambda i, rng: rng.gauss(0, 0.5), id="hours differ"),
    ],
)
def test_what_wavers_is_no_drift(season: Callable[[int, random.Random], float]) -> None:
    """Hours and days that are not alike are learnt, in their level or as what is usual."""
    findings = [found(season, buckets=24 * 40, seed=seed, bucket_ms=HOUR_MS) for seed in range(10)]

    assert findings == [[]] * 10


def test_a_season_does_not_hide_a_shift() -> None:
    """Days of a swing of two standard deviations, and half of one more from day 30 on, is seen."""

    def mean(i: int, rng: random.Random) -> float:
        return sin(2 * pi * i / 24) + 0.5 * (i >= 24 * 30)

    opened = [found(mean, 24 * 34, seed=seed, bucket_ms=HOUR_MS)[0][0] for seed in range(4)]

    assert max(opened) < 24 * 31


def test_a_window_that_fills_is_no_drift() -> None:
    """What comes before the windows are full is left out, and a trend is not taken for usual."""
    fills = [
        found(lambda i, _: min(i, 120) / 4, after_ms=110 * BUCKET_MS, seed=s) for s in range(5)
    ]

    assert fills == [[]] * 5


@pytest.mark.parametrize(
    ("detector", "most"),
    [
        (PAGE_HINKLEY, 110),
        (drift.PageHinkley(), 116),
        (drift.KSWIN(window_size=40, stat_size=10, seed=1), 125),
    ],
)
def test_any_detector_of_river_can_be_used(detector: Any, most: int) -> None:
    """A detector given is copied for each series and decides when to open."""
    before = pickle.dumps(detector)
    first = found(shifted(1.0), detector=detector)
    again = found(shifted(1.0), detector=detector)

    assert 101 <= first[0][0] < most
    assert again == first
    assert pickle.dumps(detector) == before


def test_the_reference_grows_and_forgets() -> None:
    """Its size is bounded, and a slow trend moves it along."""
    reference = Reference(DAY_MS, TOLERANCE)
    for day in range(1_000):
        reference.learn(Bucket(day * DAY_MS, 100, day / 1_000 + (-1) ** day * 0.1, 1.0))

    assert reference.ready
    assert len(reference.newest(10_000)) <= 96
    assert 0.85 < reference.expected(0) < 1.0


def test_a_trend_is_not_taken_for_usual() -> None:
    """While the first buckets trend there is no reference; it begins when they settle."""
    reference = Reference(DAY_MS, TOLERANCE)
    for day in range(40):
        reference.learn(Bucket(day * DAY_MS, 100, min(day, 25) + (-1) ** day * 0.1, 1.0))
        assert reference.ready == (day >= 25 + 9) or day > 30

    assert reference.ready
    assert reference.expected(0) == pytest.approx(25, abs=1)


def test_constant_features_are_quiet_until_they_change() -> None:
    """Without any variance nothing is divided by zero, and a change is still seen."""
    test = DetectorTest("covariate_drift", "flag", BUCKET_MS, PAGE_HINKLEY)
    findings = [test.update(Bucket(i * BUCKET_MS, 10, float(i >= 60), 0.0)) for i in range(80)]

    assert not any(findings[:60])
    assert any(findings[60:70])


def test_state_survives_a_pickle_mid_way() -> None:
    """A test that is pickled between buckets goes on as if it had not been."""
    rng = random.Random(5)
    buckets = [
        Bucket(i * BUCKET_MS, 100, rng.gauss(0.5 * (60 <= i < 80), 0.1), 1.0) for i in range(120)
    ]
    one = DetectorTest("covariate_drift", "amount", BUCKET_MS, PAGE_HINKLEY)
    other = DetectorTest("covariate_drift", "amount", BUCKET_MS, PAGE_HINKLEY)
    for bucket in buckets:
        other = pickle.loads(pickle.dumps(other))
        assert one.update(bucket) == other.update(bucket)


def test_the_sentence_says_what_where_and_since_when() -> None:
    """An operator reads the feature, the direction, the size, the time and where to look."""
    (_, opened), *_, (_, over) = found(shifted(1.0))

    assert opened.summary.startswith(
        "The mean of amount is higher than usual since 1970-01-26 00:00 UTC: 6"
    )
    assert opened.summary.endswith("standard deviations; look at where it comes from.")
    assert over.summary == (
        "The mean of amount is back to usual after a change since 1970-01-26 00:00 UTC."
    )


def test_a_detector_is_declared_with_the_monitor() -> None:
    """A feature's change is covariate drift of it, the score's is prior drift."""
    moved = payments(
        3,
        60,
        amount=lambda day, rng: rng.gauss(50, 25) * (1.6 if 30 <= day < 40 else 1),
        score=lambda day: 0.05 + 0.1 * (45 <= day < 50) + day % 2 / 100,
    )
    facts = Facts(monitors=[Drift(PAGE_HINKLEY, bucket="6h")])

    assert steps(judged(facts, "drift", moved)) == [
        ("open", "covariate_drift/amount"),
        ("resolved", "covariate_drift/amount"),
        ("open", "prior_drift/score"),
        ("resolved", "prior_drift/score"),
    ]
