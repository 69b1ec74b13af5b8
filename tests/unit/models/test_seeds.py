"""Seeds: given where there are none, kept where there are."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from river import (
    anomaly,
    compose,
    ensemble,
    facto,
    forest,
    linear_model,
    multiclass,
    optim,
    preprocessing,
    tree,
)

from streamproc.models.seeds import seeded
from streamproc.models.versions import dumps


def test_the_model_that_was_given_stays_as_it_is() -> None:
    """The seeds go into a copy."""
    model = forest.ARFClassifier()
    assert seeded(model, 7).seed == 7
    assert model.seed is None


def test_a_seed_that_the_user_gave_stays() -> None:
    """Zero is a seed too."""
    assert seeded(forest.ARFClassifier(seed=0), 7).seed == 0


def test_every_part_gets_a_seed_of_its_own() -> None:
    """Through pipelines, wrappers, lists of models and parameters of parameters."""
    model: Any = compose.Pipeline(
        preprocessing.StandardScaler(),
        ensemble.VotingClassifier(
            [
                ensemble.BaggingClassifier(
                    linear_model.LogisticRegression(initializer=optim.initializers.Normal())
                ),
                forest.AMFClassifier(seed=3),
                forest.AMFClassifier(),
            ]
        ),
    )
    voting = seeded(model, 7)["VotingClassifier"]
    bagging, given, other = voting.models
    assert given.seed == 3
    seeds = [bagging.seed, bagging.model.initializer.seed, other.seed]
    assert None not in seeds
    assert len(set(seeds)) == 3
    assert min(seeds) == 7


def test_the_same_seed_gives_the_same_model() -> None:
    """Generators of both random and numpy, and what is drawn when a model is made."""
    kinds: list[Any] = [
        anomaly.HalfSpaceTrees,
        facto.FMRegressor,
        lambda: multiclass.OutputCodeClassifier(
            linear_model.LogisticRegression(), code_size=6, coding_method="exact"
        ),
    ]
    for make in kinds:
        assert dumps(make()) != dumps(make())
        assert dumps(seeded(make(), 7)) == dumps(seeded(make(), 7))
        assert dumps(seeded(make(), 7)) != dumps(seeded(make(), 8))


def test_a_generator_of_numpy_is_seeded_in_place() -> None:
    """Whoever shares a generator goes on sharing it."""
    model = tree.mondrian.MondrianTreeClassifier()
    generator = np.random.default_rng()
    model.__dict__ |= {"first": generator, "second": generator}
    copy = seeded(model, 7)
    assert copy.first is copy.second
    assert np.random.default_rng(7).random() == copy.first.random()


def test_a_model_that_knows_something_keeps_it() -> None:
    """A model trained in the pipeline's file is not made anew for want of a seed."""
    model: Any = forest.AMFClassifier(n_estimators=2)
    for i in range(30):
        model.learn_one({"a": i / 30}, i > 14)
    assert model.predict_proba_one({"a": 0.9}) == seeded(model, 7).predict_proba_one({"a": 0.9})


def test_one_seed_seeds_one_generator() -> None:
    """The generator draws what Random(seed) draws, as though River had been given the seed."""
    given, ours = anomaly.HalfSpaceTrees(seed=7), seeded(anomaly.HalfSpaceTrees(), 7)
    assert dumps(given) == dumps(ours)
    assert random.Random(7).random() == ours.rng.random()
