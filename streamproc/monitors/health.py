"""Whether the pipeline itself is well: what workers and the learner say of themselves, judged.

Workers report every few seconds, on the topic that folds send their sums to, and the learner at
each version; a record says when. Nothing here reads a clock, so that the same records give the same
findings whenever they are read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.monitors.finding import Finding, alert_key, when

REPORTS = ("health", "model")
"""The stages of the records that are judged here."""

REPORT_MS = 5_000
"""How often a worker reports."""

HOLD_MS = 60_000
"""How long a value has to be beyond its limit, and later well below it, without a break."""

WELL = 0.5
"""Well below is this share of the limit."""

WORKED_OFF = 0.9
"""A backlog that shrinks to this share while it is looked at is being worked off: no finding."""

SILENT_MS = 60_000
"""After how long a worker that others outlive is missed."""

GONE_MS = 86_400_000
"""And after how long it is taken to have been left out on purpose."""

REPLAY_MS = 86_400_000
"""Latencies beyond this are of records that were written with times long past: no latencies."""

USUAL_TIMES = 3
"""Where no limit is given, it is so many times the longest gap seen, and an hour at least."""

_LEARN_MS, _HOUR_MS = 7 * 86_400_000, 3_600_000
_GAPS, _LEAST_GAPS = 200, 5
_GOOD_AGAIN = 3
_BROKEN_MS = 6 * REPORT_MS


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

    The last three are, where None, three times the longest gap seen in a week or more, an hour at
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


@dataclass
class _Limit:
    """A limit with hysteresis: beyond it for a while is a finding, well below for a while ends it.

    ``waiting`` is how many records wait: where they get fewer, the while begins again. What is
    ``accepted`` as normal is not told until it was well below again.
    """

    above_ms: int | None = None
    below_ms: int | None = None
    newest_ms: int | None = None
    since_ms: int | None = None
    waiting: int = 0
    accepted: bool = False

    def step(self, value: float, limit: float, at_ms: int, waiting: int | None = None) -> bool:
        """Take in a value; return whether there is something to tell (open, or just over)."""
        if self.newest_ms is not None and at_ms - self.newest_ms > _BROKEN_MS:
            self.above_ms = self.below_ms = None  # nobody knows what was between
        self.newest_ms = at_ms
        if value > limit:
            if self.above_ms is None:
                self.above_ms, self.waiting = at_ms, waiting or 0
        else:
            self.above_ms = None
        if value > WELL * limit:
            self.below_ms = None
        elif self.below_ms is None:
            self.below_ms = at_ms
        if self.since_ms is not None:
            told = not self.accepted
            if self.below_ms is not None and at_ms - self.below_ms >= HOLD_MS:
                self.since_ms, self.accepted = None, False
            return told
        if self.above_ms is None or at_ms - self.above_ms < HOLD_MS:
            return False
        if waiting is not None and waiting < WORKED_OFF * self.waiting:
            self.above_ms, self.waiting = at_ms, waiting
            return False
        self.since_ms = self.above_ms
        return True


@dataclass
class _Worker:
    """What is known of one worker.

    ``heard_ms`` is, by each other worker, how long that has reported since this one did last. Only
    what passed between two reports of one clock counts, so that clocks may differ, or be set.
    """

    newest_ms: int
    limits: dict[str, _Limit] = field(default_factory=dict)
    missed: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    heard_ms: dict[str, int] = field(default_factory=dict)

    @property
    def silent_ms(self) -> int:
        """For how long it has been silent, by who can tell best."""
        return max(self.heard_ms.values(), default=0)


@dataclass
class _Gaps:
    """How far something usually is behind in event time before it comes on; what it was in a week.

    >>> gaps = _Gaps()
    >>> for day in range(9):
    ...     gaps.note(day * 86_400_000 + 7, day * 86_400_000)
    >>> gaps.limit_ms // 3_600_000
    72
    """

    first_ms: int | None = None
    to_ms: int | None = None
    now_ms: int = 0
    gaps: deque[int] = field(default_factory=lambda: deque(maxlen=_GAPS))
    limit: _Limit = field(default_factory=_Limit)

    def note(self, watermark_ms: int, to_ms: int) -> None:
        """Take in how far events are, and what is measured."""
        if self.first_ms is None:
            self.first_ms = watermark_ms
        if self.to_ms is not None and to_ms > self.to_ms:
            self.gaps.append(max(self.now_ms - self.to_ms, to_ms - self.to_ms))
        self.now_ms = max(self.now_ms, watermark_ms)
        self.to_ms = to_ms if self.to_ms is None else max(to_ms, self.to_ms)

    @property
    def behind_ms(self) -> int:
        """How far it is behind now."""
        return 0 if self.to_ms is None else self.now_ms - self.to_ms

    @property
    def limit_ms(self) -> int | None:
        """Beyond what it is unusual; None where that is not known yet."""
        if len(self.gaps) < _LEAST_GAPS or self.now_ms - (self.first_ms or 0) < _LEARN_MS:
            return None
        return max(_HOUR_MS, USUAL_TIMES * max(self.gaps))


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
        self._workers: dict[str, _Worker] = {}
        self._gaps = {"staleness_ms": _Gaps(), "labels_ms": _Gaps(), "silence_ms": _Gaps()}
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
            if key == alert_key("health", _SAID[what][0], slice_):
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
        what = next(each for each, (said, _, _) in _SAID.items() if said == subject)
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
            summary = _held_summary(record, since_ms, f"{self._held} of {self._in_all}")
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
        worker = self._workers.setdefault(name, _Worker(at_ms))
        if worker.missed:
            worker.missed = False
            yield _silent(name, worker.newest_ms, worker.silent_ms, over=True)
        passed_ms = min(max(at_ms - worker.newest_ms, 0), _BROKEN_MS)
        for other in self._workers.values():
            other.heard_ms[name] = other.heard_ms.get(name, 0) + passed_ms
        worker.heard_ms.clear()
        worker.newest_ms, worker.values = at_ms, values
        if record.get("leaves"):
            yield from self._forget(name)
            return
        for what in ("behind_ms", "latency_ms", "learner_records", "snapshot_ms"):
            value, most = values.get(what), self._limits[what]
            if value is None or most is None:
                continue
            if what == "latency_ms" and (
                value > REPLAY_MS or values.get("behind_ms", 0) > REPORT_MS
            ):
                continue  # times long past, or a backlog, which lag is about
            waiting = None
            if what in ("behind_ms", "learner_records"):
                waiting = values.get("waiting", 0) if what == "behind_ms" else value
            yield from self._step(worker.limits.setdefault(what, _Limit()), what, name, value, most,
                                  at_ms, waiting)  # fmt: skip
        yield from self._of_event_time(values, at_ms)

    def _step(
        self,
        limit: _Limit,
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
            yield _beyond(what, name, since_ms or at_ms, value, most, over, waiting)

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
                yield _beyond(what, name, limit.since_ms, 0, self._limits[what] or 1, over=True)

    def _missed(self, record: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield the workers that fell silent while this one didn't."""
        for name, worker in sorted(self._workers.items()):
            silent_ms = worker.heard_ms.get(record["instance"], 0)
            if silent_ms >= GONE_MS:
                if worker.missed:
                    yield _silent(name, worker.newest_ms, silent_ms, over=True)
                yield from self._forget(name)
            elif silent_ms >= SILENT_MS and not worker.missed:
                worker.missed = True
                yield _silent(name, worker.newest_ms, silent_ms, over=False)


