"""Labels that are all of one class: nothing can be said of a model by them, but that they are so.

A rule, no test of a model. A run of labels of one class is told once so many of the others were to
be expected by what was seen before that chance, even in bursts, is no explanation; where no other
was ever seen, once there are so many that the others must be rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.messages import AlertKind
from streamproc.monitors.finding import Finding, alert_key, when
from streamproc.monitors.scores import class_labels

SUBJECT = "labels, all one class"
KIND: AlertKind = "data_quality"

MISSED = 30.0
"""So many labels of other classes were to be expected."""

NEVER = 3_000
"""So many labels without another ever seen: by the rule of three others are below 0.1 %."""

_REMEMBERED = 100_000.0


class OneClass:
    """Follows the classes of labels, bucket after bucket; see the module.

    ``since_ms`` is where the run of one class began, in the time that labels became known; None
    where the last bucket had two. ``open`` says that there is too long a run; one that is accepted
    as normal is told no more, and is known when it ends.

    >>> labels = OneClass()
    >>> for hour in range(50):
    ...     found = labels.update(hour, {"yes": 5, "no": 95} if hour < 40 else {"no": 100}, 0)
    >>> found.subject, found.samples, labels.since_ms
    ('labels, all one class', 1000, 40)
    """

    def __init__(self) -> None:
        self.since_ms: int | None = None
        self.open = False
        self._accepted = False
        self._class = ""
        self._run = 0.0
        self._first_ms = 0
        self._counts: dict[str, float] = {}

    @property
    def key(self) -> str:
        """What its finding is about."""
        return alert_key(KIND, SUBJECT, None)

    def accept(self) -> None:
        """Take the run that is open as normal; where none is, begin anew."""
        if self.open:
            self._accepted = True
        else:
            self.since_ms, self._run, self._counts = None, 0.0, {}

    def all_one_since(self, start_ms: int) -> bool:
        """Whether all labels known from a time on are of one class."""
        return self.since_ms is not None and self.since_ms <= start_ms

    def update(self, start_ms: int, counts: Mapping[str, float], delay_ms: int) -> Finding | None:
        """Take in a bucket's labels by class; their events were ``delay_ms`` before."""
        there = {name: n for name, n in counts.items() if n > 0}
        if not there:
            return None
        if len(there) > 1 or (self.since_ms is not None and self._class not in there):
            return self._broken(start_ms, there, delay_ms)
        if self.since_ms is None:
            self._begin(start_ms, there, delay_ms)
        else:
            self._run += there[self._class]
        usual = self.others
        self.open = self.open or (
            self._run * usual >= MISSED if usual else self._run >= NEVER and not self._counts
        )
        return self._finding(usual) if self.open and not self._accepted else None

    @property
    def others(self) -> float:
        """The share of other classes than the run's, before it."""
        n = sum(self._counts.values())
        return 1 - self._counts.get(self._class, 0.0) / n if n else 0.0

    def _begin(self, start_ms: int, there: Mapping[str, float], delay_ms: int) -> None:
        ((self._class, self._run),) = there.items()
        self.since_ms, self._first_ms = start_ms, start_ms - delay_ms

    def _broken(self, start_ms: int, there: Mapping[str, float], delay_ms: int) -> Finding | None:
        """A run ends: what was in it is known, too, unless it was out of the usual."""
        told, usual = self.open and not self._accepted, self.others
        if self.since_ms is not None and not (told and usual):
            self._learn({self._class: self._run})
        over = self._finding(usual, over=True) if told else None
        self.open = self._accepted = False
        self.since_ms, self._run = None, 0.0
        if len(there) > 1:
            self._learn(there)
        else:
            self._begin(start_ms, there, delay_ms)
        return over

    def _learn(self, counts: Mapping[str, float]) -> None:
        for name, n in counts.items():
            self._counts[name] = self._counts.get(name, 0.0) + n
        if sum(self._counts.values()) > _REMEMBERED:
            self._counts = {name: n / 2 for name, n in self._counts.items() if n >= 2}

    def _finding(self, usual: float, over: bool = False) -> Finding:
        since = when(self._first_ms)
        summary = (
            f"All {self._run:,.0f} labels of events since {since} are {self._class}, where "
            f"{usual:.2%} were others; see what writes the labels. How good the model is, nobody "
            "can tell meanwhile."
        )
        if not usual:
            summary = (
                f"All {self._run:,.0f} labels so far are {self._class}, and no other was ever "
                "seen; see what writes the labels. How good the model is, nobody can tell."
            )
        if over:
            summary = f"Labels are not all {self._class} any more, as they were since {since}."
        return Finding(
            kind=KIND,
            subject=SUBJECT,
            slice=None,
            ongoing=not over,
            severity="warning",
            effect=1.0,
            statistic=self._run * usual if usual else self._run,
            threshold=MISSED if usual else float(NEVER),
            expected=usual,
            observed=0.0,
            samples=int(self._run),
            first_seen_ms=self._first_ms,
            summary=summary,
        )


def labels_of(kind: str, sketch: Mapping[str, Any]) -> dict[str, int]:
    """Return how many labels of each class a sketch of a classifier's outcomes has.

    >>> labels_of("binary", {"bins": {"7": [5, 1, 0]}})
    {'negative': 4, 'positive': 1}
    >>> labels_of("multiclass", {"confusion": {"a\\x1fb": 2}})
    {'a': 2}
    """
    if kind == "binary":
        cells = sketch.get("bins", {}).values()
        yes = sum(cell[1] for cell in cells)
        return {"negative": sum(cell[0] for cell in cells) - yes, "positive": yes}
    return class_labels(sketch) if kind == "multiclass" else {}
