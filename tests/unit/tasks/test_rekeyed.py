"""Windows by another entity than the key: on any number of partitions as on one, to the bit."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from streamproc.features import Field, LabelWindow, Over, Window
from streamproc.pipeline import Pipeline
from tests.unit.tasks.cluster import Cluster
from tests.unit.tasks.kit import EVENTS, LABELS, Scoring, event, label, pipeline


def shops(**changed: Any) -> Pipeline:
    """Return a pipeline with windows by the key and by two other entities, one over labels."""
    kinds = ("count", "sum", "mean", "std", "max")
    features = [
        Field("amount"),
        Window("amount", by="card", over=("50ms", "2s"), aggregates=("count", "sum")),
        Window("amount", by="shop", over=("50ms", "2s"), aggregates=kinds),
        Window("tip", by="shop", over=("80ms",), aggregates=("count", "median")),
        Window("amount", by=("shop", "card"), over=("1s",), aggregates=("count", "mean")),
        LabelWindow(by="shop", over=("100ms", "3s"), aggregates=("count", "sum", "mean")),
        Over("amount_mean_2s_by_shop", 5),
    ]
    return pipeline(**{"features": features, "lateness": "100ms", **changed})


Step = tuple[str, object, dict[str, Any]]


def stream(chance: random.Random, events: int, bad: bool = True) -> list[Step]:
    """Return events, and labels once they are known, in event time, by chance with bad ones."""
    steps: list[tuple[int, int, Step]] = []
    now = 0
    for order in range(events):
        now += chance.choice((0, 0, 1, 4, 30))
        card = chance.randrange(9)
        shop: Any = chance.choice(("s", "t", 5, "u", "v"))
        amount: Any = chance.choice((1.0, 2.5, 7.25, None, 3))
        if bad and chance.random() < 0.04:
            shop, amount = chance.choice(((None, 1.0), ([1], 1.0), ("s", "much")))
        more = {"tip": chance.choice((0.1, 0.2, 0.7))} if chance.random() < 0.7 else {}
        made = event(order, now, card=card, amount=amount, shop=shop, **more)
        steps.append((now, 1, (EVENTS, card, made)))
        if bad and chance.random() < 0.04:
            steps.append((now + chance.randrange(50), 1, (EVENTS, card, made)))
        if chance.random() < 0.8:
            known = now + chance.choice((0, 1, 20, 300))
            steps.append((known, 0, (LABELS, card, label(order, known, chance.randint(0, 1)))))
            if bad and chance.random() < 0.05:
                steps.append((known + 9, 0, (LABELS, card, label(order, known + 9, 1))))
    return [step for _, _, step in sorted(steps, key=lambda each: each[:2])]


def on_one(made: Pipeline, steps: list[Step]) -> Scoring:
    """Run a stream on one partition, where all windows are in one place."""
    scoring = Scoring(made)
    for topic, _, value in steps:
        scoring.put(topic, value)
    return scoring.run()


def features(said: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the features of predictions, by id; each is there once."""
    assert max(Counter(each["id"] for each in said).values()) == 1
    return {each["id"]: each["features"] for each in said}


@pytest.mark.parametrize("crashes", [0.0, 0.02])
@pytest.mark.parametrize("partitions", [2, 4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_of_one_partition(seed: int, partitions: int, crashes: float) -> None:
    """Whatever order the partitions come in, and whoever dies meanwhile: the same features."""
    chance = random.Random(seed)
    made, steps = shops(), stream(chance, 250)
    one = on_one(made, steps)
    cluster = Cluster(made, partitions, chance)
    for step in steps:
        cluster.put(*step)
    cluster.run(crashes)
    found = features(cluster.said("predictions"))
    expected = features(one.said("predictions"))
    assert found.keys() == expected.keys()
    wrong = {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}
    assert not wrong, next(iter(wrong.items()))
    assert Counter(each["id"] for each in cluster.said("outcomes")) == Counter(
        each["id"] for each in one.said("outcomes")
    )
    rows = Counter(
        (said["from"], n, offset, entity)
        for n in range(partitions)
        for said in cluster.said_in("windows", n)
        for offset, entity, *_ in said.get("rows", ())
    )
    assert max(rows.values()) == 1, "an event was answered twice"
    if crashes:
        assert cluster.crashes > 10
        assert cluster.thawed > 3
