"""What is known of an alert beside its messages: what it is about, since when, and until when."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from streamproc.alerts.causes import OF_OUTCOMES, Bond, bond
from streamproc.messages import Alert, AlertReason, Severity
from streamproc.monitors.finding import Finding

WORSE = 1.5
"""An open alert is told again when its effect, or the number of things it is about, is this many
times what was told last."""

MOST_UPDATES = 10
"""At most so many updates say that it is worse, or that it comes and goes."""

ABOUT_BUCKETS = 6
MOST_ABOUT_BUCKETS = 24
"""How exactly a beginning is known, in buckets: as the time it took to see it, between these."""

GRACE_BUCKETS = 24
"""How long an effect may outlast its cause, beside the span of its window."""

SOON_BUCKETS = 24
"""What comes again within so many buckets after its end, and the quiet that took, is a flap."""

QUIET_BUCKETS = 3
MOST_QUIET_BUCKETS = 96
"""How quiet it has to be before what flapped is resolved: doubled with each flap, to the most."""

LASTING_BUCKETS = 24
LARGE = 0.75
"""A warning is critical once it has lasted so long, with this part of a critical effect."""


@dataclass
class Trouble:
    """One thing that is wrong: the newest finding that says so, and the one that it is over.

    ``because`` is the key of what explains it, if anything does. Times are of the finding's stage.
    """

    finding: Finding
    first_seen_ms: int
    found_ms: int
    because: str | None = None
    over: Finding | None = None
    over_ms: int = 0

    @property
    def key(self) -> str:
        """What it is about."""
        return self.finding.key

    @property
    def ongoing(self) -> bool:
        """Whether it lasts."""
        return self.over is None

    @property
    def grace_ms(self) -> int:
        """How long it may outlast its cause: tests take a while to see that something is over."""
        return GRACE_BUCKETS * self.finding.bucket_ms + self.finding.holds_ms

    def follow(self, finding: Finding, now_ms: int) -> None:
        """Take in the next finding about it."""
        if finding.ongoing:
            self.finding, self.over = finding, None
        elif self.over is None:
            self.over, self.over_ms = finding, now_ms

    @property
    def large_for_long(self) -> bool:
        """Whether it has become critical by lasting."""
        it = self.finding
        lasted_ms = it.at_ms - self.first_seen_ms
        large = it.critical_at is not None and it.effect >= LARGE * it.critical_at
        return large and lasted_ms >= LASTING_BUCKETS * it.bucket_ms


def bond_in_time(cause: Trouble, other: Trouble) -> Bond | None:
    """Return how two troubles belong together, by what they are and when they began."""
    found = bond(cause.finding, other.finding)
    if found is None:
        return None
    later_ms = other.first_seen_ms - cause.first_seen_ms
    about_ms = max(_about_ms(cause), _about_ms(other))
    if later_ms < -about_ms or (found != "cause" and later_ms > about_ms + other.finding.holds_ms):
        return None
    return found


def _about_ms(trouble: Trouble) -> int:
    took_ms = trouble.found_ms - trouble.first_seen_ms
    bucket_ms = trouble.finding.bucket_ms
    return min(max(took_ms, ABOUT_BUCKETS * bucket_ms), MOST_ABOUT_BUCKETS * bucket_ms)


@dataclass
class Told:
    """What was told of an alert, to see what is news."""

    alert: Alert
    effect: float
    members: int
    flaps: int


@dataclass
class Case:
    """An alert, open or closed not long ago: its likely cause (``lead``) and what goes with it."""

    alert_id: str
    first_seen_ms: int
    lead: Trouble
    others: dict[str, Trouble] = field(default_factory=dict)
    severity: Severity = "warning"
    why: AlertReason = "found"
    """Why it was opened, or is to be told of next though nothing else is news."""
    told: Told | None = None
    step: int = 0
    updates: int = 0
    flaps: int = 0
    relearn: bool = False
    acknowledged_by: str | None = None
    acknowledged_at_ms: int | None = None
    comment: str | None = None
    explained_by: str | None = None
    closed: AlertReason | None = None
    closed_ms: int = 0

    @property
    def key(self) -> str:
        """What it is about."""
        return self.lead.key

    @property
    def members(self) -> list[Trouble]:
        """All that it is about, the likely cause first."""
        return [self.lead, *self.others.values()]

    @property
    def ongoing(self) -> list[Trouble]:
        """What of that lasts."""
        return [trouble for trouble in self.members if trouble.ongoing]

    @property
    def quiet_ms(self) -> int:
        """How long it has to be quiet before it is resolved."""
        if not self.flaps:
            return 0
        buckets = min(QUIET_BUCKETS << min(self.flaps, 16), MOST_QUIET_BUCKETS)
        return buckets * self.lead.finding.bucket_ms

    @property
    def due_ms(self) -> int | None:
        """When time alone will change it: resolve it, or take out what outlives its cause."""
        ongoing = self.ongoing
        if not ongoing:
            return max(trouble.over_ms for trouble in self.members) + self.quiet_ms
        if self.lead.ongoing:
            return None
        return min(self.lead.over_ms + trouble.grace_ms for trouble in ongoing)

    @property
    def remembered_until_ms(self) -> int:
        """Until when, closed, it is opened again rather than another."""
        return self.closed_ms + self.quiet_ms + SOON_BUCKETS * self.lead.finding.bucket_ms

    def inherit(self, other: Case) -> None:
        """Take over what people said of the alert that this was a part of."""
        self.relearn = self.relearn or other.relearn
        if self.acknowledged_by is None:
            self.acknowledged_by, self.comment = other.acknowledged_by, other.comment
            self.acknowledged_at_ms = other.acknowledged_at_ms

    def bonds_with(self, other: Trouble) -> tuple[Bond, str | None] | None:
        """Return how something that is wrong belongs here, and what here explains it."""
        if not self.lead.ongoing:
            return None
        found = bond_in_time(self.lead, other)
        if found is not None:
            return found, None if found == "beside" else self.lead.key
        if other.finding.kind in OF_OUTCOMES:  # a consequence explains no other slice
            return None
        for member in self.others.values():
            found = bond_in_time(member, other) if member.ongoing else None
            if found in ("cause", "together"):
                return found, member.key
        return None

    def news(self, silenced: bool) -> AlertReason | None:
        """Return why it is to be told of now, if it is."""
        told, effect = self.told, self.lead.finding.effect
        if told is None:
            return self.why
        if silenced != told.alert.get("silenced", False):
            return "silenced" if silenced else "unsilenced"
        if self.why == "acknowledged":
            return self.why
        if self.severity != told.alert["severity"]:
            return "graver"
        if self.why == "narrower":
            return self.why
        if len(self.ongoing) >= max(ceil(WORSE * told.members), told.members + 1):
            return "wider"
        if self.updates >= MOST_UPDATES:
            return None
        if self.flaps > told.flaps:
            return "flapping"
        worse = effect > told.effect and effect >= WORSE * told.effect
        return "worse" if self.lead.ongoing and worse else None
