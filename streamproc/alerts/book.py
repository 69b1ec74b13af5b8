"""The life of alerts: opened once for one thing, told again when it is worse, resolved once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streamproc.alerts.cases import Case, Told, Trouble, bond_in_time
from streamproc.alerts.causes import strength
from streamproc.alerts.commands import Command, command_of
from streamproc.alerts.silences import Silences
from streamproc.alerts.telling import alert_id, alert_of
from streamproc.messages import Alert, AlertReason
from streamproc.monitors.finding import Finding

_NEVER = -(2**62)


class AlertBook:
    """Turns findings into alerts, and keeps to what people ask.

    It knows no clock but what it is handed: ``passed_ms``, the time up to which all of a stage was
    tested, for all that is about its findings; ``now_ms``, when that was written in the log, for
    silences and for `detected_at_ms`. What it says does not depend on how many buckets are handed
    over at once, nor on how far one stage is ahead of another. The state is plain data, bounded by
    the number of things that are watched.

    ``pipeline`` and ``fingerprint`` are told in each alert; ``features`` are the fields that each
    feature is made of and for how long it holds their values, in milliseconds.

    >>> book = AlertBook()
    >>> def found(effect, ongoing=True):
    ...     return Finding("covariate_drift", "amount", None, ongoing, "warning", effect, effect,
    ...                    0.1, 50.0, 60.0, 100, 0, "The mean of amount is higher.")
    >>> steps = [found(1.0), found(1.1), found(2.0), found(2.0, ongoing=False)]
    >>> [alert["status"] for alert in book.apply(steps, now_ms=5)]
    ['open', 'update', 'resolved']
    """

    def __init__(
        self,
        pipeline: str | None = None,
        fingerprint: str | None = None,
        features: Mapping[str, tuple[tuple[str, ...], int]] | None = None,
    ) -> None:
        self._about = (pipeline, fingerprint)
        self._features = dict(features or {})
        self._cases: dict[str, Case] = {}
        self._where: dict[str, str] = {}
        self._closed: dict[str, Case] = {}
        self._ended: list[Case] = []
        self._silences = Silences()
        self._passed_ms: dict[str, int] = {}
        self._relearn: list[str] = []

    def apply(
        self,
        findings: Iterable[Finding],
        now_ms: int,
        passed_ms: Mapping[str, int] | None = None,
    ) -> list[Alert]:
        """Return the alerts that findings, of each stage in order of time, give rise to.

        ``passed_ms`` is by stage; where it is not known ``now_ms`` stands for it.
        """
        alerts = self._tell(now_ms)  # silences that are over
        for group in _groups(map(self._with_fields, findings)):
            alerts += self._advance(group[0].stage, group[0].at_ms, now_ms)
            self._absorb(group)
            alerts += self._tell(now_ms)
        for stage, until_ms in (passed_ms or {"": now_ms}).items():
            alerts += self._advance(stage, until_ms, now_ms)
        return alerts

    def command(self, said: Mapping[str, Any], now_ms: int) -> tuple[list[Alert], list[str]]:
        """Do what somebody asks, in the fields of a `Command`.

        Returns the alerts, and the keys whose reference is to be learnt anew. Raises
        :class:`BadRecord` where it is no command.
        """
        command = command_of(said)
        {
            "acknowledge": self._acknowledge,
            "accept_as_normal": self._accept,
            "relearn": self._mark,
            "silence": self._silences.begin,
            "maintenance": self._silences.begin,
            "unsilence": self._silences.end,
        }[command.command](command)
        return self._tell(now_ms), self.take_relearn()

    def take_relearn(self) -> list[str]:
        """Return the keys of findings whose tests are to learn their reference anew, once each.

        They come of commands, and of alerts that were to be followed by it when they resolved.
        """
        keys, self._relearn = list(dict.fromkeys(self._relearn)), []
        return keys

    def open_alerts(self) -> list[Alert]:
        """Return the open alerts as they were last told."""
        return [case.told.alert for case in list(self._cases.values()) if case.told]

    # ---------------------------------------------------------------- what is found

    def _with_fields(self, finding: Finding) -> Finding:
        if finding.kind != "covariate_drift" or finding.fields:
            return finding
        fields, holds_ms = self._features.get(finding.subject, ((), 0))
        return replace(finding, fields=fields, holds_ms=max(holds_ms, finding.holds_ms))

    def _absorb(self, group: list[Finding]) -> None:
        """Take in findings of one time: those of what is known first, then what is new."""
        new = []
        for finding in group:
            case = self._cases.get(self._where.get(finding.key, ""))
            if case is None:
                if finding.ongoing:
                    new.append(self._trouble(finding))
            elif not self._follow(case, finding):
                new.append(self._trouble(finding))
        self._place(new, "found")

    def _passed(self, stage: str) -> int:
        """Return up to when a stage is judged."""
        return self._passed_ms.get(stage, _NEVER)

    def _time_of(self, finding: Finding) -> int:
        return finding.at_ms or self._passed(finding.stage)

    def _trouble(self, finding: Finding) -> Trouble:
        return Trouble(finding, finding.first_seen_ms, self._time_of(finding))

    def _follow(self, case: Case, finding: Finding) -> bool:
        """Take in a finding about what is known; False where it is another trouble by now."""
        known = case.lead if finding.key == case.key else case.others[finding.key]
        if finding.ongoing and not known.ongoing:
            if not case.ongoing:
                case.flaps += 1
            elif known is not case.lead and self._time_of(finding) > (
                known.over_ms + known.grace_ms
            ):
                self._take_out(case, known)
                return False
        known.follow(finding, self._time_of(finding))
        self._weigh(case)
        return True

    def _place(self, troubles: list[Trouble], why: AlertReason) -> None:
        """Find an alert for each: that of its likely cause, or one of its own."""
        for trouble in sorted(troubles, key=lambda it: strength(it.finding)):
            found = self._cause_of(trouble)
            if found is not None:
                case, trouble.because = found
                self._put_in(case, trouble)
                if trouble.finding.kind == "data_quality" and case.lead.ongoing:
                    self._take_over(case)
            else:
                self._take_over(self._open(trouble, why))

    def _cause_of(self, trouble: Trouble) -> tuple[Case, str | None] | None:
        """Return the open alert that a trouble belongs to, and what explains it there, if any."""
        for case in sorted(self._cases.values(), key=lambda it: strength(it.lead.finding)):
            found = case.bonds_with(trouble)
            if found is not None:
                return case, found[1]
        return None

    def _open(self, trouble: Trouble, why: AlertReason) -> Case:
        trouble.because = None
        known = self._closed.pop(trouble.key, None)
        id_ = alert_id(trouble.key, trouble.first_seen_ms)
        if known is not None and (known.closed != "accepted" or known.alert_id == id_):
            flapped = why == "found" and known.closed == "recovered"
            case = Case(known.alert_id, known.first_seen_ms, trouble, step=known.step)
            case.flaps = known.flaps + flapped
            case.updates = known.updates
            case.why = "reopened" if flapped else why
        else:
            case = Case(id_, trouble.first_seen_ms, trouble, why=why)
        self._cases[case.key] = case
        self._where[case.key] = case.key
        self._weigh(case)
        return case

    def _put_in(self, case: Case, trouble: Trouble) -> None:
        case.others[trouble.key] = trouble
        self._where[trouble.key] = case.key
        self._weigh(case)

    def _take_out(self, case: Case, trouble: Trouble) -> None:
        del case.others[trouble.key]
        del self._where[trouble.key]

    def _weigh(self, case: Case) -> None:
        """Raise the severity to that of the gravest; it falls with the resolve alone."""
        if any(it.finding.severity == "critical" or it.large_for_long for it in case.ongoing):
            case.severity = "critical"

    def _take_over(self, cause: Case) -> None:
        """Let a cause that was found after what it explains have that.

        Faults of several fields are one cause, of all that any of them explains. Of an alert that
        has other things, too, a fault takes what it explains, and leaves those.
        """
        faults = [it for it in cause.ongoing if it.finding.kind == "data_quality"]
        parted: list[tuple[Case, Trouble]] = []
        for case in list(self._cases.values()):
            if case is cause or not case.lead.ongoing:
                continue
            because = _explained(case, (cause.lead, *faults))
            moved = [each for each in case.ongoing if each.key in because]
            left = [each for each in case.ongoing if each.key not in because]
            if not moved or (left and not faults):
                continue
            if case.key in because:
                self._close(case, "explained", by=cause.alert_id)
                parted += [(case, each) for each in left]
            else:
                for each in moved:
                    self._take_out(case, each)
                case.why = "narrower" if case.told is not None else case.why
            for each in moved:
                each.because = because[each.key]
                self._put_in(cause, each)
        self._place([each for _, each in parted], "found")
        for case, each in parted:
            now_in = self._cases[self._where[each.key]]
            if now_in.told is None:  # what people said of the alert that it was in holds on
                now_in.inherit(case)
                self._silences.go_on(case.alert_id, now_in.alert_id)

    # ---------------------------------------------------------------- what time brings

    def _advance(self, stage: str, until_ms: int, now_ms: int) -> list[Alert]:
        """Let time pass in a stage, and everything that is due by then happen in its order."""
        alerts: list[Alert] = []
        while True:
            dues = [*self._dues(stage), *self._edges(stage)]
            due_ms, key = min(dues, default=(until_ms, None))
            if key is None or due_ms > max(until_ms, self._passed(stage)):
                break
            self._pass(stage, due_ms)
            if key:
                self._fall_due(self._cases[key], due_ms)
            alerts += self._tell(now_ms)
        self._pass(stage, until_ms)
        self._forget(now_ms)
        return alerts

    def _pass(self, stage: str, until_ms: int) -> None:
        self._passed_ms[stage] = max(self._passed(stage), until_ms)

    def _dues(self, stage: str) -> Iterator[tuple[int, str]]:
        """Yield when a case is due, where all stages that it is of have come so far by then."""
        for case in self._cases.values():
            stages = {each.finding.stage for each in case.members}
            due_ms = case.due_ms
            if due_ms is None or stage not in stages:
                continue
            if all(self._passed(each) >= due_ms for each in stages - {stage}):
                yield due_ms, case.key

    def _edges(self, stage: str) -> Iterator[tuple[int, str]]:
        """Yield when maintenance begins or ends for what is open."""
        passed_ms = self._passed(stage)
        for case in self._cases.values():
            for each in case.members:
                if each.finding.stage == stage:
                    yield from ((at, "") for at in self._silences.edges(each) if at > passed_ms)

    def _fall_due(self, case: Case, due_ms: int) -> None:
        """Resolve what has been over for long enough; let go of what outlives its cause."""
        ongoing = case.ongoing
        if not ongoing:
            self._close(case, "recovered", due_ms)
            if case.relearn:
                self._relearn += [each.key for each in case.members]
            return
        left = [it for it in ongoing if case.lead.over_ms + it.grace_ms <= due_ms]
        for each in left:
            self._take_out(case, each)
        self._place(left, "outlived")

    def _close(
        self, case: Case, reason: AlertReason, at_ms: int | None = None, by: str | None = None
    ) -> None:
        del self._cases[case.key]
        for each in case.members:
            self._where.pop(each.key, None)
        case.closed, case.explained_by = reason, by
        case.closed_ms = self._passed(case.lead.finding.stage) if at_ms is None else at_ms
        if case.told is not None or case.step:
            self._closed[case.key] = case
        if case.told is not None:
            self._ended.append(case)

    def _forget(self, now_ms: int) -> None:
        self._silences.forget(now_ms, min(self._passed_ms.values(), default=_NEVER))
        for key, case in list(self._closed.items()):
            over = case.remembered_until_ms < self._passed(case.lead.finding.stage)
            if over and key not in self._where:
                del self._closed[key]

    # ---------------------------------------------------------------- what is told

    def _tell(self, now_ms: int) -> list[Alert]:
        """Return what is news of the open alerts, then the ends of those that ended."""
        alerts = []
        for case in self._cases.values():
            until_ms = self._silences.until_ms(case, now_ms, self._passed)
            reason = case.news(until_ms is not None)
            if reason is not None:
                alerts.append(self._step(case, reason, now_ms, until_ms))
        for case in self._ended:
            until_ms = self._silences.until_ms(case, now_ms, self._passed)
            alerts.append(self._step(case, case.closed or "recovered", now_ms, until_ms))
            case.told = None
        self._ended = []
        return alerts

    def _step(self, case: Case, reason: AlertReason, now_ms: int, until_ms: int | None) -> Alert:
        alert = alert_of(case, reason, now_ms, until_ms, *self._about)
        case.step += 1
        case.updates += reason in ("worse", "flapping")
        case.why = "found"
        before = case.told
        effect = max(case.lead.finding.effect, before.effect if before else 0.0)
        known = before.members if before and reason != "narrower" else 0
        members = max(len(case.ongoing), known)
        case.told = Told(alert, effect, members, case.flaps)
        return alert

    # ---------------------------------------------------------------- what people ask

    def _named(self, command: Command) -> Case | None:
        """Return the open alert that a command is about."""
        cases = (case for case in self._cases.values() if case.alert_id == command.alert_id)
        return next(cases, None)

    def _acknowledge(self, command: Command) -> None:
        case = self._named(command)
        said = (command.by, command.comment or None)
        if case is not None and (case.acknowledged_by, case.comment) != said:
            case.acknowledged_by, case.comment = said
            case.acknowledged_at_ms, case.why = command.at_ms, "acknowledged"

    def _accept(self, command: Command) -> None:
        case = self._named(command)
        if case is None:
            return
        case.acknowledged_by, case.comment = command.by, command.comment or None
        case.acknowledged_at_ms = command.at_ms
        self._relearn += [each.key for each in case.members]
        self._close(case, "accepted")

    def _mark(self, command: Command) -> None:
        """Note what is to learn anew: at once where it is over, else when it resolves."""
        match = command.match
        for case in self._cases.values():
            fits = match is not None and any(match.fits(it.finding) for it in case.members)
            case.relearn = case.relearn or fits or case.alert_id == command.alert_id
        for case in self._closed.values():
            for each in case.members:
                meant = match.fits(each.finding) if match else case.alert_id == command.alert_id
                if meant and each.key not in self._where:
                    self._relearn.append(each.key)
        only = match.only_key if match else None
        if only is not None and only not in self._where:
            self._relearn.append(only)


def _explained(case: Case, causes: Sequence[Trouble]) -> dict[str, str | None]:
    """Return what explains those of an alert that one of the causes, or what it explains, does.

    What a fault explains already that is in the alert, and lasts, stays with that.
    """
    because: dict[str, str | None] = {}
    known = {it.key for it in case.ongoing if it.finding.kind == "data_quality"}
    for each in case.ongoing:
        if each.because in known:
            continue
        bonds = ((it.key, bond_in_time(it, each)) for it in causes)
        by = next((key for key, found in bonds if found in ("cause", "together")), None)
        if by is not None or each.because in because:
            because[each.key] = by or each.because
    return because


def _groups(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """Yield findings of one time together; one about the same thing begins another group."""
    group: list[Finding] = []
    for finding in findings:
        if group and (
            finding.at_ms != group[0].at_ms or any(it.key == finding.key for it in group)
        ):
            yield group
            group = []
        group.append(finding)
    if group:
        yield group
