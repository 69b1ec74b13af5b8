"""Windows over labels: what was known when an event was scored, and nothing that came later."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from streamproc.errors import DefinitionError
from streamproc.features import Field, LabelWindow
from streamproc.pipeline import Pipeline
from tests.unit.tasks.kit import EVENTS, LABELS, Scoring, event, label, pipeline

ALL = ("count", "sum", "mean", "log_odds")


def shops(**changed: Any) -> Pipeline:
    """Return a pipeline with windows over the labels of a shop's events."""
    window = LabelWindow(
        by="shop", over=("30ms", "500ms"), aggregates=ALL, prior=0.25, prior_count=4
    )
    return pipeline(**{"features": [Field("amount"), window], **changed})


def rates(scoring: Scoring, *names: str) -> list[Any]:
    """Return features of the predictions, by the middle of their names."""
    found = [[said["features"][f"label_{name}_by_shop"] for name in names]
             for said in scoring.said("predictions")]  # fmt: skip
    return [each[0] if len(each) == 1 else each for each in found]


def test_a_label_counts_from_the_time_it_became_known() -> None:
    """An event sees the labels known by its time, those of that time too, and none known later.

    events   a(0)   b(9)   c(10)   d(40)   e(41)
    labels   a known at 10 ──────── in (10, 40] no more: 30 ms
    """
    events = [
        event(order, at, shop="s") for order, at in zip("abcde", (0, 9, 10, 39, 40), strict=True)
    ]
    scoring = Scoring(shops()).put(LABELS, label("a", 10)).put(EVENTS, *events).run()
    assert rates(scoring, "count_30ms") == [0, 0, 1, 1, 0]
    assert rates(scoring, "count_500ms") == [0, 0, 1, 1, 1]


def test_labels_are_those_of_the_entity() -> None:
    """A label enters the windows of its own event's entity, by which none was keyed."""
    scoring = Scoring(shops()).put(EVENTS, event(1, 0, shop="s"), event(2, 1, shop="t"))
    scoring.put(LABELS, label(1, 5, 1), label(2, 6, 0)).run()
    scoring.put(EVENTS, event(3, 7, shop="s"), event(4, 8, card=8, shop="t")).run()
    assert rates(scoring, "count_30ms", "sum_30ms") == [[0, 0.0], [0, 0.0], [1, 1.0], [1, 0.0]]


def test_means_and_odds_are_smoothed() -> None:
    """Without labels the mean is the prior; each label weighs as much as one of prior_count."""
    scoring = Scoring(shops()).put(EVENTS, event(1, 0, shop="s"))
    scoring.put(LABELS, label(1, 5, 1)).put(EVENTS, event(2, 6, shop="s")).run()
    expected = [[0.25, math.log(1 / 3)], [2 / 5, math.log(2 / 3)]]
    assert rates(scoring, "mean_30ms", "log_odds_30ms") == expected


def test_without_a_prior_the_mean_of_no_label_is_null() -> None:
    """It is not known, and left out of what the model gets."""
    plain = LabelWindow(by="shop", over="1s")  # type: ignore[arg-type]
    scoring = Scoring(pipeline(features=[Field("amount"), plain])).put(EVENTS, event(1, 0, shop=3))
    scoring.put(LABELS, label(1, 5, 0)).put(EVENTS, event(2, 6, shop="3")).run()
    assert rates(scoring, "count_1s", "mean_1s") == [[0, None], [1, 0.0]]


def test_an_early_label_enters_behind_its_event() -> None:
    """The event itself does not see its own label, though that was there before."""
    scoring = Scoring(shops()).put(LABELS, label(1, 4)).run()
    scoring.put(EVENTS, event(1, 6, shop="s"), event(2, 6, shop="s")).run()
    assert rates(scoring, "count_30ms") == [0, 1]


def test_a_label_known_after_an_event_that_comes_later_is_not_seen() -> None:
    """Live, a label may come before an event that happened before it was known."""
    scoring = Scoring(shops()).put(EVENTS, event(1, 100, shop="s")).run()
    scoring.put(LABELS, label(1, 110)).run()
    scoring.put(EVENTS, event(2, 109, shop="s"), event(3, 110, shop="s")).run()
    assert rates(scoring, "count_30ms") == [0, 0, 1]


