"""The catalogue of a pipeline's features: what each is made of, for how long, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamproc.eventtime import parse_duration_ms
from streamproc.features import Calendar, Cyclical, Encoder, Field, Lookup, Window, type_of
from streamproc.pipeline import Pipeline


@dataclass(frozen=True)
class Listed:
    """A feature: the fields of the event that it is made of, and the entities that it goes by.

    A field of a looked-up row is named with its topic: ``age in customers.profile``.

    ``span`` is what its windows cover. ``expires_after_ms`` is how long an entity's state is kept
    after its last record, in event time; None for a feature without state of its own.
    """

    name: str
    kind: str
    type: str
    fields: tuple[str, ...]
    reads: tuple[str, ...]
    by: tuple[str, ...]
    span: str | None
    expires_after_ms: int | None
    owner: str
    description: str


def catalogue(pipeline: Pipeline) -> list[Listed]:
    """Return every feature of a pipeline, in the order declared.

    >>> from river import linear_model
    >>> from streamproc import Events, Ratio, Window
    >>> found = catalogue(Pipeline(
    ...     name="demo",
    ...     events=Events("demo.events", id="id", key="card", time="at"),
    ...     features=[
    ...         Window("amount", "card", "7d", "mean"),
    ...         Ratio("tip", "amount_mean_7d_by_card"),
    ...     ],
    ...     model=linear_model.LogisticRegression(),
    ... ))
    >>> found[0].span, found[0].expires_after_ms  # the span, and the lateness of an hour
    ('7d', 608400000)
    >>> found[1].fields, found[1].reads
    (('tip', 'amount'), ('amount_mean_7d_by_card',))
    """
    about = {
        name: (shared.owner, shared.description)
        for shared in pipeline.shared
        for feature in shared.features
        for name in feature.names
    }
    found: dict[str, Listed] = {}
    for feature in pipeline.features:
        for name in feature.names:
            owner, description = about.get(name, ("", ""))
            span = _span(feature, name)
            expires_ms = _kept_ms(pipeline, feature)
            found[name] = Listed(
                name,
                type(feature).__name__,
                type_of(feature, name),
                *_sources(feature, name, found),
                span,
                expires_ms,
                owner,
                description,
            )
    return list(found.values())


def _sources(
    feature: Any, name: str, before: dict[str, Listed]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the fields, the features declared before, and the entities that a feature is of."""
    if isinstance(feature, Field):
        return (feature.name,), (), ()
    if isinstance(feature, Calendar | Cyclical):
        return (feature.time,), (), ()
    if isinstance(feature, Lookup):
        column = feature.columns[feature.names.index(name)]
        return (f"{column.name} in {feature.topic}",), (), (feature.by,)
    if not isinstance(feature, Encoder):
        of = feature.value if isinstance(feature, Window) else "the label"
        return (of,), (), feature.entity
    reads = tuple(name for name in feature.inputs if name in before)
    fields: dict[str, None] = {}
    entities: dict[str, None] = {}
    for name in feature.inputs:
        known = before.get(name)
        fields |= dict.fromkeys(known.fields if known else (name,))
        entities |= dict.fromkeys(known.by if known else ())
    return tuple(fields), reads, tuple(entities)


def _span(feature: Any, name: str) -> str | None:
    """Return the span that is in a window's feature's name."""
    spans = () if isinstance(feature, Encoder) else getattr(feature, "over", ())
    return next((span for span in spans if f"_{span}_by_" in name), None)


def _kept_ms(pipeline: Pipeline, feature: Any) -> int | None:
    """Return how long a window keeps an entity's records: its longest span, and the lateness."""
    spans = () if isinstance(feature, Encoder) else getattr(feature, "over", ())
    if not spans:
        return None
    return max(parse_duration_ms(span) for span in spans) + pipeline.lateness_ms
