"""Hostile records by a seed: random bytes, and valid JSON with something wrong in its structure.

What is accepted of them must leave the good payments as they are. So ids and customers are texts
that begin with ``h`` or numbers that no payment has, and no time lies between the flow's own and
the clock's: such an event is as good as any, and makes the payments after it late.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

Fields = dict[str, Any]
_LEAST_NUMBER = 10**12
_TIMES_MS = range(1_500_000_000_000, 4_000_000_000_000)
_POOL = 400

ODD_TIMES: list[Any] = [
    0, -1, 1, 2**31, -(10**18), 2**63 - 1, 2**63, 10**30, 1e12, 1.5e300,
    "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
    "2016-12-31T23:59:60Z", "2018-02-30T00:00:00Z", "2017-06-01T24:00:00Z", "2017-06-01",
    "2017-06-01T00:00:00+23:59", "2017-06-01T00:00:00-00:00", "2017-06-01t00:00:00z",
    "2017-W01-1", "20170601T000000Z", "2017-06-01T00:00:00." + "9" * 40 + "Z",
    "\uff12\uff10\uff11\uff17-06-01T00:00:00Z", "2017-06-01T00:00:00\u0000Z", "", " ", "now",
    "1496275200000",
]  # fmt: skip
ODD_NUMBERS = [
    "1e999", "-1e999", "1e308", "1e-400", "5e-324", "-0.0", "0e0", "1E+2", "9" * 400,
    "0." + "9" * 900,
    "18446744073709551615", "18446744073709551616", "-9223372036854775809", "1e300", "01", "+1",
    ".5", "5.", "0x10", "1_000", "NaN", "Infinity", "-Infinity", "nan", "1e", "--1",
]  # fmt: skip
ODD_TEXTS = [
    '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"h\\u202e"', '"h' + "x" * 1_500 + '"',
    '"h\\ud83d\\ude00"', '"\\x"', '"\t"', "'h'", '"h', '""', '" "', '"h\\n{}"', '"h%s%n"', '"h:1"',
]  # fmt: skip


def odd_values(number: int) -> list[Any]:
    """Return JSON values as Hypothesis thinks of them, by a seed."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    values = st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=12,
    )
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=_POOL,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(values)
    def gather(value: Any) -> None:
        found.append(value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        gather()
    return found


class Mutator:
    """Makes one hostile value after another of valid ones."""

    def __init__(self, chance: random.Random, pool: list[Any]) -> None:
        self.chance = chance
        self._pool = pool
        kinds: list[tuple[Callable[[Fields], bytes | None], int]] = [
            (self._random, 10), (self._tree, 6), (self._missing, 8), (self._renamed, 6),
            (self._other_type, 16), (self._null, 6), (self._number, 10), (self._text, 8),
            (self._odd_time, 10), (self._deep, 2), (self._twice, 8), (self._not_utf8, 6),
            (self._cut, 8), (self._flipped, 12), (self._spaced, 3), (self._wide, 1),
            (self._otherwise_encoded, 3), (self._empty, 3), (self._tombstone, 3), (self._valid, 8),
        ]  # fmt: skip
        self._kinds = [kind for kind, _ in kinds]
        self._weights = [weight for _, weight in kinds]

    def mutate(self, fields: Fields) -> bytes | None:
        """Return a hostile value made of valid fields; some are valid all the same."""
        if self.chance.random() < 0.000_3:
            return self._huge(fields)
        (kind,) = self.chance.choices(self._kinds, self._weights)
        return kind(dict(fields))

    def _dump(self, fields: Fields) -> bytes:
        """Write as Python does: NaN and lone surrogates get through."""
        return json.dumps(fields).encode()

    def _with_raw(self, fields: Fields, name: str, raw: str) -> bytes:
        fields[name] = "@raw@"
        return self._dump(fields).replace(b'"@raw@"', raw.encode("utf-8", "surrogatepass"))

    def _name(self, fields: Fields) -> str:
        return self.chance.choice(list(fields))

    def _not_of_a_payment(self, name: str, value: Any) -> Any:
        """Keep numbers away from those that ids, customers and times of payments have."""
        if type(value) is int:
            taken = name in ("transaction_id", "customer_id") and 0 <= value < _LEAST_NUMBER
            return value + _LEAST_NUMBER if taken or value in _TIMES_MS else value
        return f"h{value}" if isinstance(value, str) and value.isdecimal() else value

    def _random(self, fields: Fields) -> bytes:
        return self.chance.randbytes(self.chance.randint(1, 300))

    def _tree(self, fields: Fields) -> bytes:
        return json.dumps(self.chance.choice(self._pool)).encode()

    def _missing(self, fields: Fields) -> bytes:
        del fields[self._name(fields)]
        return self._dump(fields)

    def _renamed(self, fields: Fields) -> bytes:
        name = self._name(fields)
        other = self.chance.choice(
            [name.upper(), f" {name}", f"{name}\u0000", "", "__class__", "id"]
        )
        return self._dump(fields | {other: fields.pop(name)})

    def _other_type(self, fields: Fields) -> bytes:
        name = self._name(fields)
        fields[name] = self._not_of_a_payment(name, self.chance.choice(self._pool))
        return self._dump(fields)

    def _null(self, fields: Fields) -> bytes:
        return self._dump(fields | {self._name(fields): None})

    def _number(self, fields: Fields) -> bytes:
        name = self._name(fields)
        return self._with_raw(fields, name, self.chance.choice(ODD_NUMBERS))

    def _text(self, fields: Fields) -> bytes:
        return self._with_raw(fields, self._name(fields), self.chance.choice(ODD_TEXTS))

    def _odd_time(self, fields: Fields) -> bytes:
        name = "event_time" if "event_time" in fields else self._name(fields)
        return self._dump(fields | {name: self.chance.choice(ODD_TIMES)})

    def _deep(self, fields: Fields) -> bytes:
        depth = self.chance.choice([10, 200, 1_000, 1_024, 5_000])
        raw = self.chance.choice(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth])
        return self._with_raw(fields, "note", raw)

    def _twice(self, fields: Fields) -> bytes:
        first, second = self._dump(fields), dict(fields)
        name = self._name(second)
        second[name] = self._not_of_a_payment(name, self.chance.choice(self._pool))
        return first[:-1] + b"," + self._dump(second)[1:]

    def _not_utf8(self, fields: Fields) -> bytes:
        name = self._name(fields)
        bad = self.chance.choice([b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
        return self._dump(fields | {name: "@bad@"}).replace(b"@bad@", b"h" + bad)

    def _cut(self, fields: Fields) -> bytes:
        whole = self._dump(fields)
        return whole[: self.chance.randrange(len(whole))]

    def _flipped(self, fields: Fields) -> bytes:
        if "event_time" in fields:
            fields["event_time"] = "1970-01-02T03:04:05Z"  # no flip of it comes near the payments
        whole = bytearray(self._dump(fields))
        for _ in range(self.chance.randint(1, 3)):
            place, byte = self.chance.randrange(len(whole)), self.chance.randrange(256)
            how = self.chance.randrange(3)
            whole[place : place + (how != 0)] = bytes([byte]) if how != 2 else b""
        return bytes(whole)

    def _spaced(self, fields: Fields) -> bytes:
        whole = self._dump(fields)
        return self.chance.choice(
            [b"\xef\xbb\xbf" + whole, whole + b"}", whole + whole, b" \n" + whole, b"\x00" + whole]
        )

    def _wide(self, fields: Fields) -> bytes:
        many = {f"f{i}": i for i in range(self.chance.choice([100, 2_000]))}
        return self._dump(many | fields)

    def _otherwise_encoded(self, fields: Fields) -> bytes:
        return self._dump(fields).decode().encode(self.chance.choice(["utf-16", "utf-32", "utf-7"]))

    def _empty(self, fields: Fields) -> bytes:
        return b""

    def _tombstone(self, fields: Fields) -> None:
        return None

    def _huge(self, fields: Fields) -> bytes:
        size = self.chance.choice([899_000, 900_000, 900_001, 1_000_000, 1_040_000])
        return self._dump(fields | {"note": "x" * (size - 200)})

    def _valid(self, fields: Fields) -> bytes:
        return self._dump(fields)


def text_of_ms(time_ms: int) -> str:
    """Return a time as payments have it.

    >>> text_of_ms(1522540831000)
    '2018-04-01T00:00:31Z'
    """
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
