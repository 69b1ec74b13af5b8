"""A pipeline file: what it may say, what it is told where it cannot run, and what follows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from river import anomaly, linear_model, preprocessing

from streamproc.errors import DefinitionError
from streamproc.events import Events, Labels
from streamproc.features import (
    Calendar,
    Cyclical,
    Field,
    Hashed,
    HashedWords,
    Imputed,
    LabelWindow,
    Log,
    Missing,
    Ratio,
    Window,
)
from streamproc.models.versions import dumps
from streamproc.monitors import Drift, PredictionBias
from streamproc.pipeline import Pipeline
from tests.servers import ROOT

EVENTS = Events("shop.orders", id="order", key="card", time="at")
LABELS = Labels("shop.labels", id="order", value="fraud")
GOOD: dict[str, Any] = {
    "name": "shop",
    "events": EVENTS,
    "labels": LABELS,
    "features": [
        Field("amount"),
        Field("country", type="text"),
        Calendar("at", ("hour",)),
        Window("amount", by="card", over=("1h", "7d"), aggregates=("mean",)),
    ],
    "model": linear_model.LogisticRegression(),
    "monitors": [Drift(), PredictionBias(slices=("country", ("country", "shop")))],
}
MODEL = linear_model.LinearRegression()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "Shop"}, r"Pipeline: name 'Shop' must be lower-case letters"),
        ({"name": ""}, "Pipeline: name '' must be"),
        ({"name": "a" * 65}, "Pipeline: name .* must be"),
        ({"name": "shop\n"}, "Pipeline: name .* must be"),
        ({"name": 7}, "Pipeline: name 7 must be"),
        ({"events": None}, r"Pipeline: events must be made by Events\(...\)"),
        ({"events": LABELS}, r"Pipeline: events must be made by Events\(...\)"),
        ({"labels": EVENTS}, r"Pipeline: labels must be made by Labels\(...\)"),
        ({"features": []}, r"Pipeline: features is empty; declare at least Field"),
        ({"features": ["amount"]}, "Pipeline: features holds 'amount'; use Field, Calendar"),
        ({"features": "amount"}, "Pipeline: features holds 'amount'; use Field, Calendar"),
        ({"features": None}, "Pipeline: features holds None; use Field, Calendar"),
        ({"features": [Field("x"), Field("x")]}, "feature 'x' is declared twice; remove one"),
        ({"features": [Field("fraud")]}, "feature 'fraud' is the label itself.* remove it"),
        (
            {"features": [Window("fraud", "card", "1d", "mean")]},  # type: ignore[arg-type]
            "'fraud_mean_1d_by_card' is the label itself.* remove it",
        ),
        ({"features": [Missing("fraud")]}, "'fraud_missing' is the label itself.* remove it"),
        ({"features": [Imputed("x", "fraud")]}, "'x_imputed' is the label itself.* remove it"),
        ({"features": [Log("x"), Log("x")]}, "feature 'x_log' is declared twice; remove one"),
        ({"features": [Log("x_log"), Log("x")]}, "'x_log' is declared after it; move it before"),
        (
            {"monitors": [1]},
            "Pipeline: monitors holds 1; use Drift, PredictionBias, ",
        ),
        (
            {"monitors": None},
            "Pipeline: monitors holds None; use Drift, Pred",
        ),
        ({"monitors": [Drift(features=("amonut",))]}, "Drift: feature 'amonut' is not declared; "),
        ({"labels": None}, "PredictionBias compares predictions with labels; declare labels"),
        ({"publish_every": 0}, "Pipeline: publish_every must be a whole number of outcomes"),
        ({"publish_every": 10.0}, "Pipeline: publish_every must be a whole number of outcomes"),
        ({"publish_every": True}, "Pipeline: publish_every must be a whole number of outcomes"),
        ({"threshold": "0.5"}, "Pipeline: threshold must be a number, such as 0.5"),
        ({"threshold": float("nan")}, "Pipeline: threshold must be a number, such as 0.5"),
        ({"threshold": True}, "Pipeline: threshold must be a number, such as 0.5"),
        ({"lateness": "soon"}, "Pipeline, lateness: 'soon' is not a duration; write"),
        ({"lateness": 60}, "Pipeline, lateness: 60 is not a duration; write"),
        ({"seed": "lucky"}, "Pipeline: seed must be a whole number, such as 7"),
        ({"seed": -1}, "Pipeline: seed must be a whole number, such as 7"),
        ({"model": None}, "model: NoneType is no River model; use"),
        ({"model": linear_model.LogisticRegression}, r"write LogisticRegression\(\)"),
        ({"model": preprocessing.StandardScaler()}, "transforms and predicts nothing; end"),
        ({"labels": replace(LABELS, topic="shop.orders")}, "Labels: topic must be another one"),
        ({"labels": replace(LABELS, classes=(0, 1, 2)), "model": MODEL}, "leave classes out"),
    ],
)
def test_a_mistake_names_the_field_and_the_remedy(changed: dict[str, Any], message: str) -> None:
    """Whatever cannot run is told when it is written, in one line."""
    with pytest.raises(DefinitionError, match=message) as refused:
        Pipeline(**{**GOOD, **changed})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(EVENTS, topic="or ders"), "Events: topic 'or ders' is no name Kafka"),
        (lambda: replace(EVENTS, topic=""), "Events: topic '' is no name Kafka takes; use"),
        (lambda: replace(EVENTS, id=""), "Events: id must name a field, such as id='id'"),
        (lambda: replace(EVENTS, key=5), "Events: key must name a field"),  # type: ignore[arg-type]
        (lambda: replace(EVENTS, time=None), "Events: time must name a field"),  # type: ignore[arg-type]
        (lambda: replace(LABELS, value=""), "Labels: value must name a field"),
        (lambda: replace(LABELS, time=5), "Labels: time must name a field"),  # type: ignore[arg-type]
        (lambda: replace(LABELS, horizon="2 weeks"), "Labels, horizon: '2 weeks' is not"),
        (lambda: replace(LABELS, horizon="0d"), "Labels: a horizon of 0 joins nothing; write"),
        (lambda: Field("a", values=("x",)), r"Field\('a'\): only a text has values"),
        (lambda: Field("a", "text", values="x"), r"Field\('a'\): values are some texts, such as"),
        (lambda: Field("a", "text", values=()), r"Field\('a'\): values are some texts, such as"),
        (lambda: replace(LABELS, classes=(1,)), r"Labels: classes needs at least two, such as"),
        (lambda: replace(LABELS, classes=(1, 1)), r"Labels: classes needs at least two, such as"),
        (lambda: replace(LABELS, classes=2), "Labels: classes needs at least two, such as"),  # type: ignore[arg-type]
        (lambda: replace(LABELS, classes=([], [1])), "Labels: classes must be texts or numbers"),
        (lambda: replace(LABELS, classes="ab"), "Labels: classes needs at least two, such as"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_mistake_in_a_topic_names_the_field_and_the_remedy(make: Any, message: str) -> None:
    """Events and labels are checked where they are written, before there is a pipeline."""
    with pytest.raises(DefinitionError, match=message):
        make()


def test_the_topics_have_their_fixed_names() -> None:
    """Other teams read these names."""
    topics = Pipeline(**GOOD).topics
    owned = {
        "predictions", "outcomes", "models", "alerts", "dead_letters", "journal", "learn",
        "buckets", "rekeyed", "windows",
    }  # fmt: skip
    assert (topics.events, topics.labels) == ("shop.orders", "shop.labels")
    expected = {name: f"shop.{name.replace('_', '-')}" for name in owned}
    assert expected == {name: getattr(topics, name) for name in owned}
    bare = Pipeline(**{**GOOD, "labels": None, "monitors": ()})
    assert bare.topics.labels is None


def test_windows_by_another_entity_are_computed_elsewhere_on_several_partitions() -> None:
    """Each such entity once, in the order declared; on one partition nothing is elsewhere."""
    features = [
        Window("amount", "shop", ("1d",), ("mean",)),
        Window("amount", "card", ("1d",), ("mean",)),
        LabelWindow(("shop", "country"), ("1d",)),
        Window("tip", "shop", ("7d",), ("sum",)),
    ]
    made = Pipeline(**{**GOOD, "features": features})
    assert made.rekeyed(1) == ()
    assert made.rekeyed(2) == (("shop",), ("shop", "country"))
    assert Pipeline(**GOOD).rekeyed(16) == ()


def test_what_follows_from_the_features() -> None:
    """Names in order; numbers to watch are those the clock doesn't give; windows warm up."""
    pipeline = Pipeline(**GOOD)
    means = ("amount_mean_1h_by_card", "amount_mean_7d_by_card")
    assert ("amount", "country", "hour", *means) == pipeline.feature_names
    assert ("amount", *means) == pipeline.numeric_features
    assert pipeline.slice_fields == ("country", "shop")
    assert pipeline.categories == {"country": None}
    of = {"amount": ("amount",), "country": ("country",), "hour": ()}
    assert of | dict.fromkeys(means, ("amount",)) == pipeline.made_of
    week_ms = 7 * 86_400_000
    assert [0, week_ms, week_ms] == [pipeline.warmup_ms(name) for name in ("amount", *means)]


