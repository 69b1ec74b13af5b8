"""The demo's stream: seeded payments, their labels a day late, and two faults part-way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamproc.pipeline import Pipeline
from streamproc.simulator import DAY_MS, CovariateDrift, PredictionBias, simulate
from streamproc.timeline import Entry, LabelColumns, timeline

PIPELINE_FILE = Path(__file__).with_name("payments.py")
"""The pipeline that runs; a copy of it is a good first pipeline of one's own."""

START_MS = 1_736_121_600_000
"""Monday, 2025-01-06, midnight UTC: the time of the first payments."""

LABEL_DELAY_MS = DAY_MS
DEFAULT_SEED = 4
DEFAULT_SECONDS = 60.0

Fault = CovariateDrift | PredictionBias


@dataclass(frozen=True)
class Scenario:
    """What the demo streams: ``days`` of some 1,200 payments each, with ``faults`` in them.

    The first 19 days are for the windows to fill, the model to learn and the monitors to see what
    is usual; the days after each fault for its alerts to resolve.

    >>> scenario = Scenario(seed=4)
    >>> [type(fault).__name__ for fault in scenario.faults], scenario.days
    (['CovariateDrift', 'PredictionBias'], 50)
    """

    seed: int = DEFAULT_SEED
    days: int = 50
    faults: Sequence[Fault] = field(
        default=(
            CovariateDrift(
                start_ms=START_MS + 19 * DAY_MS, end_ms=START_MS + 26 * DAY_MS, factor=1.5
            ),
            PredictionBias(
                country="BE",
                start_ms=START_MS + 32 * DAY_MS,
                end_ms=START_MS + 39 * DAY_MS,
                extra_rate=0.06,
            ),
        )
    )

    @property
    def end_ms(self) -> int:
        """When the last label is due."""
        return START_MS + self.days * DAY_MS + LABEL_DELAY_MS

    def entries(self, pipeline: Pipeline) -> Iterator[Entry]:
        """Yield the records to send, in order of time, as the pipeline wants them."""
        labels, events = pipeline.labels, pipeline.events
        assert labels is not None  # the demo's pipeline has some
        payments = simulate(self.seed, START_MS, self.days, faults=self.faults)
        return timeline(
            (payment.row for payment in payments),
            id=events.id,
            key=events.key,
            time=events.time,
            labels=LabelColumns(labels.id, labels.value, labels.time),
            label_delay_ms=LABEL_DELAY_MS,
        )


def said(fault: Fault) -> str:
    """Say in a few words what a fault is.

    >>> said(PredictionBias(country="BE", start_ms=0, end_ms=1, extra_rate=0.06))
    '6 % of the good payments in BE turn out to be fraud'
    """
    if isinstance(fault, CovariateDrift):
        return f"every {fault.field} is {fault.factor:g} times as high"
    share = f"{fault.extra_rate * 100:g} %"
    return f"{share} of the good payments in {fault.country} turn out to be fraud"


def in_force(faults: Sequence[Fault], time_ms: int) -> list[Fault]:
    """Return the faults that hold at a time."""
    return [fault for fault in faults if fault.start_ms <= time_ms < fault.end_ms]
