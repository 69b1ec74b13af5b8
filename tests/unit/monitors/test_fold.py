"""Folds: sums by series and bucket."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest

from streamproc.monitors import Drift, PredictionBias, bias_fold, drift_fold, sample
from streamproc.monitors.drift_fold import SAMPLE, read
from streamproc.monitors.fold import NEVER
from streamproc.monitors.sketch import unpacked
from streamproc.monitors.spec import MAX_SLICES
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, counts_of, payments, values_of


def prediction(
    time_ms: int, amount: Any, score: Any = 0.5, model: str = "main@1"
) -> dict[str, Any]:
    """Return a prediction with one feature."""
    return {
        "id": str(time_ms),
        "event_time_ms": time_ms,
        "features": {"amount": amount},
        "score": score,
        "model": model,
        "decision": True,
    }


def folded(facts: Facts, predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sums of predictions folded at once."""
    fold = drift_fold(facts)
    fold.update(predictions)
    return fold.take()


def test_sums_are_by_bucket_of_event_time() -> None:
    """A bucket is half-open; each has its values; what was taken is gone.

    hour      0                 1
    events    2 . . . . . . . 3 4
    """
    fold = drift_fold(Facts(monitors=[Drift()]))
    fold.update([prediction(0, 2), prediction(HOUR_MS - 1, 3), prediction(HOUR_MS, 4.0)])

    taken = {each["bucket_ms"]: values_of(each["series"]["amount"]) for each in fold.take()}

    assert taken == {0: [2.0, 3.0], HOUR_MS: [4.0]}
    assert fold.take() == []
    assert fold.watermark_ms == HOUR_MS


