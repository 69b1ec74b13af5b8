"""Health: what a worker, or the learner, reported, beside its limit, over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.explaining.explanation import Explanation, Point, Table
from streamproc.messages import Alert
from streamproc.monitors.health import HealthWatch
from streamproc.monitors.health_spec import REPORTS, Health
from streamproc.monitors.spec import Watched

_UNITS = {"learner": "records", "model": "versions held back in a row"}
_MS_A_S = 1_000.0
_AROUND_MS = 600_000


class HealthReader:
    """What was reported, judged again by itself; times are of the clock that reported."""

    def __init__(self, pipeline: Watched, alert: Alert) -> None:
        self._subject = alert["subject"]
        self._name = (alert["slice"] or {}).get("instance")
        self._first_ms = alert["first_seen_ms"]
        spec = next((each for each in pipeline.monitors if isinstance(each, Health)), None)
        self._watch = HealthWatch(spec) if spec else None
        self._points: list[Point] = []
        self._most: list[float | None] = [None, None]
        self._others: dict[str, float] = {}
        self._from_ms: int | None = None

    def feed(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the log."""
        if self._watch is None or record.get("stage") not in REPORTS:
            return
        at_ms = record["at_ms"]
        self._from_ms = at_ms if self._from_ms is None else self._from_ms
        self._watch.update(record)
        here = record.get("instance")
        if self._subject not in ("worker", "model") and self._name and here != self._name:
            self._of_another(here)
            return
        if self._subject == "model" and record["stage"] != "model":
            return
        measured = self._watch.measured(self._subject, self._name)
        if measured is None:
            return
        value, limit = (each if each is None else each / self._scale for each in measured)
        assert value is not None
        self._points.append(Point(at_ms, value, beside=limit))
        side = int(at_ms >= self._first_ms)
        known = self._most[side]
        self._most[side] = value if known is None else max(known, value)

    def tell(self, found: Explanation) -> None:
        """Say what is known."""
        found.unit = _UNITS.get(self._subject, "seconds")
        found.beside = "the limit"
        found.points = self._points
        found.bucket_ms, found.known_from_ms = _AROUND_MS, self._from_ms
        if self._watch is None:
            found.notes.append("the pipeline watches this no more")
        rows = [(self._name or "all", *self._most)]
        rows += [(f"{name}, now", None, value) for name, value in sorted(self._others.items())]
        found.tables.append(Table((f"most {found.unit}", "before", "since"), tuple(rows)))
        about = "the model" if self._subject == "model" else "the pipeline"
        found.notes.append(f"no slices, and no examples: it is about {about}, not about events")

    @property
    def _scale(self) -> float:
        return 1.0 if self._subject in _UNITS else _MS_A_S

    def _of_another(self, name: str | None) -> None:
        assert self._watch is not None
        measured = self._watch.measured(self._subject, name) if name else None
        if name and measured is not None:
            self._others[name] = measured[0] / self._scale