def test_what_follows_from_encoders() -> None:
    """Hashes aren't watched, and what is made of a window warms up as it does."""
    week = Window("amount", by="card", over=("7d",), aggregates=("mean",))
    mean = "amount_mean_7d_by_card"
    chosen = Pipeline(
        **{
            **GOOD,
            "features": [
                *(Hashed("shop", 2), HashedWords("text", 2), Cyclical("at", ("hour",)), week),
                *(Log("amount"), Ratio("amount_log", mean), Log(f"amount_log_per_{mean}")),
            ],
        }
    )
    names = ("amount_log", f"amount_log_per_{mean}", f"amount_log_per_{mean}_log")
    assert (mean, *names) == chosen.numeric_features
    week_ms = 7 * 86_400_000
    assert [0, week_ms, week_ms] == [chosen.warmup_ms(name) for name in names]
    assert [chosen.made_of[name] for name in names] == [("amount",)] * 3
    assert chosen.made_of["shop_hash_0"] == ("shop",)


def test_what_learns() -> None:
    """A model learns where there are labels; an anomaly detector does without."""
    bare = {**GOOD, "labels": None, "monitors": ()}
    detector = anomaly.HalfSpaceTrees()
    learns = [
        Pipeline(**GOOD).learns,
        Pipeline(**bare).learns,
        Pipeline(**{**bare, "model": detector}).learns,
    ]
    assert learns == [True, False, True]


