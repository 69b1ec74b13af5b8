"""Seeds: a model without one is given one, so that the same input gives the same model again."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from river import multiclass


def seeded(model: Any, seed: int) -> Any:
    """Return a copy of a model in which every ``seed`` that was None has one.

    The first found is given ``seed``, the next ``seed + 1`` and so on, so that no two parts draw
    the same numbers. What the model has learnt stays; seeds that the user gave stay too.

    >>> from river import forest
    >>> seeded(forest.ARFClassifier(), 7).seed
    7
    >>> seeded(forest.ARFClassifier(seed=3), 7).seed
    3
    """
    model = copy.deepcopy(model)
    for part in _parts(model, set()):
        if getattr(part, "seed", 0) is None and not isinstance(
            getattr(type(part), "seed", None), property
        ):
            _give(part, seed)
            seed += 1
    return model


def _give(part: Any, seed: int) -> None:
    part.seed = seed
    if isinstance(part, multiclass.OutputCodeClassifier) and part.coding_method == "exact":
        remaining = sorted(part._integers)  # the only draw that River makes at once
        random.Random(seed).shuffle(remaining)
        part._integers = iter(remaining)
    for value in _attributes(part):
        if isinstance(value, random.Random | np.random.RandomState):
            value.seed(seed)
        elif isinstance(value, np.random.Generator):
            value.bit_generator.state = type(value.bit_generator)(seed).state


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield what a model is made of, itself first, in the order it was put together."""
    inside: Iterable[Any]
    if isinstance(value, list | tuple):
        inside = value
    elif isinstance(value, dict):
        inside = value.values()
    elif type(value).__module__.startswith("river."):
        inside = _attributes(value)
    else:
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    yield value
    for each in inside:
        yield from _parts(each, seen)


def _attributes(part: Any) -> list[Any]:
    slots = [
        getattr(part, name)
        for each in type(part).__mro__
        for name in getattr(each, "__slots__", ())
        if hasattr(part, name)
    ]
    return [*getattr(part, "__dict__", {}).values(), *slots]
