"""The drift test: opens for what moved, stays silent for what did not, closes when it is back."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamproc.monitors import Drift
from streamproc.monitors.distribution import DistributionTest
from streamproc.monitors.finding import Finding
from streamproc.monitors.growing import Span
from streamproc.monitors.series import Limits
from streamproc.monitors.sketch import Floats, Sketch, categories
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, judged, payments, steps

Rng = np.random.Generator
Draw = Callable[[int, Rng], Floats]
A_YEAR_MS = 365 * DAY_MS


def new_test(tolerance: float = 0.1, **how: Any) -> DistributionTest:
    """Return a test of hours with a reference of a week."""
    limits = Limits(A_YEAR_MS, HOUR_MS, tolerance, Span(7 * DAY_MS, 1_000))
    return DistributionTest("covariate_drift", "amount", limits, **how)


def found(
    draw: Draw, hours: int, seed: int = 1, test: DistributionTest | None = None
) -> list[tuple[int, Finding]]:
    """Return the findings by hour."""
    rng, findings = np.random.default_rng(seed), []
    test = test or new_test()
    for hour in range(hours):
        finding = test.update(hour * HOUR_MS, Sketch.of(draw(hour, rng)))
        if finding is not None:
            findings.append((hour, finding))
    return findings


def changed(after: Draw, n: int = 60) -> Draw:
    """Return normal values that are drawn otherwise in hours 300 to 360."""
    return lambda hour, rng: after(n, rng) if 300 <= hour < 360 else rng.normal(50, 10, n)


CHANGES: dict[str, tuple[Draw, str]] = {
    "higher": (lambda n, rng: rng.normal(55, 10, n), "The mean of amount is higher"),
    "lower": (lambda n, rng: rng.normal(45, 10, n), "The mean of amount is lower"),
    "far off": (lambda n, rng: rng.normal(1e12, 1, n), "The mean of amount is higher"),
    "wider": (lambda n, rng: rng.normal(50, 14, n), "amount is spread wider"),
    "narrower": (lambda n, rng: rng.normal(50, 6, n), "amount is spread narrower"),
    "heavy tails": (lambda n, rng: 50 + 5.8 * rng.standard_t(2, n), ""),
    "missing": (
        lambda n, rng: np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 10, n)),
        "amount is missing more often than usual: ",
    ),
    "all missing": (lambda n, rng: np.full(n, np.nan), "amount is missing more often"),
    "stuck": (lambda n, rng: np.full(n, 47.11), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_opens_and_closes_by_itself(name: str) -> None:
    """From about the hour it began in, and over within hours of its end; the sentence says what."""
    after, sentence = CHANGES[name]
    findings = found(changed(after), 500)
    opened, first = findings[0]
    over = [hour for hour, finding in findings if not finding.ongoing]

    assert 300 <= opened < 320
    assert abs(first.first_seen_ms - 300 * HOUR_MS) <= 12 * HOUR_MS
    assert first.summary.startswith(sentence)
    assert len(over) == 1
    assert 362 <= over[0] < 390


SEASONS: dict[str, Draw] = {
    "nothing": lambda hour, rng: rng.normal(0, 1, 60),
    "day and night": lambda hour, rng: rng.normal(0.5 * np.sin(hour * np.pi / 12), 1, 60),
    "weekends": lambda hour, rng: rng.normal(0.5 * np.sin(hour * np.pi / 84), 1, 60),
    "days differ": lambda hour, rng: rng.normal(
        np.random.default_rng(hour // 24).normal(0, 0.05), 1, 60
    ),
    "hours differ": lambda hour, rng: rng.normal(rng.normal(0, 0.3), 1, 60),
    "heavy tails": lambda hour, rng: rng.standard_t(1.5, 60),
    "a constant": lambda hour, rng: np.full(60, 3.0),
    "whole numbers": lambda hour, rng: rng.poisson(1.5, 60).astype(float),
    "below tolerance": lambda hour, rng: rng.normal(0.05 * (hour > 400), 1, 60),
    "huge": lambda hour, rng: rng.choice([1e308, -1e308, 5e-324], 60),
    "nothing at all": lambda hour, rng: np.full(60, np.nan),
}


@pytest.mark.parametrize("name", SEASONS)
def test_what_is_usual_is_not_told(name: str) -> None:
    """Days, nights, weekends and noise of whatever form make no finding in six weeks."""
    assert [found(SEASONS[name], 24 * 42, seed) for seed in range(2)] == [[]] * 2


def test_a_season_does_not_hide_a_shift() -> None:
    """Half a standard deviation more, from day 30 on, is seen within a day or so."""

    def draw(hour: int, rng: Rng) -> Floats:
        return rng.normal(np.sin(hour * np.pi / 12) + 0.5 * (hour >= 24 * 30), 1, 60)

    for seed in range(3):
        assert found(draw, 24 * 34, seed)[0][0] < 24 * 31.5


def test_few_values_a_bucket_keep_their_hour() -> None:
    """A reference of 500 hours with two values each: none is taken for the hour before.

    Values say little but what time of the day it is. A shift is still seen.
    """

    def draw(hour: int, rng: Rng) -> Floats:
        return rng.normal(10 * np.sin(hour * np.pi / 12) + 4 * (hour >= 24 * 200), 1, 2)

    assert found(draw, 24 * 200) == []
    assert 24 * 200 < found(draw, 24 * 210)[0][0] < 24 * 203


def test_what_was_usual_is_told_of_a_change_that_lasts() -> None:
    """For longer than any bucket before it is remembered."""
    later = found(lambda hour, rng: rng.normal(50 + 10 * (hour >= 400), 10, 20), 24 * 110)
    assert len(later) > 2_048
    last = later[-1][1]
    assert (last.expected, last.observed) == pytest.approx((50, 60), abs=0.5)


def test_what_comes_before_windows_are_full_is_left_out() -> None:
    """A window that fills for two weeks is watched from then on."""
    test = new_test(after_ms=14 * DAY_MS)
    assert found(lambda hour, rng: rng.normal(min(hour, 336), 1, 60), 24 * 40, test=test) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("NL", "NL", "DE", "BE"), "amount is 'BE' more often: "),
        (("NL", "NL", "NL", "XX"), "amount has values that are new, such as 'XX', "),
        (("NL", "NL", "DE", None), "amount is missing more often than usual: "),
    ],
)
def test_categories_are_told_by_name(values: tuple[str | None, ...], sentence: str) -> None:
    """Which has more of them, which is new, and what is missing."""
    test, rng = new_test(categorical=True), np.random.default_rng(2)
    usual = ["NL"] * 50 + ["DE"] * 45 + ["BE"] * 5
    first = None
    for hour in range(400):
        pool = values if hour >= 300 else usual
        sketch, names = categories([pool[i] for i in rng.integers(0, len(pool), 60)])
        finding = test.update(hour * HOUR_MS, sketch, names)
        assert hour >= 300 or finding is None
        first = first or finding
    assert first is not None
    assert first.summary.startswith(sentence)


def test_a_category_of_a_million_values_is_quiet_until_it_has_one() -> None:
    """Groups of categories are watched where there are too many."""
    test, rng = new_test(categorical=True), np.random.default_rng(2)
    for hour in range(24 * 12):
        most = 1 if hour >= 24 * 11 else 0
        drawn = ["1"] * (500 * most) + [str(i) for i in rng.integers(0, 1_000_000, 1_500)]
        sketch, names = categories(drawn)
        finding = test.update(hour * HOUR_MS, sketch, names)
        assert (finding is not None) == (hour >= 24 * 11)


def test_what_is_learnt_anew_is_usual() -> None:
    """After a change was accepted it is what is held against."""
    test = new_test()
    assert found(lambda hour, rng: rng.normal(1.0 * (hour >= 300), 1, 60), 400, test=test)
    test.relearn()
    assert not test.open
    rng = np.random.default_rng(9)
    for hour in range(400, 1_000):
        assert test.update(hour * HOUR_MS, Sketch.of(rng.normal(1.0, 1, 60))) is None


def test_state_survives_a_pickle_mid_way() -> None:
    """A test that is pickled between buckets goes on as if it had not been."""
    draw = changed(CHANGES["higher"][0])
    one, other, rng = new_test(), new_test(), np.random.default_rng(3)
    for hour in range(420):
        sketch = Sketch.of(draw(hour, rng))
        if hour % 7 == 0:
            other = pickle.loads(pickle.dumps(other))
        assert one.update(hour * HOUR_MS, sketch) == other.update(hour * HOUR_MS, sketch)


def test_features_and_score_are_watched() -> None:
    """A feature's change is covariate drift of it, the score's is prior drift, by class if many."""
    moved = payments(
        3,
        60,
        amount=lambda day, rng: rng.gauss(50, 25) * (1.6 if 30 <= day < 40 else 1),
        score=lambda day: 0.05 + 0.1 * (45 <= day < 50) + day % 2 / 100,
    )
    facts = Facts(monitors=[Drift(bucket="6h")], learns=False)

    assert steps(judged(facts, "drift", moved)) == [
        ("open", "covariate_drift/amount"),
        ("resolved", "covariate_drift/amount"),
        ("open", "prior_drift/score"),
        ("resolved", "prior_drift/score"),
    ]
    for one in moved:
        one["score"] = {"a": one["score"], "b": 1 - one["score"]}
    facts = Facts(monitors=[Drift(bucket="6h", features=())], kind="multiclass", learns=False)
    alerts = judged(facts, "drift", moved)
    assert steps(alerts) == [
        ("open", "prior_drift/score/class=a"),
        ("resolved", "prior_drift/score/class=a"),
    ]
    assert [member["slice"] for member in alerts[0]["members"]] == [{"class": "a"}, {"class": "b"}]


@pytest.mark.parametrize("often", [0.0, 0.5, 0.9])
def test_values_that_are_always_new_are_no_change(often: float) -> None:
    """Ids, or free text among a few kinds: each new one is as usual, whatever was seen first."""
    limits = Limits(1e12, HOUR_MS, 0.0, Span(48 * HOUR_MS, 300))
    test = DistributionTest("covariate_drift", "id", limits, categorical=True)
    chance = random.Random(4)
    for hour in range(24 * 20):
        texts = [
            chance.choice("abc") if chance.random() < often else f"{hour}-{i}" for i in range(15)
        ]
        sketch, names = categories(texts)
        assert test.update(hour * HOUR_MS, sketch, names) is None
    for hour in range(24 * 20, 24 * 25):  # all of one kind is
        found = test.update(hour * HOUR_MS, *categories(["same"] * 15))
    assert (found is not None) == (often > 0)  # of mere ids nothing can be told
