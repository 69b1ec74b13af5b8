"""River's own models, found in its modules: how each is made here, or why it is left out."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import pytest
import river
from river import base, linear_model, metrics, naive_bayes, tree

from streamproc.errors import DefinitionError
from streamproc.models.kinds import kind_of

RAN = pytest.StashKey[dict[str, str]]()
"""Name of a model -> what it is and how it was made, for the end of the run."""

DEFAULTS, RIVERS_OWN, OURS = "its defaults", "River's own test parameters", "parameters given here"


class Model(NamedTuple):
    """A model to run: ``make`` gives a new one each time, ``made_with`` says how."""

    name: str
    made_with: str
    make: Callable[[], Any]


def _halving() -> dict[str, Any]:
    bayes: Any = naive_bayes.GaussianNB  # River leaves these two without types
    accuracy: Any = metrics.Accuracy
    return {
        "models": [bayes(), tree.HoeffdingTreeClassifier(grace_period=20)],
        "metric": accuracy(),
        "budget": 40,
    }


def _sampler(**more: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"classifier": linear_model.LogisticRegression(), **more}


def _of_target() -> dict[str, Any]:
    return {"regressor": linear_model.LinearRegression()}


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    # Models that River gives neither defaults nor test parameters that build.
    "SuccessiveHalvingClassifier": _halving,
    "RandomOverSampler": _sampler(desired_dist={False: 0.5, True: 0.5}),
    "RandomUnderSampler": _sampler(desired_dist={False: 0.5, True: 0.5}),
    "RandomSampler": _sampler(desired_dist={False: 0.5, True: 0.5}),
    "TargetMinMaxScaler": _of_target,
    "TargetStandardScaler": _of_target,
}

PARTS = {"BaseTreeClassifier", "BaseTreeRegressor"}
"""What forests are made of: built with defaults, but learning only inside one."""

COUNTS = {"MultinomialNB", "ComplementNB"}
"""Models of counts: features must not be negative."""

ABSTRACT = "abstract: there is nothing to build"
PART = "a part of another model, which it cannot learn without"
NEEDS_MORE = "has parameters without default, and none in River's own tests"
NEWER_PYTHON = "needs a newer Python"
FOREIGN = "wraps scikit-learn, which is no dependency"
TRANSFORMER = "a transformer: goes before a model"
SEVERAL_LABELS = "learns several labels at once"
OF_THE_LABEL = "scores the label, which is not known when an event is scored"
ACTIVE = "chooses its labels, and here all come"
RECOMMENDER = "a recommender: learns from user and item"
FORECASTER = "a forecaster: predicts a series without events"
CLUSTERER = "a clusterer: predicts a cluster"
NO_MODEL = "no model: what models are built of"

REASONS = {value for name, value in globals().items() if name.isupper() and isinstance(value, str)}


@cache
def _classes() -> dict[str, type]:
    """Return every estimator that one of River's modules defines, by its dotted name."""
    found = {}
    for module in pkgutil.walk_packages(river.__path__, "river."):
        try:
            names = vars(import_module(module.name))
        except ImportError:
            continue  # needs a package that River doesn't depend on: no estimator is in there
        for each in names.values():
            defined = inspect.isclass(each) and each.__module__ == module.name
            if defined and issubclass(each, base.Estimator):
                found[f"{each.__module__}.{each.__qualname__}"] = each
    return dict(sorted(found.items()))


@cache
def _sorted() -> tuple[list[Model], dict[str, str]]:
    models, out = [], {}
    for name, of in _classes().items():
        try:
            made = next(_ways(name, of))
            kind_of(made.make(), None)
        except StopIteration:
            out[name] = _why_not_built(of)
        except DefinitionError:
            out[name] = _why_no_model(of)
        else:
            if of.__name__ in PARTS:
                out[name] = PART
            elif name.startswith("river.compat."):
                out[name] = FOREIGN
            else:
                models.append(made)
    return models, out


def _ways(name: str, of: Any) -> Iterator[Model]:
    """Yield the ways to make a model that work: its defaults first."""
    if inspect.isabstract(of):
        return

    def rivers_own() -> Any:
        return of(**next(of._unit_test_params()))

    def ours() -> Any:
        return of(**GIVEN[of.__name__]())

    for made_with, make in ((DEFAULTS, of), (RIVERS_OWN, rivers_own), (OURS, ours)):
        try:
            make()
        except Exception:  # whatever a constructor raises without its arguments
            continue
        yield Model(name, made_with, make)


def _why_not_built(of: type) -> str:
    if inspect.isabstract(of):
        return ABSTRACT
    if of.__name__ == "ZstdClassifier":
        return NEWER_PYTHON
    if issubclass(of, base.Transformer):
        return TRANSFORMER
    if of.__name__ in ("AdaptiveRegressor", "ETRegressor", "RegRule", "StochasticGradientTree"):
        return PART
    return NEEDS_MORE


def _why_no_model(of: type) -> str:
    if issubclass(of, base.SupervisedAnomalyDetector):
        return OF_THE_LABEL
    if issubclass(of, base.MultiTargetRegressor | base.MultiLabelClassifier):
        return SEVERAL_LABELS
    for parent, reason in ((base.Transformer, TRANSFORMER), (base.Clusterer, CLUSTERER)):
        if issubclass(of, parent):
            return reason
    package = of.__module__.split(".")[1]
    of_package = {"active": ACTIVE, "reco": RECOMMENDER, "time_series": FORECASTER}
    return of_package.get(package, NO_MODEL)


def models() -> list[Model]:
    """Return every model to run, by name."""
    return _sorted()[0]


def left_out() -> dict[str, str]:
    """Return every other estimator, with the reason."""
    return _sorted()[1]


def transformers() -> list[Model]:
    """Return every transformer that can be built, by name: they go before models."""
    names = [name for name, reason in left_out().items() if reason == TRANSFORMER]
    ways = (next(_ways(name, _classes()[name]), None) for name in names)
    return [made for made in ways if made is not None]
