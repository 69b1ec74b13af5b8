"""What can go wrong, in words that name the place and the remedy."""

from __future__ import annotations


class StreamprocError(Exception):
    """A failure that a person can mend; its message is one line that names the remedy.

    >>> str(StreamprocError("no broker answered at 127.0.0.1:9092; start one"))
    'no broker answered at 127.0.0.1:9092; start one'
    """


class AwayError(StreamprocError):
    """Something outside does not answer, and may do so later: what needed it can wait."""


class DefinitionError(StreamprocError):
    """A pipeline file that cannot run as it stands; raised before anything connects."""


class BadRecord(Exception):  # noqa: N818  it is the record that is wrong, not the program
    """A record that cannot be used; it becomes a dead letter, with its bytes untouched.

    ``reason`` is a slug that programs match on, ``detail`` one sentence for people.

    >>> try:
    ...     raise BadRecord("missing_id", "field 'transaction_id' is missing")
    ... except BadRecord as bad:
    ...     bad.reason, bad.detail
    ('missing_id', "field 'transaction_id' is missing")
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
