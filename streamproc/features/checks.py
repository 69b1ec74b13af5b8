"""What declarations have in common: is this a name, a list of texts, a number?"""

from __future__ import annotations

from math import isfinite

from streamproc.errors import DefinitionError

_INT64 = range(-(1 << 63), 1 << 63)


def texts(value: object, remedy: str) -> tuple[str, ...]:
    """Return texts as a tuple, a lone one too; raise :class:`DefinitionError` for what is none."""
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, tuple | list) or not all(isinstance(each, str) for each in found):
        raise DefinitionError(remedy)
    return tuple(found)


def check_name(what: str, name: object, example: str) -> None:
    """Raise :class:`DefinitionError` for what names no field or feature."""
    if not isinstance(name, str) or not name:
        raise DefinitionError(f"{what}: {name!r:.40} is no name; write {example}")


def check_buckets(where: str, buckets: object, most: int) -> None:
    """Raise :class:`DefinitionError` for what is no number of columns."""
    if type(buckets) is not int or not 1 <= buckets <= most:
        raise DefinitionError(
            f"{where}: buckets must be a whole number from 1 to {most:,}, not {buckets!r:.40}; "
            "each is a column of every prediction"
        )


def finite(where: str, value: object) -> float | int:
    """Return a number that was declared, or raise :class:`DefinitionError` for what is none."""
    if (type(value) is int or type(value) is float) and -1e150 <= value <= 1e150:
        return value if type(value) is float or value in _INT64 else float(value)
    raise DefinitionError(f"{where} must be a finite number, such as 10, not {value!r:.40}")


def written(number: float | int) -> str:
    """Write a number into a feature's name, a whole one without its fraction.

    >>> written(220.0), written(-0.5)
    ('220', '-0.5')
    """
    whole = isfinite(number) and number == int(number) and abs(number) < 1e15
    return str(int(number)) if whole else repr(number)
