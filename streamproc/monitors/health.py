"""Whether the pipeline itself is well: what workers and the learner say of themselves, judged.

Workers report every few seconds, on the topic that folds send their sums to, and the learner at
each version; a record says when. Nothing here reads a clock, so that the same records give the same
findings whenever they are read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from streamproc.monitors.finding import Finding, alert_key
from streamproc.monitors.health_limits import BROKEN_MS, Gaps, Limit, Worker
from streamproc.monitors.health_spec import REPORT_MS, Health
from streamproc.monitors.health_words import SAID, SILENT_MS, beyond, held_summary, silent

GONE_MS = 86_400_000
"""And after how long it is taken to have been left out on purpose."""

REPLAY_MS = 86_400_000
"""Latencies beyond this are of records that were written with times long past: no latencies."""

_GOOD_AGAIN = 3


class HealthWatch:
    """Judges what workers and the learner report; see :class:`Health` and `streamproc.tasks`.

    ``update`` takes one record of stage ``health`` or ``model``, in the log's order.

    >>> watch = HealthWatch(Health())
    >>> trouble = {"why": "weights has 2e+198", "features": ["amount"], "outcomes": 1000}
    >>> told = {"stage": "model", "version": 7, "at_ms": 0, "held_back": trouble}
    >>> [found.subject for found in watch.update(told)]
    ['model']
    """

    def __init__(self, spec: Health) -> None:
        self._limits = spec.limits
        self._workers: dict[str, Worker] = {}
        self._gaps = {"staleness_ms": Gaps(), "labels_ms": Gaps(), "silence_ms": Gaps()}
        self._advanced: tuple[int, int] | None = None  # the newest event time, and when it came
        self._label_ms: int | None = None  # of the newest version
        self._held = self._good = self._in_all = 0
        self._accepted = False
        self._held_since_ms: int | None = None

    def update(self, record: Mapping[str, Any]) -> list[Finding]:
        """Take in one record; return what is found."""
        if record["stage"] == "model":
            return list(self._of_model(record))
        return [*self._of_worker(record), *self._missed(record)]

    def relearn(self, key: str) -> bool:
        """Tell no more, until it is over, of what a finding's key is about; return whether it is.

        Limits learn nothing that could be learnt anew.
        """
        limits = [(what, None, gaps.limit) for what, gaps in self._gaps.items()]
        of_workers = [
            (what, {"instance": name}, limit)
            for name, worker in self._workers.items()
            for what, limit in worker.limits.items()
        ]
        for what, slice_, limit in (*limits, *of_workers):
            if key == alert_key("health", SAID[what][0], slice_):
                limit.accepted = limit.since_ms is not None
                return True
        if key == alert_key("health", "model", None):
            self._accepted = self._held > 0
            return True
        return False

    def measured(self, subject: str, name: str | None) -> tuple[float, float | None] | None:
        """Return what a subject of findings was at last, and its limit where that is known.

        ``name`` is the worker that it is about, None where it is of all.
        """
        if subject == "model":
            return float(self._held), None
        if subject == "worker":
            worker = self._workers.get(name or "")
            return None if worker is None else (float(worker.silent_ms), float(SILENT_MS))
        what = next(each for each, (said, _, _) in SAID.items() if said == subject)
        if what in self._gaps:
            gaps = self._gaps[what]
            most = self._limits[what] or gaps.limit_ms
            return None if gaps.to_ms is None else (float(gaps.behind_ms), most)
        worker = self._workers.get(name or "")
        value = None if worker is None else worker.values.get(what)
        return None if value is None else (float(value), self._limits[what])

    # ---------------------------------------------------------------- the model

    def _of_model(self, record: Mapping[str, Any]) -> Iterator[Finding]:
        held, at_ms = record["held_back"], record["at_ms"]
        self._in_all += 1
        if held is None:
            self._good += 1
            self._label_ms = record.get("label_time_ms", self._label_ms)
        else:
            self._held += 1
            self._good = 0
            if self._held_since_ms is None:
                self._held_since_ms = at_ms
        since_ms = self._held_since_ms
        if since_ms is None or (held is None and self._good < _GOOD_AGAIN):
            return
        summary = f"The model's last {self._good} versions are sound again."
        if held:
            summary = held_summary(record, since_ms, f"{self._held} of {self._in_all}")
        critical = not record["version"] or self._held >= _GOOD_AGAIN
        finding = Finding(
            kind="health",
            subject="model",
            slice=None,
            ongoing=held is not None,
            severity="critical" if critical else "warning",
            effect=float(self._held),
            statistic=float(self._held),
            threshold=0.0,
            expected=0.0,
            observed=float(self._held),
            samples=held["outcomes"] if held else 0,
            first_seen_ms=since_ms,
            summary=summary,
            models=(f"main@{record['version']}",),
        )
        if not self._accepted:
            yield finding
        if held is None:
            self._accepted = False
            self._held = self._in_all = 0
            self._held_since_ms = None

    # ---------------------------------------------------------------- workers

    def _of_worker(self, record: Mapping[str, Any]) -> Iterator[Finding]:
        name, at_ms, values = record["instance"], record["at_ms"], record["values"]
        worker = self._workers.setdefault(name, Worker(at_ms))
        if worker.missed:
            worker.missed = False
            yield silent(name, worker.newest_ms, worker.silent_ms, over=True)
        passed_ms = min(max(at_ms - worker.newest_ms, 0), BROKEN_MS)
        for other in self._workers.values():
            other.heard_ms[name] = other.heard_ms.get(name, 0) + passed_ms
        worker.heard_ms.clear()
        worker.newest_ms, worker.values = at_ms, values
        if record.get("leaves"):
            yield from self._forget(name)
            return
        for what in ("behind_ms", "latency_ms", "learner_records", "snapshot_ms"):
            value, most = values.get(what), self._limits[what]
            if value is None and what in worker.limits and worker.limits[what].since_ms is not None:
                value = 0  # what it was about is elsewhere by now, or has nothing left to do
            if value is None or most is None:
                continue
            if what == "latency_ms" and (
                value > REPLAY_MS or values.get("behind_ms", 0) > REPORT_MS
            ):
                continue  # times long past, or a backlog, which lag is about
            waiting = None
            if what in ("behind_ms", "learner_records"):
                waiting = values.get("waiting", 0) if what == "behind_ms" else value
            yield from self._step(worker.limits.setdefault(what, Limit()), what, name, value, most,
                                  at_ms, waiting)  # fmt: skip
        yield from self._of_event_time(values, at_ms)

    def _step(
        self,
        limit: Limit,
        what: str,
        name: str | None,
        value: float,
        most: float,
        at_ms: int,
        waiting: int | None = None,
    ) -> Iterator[Finding]:
        before_ms = limit.since_ms
        if limit.step(value, most, at_ms, waiting):
            over = limit.since_ms is None
            since_ms = before_ms if over else limit.since_ms
            yield beyond(what, name, since_ms or at_ms, value, most, over, waiting)

    def _of_event_time(self, values: Mapping[str, Any], at_ms: int) -> Iterator[Finding]:
        watermark_ms = values.get("watermark_ms")
        if watermark_ms is None:
            return
        if self._advanced is None or watermark_ms > self._advanced[0]:
            self._advanced = watermark_ms, max(at_ms, self._advanced[1] if self._advanced else 0)
        newest = {
            "staleness_ms": self._label_ms,
            "labels_ms": values.get("label_ms"),
            "silence_ms": self._advanced[1],
        }
        for what, gaps in self._gaps.items():
            at = newest[what]
            if at is not None:
                gaps.note(at_ms if what == "silence_ms" else watermark_ms, at)
                most = self._limits[what] or gaps.limit_ms
                if most is not None:
                    yield from self._step(gaps.limit, what, None, gaps.behind_ms, most, at_ms)

    def _forget(self, name: str) -> Iterator[Finding]:
        """Forget a worker that is not to come back: what was open of it is over."""
        for other in self._workers.values():
            other.heard_ms.pop(name, None)
        for what, limit in sorted(self._workers.pop(name).limits.items()):
            if limit.since_ms is not None:
                yield beyond(what, name, limit.since_ms, 0, self._limits[what] or 1, over=True)

    def _missed(self, record: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield the workers that fell silent while this one didn't."""
        for name, worker in sorted(self._workers.items()):
            silent_ms = worker.heard_ms.get(record["instance"], 0)
            if silent_ms >= GONE_MS:
                if worker.missed:
                    yield silent(name, worker.newest_ms, silent_ms, over=True)
                yield from self._forget(name)
            elif silent_ms >= SILENT_MS and not worker.missed:
                worker.missed = True
                yield silent(name, worker.newest_ms, silent_ms, over=False)
