"""Versions whose numbers went wrong: held back, told of, and gone back from, come what may."""

from __future__ import annotations

from math import isfinite
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, preprocessing

from streamproc import Health
from streamproc.features import Field
from streamproc.models.scoring import Scorer
from streamproc.models.versions import loads
from tests.unit.tasks.kit import Learning, news, outcome, pipeline

EVERY = 10
LINEAR: Any = linear_model.LinearRegression
LOGISTIC: Any = linear_model.LogisticRegression
MODELS = {
    "scaled": lambda: preprocessing.StandardScaler() | LOGISTIC(),
    "logistic": LOGISTIC,
    "regression": LINEAR,
    "of its own gradients": lambda: LINEAR(clip_gradient=float("inf")),
}
HUGE = st.sampled_from([1e308, -1e308, 1.7e308, 1e200, 1e155, -1e150, 1e120, 1e60])
AMOUNTS = st.lists(st.one_of(st.floats(0, 9), HUGE), min_size=1, max_size=60)


def learning(name: str, amounts: list[float], **more: Any) -> Learning:
    """Return a learner that got an outcome of each amount, in order."""
    made = pipeline(model=MODELS[name](), features=[Field("amount")], publish_every=EVERY, **more)
    taught = Learning(made, 1)
    sent = [outcome(n, n, amount, int(n % 5 == 0)) for n, amount in enumerate(amounts)]
    for at in range(0, len(sent), 7):
        taught.send([news(0, sent[at]["label_time_ms"], sent[at : at + 7], min(at + 7, len(sent)))])
        taught.run()
    taught.send([news(0, 10**9, [], len(sent))])
    taught.run()
    return taught


def held(taught: Learning) -> list[Any]:
    """Return of each version why another is not in its place."""
    return [version["sources"].get("held_back") for version in taught.versions]


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=30, deadline=None)
@given(AMOUNTS)
def test_no_published_version_scores_nan(name: str, amounts: list[float]) -> None:
    """Whatever it learnt from: what is published gives events of ordinary numbers a score."""
    taught = learning(name, amounts)
    made = taught.pipeline
    for version in taught.versions:
        model = loads(taught.blobs[version["sha256"]])
        scorer = Scorer(model, made.kind, None, 0.5, version["model"])
        for amount in (0.0, 1.5, 9.0):
            score: Any
            score, _ = scorer.score({"amount": amount})
            assert isfinite(score)


@pytest.mark.parametrize("name", ["scaled", "of its own gradients"])
@settings(max_examples=25, deadline=None)
@given(AMOUNTS, st.integers(1, 5), st.integers(0, 2))
def test_restored_it_holds_back_the_same(
    name: str, amounts: list[float], pieces: int, unreadable: int
) -> None:
    """After a crash, with or without the newest files, the versions to come are the same."""
    half = len(amounts) // 2
    whole = learning(name, amounts)
    cut = learning(name, amounts[:half])
    cut.crash(pieces, min(unreadable, len(cut.versions)))
    sent = [outcome(n, n, amount, int(n % 5 == 0)) for n, amount in enumerate(amounts)]
    cut.send([news(0, 10**9, sent[half:], len(sent))])
    cut.run()
    assert cut.hashes() == whole.hashes()
    assert held(cut) == held(whole)


def test_the_last_good_version_is_published_in_its_place() -> None:
    """It is named and counted what was left out; later outcomes are learnt on from it."""
    good, bad = [1.0, 2.0, 3.0, 4.0, 5.0] * 2, [1.0] * 9 + [1e200]
    taught = learning("regression", good + bad + good, monitors=[Health()])
    first, second, third = taught.versions
    assert second["sha256"] == first["sha256"] != third["sha256"]
    assert [v["outcomes"] for v in taught.versions] == [10, 10, 20]
    assert taught.task.held_back == 1
    assert second["sources"]["held_back"] == {
        "why": "weights has 1e+210",
        "features": ["amount"],
        "outcomes": 10,
    }
    assert (second["label_time_ms"], third["label_time_ms"]) == (first["label_time_ms"], 29)
    without = learning("regression", good + good)
    assert third["sha256"] == without.versions[1]["sha256"]
    told = [orjson.loads(out["value"] or b"") for out in taught.out["buckets"]]
    assert [(each["version"], bool(each["held_back"])) for each in told] == [
        (1, False), (2, True), (3, False),
    ]  # fmt: skip


def test_where_no_version_is_good_none_is_published() -> None:
    """And what was learnt is forgotten each time, until there is something to learn from."""
    taught = learning("regression", [1e200] * 20 + [1.0, 2.0] * 5, monitors=[Health()])
    assert [v["version"] for v in taught.versions] == [1]
    assert taught.versions[0]["outcomes"] == 10
    assert taught.task.held_back == 2
    told = [orjson.loads(out["value"] or b"") for out in taught.out["buckets"]]
    assert [each["version"] for each in told] == [0, 0, 1]


def test_without_a_monitor_nobody_is_told() -> None:
    """There is no judge to hear it; the metric and the version's record say so."""
    taught = learning("regression", [1.0] * 10 + [1e200] * 10)
    assert [bool(each) for each in held(taught)] == [False, True]
    assert "buckets" not in taught.out
