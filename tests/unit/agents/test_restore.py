"""The order in which a log was consumed, as the journal has it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson

from agents.restore import steps_of
from streamproc.tasks.records import PlainRecord
from tests.unit.tasks.kit import EVENTS, LABELS, pipeline


def entry(bounds: Any = None, **inputs: tuple[int, int]) -> PlainRecord:
    """Return a transaction's entry: of which partition's events and labels, from where to where."""
    names = {"events": EVENTS, "labels": LABELS}
    said = {f"{names[name[:6]]}/{name[6:]}": both for name, both in inputs.items()}
    more = {} if bounds is None else {"bounds": bounds}
    return PlainRecord("shop.journal", 0, 0, None, orjson.dumps({"inputs": said, **more}))


def test_steps_are_batches_and_transactions_of_one_partition() -> None:
    """Nothing goes beyond what is committed; other partitions' entries are none of it."""
    entries = [
        entry(events0=(0, 3), labels0=(0, 1), events1=(0, 9)),
        entry({"1": [[12, 0]]}, events1=(9, 15)),
        entry(
            {"0": [[5, 1], [5, 4]], "1": [[16, 0]]},
            events0=(3, 8),
            labels0=(1, 4),
            events1=(15, 17),
        ),
        entry({"0": [[9, 4]]}, events0=(8, 12), labels0=(4, 7)),
    ]
    at: Any = SimpleNamespace(pipeline=pipeline(), read=lambda *place: iter(entries))
    steps = [(3, 1), (5, 1), (5, 4), (8, 4), (9, 4), (10, 5), (10, 5)]
    assert list(steps_of(at, 0, 0, (10, 5))) == steps
