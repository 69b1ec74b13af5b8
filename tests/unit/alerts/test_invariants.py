"""What holds of any findings and commands, in any order."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.alerts import AlertBook, Command, Match
from streamproc.messages import Alert
from streamproc.monitors.finding import Finding
from tests.unit.alerts.findings import HOUR_MS, found, over

SERIES: list[dict[str, Any]] = [
    {"kind": "data_quality", "subject": "amount"},
    {"kind": "covariate_drift", "subject": "amount"},
    {"kind": "covariate_drift", "subject": "age"},
    {"kind": "prior_drift", "subject": "score"},
    {"kind": "prediction_bias", "subject": "predictions"},
    {"kind": "prediction_bias", "subject": "predictions", "slice": {"country": "FR"}},
    {"kind": "prediction_bias", "subject": "predictions", "slice": {"country": "DE"}},
    {"kind": "performance", "subject": "zero_rule"},
    {"kind": "performance", "subject": "shop.clicks, how many"},
    {"kind": "health", "subject": "lag"},
]
FEATURES = {"amount": (("amount",), 0), "mean": (("amount",), 24 * HOUR_MS)}
NUMBERS = st.sampled_from(range(len(SERIES)))
MATCHES = st.sampled_from(
    [Match(kind="*drift"), Match(subject="amount"), Match(slice={"country": "FR"}), Match()]
)

Step = tuple[str, int, Any]
FINDING = st.tuples(
    st.just("finding"),
    NUMBERS,
    st.tuples(st.booleans(), st.integers(0, 8), st.integers(0, 6), st.booleans()),
)
PASS = st.tuples(st.just("pass"), st.integers(1, 60), st.none())
SILENCE = st.tuples(st.sampled_from(["silence", "maintenance", "unsilence"]),
                    st.integers(1, 80), MATCHES)  # fmt: skip
ASK = st.tuples(st.sampled_from(["acknowledge", "accept_as_normal", "relearn"]),
                st.integers(0, 3), st.none())  # fmt: skip
FINDINGS = st.lists(st.one_of(FINDING, FINDING, PASS), max_size=60)
ANYTHING = st.lists(st.one_of(FINDING, FINDING, FINDING, PASS, SILENCE, ASK), max_size=60)


class Run:
    """A book through steps; time passes an hour with each, and what was begun is followed."""

    def __init__(self, batched: bool = False, silences: bool = True) -> None:
        self.book = AlertBook(features=FEATURES)
        self.alerts: list[Alert] = []
        self.hour = 100
        self.on: dict[str, Finding] = {}
        self.known: set[str] = set()
        self._batched = batched
        self._waiting: list[Finding] = []
        self._silences = silences

    def step(self, step: Step) -> None:
        """Do one thing."""
        what, number, more = step
        if what == "finding":
            self._find(number, *more)
        elif what == "pass":
            self.hour += number
            self._apply([])
        elif what in ("acknowledge", "accept_as_normal", "relearn"):
            open_ = self.book.open_alerts()
            if open_:
                self._ask(Command(what, "ada", 5, alert_id=open_[number % len(open_)]["alert_id"]))  # type: ignore[arg-type]
        elif self._silences:
            from_ms, until_ms = self.hour * HOUR_MS, (self.hour + number) * HOUR_MS
            self._ask(Command(what, "ada", 5, match=more, from_ms=from_ms, until_ms=until_ms))  # type: ignore[arg-type]

    def _find(self, number: int, ongoing: bool, effect: int, took: int, critical: bool) -> None:
        self.hour += 1
        made = found(
            self.hour,
            since=self.hour - took - 1,
            effect=float(effect),
            evidence=float(effect),
            severity="critical" if critical else "warning",
            **SERIES[number],
        )
        before = self.on.get(made.key)
        if ongoing:
            self.on[made.key] = made
            self._apply([made])
        elif before is not None:
            del self.on[made.key]
            self._apply([over(before, self.hour)])

    def _apply(self, findings: list[Finding]) -> None:
        self._waiting += findings
        if not self._batched:
            self.flush()

    def flush(self) -> None:
        """Hand in what waits."""
        now_ms = self.hour * HOUR_MS
        self.alerts += self.book.apply(self._waiting, now_ms, {"": now_ms})
        self._waiting = []

    def _ask(self, command: Command) -> None:
        before = {it["alert_id"]: it for it in self.book.open_alerts()}
        alerts, _ = self.book.command(command.fields(), self.hour * HOUR_MS)
        self.alerts += alerts
        assert self.book.command(command.fields(), self.hour * HOUR_MS) == ([], []) or (
            command.command == "relearn"
        ), "the same again is nothing new"
        if command.command == "accept_as_normal":
            for member in before[command.alert_id or ""]["members"]:
                self.on = {k: f for k, f in self.on.items() if not _is(f, member)}

    def end(self, but: str | None = None) -> None:
        """Let all be over but one thing, and time pass."""
        self.hour += 1
        ended = [over(it, self.hour) for key, it in self.on.items() if key != but]
        self.on = {key: it for key, it in self.on.items() if key == but}
        self._apply(ended)
        self.hour += 1_000
        self._apply([])
        self.flush()


def _is(finding: Finding, member: Any) -> bool:
    return (finding.kind, finding.subject, finding.slice) == (
        member["kind"],
        member["subject"],
        member["slice"],
    )


def through(steps: list[Step], **how: bool) -> Run:
    """Return a run through steps."""
    run = Run(**how)
    for step in steps:
        run.step(step)
    return run


def bare(alerts: list[Alert]) -> list[Any]:
    """Return alerts without the time at which they were told."""
    return [{**it, "detected_at_ms": 0} for it in alerts]


@given(ANYTHING)
@settings(max_examples=100, deadline=None)
def test_a_life_is_opened_first_and_resolved_last(steps: list[Step]) -> None:
    """Each id: open, updates, resolved, and no step twice; one open alert a key at any time."""
    run = through(steps)
    run.end()
    open_: dict[str, str] = {}
    count: Counter[str] = Counter()
    for alert in run.alerts:
        key, id_ = alert["key"], alert["alert_id"]
        assert alert["step"] == count[id_]
        count[id_] += 1
        if alert["status"] == "open":
            assert key not in open_
            open_[key] = id_
        else:
            assert open_[key] == id_
        if alert["status"] == "resolved":
            del open_[key]
    assert open_ == {}
    assert run.book.open_alerts() == []


@given(ANYTHING, NUMBERS)
@settings(max_examples=100, deadline=None)
def test_nothing_that_lasts_is_hidden(steps: list[Step], number: int) -> None:
    """Whatever it was put down to: when all else is over, it is an open alert of its own."""
    run = through(steps)
    run.step(("finding", number, (True, 1, 1, False)))
    (key,) = [key for key, it in run.on.items() if _is(it, {"slice": None, **SERIES[number]})]
    run.end(but=key)

    assert [it["key"] for it in run.book.open_alerts()] == [key]


@given(ANYTHING)
@settings(max_examples=80, deadline=None)
def test_silences_lose_no_alert(steps: list[Step]) -> None:
    """The same opens and resolves with them as without; at their end nothing is left silent."""
    told = [it for it in steps if it[0] not in ("acknowledge", "accept_as_normal", "relearn")]
    with_, without = through(told), through(told, silences=False)

    def lives(run: Run) -> list[Any]:
        return [(it["alert_id"], it["status"]) for it in run.alerts if it["status"] != "update"]

    assert lives(with_) == lives(without)
    with_.hour += 1_000
    with_.flush()
    assert not any(it["silenced"] for it in with_.book.open_alerts())
    heard = {it["alert_id"] for it in with_.alerts if not it["silenced"]}
    assert {it["alert_id"] for it in with_.book.open_alerts()} <= heard


@given(FINDINGS)
@settings(max_examples=80, deadline=None)
def test_buckets_handed_over_at_once_give_the_same(steps: list[Step]) -> None:
    """One by one or all in one go: how a log is read does not matter."""
    one, other = through(steps), through(steps, batched=True)
    one.end()
    other.end()

    assert bare(one.alerts) == bare(other.alerts)


@given(ANYTHING, st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_a_pickle_mid_way_changes_nothing(steps: list[Step], at: int) -> None:
    """The book goes on as if it had not been."""
    one, other = Run(), Run()
    for number, step in enumerate(steps):
        if number == at:
            other.book = pickle.loads(pickle.dumps(other.book))
        one.step(step)
        other.step(step)

    assert one.alerts == other.alerts
