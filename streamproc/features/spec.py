"""What features a pipeline declares. Frozen, checked when written, computed elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.features.calendar import Calendar, Cyclical
from streamproc.features.checks import texts
from streamproc.features.encoders import Encoder

AGGREGATES = (
    "count", "sum", "mean", "std", "var", "min", "max", "range", "zscore", "growth", "first",
    "last", "delta", "rate", "since_last", "median", "distinct", "decayed_mean", "decayed_count",
)  # fmt: skip
"""The aggregates of a window; besides, ``p1`` to ``p99``: see :class:`Window`."""

PERCENTILE = re.compile(r"p([1-9][0-9]?)")
LABEL_AGGREGATES = ("count", "sum", "mean", "log_odds")
FieldType = Literal["number", "text", "bool"]


@dataclass(frozen=True)
class Field:
    """A field of the event, as it stands.

    ``type`` is ``"number"`` (the default), ``"text"`` or ``"bool"``. A value of another type makes
    the event a dead letter; null, or no such field, makes the feature null.

    ``least`` and ``most`` declare the range of a number. An event beyond is scored like any other,
    since the range may be what is wrong; it is counted, and `DataQuality` tells where there are
    more of them than usual. They change no state, and no model. ``values`` does the same for a
    text: those it should have.

    >>> Field("amount").names
    ('amount',)
    >>> Field("amount", least=0).range
    (0, None)
    """

    name: str
    type: FieldType = "number"
    least: float | None = field(default=None, repr=False)
    most: float | None = field(default=None, repr=False)
    values: Sequence[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DefinitionError(f"Field: {self.name!r} is no field name; write Field('amount')")
        if self.type not in ("number", "text", "bool"):
            raise DefinitionError(
                f"Field({self.name!r}): type {self.type!r} is not known; "
                "choose 'number', 'text' or 'bool'"
            )
        given = [each for each in self.range if each is not None]
        if any(type(each) not in (int, float) or not isfinite(each) for each in given):
            raise DefinitionError(f"Field({self.name!r}): least and most are finite numbers")
        if given and self.type != "number":
            raise DefinitionError(f"Field({self.name!r}): only a number has a least and a most")
        if len(given) == 2 and given[0] > given[1]:
            raise DefinitionError(f"Field({self.name!r}): least is above most; exchange them")
        if self.values is not None:
            self._check_values(self.values)

    def _check_values(self, values: Sequence[str]) -> None:
        if self.type != "text":
            raise DefinitionError(f"Field({self.name!r}): only a text has values")
        texts = not isinstance(values, str) and all(isinstance(each, str) for each in values)
        if not texts or not values:
            raise DefinitionError(
                f"Field({self.name!r}): values are some texts, such as ('NL', 'BE')"
            )
        object.__setattr__(self, "values", tuple(values))

    @property
    def range(self) -> tuple[float | None, float | None]:
        """The least and the most that a number should be; None for no bound."""
        return self.least, self.most

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return (self.name,)


@dataclass(frozen=True)
class Lookup:
    """Fields of the row that a table holds of an entity; the table is a compacted topic.

    A record of ``topic`` is a row: its key is the entity's text, its value a JSON object, and no
    value takes the row away. Every worker reads all of it. ``by`` is the event's field that names
    the entity. Each of ``fields`` is a number; others are declared by :class:`Field`. No row, a
    field that it lacks, or has another type, makes the feature null.

    >>> Lookup("customers.profile", "customer_id", ("age", Field("segment", "text"))).names
    ('age_of_customer_id', 'segment_of_customer_id')
    """

    topic: str
    by: str
    fields: tuple[str | Field, ...]

    def __post_init__(self) -> None:
        where = f"Lookup({self.topic!r:.60}, by={self.by!r:.60})"
        if not isinstance(self.topic, str) or not self.topic:
            raise DefinitionError(f"{where}: topic is the name of a topic, such as 'shop.profiles'")
        if not isinstance(self.by, str) or not self.by:
            raise DefinitionError(f"{where}: by is the name of one field of the event")
        given = self.fields if isinstance(self.fields, tuple | list) else (self.fields,)
        remedy = f"{where}: fields are names, or Field('segment', type='text'); name at least one"
        if not given or not all(isinstance(each, str | Field) for each in given):
            raise DefinitionError(remedy)
        columns = tuple(Field(each) if isinstance(each, str) else each for each in given)
        if len({each.name for each in columns}) < len(columns):
            raise DefinitionError(f"{where}: a field is named twice; name each once")
        object.__setattr__(self, "fields", columns)

    @property
    def columns(self) -> tuple[Field, ...]:
        """The fields of the row, each with its type."""
        return tuple(each for each in self.fields if isinstance(each, Field))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives."""
        return tuple(f"{each.name}_of_{self.by}" for each in self.columns)

    @property
    def table(self) -> str:
        """What it is called in a prediction, which says by it which row was looked up."""
        return f"{self.topic} by {self.by}"


