"""The catalogue of a pipeline's features: what each is made of, for how long, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamproc.features import (
    Calendar,
    Cyclical,
    Encoder,
    Field,
    LabelWindow,
    Lookup,
    Shared,
    Window,
    type_of,
)
from streamproc.features.labelled import label_groups_of
from streamproc.features.windows import form_of, groups_of
from streamproc.pipeline import Pipeline


@dataclass(frozen=True)
class Listed:
    """A feature: the fields of the event that it is made of, and the entities that it goes by.

    A field of a looked-up row is named with its topic: ``age in customers.profile``.

    ``span`` is what its windows cover, such as "1d", or "1d every 1h". ``expires_after_ms`` is how
    long an entity's state is kept after its last record, in event time; None for a feature without
    state of its own. ``shared`` is the name of the shared features that it is of, ``definition``
    what changes when one of them does.
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
    shared: str
    version: int | None
    definition: str | None


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
        name: shared
        for shared in pipeline.shared
        for feature in shared.features
        for name in feature.names
    }
    found: dict[str, Listed] = {}
    kept_ms = _kept_ms(pipeline)
    for feature in pipeline.features:
        for name in feature.names:
            of = about.get(name, _NOBODYS)
            span = _span(feature, name)
            expires_ms = kept_ms.get(feature)
            found[name] = Listed(
                name,
                type(feature).__name__,
                type_of(feature, name),
                *_sources(feature, name, found),
                span,
                expires_ms,
                of.owner,
                of.description,
                of.name,
                of.version if of.name else None,
                of.definition if of.name else None,
            )
    return list(found.values())


LONG_MS = 366 * 86_400_000
"""From when on the state of an idle entity is kept so long that it is worth a word."""

_RECORD_BYTES, _ENTITY_BYTES = 50, 250


def kept_long(pipeline: Pipeline) -> list[str]:
    """Return a sentence for each log of windows whose idle entities stay for over a year.

    >>> from river import linear_model
    >>> from streamproc import Events, Window
    >>> windows = [Window("amount", "card", "3650d", "mean")]
    >>> events = Events("demo.events", id="id", key="card", time="at")
    >>> print(*kept_long(Pipeline("demo", events, windows, linear_model.LogisticRegression())))
    windows of amount by card keep each record for 3650d, in memory: some 50 bytes a record and \
250 an entity; over a shorter span they let go of who is idle
    """
    logs = {
        (each.by, each.fields if each.kind == "Window" else ("labels",)): each
        for each in catalogue(pipeline)
        if each.expires_after_ms is not None and each.expires_after_ms > LONG_MS
    }
    return [
        f"windows of {', '.join(fields)} by {' and '.join(by)} keep each record for "
        f"{((each.expires_after_ms or 0) - pipeline.lateness_ms) // 86_400_000}d, in memory: some "
        f"{_RECORD_BYTES} bytes a record and {_ENTITY_BYTES} an entity; over a shorter span they "
        "let go of who is idle"
        for (by, fields), each in logs.items()
    ]


_NOBODYS = Shared(())


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
    """Return the span of a window's feature, and how often such windows begin where they hop."""
    if not isinstance(feature, Window | LabelWindow):
        return None
    span = feature.over[feature.names.index(name) // len(feature.aggregates)]
    return span if feature.every is None else f"{span} every {feature.every}"


def _kept_ms(pipeline: Pipeline) -> dict[Any, int]:
    """Return how long each window keeps an entity's records: as long as those that share them.

    That is the longest span of them, and the lateness.
    """
    found: dict[Any, int] = {}
    lateness_ms = pipeline.lateness_ms
    for group in groups_of(pipeline.features):
        found |= dict.fromkeys(group, form_of(group, lateness_ms).keep_ms)
    for labels in label_groups_of(pipeline.features):
        longest_ms = max(span_ms for each in labels for span_ms in each.spans_ms)
        found |= dict.fromkeys(labels, longest_ms + lateness_ms)
    return found
