"""How encoders are computed: before the windows where they can be, and else after them.

A record is refused before any state changes. So whatever reads the event is read, or checked,
before the windows take the event in; what reads a window's features is computed after, and can
refuse nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import copysign, log1p
from typing import Any

from streamproc.errors import DefinitionError
from streamproc.features.calendar import Calendar, Cyclical
from streamproc.features.categories import TEXT_READ, Hashed, HashedWords, OneHot
from streamproc.features.encoders import (
    Bucketed,
    Clipped,
    Difference,
    Encoder,
    Imputed,
    Log,
    Missing,
    Over,
    Ratio,
)
from streamproc.features.hashing import HashedColumns, Occupancy
from streamproc.features.spec import Field, Lookup, type_of
from streamproc.features.values import LARGEST, as_category, category_of, number_of
from streamproc.messages import Features

Reader = Callable[[dict[str, Any], int, Features], None]
Get = Callable[[dict[str, Any], Features], Any]

_WORD = re.compile(r"\w+")
_CATEGORICAL = (OneHot, Hashed, HashedWords)
_BEFORE_WINDOWS = Field | Calendar | Cyclical | Lookup | Encoder


class Encoding:
    """The readers of all encoders of a pipeline; ``spec`` is its features, in order.

    ``after`` is what is to be run once the windows are computed, ``zeros`` what features are where
    an encoder says nothing. Raises :class:`DefinitionError` where an encoder reads what is declared
    after it, or numbers where there is text.
    """

    def __init__(self, spec: Sequence[Any]) -> None:
        self.after: list[Reader] = []
        self.zeros: Features = {}
        self._columns: dict[str, HashedColumns] = {}
        self._before: dict[int, list[Reader]] = {}
        windowed = check_order(spec)
        declared: set[str] = set()
        for number, feature in enumerate(spec):
            if isinstance(feature, Encoder):
                reader = self._reader(feature, declared)
                if number in windowed:
                    fields = [name for name in feature.inputs if name not in declared]
                    self._before[number] = [_check(feature, name) for name in fields]
                    self.after.append(reader)
                else:
                    self._before[number] = [reader]
            declared.update(feature.names)

    def before(self, number: int) -> list[Reader]:
        """Return what the encoder at a place of the declaration runs before the windows."""
        return self._before[number]

    @property
    def occupancy(self) -> dict[str, Occupancy]:
        """How full the columns of each hash are, by the name of what is hashed."""
        return {name: columns.occupancy for name, columns in self._columns.items()}

    def _reader(self, feature: Encoder, declared: set[str]) -> Reader:
        if isinstance(feature, _CATEGORICAL):
            return self._category_reader(feature, _category_getter(feature.value, declared))
        if isinstance(feature, Missing):
            return _missing_reader(feature, feature.value in declared)
        value = _number_getter(feature.value, declared)
        if isinstance(feature, Ratio):
            return _ratio_reader(feature, value, _number_getter(feature.by, declared))
        if isinstance(feature, Difference):
            return _difference_reader(feature, value, _number_getter(feature.minus, declared))
        if isinstance(feature, Imputed):
            otherwise = feature.otherwise
            if not isinstance(otherwise, str):
                return _imputed_reader(feature, value, lambda fields, features: otherwise)
            return _imputed_reader(feature, value, _number_getter(otherwise, declared))
        if feature.value in declared:
            return _of_feature(feature.names[0], feature.value, _mapping(feature))
        return _mapped_reader(feature.names[0], value, _mapping(feature))

    def _category_reader(self, feature: OneHot | Hashed | HashedWords, get: Get) -> Reader:
        self.zeros.update(dict.fromkeys(feature.names, 0))
        if isinstance(feature, OneHot):
            return _one_hot_reader(feature, get)
        columns = self._columns[feature.names[0].rpartition("_")[0]] = HashedColumns(feature.names)
        if isinstance(feature, HashedWords):
            return _words_reader(feature, columns, get)
        place = columns.place

        def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
            text = get(fields, features)
            if text is not None:
                name, sign = place(text)
                features[name] = sign

        return read


def check_order(spec: Sequence[Any]) -> set[int]:
    """Return the places of the encoders that need a window's features.

    Raises :class:`DefinitionError` where an encoder reads what is declared after it, or takes for
    a number what is none.
    """
    later = {name: feature for feature in reversed(spec) for name in feature.names}
    types: dict[str, str] = {}
    windowed: set[str] = set()
    found: set[int] = set()
    for number, feature in enumerate(spec):
        if isinstance(feature, Encoder):
            for name in feature.inputs:
                _check_input(feature, name, types, later)
            if not windowed.isdisjoint(feature.inputs):
                found.add(number)
        for name in feature.names:
            types[name] = type_of(feature, name)
            if number in found or not isinstance(feature, _BEFORE_WINDOWS):
                windowed.add(name)
    return found


def _check_input(feature: Encoder, name: str, types: dict[str, str], later: dict[str, Any]) -> None:
    what = f"{type(feature).__name__}({feature.value!r})"
    if name not in types:
        declared = later.get(name)
        if declared is not None and not isinstance(declared, Field):  # which has the same value
            raise DefinitionError(
                f"{what}: feature {name!r} is declared after it; move it before {what}"
            )
    elif types[name] != "number" and not isinstance(feature, (*_CATEGORICAL, Missing)):
        raise DefinitionError(
            f"{what}: {name!r} is declared as {types[name]}, not a number; use OneHot or Hashed"
        )


def _number_getter(name: str, declared: set[str]) -> Get:
    if name in declared:
        return lambda fields, features: features[name]

    def read(fields: dict[str, Any], features: Features) -> Any:
        value = fields.get(name)
        if type(value) is float and -LARGEST <= value <= LARGEST:
            return value
        return number_of(fields, name)  # the call costs: most numbers go without

    return read


def _category_getter(name: str, declared: set[str]) -> Get:
    if name in declared:
        return lambda fields, features: as_category(features[name])
    return lambda fields, features: category_of(fields, name)


def _check(feature: Encoder, name: str) -> Reader:
    """Return what refuses an event whose field a reader could not read after the windows."""
    refuse: Callable[[dict[str, Any], str], Any] = number_of
    if isinstance(feature, _CATEGORICAL):
        refuse = category_of

    def check(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        refuse(fields, name)

    return check


def _mapping(feature: Log | Clipped | Bucketed | Over) -> Callable[[Any], Any]:
    if isinstance(feature, Log):
        return lambda number: copysign(log1p(abs(number)), number)
    if isinstance(feature, Clipped):
        low, high = feature.low, feature.high
        return lambda number: low if number < low else high if number > high else number
    if isinstance(feature, Bucketed):
        edges = feature.edges
        return lambda number: bisect_right(edges, number)
    threshold = feature.threshold
    return lambda number: 1 if number > threshold else 0


def _mapped_reader(name: str, get: Get, mapping: Callable[[Any], Any]) -> Reader:
    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        value = get(fields, features)
        if value is not None:
            features[name] = mapping(value)

    return read


def _of_feature(name: str, source: str, mapping: Callable[[Any], Any]) -> Reader:
    """Return what maps a feature: as above, but for a call, which costs more than most mappings."""

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        value = features[source]
        if value is not None:
            features[name] = mapping(value)

    return read


def _ratio_reader(feature: Ratio, value: Get, by: Get) -> Reader:
    (name,) = feature.names

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        above, below = value(fields, features), by(fields, features)
        if above is not None and below:  # neither null nor 0
            quotient = above / below
            if -LARGEST <= quotient <= LARGEST:
                features[name] = quotient

    return read


def _difference_reader(feature: Difference, value: Get, minus: Get) -> Reader:
    (name,) = feature.names

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        left, right = value(fields, features), minus(fields, features)
        if left is not None and right is not None:
            features[name] = float(left - right)  # of integers: rounded once, and fits JSON

    return read


def _imputed_reader(feature: Imputed, value: Get, otherwise: Get) -> Reader:
    (name,) = feature.names

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        found, instead = value(fields, features), otherwise(fields, features)
        features[name] = instead if found is None else found

    return read


def _missing_reader(feature: Missing, of_feature: bool) -> Reader:
    value, (name,) = feature.value, feature.names

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        found = features[value] if of_feature else fields.get(value)
        features[name] = int(found is None)

    return read


def _one_hot_reader(feature: OneHot, get: Get) -> Reader:
    *names, other = feature.names
    columns = {as_category(each): name for each, name in zip(feature.values, names, strict=True)}

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        text = get(fields, features)
        if text is not None:
            features[columns.get(text, other)] = 1

    return read


def _words_reader(feature: HashedWords, columns: HashedColumns, get: Get) -> Reader:
    place, ngrams = columns.place, feature.ngrams

    def read(fields: dict[str, Any], time_ms: int, features: Features) -> None:
        text = get(fields, features)
        if not text:
            return
        words = _WORD.findall(text[:TEXT_READ].lower())
        counts: dict[str, int] = {}
        for size in ngrams:
            for at in range(len(words) - size + 1):
                name, sign = place(words[at] if size == 1 else " ".join(words[at : at + size]))
                counts[name] = counts.get(name, 0) + sign
        features.update(counts)

    return read
