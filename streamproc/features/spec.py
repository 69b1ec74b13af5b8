"""What features a pipeline declares. Frozen, checked when written, computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.features.calendar import Calendar, Cyclical
from streamproc.features.checks import texts
from streamproc.features.encoders import Encoder

AGGREGATES = ("count", "sum", "mean", "std", "var", "min", "max")
FieldType = Literal["number", "text", "bool"]


@dataclass(frozen=True)
class Field:
    """A field of the event, as it stands.

    ``type`` is ``"number"`` (the default), ``"text"`` or ``"bool"``. A value of another type makes
    the event a dead letter; null, or no such field, makes the feature null.

    >>> Field("amount").names
    ('amount',)
    """

    name: str
    type: FieldType = "number"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DefinitionError(f"Field: {self.name!r} is no field name; write Field('amount')")
        if self.type not in ("number", "text", "bool"):
            raise DefinitionError(
                f"Field({self.name!r}): type {self.type!r} is not known; "
                "choose 'number', 'text' or 'bool'"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (self.name,)


@dataclass(frozen=True)
class Window:
    """Aggregates of a number over sliding windows of event time, per entity.

    A window of span ``s`` at an event of time ``t`` holds the entity's records with a time in
    ``(t - s, t]``, the event's own among them. ``by`` is the field that names the entity, or
    several, where it takes more than one. ``count`` counts records whose value is not null;
    ``std`` and ``var`` divide by n - 1. Count and sum of an empty window are 0, all else is null.

    >>> Window("amount", by="customer_id", over="1d", aggregates=("count", "mean")).names
    ('amount_count_1d_by_customer_id', 'amount_mean_1d_by_customer_id')
    >>> Window("amount", by=("customer_id", "country"), over="1d", aggregates="sum").names
    ('amount_sum_1d_by_customer_id_and_country',)
    """

    value: str
    by: str | tuple[str, ...]
    over: tuple[str, ...]
    aggregates: tuple[str, ...]

    def __post_init__(self) -> None:
        where = f"Window({self.value!r}, by={self.by!r})"
        remedy = f"{where}: value and by are names of fields of the event"
        by = texts(self.by, remedy)
        if not isinstance(self.value, str) or not self.value or not by or not all(by):
            raise DefinitionError(remedy)
        if len(set(by)) < len(by):
            raise DefinitionError(f"{where}: by names a field twice; name each once")
        over = texts(self.over, f"{where}: over must be durations, such as ('1d', '7d')")
        kinds = texts(self.aggregates, f"{where}: aggregates must be names, such as ('mean',)")
        object.__setattr__(self, "over", over)
        object.__setattr__(self, "aggregates", kinds)
        if len(by) == 1:
            object.__setattr__(self, "by", by[0])
        else:
            object.__setattr__(self, "by", by)
        if not over or not kinds:
            raise DefinitionError(f"{where}: name at least one span and one aggregate")
        for span in over:
            if parse_duration_ms(span, f"{where}, over") == 0:
                raise DefinitionError(f"{where}, over: a span of 0 holds nothing; write e.g. '1d'")
        for kind in kinds:
            if kind not in AGGREGATES:
                raise DefinitionError(
                    f"{where}: aggregate {kind!r} is not known; choose from {', '.join(AGGREGATES)}"
                )

    @property
    def entity(self) -> tuple[str, ...]:
        """The fields that name the entity."""
        return (self.by,) if isinstance(self.by, str) else self.by

    @property
    def spans_ms(self) -> tuple[int, ...]:
        """The spans in milliseconds, in the order they were written."""
        return tuple(parse_duration_ms(span) for span in self.over)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives: span by span, aggregate by aggregate."""
        by = "_and_".join(self.entity)
        return tuple(
            f"{self.value}_{kind}_{span}_by_{by}" for span in self.over for kind in self.aggregates
        )


Feature = Field | Calendar | Cyclical | Window | Encoder
