"""The bias test: the slice that is off is told, once, and neither the others nor overall."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest

from streamproc.monitors import PredictionBias
from streamproc.monitors.budget import FalseAlarms
from streamproc.monitors.intervals import interval_of_mean
from tests.unit.monitors.streams import Facts, judged, payments, steps

FACTS = Facts(monitors=[PredictionBias(slices=("country",), bucket="6h")])
SELDOM = replace(FACTS, budget=FalseAlarms(1, 3_000 * 86_400_000))
Rate = Callable[[int, str], float]


def raised(country: str, times: float) -> Rate:
    """Return a rate of 5 % that is so many times that in one country, days 30 to 44."""
    return lambda day, c: 0.05 * (times if c == country and 30 <= day < 45 else 1)


def alerts_of(facts: Facts = FACTS, seed: int = 1, **how: Any) -> list[Any]:
    """Return the alerts on 70 days of payments."""
    return judged(facts, "bias", payments(seed, 70, per_day=400, **how))


@pytest.mark.parametrize("country", ["NL", "DE", "FR", "BE"])
def test_one_slice_that_rises_is_told_alone(country: str) -> None:
    """Large or small, it alone opens, while it lasts, and it resolves after it ended."""
    times = 3.0
    alerts = alerts_of(rate=raised(country, times), seed=2)
    opened, *_, over = alerts

    assert [opened["status"], over["status"]] == ["open", "resolved"]
    assert {alert["alert_id"] for alert in alerts} == {opened["alert_id"]}
    assert opened["slice"] == over["slice"] == {"country": country}
    assert opened["kind"] == "prediction_bias"
    assert opened["subject"] == "predictions"
    assert 25 <= opened["first_seen_ms"] / 86_400_000 <= 32
    assert opened["expected"] == pytest.approx(0.05, rel=0.25)
    assert over["observed"] == pytest.approx(0.05 * times, rel=0.25)


def test_a_slice_explains_what_it_does_to_the_whole() -> None:
    """A large slice that moves overall too is told, and none beside it: overall at most."""
    for seed in range(2):
        opened = {alert["key"] for alert in alerts_of(rate=raised("NL", 10.0), seed=seed)}
        assert "prediction_bias/country=NL" in opened
        assert opened <= {"prediction_bias/country=NL", "prediction_bias/predictions"}


def test_one_slice_that_falls_is_told() -> None:
    """Fewer than predicted is a bias too."""
    alerts = alerts_of(rate=raised("NL", 0.2))

    assert steps(alerts) == [
        ("open", "prediction_bias/country=NL"),
        ("resolved", "prediction_bias/country=NL"),
    ]
    assert "fewer positives than predicted" in alerts[0]["summary"]


def test_nothing_wrong_is_not_told() -> None:
    """No alert in three streams of a good model, nor of one that is off by the same all along."""
    for seed in range(2):
        assert alerts_of(SELDOM, seed=seed) == []
        assert alerts_of(SELDOM, seed=seed, score=lambda day: 0.02) == []


def test_a_model_that_learns_is_not_told() -> None:
    """One that begins far off and gets better pages nobody, at a base rate of 1 %."""
    for seed in range(3):
        learns = alerts_of(
            SELDOM, seed=seed, rate=lambda day, c: 0.01, score=lambda day: 0.01 + 0.5 * 0.8**day
        )
        assert learns == []


def test_all_slices_at_once_are_told_as_one() -> None:
    """What moves everywhere is overall's, not each slice's."""
    alerts = alerts_of(rate=lambda day, c: 0.05 * (3 if 30 <= day < 45 else 1))

    assert steps(alerts) == [
        ("open", "prediction_bias/predictions"),
        ("resolved", "prediction_bias/predictions"),
    ]
    assert alerts[0]["slice"] is None


def test_where_yes_is_the_rule_the_figures_are_still_of_yes() -> None:
    """At a rate of 95 % the test counts no; observed and expected are of yes."""
    opened, *_, over = alerts_of(
        rate=lambda day, c: 0.95 - 0.1 * (c == "DE" and 30 <= day < 45), score=lambda day: 0.95
    )

    assert opened["slice"] == over["slice"] == {"country": "DE"}
    assert over["expected"] == pytest.approx(0.95, abs=0.02)
    assert over["observed"] == pytest.approx(0.85, abs=0.04)
    assert "fewer positives" in opened["summary"]


def test_residuals_of_a_regression_are_watched() -> None:
    """Observed minus predicted that shifts in one slice is told for it."""
    made = payments(1, 70, per_day=200)
    rng = random.Random(1)
    for one in made:
        day = one["event_time_ms"] // 86_400_000
        off = 2.0 * (one["slices"]["country"] == "FR" and 30 <= day < 45)
        one["score"], one["label"] = 7.0, 7.0 + rng.gauss(0, 1) + off
    facts = Facts(
        monitors=[PredictionBias(slices=("country",), bucket="12h")],
        kind="regression",
        classes=None,
    )
    alerts = judged(facts, "bias", made)

    assert ("open", "prediction_bias/country=FR") in steps(alerts)
    assert ("resolved", "prediction_bias/country=FR") in steps(alerts)
    assert {a["key"] for a in alerts} <= {
        "prediction_bias/country=FR",
        "prediction_bias/predictions",
    }
    told = [  # of 15 outcomes since, and of 195
        re.search(r"the difference is between ([+-][0-9.]+) and ([+-][0-9.]+)\)", a["summary"])
        for a in alerts
        if a["key"] == "prediction_bias/country=FR" and a["status"] in ("open", "update")
    ]
    assert told
    for between in told:
        assert between is not None
        low, high = map(float, between.groups())
        assert 0.0 < low < 2.0 < high < 4.0


def test_an_interval_of_a_mean_holds_whenever_one_looks() -> None:
    """Of 200 streams at most one in twenty ever leaves the truth out, and it is not idle."""
    rng, left_out = np.random.default_rng(3), 0
    for stream in range(200):
        values = rng.standard_t(4, 20_000) if stream % 2 else rng.normal(0, 1, 20_000)
        for n in np.geomspace(100, 20_000, 200).astype(int):
            some = values[:n]
            low, high = interval_of_mean(float(n), some.mean(), some.var(), log(20))
            if not low <= 0 <= high:
                left_out += 1
                break
    assert 1 <= left_out <= 16
    low, high = interval_of_mean(100, 5.0, 4.0, log(20))
    assert 1.96 * 2 / 10 < (high - low) / 2 < 1.6 * 1.96 * 2 / 10


def test_pairs_of_fields_are_slices() -> None:
    """Where one pair is off the pair or what it lies in is told, and it is over at the end."""
    made = payments(3, 70, per_day=400, rate=lambda day, c: 0.05)
    rng = random.Random(1)
    for one in made:
        day = one["event_time_ms"] // 86_400_000
        channel = rng.choice(("web", "shop"))
        one["slices"]["channel"] = channel
        if 30 <= day < 45 and one["slices"]["country"] == "NL" and channel == "web":
            one["label"] = int(one["label"] or rng.random() < 0.2)
    facts = Facts(
        monitors=[PredictionBias(slices=("country", ("country", "channel")), bucket="6h")]
    )
    alerts = judged(facts, "bias", made)
    opened = {a["key"] for a in alerts if a["status"] == "open"}

    assert opened in (
        {"prediction_bias/channel=web,country=NL"},
        {"prediction_bias/country=NL"},
    )
    assert len(steps(alerts)) == 2