def test_what_is_refused_leaves_windows_alone() -> None:
    """A second label, and the label of an event that was a dead letter, enter no window."""
    scoring = Scoring(shops()).put(EVENTS, event(1, 0, shop="s"), event(2, 1, shop=None))
    scoring.put(LABELS, label(1, 5), label(1, 6), label(2, 7)).run()
    scoring.put(EVENTS, event(3, 8, shop="s")).run()
    assert rates(scoring, "count_30ms") == [0, 1]
    assert scoring.reasons() == ["missing_entity", "second_label"]


def steps(chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """Return events and labels, by chance early, late, repeated, tied in time or beyond horizon."""
    found, now = [], 0
    for _ in range(250):
        now += chance.choice((0, 1, 4, 30)) if chance.random() < 0.98 else 700
        order = chance.randint(0, 60)
        if chance.random() < 0.55:
            at = now - (chance.randint(0, 40) if chance.random() < 0.2 else 0)
            shop = chance.choice(("s", "t", 5, None) if chance.random() < 0.1 else ("s", "t"))
            amount = 13 if chance.random() < 0.05 else 1.0
            found.append((EVENTS, event(order, at, shop=shop, amount=amount)))
        else:
            found.append(
                (LABELS, label(order, now - chance.choice((0, 0, 3, 60)), chance.randint(0, 1)))
            )
    return found


@pytest.mark.parametrize("seed", range(25))
def test_what_comes_out_does_not_depend_on_the_batch(seed: int) -> None:
    """One record at a time, or all that is due at once: the same bytes on every topic."""
    made = steps(random.Random(seed))
    said = []
    for most in (1, 3, 500):
        scoring = Scoring(shops())
        for at in range(0, len(made), 50):
            for topic, value in made[at : at + 50]:
                scoring.put(topic, value)
            scoring.run(most=most)
        said.append(
            {role: scoring.out.get(role) for role in ("predictions", "outcomes", "dead_letters")}
        )
    assert said[0] == said[1] == said[2]
    assert any(
        each["features"]["label_count_500ms_by_shop"] > 2 for each in scoring.said("predictions")
    )


@pytest.mark.parametrize("seed", range(10))
def test_counts_and_sums_are_those_of_what_was_joined_before(seed: int) -> None:
    """Compared with every outcome there was: its shop, and when it became known."""
    chance = random.Random(seed)
    scoring = Scoring(shops())
    shop_of: dict[str, Any] = {}
    for topic, value in steps(chance):
        if topic == EVENTS:
            shop_of.setdefault(str(value["order"]), value["shop"])
            if shop_of[str(value["order"])] != value["shop"]:
                continue
        before = scoring.said("outcomes")
        seen = len(scoring.said("predictions"))
        scoring.put(topic, value).run()
        for said in scoring.said("predictions")[seen:]:
            for span_ms in (30, 500):
                held = [
                    each["label"]
                    for each in before
                    if str(shop_of[each["id"]]) == str(shop_of[said["id"]])
                    and said["event_time_ms"] - span_ms
                    < each["label_time_ms"]
                    <= said["event_time_ms"]
                ]
                features = said["features"]
                assert features[f"label_count_{span_ms}ms_by_shop"] == len(held)
                assert features[f"label_sum_{span_ms}ms_by_shop"] == sum(held)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LabelWindow("s", ("1d",), ("median",)),
            "'median' is not known; choose from count",
        ),
        (lambda: LabelWindow("s", ("1d",), ("log_odds",)), "give prior between 0 and 1 and"),
        (lambda: LabelWindow("s", ("1d",), prior=-1), "prior must be a number from 0 on"),
        (lambda: LabelWindow("s", ("1d",), prior_count=math.inf), "prior_count must be a number"),
        (lambda: LabelWindow("", ("1d",)), "value and by are names of fields"),
        (lambda: shops(labels=None), "there are no labels; declare labels="),
    ],
)
def test_a_window_over_labels_that_cannot_be_names_the_remedy(make: Any, message: str) -> None:
    """What is wrong is told where it is written, with what to write."""
    with pytest.raises(DefinitionError, match=message):
        make()
