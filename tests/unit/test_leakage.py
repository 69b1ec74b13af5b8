"""Features that know the label are found, and those that don't are left in peace."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from river import linear_model, multiclass

from streamproc import Events, Field, Labels, LabelWindow, Missing, Pipeline, Window
from streamproc.files import rows as rows_of
from streamproc.leakage import Finding, Sample
from streamproc.replay import Replay, without_model
from streamproc.timeline import LabelColumns, timeline

NOW_MS = 2_000_000_000_000
Row = dict[str, Any]


def found(
    features: list[Any],
    make: Callable[[int, Any, random.Random], Row],
    *,
    model: Any = None,
    label: Callable[[random.Random], Any] = lambda rng: int(rng.random() < 0.2),
    count: int = 500,
    delay_ms: int = 60_000,
    **labels: Any,
) -> list[Finding]:
    """Return what is found in a seeded sample whose fields ``make`` gives for a label."""
    rng = random.Random(3)
    rows = []
    for number in range(count):
        target = label(rng)
        fields = make(number, target, rng)
        rows.append({"id": number, "card": number % 7, "at": number * 1000, "y": target, **fields})
    pipeline = Pipeline(
        name="leaky",
        events=Events("e", id="id", key="card", time="at"),
        labels=Labels("l", id="id", value="y", **labels),
        features=features,
        model=model or linear_model.LogisticRegression(),
    )
    return sample_of(pipeline, rows, delay_ms).findings()


def sample_of(pipeline: Pipeline, rows: Any, delay_ms: int) -> Sample:
    """Run rows through a pipeline."""
    names = pipeline.events
    assert pipeline.labels is not None
    columns = LabelColumns(pipeline.labels.id, pipeline.labels.value)
    fed = timeline(
        rows, id=names.id, key=names.key, time=names.time, labels=columns, label_delay_ms=delay_ms
    )
    sample = Sample(pipeline)
    Replay(without_model(pipeline), NOW_MS, sample.add).run(fed)
    return sample


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    """Return what is said, without the figures."""
    return [(each.feature, each.summary.partition(" (")[0]) for each in findings]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_tells_the_label_is_named(sign: int) -> None:
    """Either way round, with its figure; a good feature that errs now and then is not."""

    def make(number: int, label: int, rng: random.Random) -> Row:
        good = label if rng.random() < 0.9 else 1 - label
        return {"leak": sign * (label + rng.random() / 2), "good": good, "noise": rng.random()}

    findings = found([Field("leak"), Field("good"), Field("noise")], make)
    assert told(findings) == [("leak", "alone tells the label")]
    assert findings[0].figure == 1.0
    assert "ROC AUC 1.000" in findings[0].summary


def test_a_window_over_a_leak_is_one() -> None:
    """Whatever is computed of what knows the label: an event's own record is in its window."""

    def make(number: int, label: int, rng: random.Random) -> Row:
        return {"paid_back": label * 1e6 + rng.random()}

    window = Window("paid_back", by="card", over=("1s",), aggregates=("max", "count"))
    findings = found([window], make)
    assert told(findings) == [
        ("paid_back_max_1s_by_card", "alone tells the label"),
        ("paid_back_count_1s_by_card", "is always 1: it says nothing"),
    ]


def test_a_category_that_tells_the_label_is_named_and_an_id_is_not() -> None:
    """A text is judged on the half of the sample that it was not learnt on."""

    def make(number: int, label: int, rng: random.Random) -> Row:
        status = rng.choice(("lost", "stolen")) if label else rng.choice(("paid", "sent"))
        return {"status": status, "receipt": f"r{number}", "city": rng.choice("abc")}

    texts = [Field(name, type="text") for name in ("status", "receipt", "city")]
    assert told(found(texts, make)) == [("status", "alone tells the label")]


def test_a_field_that_is_filled_in_with_the_label_is_named() -> None:
    """Null for one label and there for the other; so is the feature that says it is missing."""

    def make(number: int, label: int, rng: random.Random) -> Row:
        return {"closed_by": rng.random() if label else None, "tip": rng.choice((None, 1.0, 2.0))}

    findings = found([Field("closed_by"), Field("tip"), Missing("closed_by")], make)
    assert told(findings) == [
        ("closed_by", "being null tells the label"),
        ("closed_by_missing", "alone tells the label"),
    ]


