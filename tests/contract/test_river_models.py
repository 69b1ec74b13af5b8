"""Any River model: each is scored, learnt, stored, restored and learnt on, as in production."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, NamedTuple

import pytest

from streamproc.errors import BadRecord
from streamproc.messages import Features
from streamproc.models.kinds import Kind, last_step
from streamproc.models.scoring import Learner, Scorer, kind_of
from streamproc.models.seeds import seeded
from streamproc.models.versions import Store, build_version, dumps, loads
from tests.contract.river_models import (
    COUNTS,
    DEFAULTS,
    RAN,
    REASONS,
    Model,
    left_out,
    models,
    transformers,
)

ROWS = 80
THREE = ("cat", "dog", "owl")
Row = tuple[Features, Any]


class Run(NamedTuple):
    """What one model is to do: its kind, the classes of its labels, and the rows."""

    kind: Kind
    classes: Sequence[Any] | None
    rows: list[Row]


def _rows(kind: Kind, classes: Sequence[Any] | None, counts: bool) -> list[Row]:
    """Return rows of numbers whose label depends on them; one feature goes and another comes."""
    draw = random.Random(4)
    rows = []
    for i in range(ROWS):
        values = [float(draw.randrange(9)) if counts else draw.gauss(0, 1) for _ in range(3)]
        features: Features = {"amount": values[0], "count": values[1], "mean": values[2]}
        features["gone" if i < ROWS / 2 else "come"] = draw.random()
        signal = values[0] + 0.3 * draw.gauss(0, 1) - (4 if counts else 0)
        label: Any = signal
        if kind in ("binary", "anomaly"):
            label = int(signal > 0)
        elif classes:
            label = classes[(signal > -0.5) + (signal > 0.5)]
        rows.append((features, label))
    return rows


def _runs(model: Model) -> list[Run]:
    made = model.make()
    counts = type(last_step(made)).__name__ in COUNTS
    kind = kind_of(made, None)
    runs = [Run(kind, None, _rows(kind, None, counts))]
    if kind == "binary" and made._multiclass:
        runs.append(Run("multiclass", THREE, _rows("multiclass", THREE, counts)))
    return runs


def _check_score(run: Run, score: Any, decision: Any) -> None:
    """Check that a score and its decision are what the kind of model promises."""
    if run.kind == "multiclass":
        assert list(score) == list(THREE)
        assert {type(p) for p in score.values()} == {float}
        assert all(0 <= p <= 1 + 1e-9 for p in score.values())
        assert decision == max(THREE, key=lambda each: score[each])
        return
    assert type(score) is float
    assert isfinite(score)
    if run.kind == "regression":
        assert decision is None
        return
    assert type(decision) is bool
    assert run.kind == "anomaly" or 0 <= score <= 1 + 1e-9


def _step(learner: Learner, run: Run, row: Row) -> Any:
    """Score a row and learn from it; the model must leave it alone, then and later."""
    features, label = dict(row[0]), row[1]
    scorer = Scorer(learner.model, run.kind, run.classes, 0.5, "main@1")
    score, decision = scorer.score(features)
    _check_score(run, score, decision)
    assert row[0] == features, "scoring changed its input"
    learner.learn(features, label)
    assert row[0] == features, "learning changed its input"
    features.clear()  # what a model kept of it would be gone now
    return score


@pytest.mark.timeout(30)
@pytest.mark.parametrize("model", models(), ids=lambda model: model.name.removeprefix("river."))
def test_a_model_scores_learns_and_is_restored(
    model: Model, request: pytest.FixtureRequest
) -> None:
    """A model keeps the promises of its kind, and going on from the store changes nothing."""
    store = Store("memory://contract")
    for run in _runs(model):
        learner, twin = (Learner(seeded(model.make(), 7), run.kind, run.classes) for _ in range(2))
        score, decision = Scorer(learner.model, run.kind, run.classes, 0.5, "main@0").score(
            run.rows[0][0]
        )
        _check_score(run, score, decision)
        assert run.kind != "binary" or score == 0.5
        assert run.kind != "multiclass" or score == dict.fromkeys(THREE, 1 / 3)
        half = len(run.rows) // 2
        for row in run.rows[:half]:
            _step(learner, run, row)
            _step(twin, run, row)
        blob = learner.snapshot()
        assert blob == twin.snapshot(), "with the same seed it learns otherwise"
        version = build_version(
            blob, version=1, outcomes=half, label_time_ms=0, published_at_ms=0, fingerprint=""
        )
        store.put(version["sha256"], blob)
        restored = Learner(store.load(version), run.kind, run.classes)
        assert dumps(learner.model) == dumps(restored.model), "restored, it is another"
        for row in run.rows[half:]:
            score = _step(learner, run, row)
            assert score == _step(twin, run, row), "with the same seed it learns otherwise"
            assert score == _step(restored, run, row), "restored, it learns otherwise"
        assert dumps(learner.model) == dumps(twin.model) == dumps(restored.model)
        _check_odd_rows(restored, run)
    made = f"{_runs(model)[0].kind}, with {model.made_with}"
    request.config.stash.setdefault(RAN, {})[model.name] = made


def _check_odd_rows(learner: Learner, run: Run) -> None:
    """Features that are missing, new, null or text give a score or a bad record, no crash."""
    label = run.rows[0][1]
    odd: list[Features] = [{}, {"never seen": 1.0}, {"amount": None, "count": 2.0}]
    odd += [{"amount": "text", "count": True}, {"amount": 1e300, "count": -1e300}]
    for features in odd:
        scorer = Scorer(learner.model, run.kind, run.classes, 0.5, "main@1")
        for use in (scorer.score, lambda given: learner.learn(given, label)):
            with suppress(BadRecord):
                use(features)
    learner.snapshot()


@pytest.mark.parametrize(
    "transformer", transformers(), ids=lambda made: made.name.removeprefix("river.")
)
def test_a_transformer_comes_back_from_the_store(transformer: Model) -> None:
    """What goes before a model is stored with it, whatever it was able to learn from a number."""
    made = seeded(transformer.make(), 7)
    for features, label in _rows("regression", None, counts=False):
        for arguments in ((features,), (features, label), ("some text",)):
            with suppress(Exception):  # some are for text, some want the label
                made.learn_one(*arguments)
                made.transform_one(arguments[0])
                break
    blob = dumps(made)
    assert dumps(loads(blob)) == dumps(loads(blob))


def test_every_model_with_defaults_is_found() -> None:
    """The enumeration sees River's packages: a name of each kind, and as many as there were."""
    with_defaults = {model.name for model in models() if model.made_with == DEFAULTS}
    assert {
        "river.linear_model.log_reg.LogisticRegression",
        "river.forest.adaptive_random_forest.ARFRegressor",
        "river.anomaly.hst.HalfSpaceTrees",
        "river.naive_bayes.gaussian.GaussianNB",
    } <= with_defaults
    assert len(with_defaults) >= 48


def test_what_is_left_out_has_a_reason() -> None:
    """Nothing is left out in silence, nor for a reason that hides a model with defaults."""
    assert set(left_out().values()) <= REASONS
    assert not set(left_out()) & {model.name for model in models()}