def test_new_models_are_equal_and_apart() -> None:
    """Two new models have the same bytes, and what one learns the other does not."""
    pipeline = Pipeline(**{**GOOD, "model": anomaly.HalfSpaceTrees()})
    one, two = pipeline.new_model(), pipeline.new_model()
    assert dumps(one) == dumps(two)
    one.learn_one({"amount": 1.0})
    assert dumps(one) != dumps(two)


def test_a_lone_feature_or_monitor_needs_no_list() -> None:
    """What is meant is plain, so it is taken."""
    pipeline = Pipeline(**{**GOOD, "features": Field("amount"), "monitors": Drift()})
    assert ((Field("amount"),), (Drift(),)) == (pipeline.features, pipeline.monitors)


def test_a_pipeline_cannot_be_changed() -> None:
    """What was checked stays so: lists are taken as tuples."""
    features = [Field("amount")]
    pipeline = Pipeline(**{**GOOD, "features": features, "monitors": ()})
    features.append(Field("other"))
    assert (Field("amount"),) == pipeline.features
    with pytest.raises(AttributeError):
        pipeline.name = "other"  # type: ignore[misc]


CHANGES: list[dict[str, Any]] = [
    {"name": "shop2"}, {"threshold": 0.4}, {"lateness": "2h"}, {"publish_every": 10}, {"seed": 8},
    {"features": [Field("amount")]}, {"monitors": ()}, {"events": replace(EVENTS, id="no")},
    {"labels": replace(LABELS, horizon="1d")}, {"model": linear_model.LogisticRegression(l2=0.1)},
]  # fmt: skip


def test_what_is_learnt_changes_with_the_model_and_its_features_alone() -> None:
    """A new monitor or threshold is learnt on; a new feature is not."""
    good = Pipeline(**GOOD)
    same = Pipeline(**{**GOOD, "threshold": 0.9, "publish_every": 7, "lateness": "3h"})
    other = Pipeline(**{**GOOD, "features": [*GOOD["features"], Field("another")]})
    assert good.learns_what == same.learns_what != other.learns_what


def test_the_fingerprint_changes_with_the_definition() -> None:
    """Each part of the definition is in it, and equal definitions have the same."""
    prints = [Pipeline(**{**GOOD, **change}).fingerprint for change in CHANGES]
    assert len(CHANGES) == len(set(prints) - {Pipeline(**GOOD).fingerprint})
    assert Pipeline(**GOOD).fingerprint == Pipeline(**GOOD).fingerprint


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name
)
def test_the_fingerprint_is_the_same_in_every_process(path: Path) -> None:
    """Two processes that run one file agree, whatever their hash seed and addresses are."""
    code = (
        f"from streamproc.pipeline import Pipeline; print(Pipeline.load({str(path)!r}).fingerprint)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


FILE = """from river import linear_model
from streamproc import *
pipeline = Pipeline(name="shop", events=Events("a", id="i", key="k", time="t"),
                    features=[Field("x")], model=linear_model.LogisticRegression())
"""


def test_a_file_is_loaded(tmp_path: Path) -> None:
    """The pipeline is what the file's variable says."""
    path = tmp_path / "shop.py"
    path.write_text(FILE)
    assert "shop" == Pipeline.load(path).name == Pipeline.load(str(path)).name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"shop.py: no such file; name a Python file that defines `pipeline`"),
        ("", r"shop.py: defines no `pipeline = Pipeline\(...\)`; add it"),
        ("pipeline = 5", r"shop.py: defines no `pipeline = Pipeline\(...\)`; add it"),
        ("a = 1\nb = = 2", r"shop.py, line 2: not valid Python"),
        ("a = 1\n\nb = 1 / 0", r"shop.py, line 3: ZeroDivisionError: division by zero"),
        ("import no_such_module", r"shop.py, line 1: ModuleNotFoundError: No module named"),
        (FILE.replace('"shop"', '"Shop"'), r"shop.py: Pipeline: name 'Shop' must be"),
        ("raise SystemExit(3)", r"shop.py, line 1: SystemExit: 3"),
    ],
)
def test_a_file_that_fails_says_where(text: str | None, message: str, tmp_path: Path) -> None:
    """The file, the line and the reason, in one line."""
    path = tmp_path / "shop.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DefinitionError, match=message) as refused:
        Pipeline.load(path)
    assert "\n" not in str(refused.value)
