"""The one knob: how many false alarms are expected over everything that is watched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms

_FORM = re.compile(r"(\d+(?:\.\d+)?) per (\S+)")


@dataclass(frozen=True)
class FalseAlarms:
    """So many false alarms in a time, over everything that a pipeline watches.

    Raises `DefinitionError`, which says how it is written.

    >>> FalseAlarms.parse("1 per 30d").alarm_ms(share=0.5) // 86_400_000
    60.0
    """

    count: float
    period_ms: int

    @classmethod
    def parse(cls, text: object) -> FalseAlarms:
        """Read ``"1 per 30d"``."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None or float(match[1]) <= 0:
            raise DefinitionError(
                f"Pipeline: false_alarms {text!r:.40} is not understood; write e.g. '1 per 30d'"
            )
        period_ms = parse_duration_ms(match[2], "Pipeline, false_alarms")
        if period_ms == 0:
            raise DefinitionError("Pipeline: false_alarms in no time; write e.g. '1 per 30d'")
        return cls(float(match[1]), period_ms)

    def alarm_ms(self, share: float) -> float:
        """Return the mean time between false alarms of what has such a share of them."""
        return self.period_ms / (self.count * share)


def shares(weights: Mapping[int, float]) -> dict[int, float]:
    """Return each monitor's share of the false alarms, by its weight.

    >>> shares({0: 1.0, 2: 3.0})
    {0: 0.25, 2: 0.75}
    """
    total = sum(weights.values())
    return {number: weight / total for number, weight in weights.items()}
