"""The task that judges the sums of all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson

from streamproc.alerts.commands import read_command
from streamproc.codec import Codec
from streamproc.errors import BadRecord
from streamproc.monitors.judge import OPERATION, Judge
from streamproc.tasks.records import Out, Output, Record, dead_letter
from streamproc.tasks.sums import read_log_record
from streamproc.tasks.waits import Believed, Idle, Waits


class JudgeTask:
    """Judges the sums of all partitions and emits alerts.

    What it does is decided by the log of sums, record by record, and by nothing else: waits that
    are over and what people ask for are written to it first, and done when they come back. So who
    reads the log again knows the same, and has told the same. ``begins_at`` is the offset up to
    which the judge has read it. While it is ``held`` it judges nothing.
    """

    def __init__(
        self,
        judge: Judge,
        topic: str,
        codec: Codec,
        begins_at: int = 0,
        operations: str | None = None,
        idle: Idle | None = None,
    ) -> None:
        self.judge = judge
        self.held = False
        self._topic = topic
        self._codec = codec
        self._operations = operations
        self._waits = Waits(judge.sealer, idle or Believed())
        self._positions = {topic: begins_at} if begins_at else {}
        self._taken: list[Record] = []
        self._asked: list[Record] = []

    def waiting(self) -> dict[str, int]:
        """Return that no record waits: each is dealt with as it is taken in."""
        return dict.fromkeys(filter(None, (self._topic, self._operations)), 0)

    def positions(self) -> dict[str, int]:
        """Return the offsets of the first records not yet dealt with."""
        return dict(self._positions)

    def take(self, topic: str, records: Sequence[Record], caught_up: bool, now_ms: int) -> None:
        """Take sums in, or what people ask for."""
        (self._taken if topic == self._topic else self._asked).extend(records)

    def replay(self, records: Iterable[Record]) -> None:
        """Take in what was judged before, and tell nothing."""
        for record in records:
            self._judge(record, Output())

    def process(self, now_ms: int) -> Output:
        """Judge what was taken in; pass on to the log what is to be in it."""
        output = Output()
        if self.held:
            return output
        taken, self._taken = self._taken, []
        for record in taken:
            self._judge(record, output, now_ms)
        asked, self._asked = self._asked, []
        for record in asked:
            self._pass_on(record, output)
        for topic, records in ((self._topic, taken), (self._operations, asked)):
            if records and topic:
                self._positions[topic] = records[-1].offset() + 1
        for seal in self._waits.seals(now_ms):
            output.to("buckets").append(Out(key=None, value=orjson.dumps(seal)))
        return output

    def _judge(self, record: Record, output: Output, now_ms: int | None = None) -> None:
        try:
            said = read_log_record(record.value())
        except BadRecord as bad:
            output.to("dead_letters").append(dead_letter(record, bad, "alerts"))
            return
        if now_ms is not None and said["stage"] in self.judge.sealer.sources:
            self._waits.heard(said["stage"], said["partition"], now_ms)
        for alert in self.judge.update([said], record.timestamp()[1]):
            value = self._codec.encode("alert", alert)
            output.to("alerts").append(Out(key=alert["key"].encode(), value=value))
        for report in self.judge.take_reports():
            value = self._codec.encode("performance", report)
            key = slice_key(report["about"], report["slice"])
            output.to("metrics").append(Out(key=key.encode(), value=value))

    def _pass_on(self, record: Record, output: Output) -> None:
        try:
            command = read_command(record.value())
        except BadRecord as bad:
            output.to("dead_letters").append(dead_letter(record, bad, "alerts"))
            return
        said = {"stage": OPERATION, "operation": command.fields()}
        output.to("buckets").append(Out(key=None, value=orjson.dumps(said)))


def slice_key(about: str, slice_: Mapping[str, str] | None) -> str:
    """Return the key of a report.

    >>> slice_key("outcomes", None), slice_key("outcomes", {"country": "FR"})
    ('outcomes', 'outcomes/country=FR')
    """
    if not slice_:
        return about
    return f"{about}/" + ",".join(f"{field}={value}" for field, value in sorted(slice_.items()))
