"""The scenarios that last: half an hour with a kill a minute, and the memory of workers."""

from __future__ import annotations

import time

from tests.torture.field import Field
from tests.torture.memory import generations, growth

MINUTE_S = 60.0
SETTLED_S = 300.0
"""From when on memory is to be flat; a run of less than twice as long cannot show it."""


def minute(field: Field) -> float:
    """SIGKILL the first worker at a random moment of a minute, and start it again at once."""
    ends_s = time.monotonic() + MINUTE_S
    field.wait(5.0, 25.0)
    field.kill("w1")
    began_s = time.monotonic()
    field.start("w1")
    took_s = field.recovered(began_s)
    while (left_s := ends_s - time.monotonic()) > 0:
        time.sleep(min(left_s, 1.0))
        field.workers["w2"].check()
    return took_s


def flat(field: Field) -> tuple[list[str], list[str]]:
    """Return what memory the workers held, as notes, and as faults where it goes on growing.

    Until the windows of 30 days are full, and the labels' horizon has passed, it has to grow.
    """
    ran_s = time.monotonic() - field.memory.lives[0].began_s
    settled_s = min(SETTLED_S, ran_s / 2)
    notes, faults = [], []
    for instance in sorted({life.instance for life in field.memory.lives}):
        own = [life for life in field.memory.lives if life.instance == instance]
        if len(own) == 1:
            before, after, is_flat = growth(own[0], settled_s)
            told = f"memory of {instance}: {before:.0f} MB, then at most {after:.0f} MB"
        else:
            held, is_flat = generations(own, instance, settled_s)
            ends = f"{held[0]:.0f} .. {held[-1]:.0f}" if held else "?"
            told = f"memory of {len(own)} times {instance}, at one age: {ends} MB"
        notes.append(told)
        if not is_flat:
            faults.append(f"memory of {instance} is not flat")
    if ran_s < 2 * SETTLED_S:
        return [*notes, f"memory is not judged after {ran_s:.0f} s: the windows still fill"], []
    return notes, faults