def test_a_field_that_is_there_only_where_a_label_is_is_named() -> None:
    """Among events of which some were never labelled."""

    def make(number: int, label: int | None, rng: random.Random) -> Row:
        reviewed = None if label is None else rng.random()
        return {"reviewed": reviewed, "tip": rng.choice((None, 1.0, 2.0))}

    def label(rng: random.Random) -> int | None:
        return rng.choice((None, 0, 1))

    findings = found([Field("reviewed"), Field("tip")], make, label=label)
    assert told(findings) == [("reviewed", "is there only where a label is")]


def test_what_is_always_the_same_is_told_and_is_no_leak() -> None:
    """Null throughout, or one value throughout."""

    def make(number: int, label: int, rng: random.Random) -> Row:
        return {"channel": "web", "amount": None, "x": rng.random()}

    findings = found([Field("channel", type="text"), Field("amount"), Field("x")], make)
    assert told(findings) == [
        ("channel", "is always 'web': it says nothing"),
        ("amount", "is always null: it says nothing"),
    ]
    assert {each.kind for each in findings} == {"constant"}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_regression_is_judged_by_ranks(sign: int) -> None:
    """A number that rises, or falls, with the label, however crooked the line."""

    def make(number: int, label: float, rng: random.Random) -> Row:
        return {"leak": sign * label**3 + rng.random() / 100, "good": label + rng.gauss(0, 1)}

    findings = found(
        [Field("leak"), Field("good")],
        make,
        model=linear_model.LinearRegression(),
        label=lambda rng: rng.gauss(0, 2),
    )
    assert told(findings) == [("leak", "alone tells the label")]
    assert findings[0].figure == pytest.approx(sign, abs=0.01)


def test_of_many_classes_each_is_told_from_the_rest() -> None:
    """What knows one class alone is named with that class."""

    def make(number: int, label: str, rng: random.Random) -> Row:
        return {"barks": (label == "dog") + rng.random() / 2, "size": rng.random()}

    findings = found(
        [Field("barks"), Field("size")],
        make,
        model=multiclass.OneVsRestClassifier(linear_model.LogisticRegression()),
        label=lambda rng: rng.choice(("cat", "dog", "owl")),
        classes=("cat", "dog", "owl"),
    )
    assert told(findings) == [("barks", "alone tells label 'dog'")]


def test_few_examples_prove_nothing() -> None:
    """Nine positives that a feature tells apart may be chance."""

    def make(number: int, label: int, rng: random.Random) -> Row:
        return {"x": float(label)}

    for positives, expected in ((9, []), (10, [("x", "alone tells the label")])):
        countdown = iter([1] * positives)
        findings = found([Field("x")], make, label=lambda rng, it=countdown: next(it, 0))  # type: ignore[misc]
        assert told(findings) == expected


def test_a_window_over_labels_that_come_at_once_is_named() -> None:
    """Where labels' times are those of their events, and not where they come later."""

    def make(number: int, label: int, rng: random.Random) -> Row:
        return {"x": rng.random()}

    window = LabelWindow(by="card", over=("1h",), aggregates=("mean",))
    (at_once,) = found([window], make, delay_ms=0)
    assert (at_once.feature, at_once.figure) == ("label_mean_1h_by_card", 1.0)
    assert "100% of these are known at the time of their event" in at_once.summary
    assert found([window], make, delay_ms=1) == []


@pytest.mark.data
def test_the_scenario_of_a_fraud_is_a_leak(data: Any) -> None:
    """In the payments, the column that says how a card was stolen knows that it was."""
    pipeline = Pipeline(
        name="payments",
        events=Events("e", id="transaction_id", key="customer_id", time="event_time"),
        labels=Labels("l", id="transaction_id", value="fraud"),
        features=[Field("amount"), Field("fraud_scenario")],
        model=linear_model.LogisticRegression(),
    )
    rows = rows_of(data / "payments" / "transactions-2018-06.csv.gz")
    some = (row for row, _ in zip(rows, range(10_000), strict=False))
    sample = sample_of(pipeline, some, 0)
    assert (sample.events, sample.labelled) == (10_000, 10_000)
    assert told(sample.findings()) == [("fraud_scenario", "alone tells the label")]
