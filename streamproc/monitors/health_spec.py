"""What is watched of a pipeline's own health: the declaration."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms

REPORTS = ("health", "model")
"""The stages of the records that are judged here."""

REPORT_MS = 5_000
"""How often a worker reports."""


@dataclass(frozen=True)
class Health:
    """Watches the workers and the learner: whether they keep up, and whether the model is sound.

    A limit is a duration; None leaves that out. A finding takes a minute beyond it without a break.

    - ``lag``: how long a worker may be behind the end of its log, unless it is catching up;
    - ``latency``: from an event's record to its prediction, the slowest of some seconds;
    - ``learner_lag``: how many records may wait for the learner, unless they are getting fewer;
    - ``snapshot_age``: how long a snapshot may take to be written;
    - ``staleness``: how far the newest version's last label may be behind events, in event time;
    - ``labels_overdue``: how long, in event time, no label may come;
    - ``silence``: how long, by the clock, no event may come.

    The last three are, where None, three times the longest gap of the last weeks, an hour at
    least. A version that was held back, and a worker that falls silent, is always told of.

    >>> Health(lag="30s").lag_ms
    30000
    """

    lag: str | None = "1m"
    latency: str | None = "5s"
    learner_lag: int | None = 5_000
    snapshot_age: str | None = "10m"
    staleness: str | None = None
    labels_overdue: str | None = None
    silence: str | None = None

    def __post_init__(self) -> None:
        for name in ("lag", "latency", "snapshot_age", "staleness", "labels_overdue", "silence"):
            if self._ms(name) == 0:
                raise DefinitionError(f"Health, {name}: a limit of 0 is always passed; write '1m'")
        lag = self.learner_lag
        if lag is not None and (type(lag) is not int or lag < 1):
            raise DefinitionError("Health, learner_lag: use a whole number of records, or None")

    def _ms(self, name: str) -> int | None:
        given = getattr(self, name)
        return None if given is None else parse_duration_ms(given, f"Health, {name}")

    @property
    def lag_ms(self) -> int | None:
        """How long a worker may be behind."""
        return self._ms("lag")

    @property
    def limits(self) -> dict[str, int | None]:
        """The limits by what workers report, in milliseconds or records."""
        return {
            "behind_ms": self.lag_ms,
            "latency_ms": self._ms("latency"),
            "learner_records": self.learner_lag,
            "snapshot_ms": self._ms("snapshot_age"),
            "staleness_ms": self._ms("staleness"),
            "labels_ms": self._ms("labels_overdue"),
            "silence_ms": self._ms("silence"),
        }
