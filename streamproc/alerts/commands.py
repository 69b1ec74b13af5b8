"""What people on call ask of the alerts: commands, as JSON on a topic, so that they are audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import orjson

from streamproc.codec import JsonCodec
from streamproc.errors import BadRecord
from streamproc.monitors.finding import Finding, alert_key

Verb = Literal["acknowledge", "silence", "unsilence", "accept_as_normal", "relearn", "maintenance"]
MOST_TEXT = 2_000
"""Characters of a comment, at most; of a name 200."""

MOST_BYTES = 100_000
"""How large a command may be: it is passed on within a record of the log of sums."""

_NAME = 200
_MOST_MS = 2**53
_FIELDS = frozenset(
    {"command", "alert_id", "match", "maintenance", "by", "at_ms", "from_ms", "until_ms", "comment"}
)


@dataclass(frozen=True)
class Match:
    """Which findings are meant: all that fit what is given. Text may hold ``*`` and ``?``.

    >>> found = Finding("prior_drift", "score", {"class": "a"}, True, "warning", 1.0, 1.0, 0.5,
    ...                 None, None, 9, 0, "")
    >>> Match(kind="*_drift", slice={"class": "a"}).fits(found), Match(subject="age").fits(found)
    (True, False)
    """

    kind: str | None = None
    subject: str | None = None
    key: str | None = None
    slice: Mapping[str, str] | None = None

    def fits(self, found: Finding) -> bool:
        """Whether a finding is meant."""
        return self.fits_these(found.kind, found.subject, found.slice)

    def fits_these(self, kind: str, subject: str, slice_: dict[str, str] | None) -> bool:
        """Whether what is of this kind, subject and slice is meant."""
        pairs = (
            (self.kind, kind),
            (self.subject, subject),
            (self.key, alert_key(kind, subject, slice_)),
            *(((want, (slice_ or {}).get(name))) for name, want in (self.slice or {}).items()),
        )
        return all(
            want is None or (has is not None and fnmatchcase(has, want)) for want, has in pairs
        )

    @property
    def only_key(self) -> str | None:
        """The one key that is meant, where kind and subject say it without patterns."""
        texts = (self.kind, self.subject, *(self.slice or {}).values())
        if self.kind is None or self.subject is None or self.key is not None:
            return None
        if any(sign in text for text in texts if text for sign in "*?["):
            return None
        return alert_key(self.kind, self.subject, dict(self.slice) if self.slice else None)


@dataclass(frozen=True)
class Command:
    """What somebody asks; see `read_command` for what each needs."""

    command: Verb
    by: str
    at_ms: int
    alert_id: str | None = None
    match: Match | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    comment: str = ""
    maintenance: bool = False

    def fields(self) -> dict[str, Any]:
        """Return it as `command_of` reads it."""
        match = self.match and {n: v for n, v in vars(self.match).items() if v is not None}
        said = {**vars(self), "match": match, "maintenance": self.maintenance or None}
        return {name: it for name, it in said.items() if it is not None}

    def value(self) -> bytes:
        """Return it as the value of a record, which `read_command` reads."""
        return orjson.dumps(self.fields())


def read_command(value: bytes | None) -> Command:
    """Return the command in a record's value; raises :class:`BadRecord` that names the field.

    >>> read_command(b'{"command": "silence", "alert_id": "a1", "by": "ada", "at_ms": 5}')
    Traceback (most recent call last):
    streamproc.errors.BadRecord: operation_not_valid: until_ms is missing; silence needs it
    """
    if value is not None and len(value) > MOST_BYTES:
        raise _wrong(f"it has {len(value):,} bytes, where {MOST_BYTES:,} are allowed")
    return command_of(JsonCodec().decode_input("", value))


def command_of(said: Mapping[str, Any]) -> Command:
    """Return the command that fields say.

    ``acknowledge`` and ``accept_as_normal`` need an ``alert_id``; ``relearn``, ``silence`` and
    ``unsilence`` that or a ``match`` of ``kind``, ``subject``, ``slice`` and ``key``; ``silence``
    an ``until_ms``; ``maintenance`` ``from_ms`` and ``until_ms``, and it may have a ``match``. With
    ``maintenance`` true, ``unsilence`` is about maintenance windows alone: those of its ``match``,
    or all. All need ``by`` and ``at_ms``. Raises :class:`BadRecord` that names the field.

    >>> said = {"command": "acknowledge", "alert_id": "a1", "by": "ada", "at_ms": 5}
    >>> command_of(said).fields() == said | {"comment": ""}
    True
    """
    verb: Any = said.get("command")
    if verb not in get_args(Verb):
        raise _wrong(f"command is {verb!r:.60}, none of {', '.join(get_args(Verb))}")
    if unknown := sorted(set(said) - _FIELDS):
        raise _wrong(f"{unknown[0]!r:.60} is no field of a command")
    found = Command(
        command=verb,
        by=_text(said, "by", _NAME) or "",
        at_ms=_time(said, "at_ms") or 0,
        alert_id=_text(said, "alert_id", _NAME),
        match=_match(said.get("match")),
        from_ms=_time(said, "from_ms"),
        until_ms=_time(said, "until_ms"),
        comment=_text(said, "comment", MOST_TEXT) or "",
        maintenance=_of_maintenance(verb, said),
    )
    for name in _needed(verb, said):
        if said.get(name) in (None, ""):
            raise _wrong(f"{name} is missing; {verb} needs it")
    if found.maintenance and found.alert_id is not None:
        raise _wrong("alert_id is given; maintenance is about a match, or about all")
    one_of_them = verb in ("silence", "unsilence", "relearn") and not found.maintenance
    if one_of_them and (found.alert_id is None) == (found.match is None):
        raise _wrong(f"alert_id or match, one of them, says what {verb} is about")
    start_ms = found.from_ms if verb == "maintenance" else found.at_ms
    if found.until_ms is not None and found.until_ms <= (start_ms or 0):
        raise _wrong("until_ms is not later than it begins")
    return found


def _needed(verb: Verb, said: Mapping[str, Any]) -> list[str]:
    needed = ["by", "at_ms"]
    if verb in ("acknowledge", "accept_as_normal"):
        needed.append("alert_id")
    if verb == "maintenance":
        needed.append("from_ms")
    if verb in ("silence", "maintenance"):
        needed.append("until_ms")
    return needed


def _of_maintenance(verb: Verb, said: Mapping[str, Any]) -> bool:
    value = said.get("maintenance")
    if value is not None and (verb != "unsilence" or not isinstance(value, bool)):
        raise _wrong(f"maintenance is {value!r:.60}, not true or false of an unsilence")
    return value or False


def _match(said: Any) -> Match | None:
    if said is None:
        return None
    if not isinstance(said, dict):
        raise _wrong(f"match is {said!r:.60}, not an object")
    names = ("kind", "subject", "key", "slice")
    if unknown := sorted(set(said) - set(names)):
        raise _wrong(f"match has {unknown[0]!r:.60}, none of {', '.join(names)}")
    parts = said.get("slice")
    if parts is not None:
        if not isinstance(parts, dict) or not all(isinstance(it, str) for it in parts.values()):
            raise _wrong(f"slice is {parts!r:.60}, not an object of text")
        parts = dict(sorted(parts.items()))
    texts = {name: _text(said, name, MOST_TEXT) for name in names[:3]}
    return Match(**texts, slice=parts)


def _text(said: Mapping[str, Any], name: str, most: int) -> str | None:
    value = said.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > most):
        raise _wrong(f"{name} is {value!r:.60}, not text of at most {most:,} characters")
    return value


def _time(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    if value is not None and (type(value) is not int or not 0 <= value <= _MOST_MS):
        raise _wrong(f"{name} is {value!r:.60}, not integer milliseconds since the epoch")
    return value


def _wrong(detail: str) -> BadRecord:
    return BadRecord("operation_not_valid", detail)