_SAID = {
    "behind_ms": (
        "lag",
        "has been behind the end of its log for {value}, and is not catching up",
        "add a worker, or see by streamproc_lag_records which partition it is",
    ),
    "latency_ms": (
        "latency",
        "takes {value} from an event to its prediction",
        "see streamproc_latency_seconds, what else runs on the machine, and the brokers",
    ),
    "learner_records": (
        "learner",
        "has {value} records waiting for the learner, and they don't get fewer",
        "raise publish_every, or use a model that learns faster",
    ),
    "snapshot_ms": (
        "snapshot",
        "has not finished a snapshot for {value}: a start will take as long",
        "see streamproc_snapshot_failures_total and whether the store can be written to",
    ),
    "staleness_ms": (
        "staleness",
        "The model's last label is {value} older than the newest event",
        "see whether labels come, and whether versions are published",
    ),
    "silence_ms": (
        "events",
        "For {value} no event has come that is newer than those before",
        "look at the producers first, then at the brokers",
    ),
    "labels_ms": (
        "labels",
        "For {value} of event time no label has come",
        "look at what writes the labels, and at dead letters of their topic",
    ),
}  # fmt: skip


def _beyond(
    what: str,
    name: str | None,
    since_ms: int,
    value: float,
    most: float,
    over: bool = False,
    waiting: int | None = None,
) -> Finding:
    subject, said, look_at = _SAID[what]
    shown, limit = (
        (f"{number:,.0f}" if what == "learner_records" else _span(number))
        for number in (value, most)
    )
    who = f"Worker {name} " if name is not None else ""
    summary = f"{who}{said.format(value=shown)} (limit {limit}, since {when(since_ms)}); {look_at}."
    if over:
        summary = f"{who or 'The pipeline '}is well within the limit of {limit} again."
    return Finding(
        kind="health",
        subject=subject,
        slice=None if name is None else {"instance": name},
        ongoing=not over,
        severity="critical" if value >= 10 * most else "warning",
        effect=value / most,
        statistic=float(value),
        threshold=float(most),
        expected=float(most),
        observed=float(value),
        samples=waiting or 0,
        first_seen_ms=since_ms,
        summary=summary,
    )


def _held_summary(record: Mapping[str, Any], since_ms: int, how_many: str) -> str:
    held, version = record["held_back"], record["version"]
    named = ", ".join(held["features"])
    look_at = "look at dead letters, and at the features that drift"
    if named:
        look_at = f"look at {named} first: its unit, and what writes it"
    last = (
        f"main@{version}, which is the last sound one," if version else "A model without learning"
    )
    return (
        f"A version of the model was held back: {held['why']}. {last} goes on scoring, and "
        f"{held['outcomes']} outcomes were left out; that befell {how_many} versions since "
        f"{when(since_ms)}; {look_at}."
    )


def _silent(name: str, newest_ms: int, silent_ms: int, over: bool) -> Finding:
    summary = (
        f"Worker {name} is no longer missed."
        if over
        else f"Worker {name} has been silent since {when(newest_ms)} while others report; see "
        "whether its process runs, and its log."
    )
    return Finding(
        kind="health",
        subject="worker",
        slice={"instance": name},
        ongoing=not over,
        severity="warning",
        effect=1.0,
        statistic=float(silent_ms),
        threshold=float(SILENT_MS),
        expected=float(REPORT_MS),
        observed=float(silent_ms),
        samples=0,
        first_seen_ms=newest_ms,
        summary=summary,
    )


def _span(ms: float) -> str:
    """Return a span for people.

    >>> [_span(ms) for ms in (400, 90_000, 7_200_000, 400_000_000)]
    ['400 ms', '90 s', '2 h', '5 d']
    """
    for unit, size, most in (("ms", 1, 1_000), ("s", 1_000, 120_000), ("min", 60_000, 7_200_000),
                             ("h", 3_600_000, 172_800_000)):  # fmt: skip
        if ms < most:
            return f"{ms / size:.0f} {unit}"
    return f"{ms / 86_400_000:.0f} d"
