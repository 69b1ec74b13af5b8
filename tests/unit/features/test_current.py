"""Reading what windows hold of an entity, with nothing taken in."""

from __future__ import annotations

import random
from typing import Any

import pytest

from streamproc.features import FeatureSet, Field, LabelWindow, Window

SPEC = (
    Field("amount"),
    Window("amount", by="card", over=("10ms", "100ms"), aggregates=("count", "mean", "std", "max")),
    Window("amount", by="shop", over=("50ms",), aggregates=("sum",)),
    LabelWindow(by="card", over=("40ms",), aggregates=("count", "mean")),
)


@pytest.mark.parametrize("seed", range(20))
def test_an_entity_is_told_what_an_event_without_a_value_would_be(seed: int) -> None:
    """Of the newest time; and the stream goes on as if nobody had asked."""
    chance = random.Random(seed)
    asked, other = (FeatureSet(SPEC, "at", lateness_ms=20, key_field="card") for _ in range(2))
    now_ms = 0
    for number in range(200):
        now_ms += chance.randrange(4)
        card, shop = chance.choice("abc"), chance.choice("st")
        event = {
            "card": card,
            "shop": shop,
            "amount": chance.choice((None, chance.gauss(0, 1e3), 1e-40)),
        }
        time_ms = now_ms - chance.randrange(15) if number % 5 == 0 else now_ms
        rest: tuple[Any, ...] = (f"id{number}", card, time_ms)
        assert asked.compute(event, *rest) == other.compute(event, *rest)
        label = chance.choice((None, None, 0.0, 1.0, 1e-40))
        if label is not None:
            for each in (asked, other):
                batch = each.batch()
                batch.add_label([card], label, f"id{number}", time_ms)
                batch.enter()
        entities = [window.entities for window in asked.windows]
        found = {each: asked.current(each, ("card",)) for each in "abcd"}
        shops = asked.current("s", ("shop",))
        assert asked.current("a", ("shop",)) is None
        assert found["d"] is None
        assert [window.entities for window in asked.windows] == entities
    card = chance.choice([each for each, held in found.items() if held])
    empty = {"card": card, "shop": "s", "amount": None}
    told = asked.compute(
        empty, "the last", card, max(window.newest_ms for window in asked.windows[:2])
    )
    held = {**(found[card] or {}), **(shops or {})}
    assert {name: told[name] for name in held if "label" not in name} == {
        name: value for name, value in held.items() if "label" not in name
    }
