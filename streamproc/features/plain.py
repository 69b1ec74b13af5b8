"""Events whose features are numbers and windows alone: the same read, and told, in less time.

Both are done by functions written out for the names at hand, as ``collections.namedtuple`` does it:
a map that is written out knows its size, and no loop looks up what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from streamproc.features.entities import LONGEST_ID, entity_reader
from streamproc.features.spec import Field, LabelWindow, Window
from streamproc.features.values import LARGEST, number_of
from streamproc.messages import Features

_BEFORE = ("record_id", "time_ms", "late", "key")

_READ = """
def read(fields, record_id, key, time_ms, late):
    try:
        {picked}
    except KeyError:
        return (record_id, time_ms, late, key, *closely(fields, key))
    if {plain}:
        return ({row},)
    return (record_id, time_ms, late, key, *closely(fields, key))
"""

Read = Callable[[dict[str, Any], str, str, int, bool], tuple[Any, ...]]
Fill = Callable[[Iterable[Features], Iterable[tuple[Any, ...]]], None]
Tell = Callable[[Iterable[tuple[Any, ...]]], list[Features]]


class Plain:
    """Reads what windows and features take of an event, all at once.

    ``by`` are the fields of each entity, ``key_field`` is as ``FeatureSet`` has it. ``read`` gives
    a row: id, time, whether it is late, key, numbers, entities; it raises as the readers of a field
    do, and in their order.

    >>> plain = plain_of([Window("amount", "shop", "1d", "count")], [("shop",)], "card")
    >>> plain.read({"amount": 5.0, "shop": "s", "more": None}, "id", "key", 7, False)
    ('id', 7, False, 'key', 5.0, 's')
    >>> plain.numbers, plain.entities
    ({'amount': 4}, [5])
    """

    def __init__(
        self, spec: Sequence[Any], by: Sequence[tuple[str, ...]], key_field: str | None
    ) -> None:
        names = dict.fromkeys(
            each.name if isinstance(each, Field) else each.value
            for each in spec
            if not isinstance(each, LabelWindow)
        )
        self._names = tuple(names)
        apart = [each for each in by if key_field is not None and each != (key_field,)]
        self._readers = [entity_reader(each, key_field) for each in apart]
        columns = (*_BEFORE, *names, *apart)
        self.numbers = {name: columns.index(name, len(_BEFORE)) for name in names}
        """By name, which column of a row a number is."""
        self.entities = [columns.index(each) if each in apart else 3 for each in by]
        """Which column each entity is."""
        self.read = self._written(apart)

    def _written(self, apart: Sequence[tuple[str, ...]]) -> Read:
        numbers = [f"n{at}" for at in range(len(self._names))]
        entities = [f"e{at}" for at in range(len(apart))]
        fields = [*self._names, *(each[0] for each in apart)]
        values = [*numbers, *entities]
        picked = [f"{value} = fields[{name!r}]" for value, name in zip(values, fields, strict=True)]
        fit = [f"type({each}) is float and {-LARGEST} <= {each} <= {LARGEST}" for each in numbers]
        fit += [f"type({each}) is str and 0 < len({each}) <= {LONGEST_ID}" for each in entities]
        if any(len(each) > 1 for each in apart):
            fit = ["False"]  # of several fields: put together elsewhere
        source = _READ.format(
            picked="\n        ".join(picked or ["pass"]),
            plain=" and ".join(fit or ["True"]),
            row=", ".join((*_BEFORE, *values)),
        )
        space: dict[str, Any] = {"closely": self._closely}
        exec(source, space)
        read: Read = space["read"]
        return read

    def _closely(self, fields: dict[str, Any], key: str) -> tuple[Any, ...]:
        numbers = [number_of(fields, name) for name in self._names]
        return (*numbers, *(each(fields, key) for each in self._readers))


def plain_of(
    spec: Sequence[Any], by: Sequence[tuple[str, ...]], key_field: str | None
) -> Plain | None:
    """Return what reads these features, or None where there are others among them."""
    for each in spec:
        number = isinstance(each, Field) and each.type == "number"
        if not number and not isinstance(each, Window | LabelWindow):
            return None
    return Plain(spec, by, key_field)


def teller(names: Sequence[str]) -> Tell:
    """Return what makes features, flat maps, of rows of as many values.

    >>> teller(["a", 'b"'])([(1, 2), (3, None)])
    [{'a': 1, 'b"': 2}, {'a': 3, 'b"': None}]
    """
    values = [f"v{at}" for at in range(len(names))]
    items = ", ".join(f"{name!r}: {value}" for name, value in zip(names, values, strict=True))
    tell: Tell = eval(f"lambda rows: [{{{items}}} for {', '.join(values)}, in rows]")
    return tell


def filler(names: Sequence[str]) -> Fill:
    """Return what puts rows of values into features that are there already; as many of both.

    >>> features = [{"a": 1, "b": None}, {"a": 2, "b": None}]
    >>> filler(["b"])(features, [(3,), (4,)])
    >>> features
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
    """
    values = [f"v{at}" for at in range(len(names))]
    lines = [f"f[{name!r}] = {value}" for name, value in zip(names, values, strict=True)]
    source = f"""
def fill(features, rows):
    for f, ({", ".join(values)},) in zip(features, rows, strict=True):
        {"; ".join(lines)}
"""
    space: dict[str, Any] = {}
    exec(source, space)
    fill: Fill = space["fill"]
    return fill
