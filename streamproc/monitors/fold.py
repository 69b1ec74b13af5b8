"""What folds have in common: columns of numbers from messages.

A fold keeps nothing but sums that add up across partitions, and hands out what is new since it
was last asked. It works on columns, some thousand records at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from streamproc.errors import BadRecord
from streamproc.eventtime import parse_time_ms
from streamproc.monitors.sums import LARGEST, Floats, Ints

LONGEST = 100
"""How many characters of a text are kept."""

NEVER = -(1 << 62)

_TIME, _LABEL_TIME, _FEATURES, _SCORE, _MODEL = map(
    itemgetter, ("event_time_ms", "label_time_ms", "features", "score", "model")
)


_TYPES: dict[str, type] = {
    "event_time_ms": int,
    "label_time_ms": int,
    "scored_at_ms": int,
    "model": str,
    "features": dict,
    "score": object,
}
_NEEDED = {
    "prediction": tuple(name for name in _TYPES if name != "label_time_ms"),
    "outcome": tuple(name for name in _TYPES if name != "scored_at_ms"),
}
_GET = {kind: itemgetter(*names) for kind, names in _NEEDED.items()}


def check(kind: str, messages: Sequence[dict[str, Any]]) -> None:
    """Raise :class:`BadRecord` if folds can't go by one of these predictions or outcomes.

    That is ``not_ours`` or ``time_not_valid``. Workers write none such, but others may.

    >>> check("prediction", [{}])
    Traceback (most recent call last):
    streamproc.errors.BadRecord: not_ours: this prediction has no field 'event_time_ms'
    """
    try:
        columns = list(zip(*map(_GET[kind], messages), strict=True))
    except KeyError as error:
        raise BadRecord("not_ours", f"this {kind} has no field {error}") from None
    for name, values in zip(_NEEDED[kind], columns, strict=False):
        wanted = _TYPES[name]
        if wanted is not object and set(map(type, values)) != {wanted}:
            found = next(type(value) for value in values if type(value) is not wanted)
            said = f"field {name!r} of this {kind} is of type {found.__name__}"
            raise BadRecord("not_ours", f"{said}, not {wanted.__name__}")
        if name in ("event_time_ms", "label_time_ms"):
            parse_time_ms(min(values))
            parse_time_ms(max(values))
    if not all(map(_is_slices, (it["slices"] for it in messages if it.get("slices") is not None))):
        raise BadRecord("not_ours", f"the slices of this {kind} are no map of text")


def _is_slices(value: object) -> bool:
    return type(value) is dict and {str}.issuperset(map(type, value.values()))


class Messages(list[dict[str, Any]]):
    """Predictions or outcomes; what several folds need of them is worked out once.

    >>> some = Messages([{"event_time_ms": 5, "features": {"a": 1}}])
    >>> some.times_ms.tolist(), some.numbers(("a",)).tolist(), Messages.of(some) is some
    ([5], [[1.0]], True)
    """

    @classmethod
    def of(cls, messages: Sequence[dict[str, Any]]) -> Messages:
        """Return the messages; the same where they are such already."""
        return messages if isinstance(messages, cls) else cls(messages)

    @cached_property
    def times_ms(self) -> Ints:
        """Their event times."""
        return np.fromiter(map(_TIME, self), np.int64, len(self))

    @cached_property
    def known_ms(self) -> Ints:
        """When outcomes became known: never before their events."""
        labelled_ms = np.fromiter(map(_LABEL_TIME, self), np.int64, len(self))
        return np.maximum(labelled_ms, self.times_ms)

    @cached_property
    def features(self) -> list[dict[str, Any]]:
        """Their features."""
        return list(map(_FEATURES, self))

    @cached_property
    def scores(self) -> list[Any]:
        """Their scores: numbers, or a map of them by class."""
        return list(map(_SCORE, self))

    @cached_property
    def labels(self) -> list[Any]:
        """The labels of outcomes."""
        return [message.get("label") for message in self]

    @cached_property
    def decisions(self) -> list[Any]:
        """What was decided."""
        return [message.get("decision") for message in self]

    @cached_property
    def slices(self) -> list[dict[str, str]]:
        """The fields that they are sliced by."""
        return [message.get("slices") or {} for message in self]

    @cached_property
    def score(self) -> Floats:
        """Their scores as numbers."""
        return column(self.scores)

    @cached_property
    def learnt(self) -> NDArray[np.bool_] | None:
        """Which were scored by a version that has learnt something; None where all were."""
        models = list(map(_MODEL, self))
        if not any(model.endswith("@0") for model in set(models)):
            return None
        return np.array([not model.endswith("@0") for model in models], bool)

    def numbers(self, names: tuple[str, ...]) -> Floats:
        """Return features as :func:`columns` does."""
        known = self._numbers
        new = tuple(name for name in dict.fromkeys(names) if name not in known)
        known.update(zip(new, columns(self.features, new), strict=True))
        return np.array([known[name] for name in names]).reshape(len(names), len(self))

    @cached_property
    def _numbers(self) -> dict[str, Floats]:
        return {}


def columns(maps: Sequence[dict[str, Any]], names: tuple[str, ...]) -> Floats:
    """Return the named values as an array, names x maps; what is no usable number is NaN.

    >>> columns([{"a": 1, "b": 2.5}, {"a": None, "b": "x"}], ("a", "b")).tolist()
    [[1.0, nan], [2.5, nan]]
    """
    if len(names) < 2:
        found = [column([values.get(name) for values in maps]) for name in names]
        return np.array(found).reshape(len(names), len(maps))
    rows = map(itemgetter(*names), maps)
    size = len(maps) * len(names)
    try:
        table = np.fromiter(chain.from_iterable(rows), np.float64, size)
    except (KeyError, TypeError, ValueError, OverflowError):
        cleaned = (number(values.get(name)) for values in maps for name in names)
        table = np.fromiter(cleaned, np.float64, size)
    table[~(np.abs(table) < LARGEST)] = np.nan
    return np.ascontiguousarray(table.reshape(len(maps), len(names)).T)


def column(values: Sequence[Any]) -> Floats:
    """Return values as an array; what is no usable number is NaN.

    >>> column([True, 2, 3.5, "4", None, 1e300]).tolist()
    [1.0, 2.0, 3.5, nan, nan, nan]
    """
    try:
        if str in set(map(type, values)):
            raise ValueError
        array = np.fromiter(values, np.float64, len(values))
    except (TypeError, ValueError, OverflowError):
        array = np.fromiter(map(number, values), np.float64, len(values))
    array[~(np.abs(array) < LARGEST)] = np.nan
    return array


def texts(values: Sequence[Any]) -> list[str | None]:
    """Return values as text, of each its beginning; None is missing.

    >>> texts([True, None, True]), texts([1, True])
    (['True', None, 'True'], ['1', 'True'])
    """
    if len({*map(type, values)} - {type(None)}) > 1:  # equal ones may be unlike as text
        return list(map(_text, values))
    try:
        known = {value: _text(value) for value in set(values)}
    except TypeError:
        return list(map(_text, values))
    return [known[value] for value in values]


def slice_name(fields: Sequence[str], values: Sequence[str]) -> str:
    """Return the name of a slice's series: its map as JSON, empty overall.

    >>> slice_name(("country",), ("NL",)), slice_name((), ())
    ('{"country":"NL"}', '')
    """
    if not fields:
        return ""
    short = [str(value)[:LONGEST] for value in values]
    return orjson.dumps(dict(zip(fields, short, strict=True))).decode()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:LONGEST]


def number(value: object) -> float:
    """Return a value as a number; NaN where it is none.

    >>> number(2), number("2"), number(10**400)
    (2.0, nan, nan)
    """
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("nan")


def slices_by_code(fields: Sequence[str], messages: Messages) -> tuple[list[str], Ints]:
    """Return the names of the slices that are there, and the number of each message's, or -1."""
    if not fields:
        return [""], np.zeros(len(messages), np.int64)
    get = itemgetter(*fields)
    numbers: dict[Any, int] = {}
    codes = []
    for values in messages.slices:
        try:
            codes.append(numbers.setdefault(get(values), len(numbers)))
        except KeyError:
            codes.append(-1)
    names = [slice_name(fields, key if len(fields) > 1 else (key,)) for key in numbers]
    return names or [""], np.array(codes, np.int64)


def groups(keys: Ints) -> tuple[Ints, Ints]:
    """Return the keys there are and the number of each one's; most often there is one key."""
    if keys[0] == keys[-1] and keys.min() == keys.max():
        return keys[:1], np.zeros(len(keys), np.int64)
    return np.unique(keys, return_inverse=True)