@dataclass(frozen=True)
class Window:
    """Aggregates of a number over windows of event time, per entity.

    A window of span ``s`` at an event of time ``t`` holds the entity's records with a time in
    ``(t - s, t]``, the event's own among them. ``by`` is the field that names the entity, or
    several, where it takes more than one. A record whose value is null is in no window.

    Windows slide, unless ``every`` makes them hop: then windows of each span begin every so often,
    at multiples since 1970 in UTC, and an event is told of the oldest that it is in, the one that
    ends next: of ``[e - s, t]``, where ``e`` is the first multiple after ``t``. With ``every`` as
    long as the span they tumble.

    - ``count``, ``sum``, ``mean``, ``min``, ``max``, ``range``; ``std``, ``var`` divide by n - 1.
    - ``median`` and ``p1`` to ``p99`` lie between two records in proportion, as numpy has them;
      ``distinct`` counts different values. Both are exact up to 1,024 records in a window; beyond,
      quantiles are off by 0.03 % of themselves at most, distinct counts by 2.3 % (standard error).
    - ``first``, ``last``, ``delta`` (the last less the one before it), ``rate`` (change a second,
      from first to last), ``since_last`` (seconds since the entity's record before).
    - ``zscore``: how many standard deviations the event's own value is off the mean; 0 where there
      is no deviation. ``growth``: by which share the sum is above that of the span before
      (which, of windows that hop, is full).
    - ``decayed_mean``, ``decayed_count``: a record counts half as much for each eighth of the span.

    Counts and the sum of an empty window are 0, all else is null, as is what takes two records
    where there is one.

    >>> Window("amount", by="customer_id", over="1d", aggregates=("count", "mean")).names
    ('amount_count_1d_by_customer_id', 'amount_mean_1d_by_customer_id')
    >>> Window("amount", by=("customer_id", "country"), over="1d", aggregates="sum").names
    ('amount_sum_1d_by_customer_id_and_country',)
    >>> Window("amount", by="customer_id", over="1d", aggregates="sum", every="1h").names
    ('amount_sum_1d_every_1h_by_customer_id',)
    """

    value: str
    by: str | tuple[str, ...]
    over: tuple[str, ...]
    aggregates: tuple[str, ...]
    every: str | None = None

    def __repr__(self) -> str:
        return _told(self)

    def __post_init__(self) -> None:
        where = f"Window({self.value!r}, by={self.by!r})"
        if not isinstance(self.value, str) or not self.value:
            raise DefinitionError(f"{where}: value and by are names of fields of the event")
        _check_window(self, where, AGGREGATES)

    @property
    def entity(self) -> tuple[str, ...]:
        """The fields that name the entity."""
        return (self.by,) if isinstance(self.by, str) else self.by

    @property
    def spans_ms(self) -> tuple[int, ...]:
        """The spans in milliseconds, in the order they were written."""
        return tuple(parse_duration_ms(span) for span in self.over)

    @property
    def every_ms(self) -> int:
        """How far apart two windows begin, in milliseconds; 1 where they slide."""
        return 1 if self.every is None else parse_duration_ms(self.every)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives: span by span, aggregate by aggregate."""
        return _names(self, self.value)


@dataclass(frozen=True)
class LabelWindow:
    """Aggregates of labels over windows of event time, per entity, as they become known.

    A window of span ``s`` at an event of time ``t`` holds the labels of the entity's events that
    became known in ``(t - s, t]``; never one that is known later. The positive class is 1 and any
    other 0; a regression's label is the number it is. ``prior`` and ``prior_count`` smooth: the
    mean is ``(sum + prior * prior_count) / (count + prior_count)``, and ``log_odds`` the logarithm
    of that over the rest, which takes both. ``by``, ``over`` and ``every`` are as
    :class:`Window` has them.

    >>> LabelWindow(by="terminal_id", over=("1d", "7d")).names[:2]
    ('label_count_1d_by_terminal_id', 'label_mean_1d_by_terminal_id')
    """

    by: str | tuple[str, ...]
    over: tuple[str, ...]
    aggregates: tuple[str, ...] = ("count", "mean")
    prior: float = 0.0
    prior_count: float = 0.0
    every: str | None = None

    def __repr__(self) -> str:
        return _told(self)

    def __post_init__(self) -> None:
        where = f"LabelWindow(by={self.by!r})"
        _check_window(self, where, LABEL_AGGREGATES)
        for name in ("prior", "prior_count"):
            number = getattr(self, name)
            if type(number) not in (int, float) or not isfinite(number) or number < 0:
                raise DefinitionError(f"{where}: {name} must be a number from 0 on, such as 0.01")
        smooth = 0 < self.prior < 1 and self.prior_count > 0
        if "log_odds" in self.aggregates and not smooth:
            raise DefinitionError(
                f"{where}: log_odds of no label are infinite; give prior between 0 and 1 and "
                "prior_count, such as prior=0.01, prior_count=10"
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
    def every_ms(self) -> int:
        """How far apart two windows begin, in milliseconds; 1 where they slide."""
        return 1 if self.every is None else parse_duration_ms(self.every)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives: span by span, aggregate by aggregate."""
        return _names(self, "label")


