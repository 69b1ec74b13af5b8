"""Windows by entities that are not the events' key, of those entities that one partition has.

An event is scored where its key is; such a window is computed where its entity is. What has to
travel between the two, and in which order, is the business of ``streamproc.tasks``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from streamproc.features import layout
from streamproc.features.batch import columns_of
from streamproc.features.compute import current
from streamproc.features.entities import EntityReader, entity_reader
from streamproc.features.labelled import LabelledWindow, label_groups_of
from streamproc.features.spec import Feature
from streamproc.features.texts import Ids
from streamproc.features.windows import KeyedWindow, groups_of
from streamproc.messages import Features

Entity = tuple[str, ...]
"""The fields that name an entity."""


class Item(NamedTuple):
    """An event, or a label, on its way into the windows of one entity.

    ``entity`` is the number of the fields that name it, ``text`` its name. ``values`` are those of
    an event, as :attr:`Plan.values` lists their fields; a label's is the number it counts as, its
    time is when it became known, and its id that of its event.
    """

    entity: int
    text: str
    time_ms: int
    record_id: str
    late: bool
    values: Any

    @property
    def is_event(self) -> bool:
        """Whether it is an event, and not a label."""
        return type(self.values) is list


class Plan:
    """Which windows are computed by which entities, and what they take and give.

    By the number of an entity: ``values`` are the fields of an event that its windows take,
    ``names`` the features they give, ``readers`` what reads its name from an event; ``labelled``
    are the numbers of those with windows over labels.

    >>> from streamproc.features import LabelWindow, Window
    >>> spec = [Window("amount", "shop", "1d", "sum"), LabelWindow("shop", "7d", "count")]
    >>> plan = Plan(spec, [("shop",)], key_field="card")
    >>> plan.values, plan.names
    ([['amount']], [['amount_sum_1d_by_shop', 'label_count_7d_by_shop']])
    """

    def __init__(self, spec: Sequence[Feature], rekeyed: Sequence[Entity], key_field: str) -> None:
        self.entities = list(rekeyed)
        self.groups = [
            [group for group in groups_of(spec) if group[0].entity == each] for each in rekeyed
        ]
        self.label_groups = [
            [group for group in label_groups_of(spec) if group[0].entity == each]
            for each in rekeyed
        ]
        self.values = [[group[0].value for group in groups] for groups in self.groups]
        self.labelled = [i for i, groups in enumerate(self.label_groups) if groups]
        self.names = [
            [name for group in groups for one in group for name in one.names]
            + [name for group in labelled for one in group for name in one.names]
            for groups, labelled in zip(self.groups, self.label_groups, strict=True)
        ]
        said = repr((self.entities, self.values, self.names))
        self.signature = hashlib.sha256(said.encode()).hexdigest()[:12]
        """What changes when one of these windows does: items and answers of another fit not."""
        self.readers: list[EntityReader] = [entity_reader(by, key_field) for by in rekeyed]

    def __len__(self) -> int:
        return len(self.entities)

    def named(self, entity: int, values: Sequence[Any]) -> dict[str, Any]:
        """Return what the windows of an entity gave, by the names of the features."""
        return dict(zip(self.names[entity], values, strict=True))


def partition_of(text: str, partitions: int) -> int:
    """Return the partition that an entity's windows are in; the same in every process.

    >>> [partition_of(text, 4) for text in ("7", "8", "NL")]
    [2, 3, 3]
    """
    return crc32(text.encode("utf-8", "surrogatepass")) % partitions


class EntityWindows:
    """The windows of one partition's entities, by all that :class:`Plan` names.

    >>> from streamproc.features import Window
    >>> plan = Plan([Window("amount", "shop", "1d", ("count", "sum"))], [("shop",)], "card")
    >>> windows = EntityWindows(plan, lateness_ms=0)
    >>> windows.observe([Item(0, "s", 1, "a", False, [2.0]), Item(0, "s", 2, "b", False, [3.0])])
    [[1, 2.0], [2, 5.0]]
    """

    def __init__(self, plan: Plan, lateness_ms: int, track: bool = False) -> None:
        self.over_values = [
            [KeyedWindow(group, lateness_ms, track) for group in groups] for groups in plan.groups
        ]
        self.over_labels = [
            [LabelledWindow(group, lateness_ms, track) for group in groups]
            for groups in plan.label_groups
        ]

    @property
    def windows(self) -> list[KeyedWindow]:
        """All windows, those over labels last."""
        over_values = [window for each in self.over_values for window in each]
        return [*over_values, *(window.keyed for each in self.over_labels for window in each)]

    def current(self, entity: str, by: Entity) -> Features | None:
        """Return what the windows by these fields hold of an entity; see ``FeatureSet.current``."""
        over_values = [window for each in self.over_values for window in each]
        over_labels = [window for each in self.over_labels for window in each]
        return current([*over_values, *over_labels], entity, by) or None

    def observe(self, items: Sequence[Item]) -> list[list[Any]]:
        """Take events and labels in, in their order; return the values of each event, in turn."""
        found: list[list[Any]] = [[] for _ in items]
        by_entity: dict[int, list[int]] = {}
        for i, item in enumerate(items):
            by_entity.setdefault(item.entity, []).append(i)
        for entity, places in by_entity.items():
            chosen = [items[i] for i in places]
            events = [i for i in places if items[i].is_event]
            for i, values in zip(events, self._observe(entity, chosen), strict=True):
                found[i] = values
        return [values for item, values in zip(items, found, strict=True) if item.is_event]

    def _observe(self, entity: int, items: list[Item]) -> list[list[Any]]:
        """Take what is of entities of one kind in; return the values of its events."""
        events, labels = [], []
        for item in items:
            if item.is_event:
                events.append(item)
            else:
                at, number = len(events), float(item.values)
                labels.append((at, item.text, number, item.record_id, item.time_ms))
        texts = [each.text for each in events]
        times_ms = np.array([each.time_ms for each in events], np.int64)
        late = np.array([each.late for each in events], np.uint8) * np.uint8(layout.LATE)
        columns: list[list[Any]] = []
        if events:
            ids = Ids([each.record_id for each in events])
            by_window = zip(*(each.values for each in events), strict=True)
            for window, values in zip(self.over_values[entity], by_window, strict=True):
                found = window.observe_many(texts, ids, times_ms, values, late)
                columns += columns_of(found, window.counts)
        for labelled in self.over_labels[entity]:
            of_labels = labelled.observe_many(texts, times_ms, late, labels)
            columns += columns_of(of_labels, labelled.counts)
        return [list(row) for row in zip(*columns, strict=True)] if events else []

    def move_to(self, clock_ms: int) -> None:
        """Let all windows know how far time has come; what is idle for long may then be let go."""
        for window in self.windows:
            window.newest_ms = max(window.newest_ms, clock_ms)

    def sweep(self, items: int) -> None:
        """Forget idle entities, a share of the work for each of ``items`` that were taken in."""
        for window in self.windows:
            window.sweep(2 * items)