def test_sums_equal_numpy_however_they_were_batched() -> None:
    """Thousands of random predictions in batches of any size give what numpy gives."""
    rng = random.Random(3)
    facts = Facts(monitors=[Drift()], numeric_features=("amount", "count"))
    fold = drift_fold(facts)
    made: list[dict[str, Any]] = []
    while len(made) < 7_000:
        batch = [
            {
                "id": str(rng.random()),
                "event_time_ms": rng.randrange(-3 * HOUR_MS, 3 * HOUR_MS),
                "features": {"amount": rng.gauss(50, 20), "count": rng.randrange(9)},
                "score": rng.random(),
                "model": "main@1",
                "decision": rng.random() < 0.1,
            }
            for _ in range(rng.randrange(1, 3_000))
        ]
        made += batch
        fold.update(batch)
    for bucket in fold.take():
        there = [p for p in made if p["event_time_ms"] // HOUR_MS * HOUR_MS == bucket["bucket_ms"]]
        whole = {n: read(row)[0] for n, row in bucket["series"].items() if n != SAMPLE}
        assert whole["amount"].shift > 0
        for name, sketch in whole.items():
            if name != "=decision":
                values = np.array([p["features"].get(name, p["score"]) for p in there])
                n, mean, variance = sketch.moments()
                assert n == len(values)
                assert mean == pytest.approx(values.mean(), rel=1e-3)
                assert variance == pytest.approx(values.var(), rel=1e-2)
        yes, no = Counter(p["decision"] for p in there)[True], len(there)
        counts = {
            read(bucket["series"]["=decision"])[1][int(cell)]: int(count)
            for cell, count in zip(whole["=decision"].cells, whole["=decision"].counts, strict=True)
        }
        assert counts == {"True": yes, "False": no - yes}


@pytest.mark.parametrize("odd", [None, "7", float("nan"), float("inf"), 1e308, 10**400, [1], {}])
def test_what_is_no_usable_number_is_left_out(odd: Any) -> None:
    """Missing, text, not finite and absurd values count as missing and break nothing."""
    for features in (("amount",), ("amount", "other")):
        facts = Facts(monitors=[Drift()], numeric_features=features)
        values = [prediction(0, value) for value in (1.0, odd, True)]
        series = folded(facts, values)[0]["series"]

        assert (series["amount"][0], values_of(series["amount"])) == (1, [1.0, 1.0])
        assert len(features) == 1 or (series["other"][0], values_of(series["other"])) == (3, [])
        assert values_of(series["=score"]) == [0.5] * 3
        kept = {
            row.values[0]
            for row in sample.unpacked(orjson.loads(orjson.dumps(series[SAMPLE]))).rows
        }
        assert kept <= {1.0, None, "7", 1e308}


def test_a_model_that_has_learnt_nothing_has_no_score() -> None:
    """The scores of version 0 are left out, unless the model never learns."""
    predictions = [prediction(0, 1, 0.5, "main@0"), prediction(0, 1, 0.25, "main@10")]
    learns = folded(Facts(monitors=[Drift()]), predictions)[0]["series"]
    given = folded(Facts(monitors=[Drift()], learns=False), predictions)[0]["series"]

    assert values_of(learns["=score"]) == [0.25]
    assert values_of(given["=score"]) == [0.25, 0.5]
    assert (sum(counts_of(learns["=decision"])), sum(counts_of(given["=decision"]))) == (1, 2)


def test_each_class_has_a_series() -> None:
    """A multiclass score gives a series a class; one not named has probability 0."""
    facts = Facts(monitors=[Drift(features=())], kind="multiclass")
    scores = [{"a": 0.25, "b": 0.75}, {"a": 1.0}]
    series = folded(facts, [prediction(0, 1, score) for score in scores])[0]["series"]

    assert "=score" not in series
    assert values_of(series["=score/a"]) == [0.25, 1.0]
    assert values_of(series["=score/b"]) == [0.0, 0.75]


def bias_series(facts: Facts, outcomes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the only bucket's rows of outcomes folded at once, but for the sample."""
    fold = bias_fold(facts)
    fold.update(outcomes)
    (bucket,) = fold.take()
    found: dict[str, dict[str, Any]] = bucket["series"]
    return {name: row for name, row in found.items() if name != "=sample"}


def totals(row: dict[str, Any]) -> list[float]:
    """Return n, yes, the sum of scores, and that of delays."""
    n, yes, steps = (sum(cell[i] for cell in row["bins"].values()) for i in range(3))
    assert n == row["n"]
    return [n, yes, steps / 2**30, row["delay_ms"]]


def outcome(label: Any, score: Any, **more: Any) -> dict[str, Any]:
    """Return an outcome known one second after its event."""
    return {
        "event_time_ms": 0,
        "label_time_ms": 1_000,
        "model": "main@1",
        "label": label,
        "score": score,
        "decision": None,
        **more,
    }


def test_bias_is_summed_overall_and_by_slice() -> None:
    """Rows hold n, y and p by bin, and the label's delay; who has no slice is overall only."""
    facts = Facts(monitors=[PredictionBias(slices=("country", ("country", "channel")))])
    rows = bias_series(
        facts,
        [
            outcome(1, 0.25, slices={"country": "NL", "channel": "web"}),
            outcome(0, 0.5, slices={"country": "NL"}),
            outcome(True, 0.5),
            outcome(None, 0.5),
            outcome(1, None),
            outcome(1, 0.5, model="main@0"),
        ],
    )

    assert {name: totals(row) for name, row in rows.items()} == {
        "": [3, 2, 1.25, 3_000],
        '{"country":"NL"}': [2, 1, 0.75, 2_000],
        '{"country":"NL","channel":"web"}': [1, 1, 0.25, 1_000],
    }


def test_the_positive_class_is_the_last_declared() -> None:
    """With classes of text, yes is the last of them."""
    facts = Facts(monitors=[PredictionBias()], classes=("good", "fraud"))
    rows = bias_series(facts, [outcome("fraud", 0.5), outcome("good", 0.25)])

    assert totals(rows[""])[:3] == [2, 1, 0.75]


def test_a_multiclass_prediction_is_that_of_the_class_decided_for() -> None:
    """Observed is whether the decision was right, predicted its probability."""
    facts = Facts(monitors=[PredictionBias()], kind="multiclass", classes=None)
    scores = {"1": 0.75, "2": 0.25}
    rows = bias_series(facts, [outcome(1, scores, decision=1), outcome(2, scores, decision=1)])

    assert totals(rows[""])[:3] == [2, 1, 1.5]


def test_a_regression_sums_its_residuals() -> None:
    """Residuals are sketched; values that are no numbers are left out."""
    facts = Facts(monitors=[PredictionBias()], kind="regression", classes=None)
    rows = bias_series(facts, [outcome(3, 1.0), outcome(1.0, 2), outcome(1e308, 1.0)])

    assert unpacked(rows[""]["values"]).values.tolist() == [-1.0, 2.0]


def test_a_bucket_is_of_the_time_the_label_was_known() -> None:
    """Outcomes go by their label's time, but not before their event's."""
    fold = bias_fold(Facts(monitors=[PredictionBias()]))
    fold.update([outcome(1, 0.5, label_time_ms=DAY_MS + 5), outcome(1, 0.5, label_time_ms=-5)])

    assert [bucket["bucket_ms"] for bucket in fold.take()] == [0, DAY_MS]
    assert fold.watermark_ms == DAY_MS + 5


def test_slices_are_bounded_and_counted() -> None:
    """A field with a value an event does not fill the memory, nor does a long value."""
    fold = bias_fold(Facts(monitors=[PredictionBias(slices=("country",))]))
    many = 12 * MAX_SLICES
    fold.update([outcome(1, 0.5, slices={"country": f"{i}" + "x" * 500}) for i in range(many)])
    (bucket,) = fold.take()

    assert len(bucket["series"]) == 10 * MAX_SLICES + 1  # and the sample
    assert fold.overflowed == many + 1 - 10 * MAX_SLICES
    assert max(map(len, bucket["series"])) < 130


def test_nothing_in_nothing_out() -> None:
    """Empty updates change nothing; a fold that saw nothing has no watermark."""
    facts = Facts(monitors=[Drift(), PredictionBias()])
    for fold in (drift_fold(facts), bias_fold(facts)):
        fold.update([])
        assert (fold.watermark_ms, fold.take()) == (NEVER, [])


def test_folding_leaves_the_messages_alone() -> None:
    """What is folded is not changed: others use it too."""
    facts, made = Facts(monitors=[Drift(), PredictionBias(slices=("country",))]), payments(1, 1, 20)
    copies = [dict(o, features=dict(o["features"]), slices=dict(o["slices"])) for o in made]
    for fold in (drift_fold(facts), bias_fold(facts)):
        fold.update(made)
        fold.take()

    assert copies == made
