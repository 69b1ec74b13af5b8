"""The numbers inside a model, whatever model it is: how large they are, and whether they are any.

A model's state is walked as pickle would write it, so that whatever can be published can be looked
at, compiled parts included (but for what they keep as opaque bytes; scores show that).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

import numpy as np

MOST_PARTS = 1_000_000
"""How many values and objects are looked at, at most; a forest beyond that is looked at in part."""

MOST_NAMES = 64
"""Of how many attributes the numbers are told, in the order in which they are met."""

BEYOND = 1e100
"""A number beyond this is hardly one: its square, times a square of the kind, is infinite."""

_NO_NUMBERS = (
    *(str, bytes, bytearray, bool, int, type, type(None), type(len), type(lambda: 0)),
    *(random.Random, np.random.RandomState, np.random.Generator),  # 625 whole numbers each
)
_MOST_KEYS = 5


@dataclass(slots=True)
class Numbers:
    """What is known of the numbers of one attribute, wherever in the model it is.

    ``largest`` is the largest finite magnitude, under ``largest_key``; ``nan`` and ``infinite``
    count the others; ``wild_keys`` are the first names, by the alphabet, under which there is a
    number that is not finite or beyond :data:`BEYOND`. A key is a text in a map: a feature, mostly.
    """

    largest: float = 0.0
    largest_key: str = ""
    nan: int = 0
    infinite: int = 0
    wild_keys: tuple[str, ...] = ()

    def note(self, value: float, key: str) -> None:
        """Take in one number."""
        size = abs(value)
        if size <= BEYOND:
            if size > self.largest:
                self.largest, self.largest_key = size, key
            return
        self.nan += isnan(value)
        self.infinite += value in (np.inf, -np.inf)
        if isfinite(size) and size > self.largest:
            self.largest, self.largest_key = size, key
        if key:
            self.wild_keys = tuple(sorted({*self.wild_keys, key})[:_MOST_KEYS])


def numbers_of(model: Any) -> dict[str, Numbers]:
    """Return what is known of a model's numbers, by the name of the attribute they are in.

    Whole numbers are left aside: they count, and are finite.

    >>> from river import linear_model
    >>> model = linear_model.LogisticRegression()
    >>> model.learn_one({"amount": 3.0, "age": 40.0}, True)
    >>> numbers_of(model)["_weights"]
    Numbers(largest=0.2, largest_key='age', nan=0, infinite=0, wild_keys=())
    """
    found: dict[str, Numbers] = {}
    seen: set[int] = set()
    kept: list[Any] = []  # what was made for the walk: an id is one object's while that is there
    todo: list[tuple[str, str, Any]] = [("", "", model)]
    for _ in range(MOST_PARTS):
        if not todo:
            break
        name, key, value = todo.pop()
        if isinstance(value, float):
            known = found.get(name)
            if known is None:
                if len(found) >= MOST_NAMES:
                    continue
                known = found[name] = Numbers()
            known.note(value, key)
        elif isinstance(value, complex):
            todo += [(name, key, value.real), (name, key, value.imag)]
        elif not isinstance(value, _NO_NUMBERS) and id(value) not in seen:
            seen.add(id(value))
            kept.append(value)
            todo.extend(_parts(name, key, value))
    return found


def _parts(name: str, key: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield what a value holds, each with its attribute and its key."""
    if isinstance(value, np.ndarray | np.generic):
        yield from _of_array(name, key, np.asarray(value))
        return
    if type(value) in (list, tuple, set, frozenset):
        yield from ((name, key, each) for each in value)
        return
    if type(value) is not dict:
        yield from _of_object(name, key, value)
        return
    for inside, each in value.items():
        yield name, inside if isinstance(inside, str) else key, each


def _of_array(name: str, key: str, array: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield an array's numbers by their extremes, which tell as much."""
    if array.dtype == object:
        yield from ((name, key, each) for each in array.ravel().tolist())
    elif array.dtype.kind == "f" and array.size:
        flat = array.ravel()
        there = flat[np.isfinite(flat)]
        if there.size:
            yield name, key, float(np.abs(there).max())
        if np.isnan(flat).any():
            yield name, key, float("nan")
        if np.isinf(flat).any():
            yield name, key, float("inf")


def _of_object(name: str, key: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield what pickle would write of an object."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # whatever objects raise that are not to be stored
        return
    if isinstance(reduced, str):
        return
    _, args, state, items, pairs = (*reduced, None, None, None)[:5]
    yield from ((name, key, each) for each in args)
    plain, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for part in (plain, slots):
        if isinstance(part, Mapping):
            for attribute, each in part.items():
                yield (attribute if isinstance(attribute, str) else name), key, each
        elif part is not None:
            yield name, key, part
    yield from ((name, key, each) for each in items or ())
    for inside, each in pairs or ():
        yield name, inside if isinstance(inside, str) else key, each
