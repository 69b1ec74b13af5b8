"""Which versions of the model scored the events that a finding is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.monitors.outcome_sample import SAMPLE
from streamproc.monitors.packing import unpack_ints

MOST = 256
"""How many versions are remembered: those that scored last."""

MOST_NAMED = 10
"""How many are named: the oldest, and the newest."""


class Versions:
    """Notes until when, in event time, each version is in the samples of the sealed buckets.

    A sample has some hundreds of a bucket's events, so a version that scored next to nothing may
    be missing. It is the same whatever the partitions.

    >>> versions = Versions()
    >>> for start_ms, model in enumerate(["main@9", "main@10", "main@10"]):
    ...     versions.note(start_ms, {"=sample": {"model": [model]}})
    >>> versions.since(0), versions.since(1)
    (('main@9', 'main@10'), ('main@10',))
    """

    def __init__(self) -> None:
        self._last_ms: dict[str, int] = {}

    def note(self, start_ms: int, rows: Mapping[str, Any]) -> None:
        """Take in a sealed bucket's rows: its sample, where there is one."""
        sample = rows.get(SAMPLE)
        if sample is None:
            return
        models = sample["model"]
        if "event_ms" in sample:  # of outcomes: each has its event's
            times_ms = unpack_ints(sample["event_ms"]).tolist()
        else:  # of predictions: the bucket is of event time
            times_ms = [start_ms] * len(models)
        seen: dict[str, int] = {}
        for model, time_ms in zip(models, times_ms, strict=True):
            seen[model] = max(time_ms, seen.get(model, time_ms))
        for model, last_ms in seen.items():
            self._last_ms[model] = max(last_ms, self._last_ms.get(model, last_ms))
        while len(self._last_ms) > MOST:
            del self._last_ms[min(self._last_ms, key=lambda each: (self._last_ms[each], each))]

    def since(self, first_ms: int) -> tuple[str, ...]:
        """Return the versions that scored from a time on, by number; `MOST_NAMED` at most."""
        there = (model for model, last_ms in self._last_ms.items() if last_ms >= first_ms)
        found = sorted(there, key=version_of)
        if len(found) > MOST_NAMED:
            found = [found[0], *found[1 - MOST_NAMED :]]
        return tuple(found)


def version_of(model: str) -> tuple[str, int, str]:
    """Return what sorts versions by their number.

    >>> sorted(["main@10", "main@9"], key=version_of)
    ['main@9', 'main@10']
    """
    variant, _, number = model.rpartition("@")
    return variant, int(number) if number.isdecimal() else -1, model
