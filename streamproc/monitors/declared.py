"""What monitors' definitions have in common: checks, which name the field and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms

Slices = tuple[str | tuple[str, ...], ...]


def checked_slices(what: str, declared: Any) -> Slices:
    """Return declared slices as a tuple: each a field, or several.

    >>> checked_slices("PredictionBias", ["country", ["country", "channel"]])
    ('country', ('country', 'channel'))
    """
    slices = (declared,) if isinstance(declared, str) else tuple(declared)
    slices = tuple(one if isinstance(one, str) else tuple(one) for one in slices)
    for one in slices:
        fields = (one,) if isinstance(one, str) else one
        if not fields or not all(isinstance(each, str) and each for each in fields):
            raise DefinitionError(
                f"{what}: slice {one!r} names no fields; write 'country' or ('country', 'channel')"
            )
    if len(set(fields_of(slices))) != len(slices) + 1:
        raise DefinitionError(f"{what}: a slice is declared twice; leave one out")
    return slices


def fields_of(slices: Sequence[str | tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return the fields of each kind of slice, the first being none at all: overall.

    >>> fields_of(("country",))
    ((), ('country',))
    """
    return ((), *((one,) if isinstance(one, str) else tuple(one) for one in slices))


def check_weight(what: str, weight: float) -> None:
    """Raise `DefinitionError` for what is no part of the false alarms."""
    if not 0 < weight < inf:
        raise DefinitionError(f"{what}: weight {weight!r} is no part of anything; write e.g. 1.0")


def check_tolerance(what: str, tolerance: float | None, unit: str, below: float = 100.0) -> None:
    """Raise `DefinitionError` for what is no such tolerance; None stands for the default."""
    if tolerance is None:
        return
    if type(tolerance) not in (int, float) or not 0 <= tolerance < below:
        raise DefinitionError(
            f"{what}: tolerance {tolerance!r:.60} must be {unit} from 0 to below {below:g}, "
            "such as 0.1"
        )


def check_bucket(what: str, bucket: str) -> None:
    """Raise `DefinitionError` for a bucket that is no span of time."""
    if parse_duration_ms(bucket, f"{what}, bucket") == 0:
        raise DefinitionError(f"{what}, bucket: a bucket of 0 holds nothing; write e.g. '1h'")
