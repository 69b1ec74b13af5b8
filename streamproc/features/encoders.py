"""Encoders of numbers: what they declare. Frozen, checked when written, computed elsewhere.

The names that an encoder is given resolve by one rule: a name is that of a feature declared before
it, and else of a field of the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from streamproc.errors import DefinitionError
from streamproc.features.categories import Hashed, HashedWords, OneHot
from streamproc.features.checks import check_name, finite, written


@dataclass(frozen=True)
class Log:
    """The logarithm of 1 plus a number, with the number's sign: ``sign(x) ln(1 + |x|)``.

    Null stays null.

    >>> Log("amount").names
    ('amount_log',)
    """

    value: str

    def __post_init__(self) -> None:
        check_name("Log", self.value, "Log('amount')")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_log",)


@dataclass(frozen=True)
class Clipped:
    """A number, no less than ``low`` and no more than ``high``, in the number's unit.

    Null stays null.

    >>> Clipped("amount", 0, 500).names
    ('amount_clipped',)
    """

    value: str
    low: float
    high: float

    def __post_init__(self) -> None:
        check_name("Clipped", self.value, "Clipped('amount', 0, 500)")
        for side in ("low", "high"):
            number = finite(f"Clipped({self.value!r}): {side}", getattr(self, side))
            object.__setattr__(self, side, number)
        if self.low >= self.high:
            raise DefinitionError(
                f"Clipped({self.value!r}): low {self.low!r} is not below high {self.high!r}; "
                "write the smaller number first"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_clipped",)


@dataclass(frozen=True)
class Bucketed:
    """The number of ``edges`` that a number has reached, 0 to their count; null stays null.

    Edges are in the number's unit, and rise. A number equal to an edge has reached it.

    >>> Bucketed("amount", edges=(10, 50, 200)).names
    ('amount_bucket',)
    """

    value: str
    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        check_name("Bucketed", self.value, "Bucketed('amount', edges=(10, 50))")
        where = f"Bucketed({self.value!r})"
        given = self.edges if isinstance(self.edges, tuple | list) else (self.edges,)
        edges = tuple(finite(f"{where}: each edge", edge) for edge in given)
        object.__setattr__(self, "edges", edges)
        if not edges:
            raise DefinitionError(f"{where}: name at least one edge, such as edges=(10, 50)")
        if any(right <= left for left, right in pairwise(edges)):
            raise DefinitionError(f"{where}: edges must rise; write e.g. edges=(10, 50, 200)")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_bucket",)


@dataclass(frozen=True)
class Over:
    """1 where a number is above ``threshold``, in the number's unit, and else 0; null stays null.

    >>> Over("amount", 220).names
    ('amount_over_220',)
    """

    value: str
    threshold: float

    def __post_init__(self) -> None:
        check_name("Over", self.value, "Over('amount', 220)")
        threshold = finite(f"Over({self.value!r}): threshold", self.threshold)
        object.__setattr__(self, "threshold", threshold)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_over_{written(self.threshold)}",)


@dataclass(frozen=True)
class Ratio:
    """One number divided by another; null where either is null, or the second is 0.

    Null too where the quotient is beyond ±1e150.

    >>> Ratio("amount", "amount_mean_7d_by_card").names
    ('amount_per_amount_mean_7d_by_card',)
    """

    value: str
    by: str

    def __post_init__(self) -> None:
        for name in (self.value, self.by):
            check_name("Ratio", name, "Ratio('amount', 'balance')")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value, self.by)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_per_{self.by}",)


@dataclass(frozen=True)
class Difference:
    """One number less another; null where either is null.

    >>> Difference("amount", "amount_mean_7d_by_card").names
    ('amount_minus_amount_mean_7d_by_card',)
    """

    value: str
    minus: str

    def __post_init__(self) -> None:
        for name in (self.value, self.minus):
            check_name("Difference", name, "Difference('amount', 'balance')")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value, self.minus)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_minus_{self.minus}",)


@dataclass(frozen=True)
class Missing:
    """1 where a feature or field, of any type, is null or absent, and else 0.

    >>> Missing("amount").names
    ('amount_missing',)
    """

    value: str

    def __post_init__(self) -> None:
        check_name("Missing", self.value, "Missing('amount')")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_missing",)


@dataclass(frozen=True)
class Imputed:
    """A number, and where it is null another one: ``otherwise``.

    That is a number, or the name of a feature declared before (else of a field), as of the same
    event. So nothing comes from the future: a mean of a window is of what was known by then. Null
    where both are.

    >>> Imputed("amount", "amount_mean_7d_by_card").names
    ('amount_imputed',)
    """

    value: str
    otherwise: str | float

    def __post_init__(self) -> None:
        check_name("Imputed", self.value, "Imputed('amount', 0)")
        if not isinstance(self.otherwise, str):
            otherwise = finite(f"Imputed({self.value!r}): otherwise", self.otherwise)
            object.__setattr__(self, "otherwise", otherwise)
        else:
            check_name("Imputed", self.otherwise, "Imputed('amount', 0)")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value, self.otherwise) if isinstance(self.otherwise, str) else (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (f"{self.value}_imputed",)


Encoder = (
    OneHot
    | Hashed
    | HashedWords
    | Bucketed
    | Log
    | Clipped
    | Over
    | Ratio
    | Difference
    | Missing
    | Imputed
)