def _names(window: Window | LabelWindow, value: str) -> tuple[str, ...]:
    hops = "" if window.every is None else f"_every_{window.every}"
    by = "_and_".join(window.entity)
    return tuple(
        f"{value}_{kind}_{span}{hops}_by_{by}" for span in window.over for kind in window.aggregates
    )


def _told(window: Window | LabelWindow) -> str:
    """Return what was declared; of windows that slide, as it was before others could hop.

    Fingerprints and the names of state are made of it.
    """
    told = {name: value for name, value in vars(window).items() if name != "every" or value}
    inside = ", ".join(f"{name}={value!r}" for name, value in told.items())
    return f"{type(window).__name__}({inside})"


def _check_window(window: Window | LabelWindow, where: str, known: tuple[str, ...]) -> None:
    """Check what all windows have, and write a lone text as the one thing it is."""
    remedy = f"{where}: value and by are names of fields of the event"
    by = texts(window.by, remedy)
    if not by or not all(by):
        raise DefinitionError(remedy)
    if len(set(by)) < len(by):
        raise DefinitionError(f"{where}: by names a field twice; name each once")
    over = texts(window.over, f"{where}: over must be durations, such as ('1d', '7d')")
    kinds = texts(window.aggregates, f"{where}: aggregates must be names, such as ('mean',)")
    object.__setattr__(window, "by", by[0] if len(by) == 1 else by)
    object.__setattr__(window, "over", over)
    object.__setattr__(window, "aggregates", kinds)
    if not over or not kinds:
        raise DefinitionError(f"{where}: name at least one span and one aggregate")
    for span in over:
        if parse_duration_ms(span, f"{where}, over") == 0:
            raise DefinitionError(f"{where}, over: a span of 0 holds nothing; write e.g. '1d'")
    _check_every(window, where)
    for kind in kinds:
        percentile = known is AGGREGATES and PERCENTILE.fullmatch(kind)
        if kind not in known and not percentile:
            more = " and p1 to p99" if known is AGGREGATES else ""
            raise DefinitionError(
                f"{where}: aggregate {kind!r} is not known; choose from {', '.join(known)}{more}"
            )


def _check_every(window: Window | LabelWindow, where: str) -> None:
    if window.every is None:
        return
    every_ms = parse_duration_ms(window.every, f"{where}, every")
    for span, span_ms in zip(window.over, window.spans_ms, strict=True):
        if every_ms == 0 or span_ms % every_ms:
            raise DefinitionError(
                f"{where}: every={window.every!r} does not divide the span {span!r}; "
                f"write every={span!r} for windows that tumble, or leave it out for sliding ones"
            )


Feature = Field | Calendar | Cyclical | Lookup | Window | LabelWindow | Encoder


def type_of(feature: Feature, name: str) -> FieldType:
    """Return the type of one of a feature's names.

    >>> type_of(Lookup("profiles", "card", (Field("segment", "text"),)), "segment_of_card")
    'text'
    """
    if isinstance(feature, Lookup):
        return feature.columns[feature.names.index(name)].type
    return feature.type if isinstance(feature, Field) else "number"
