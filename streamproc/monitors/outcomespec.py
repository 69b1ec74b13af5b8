"""What a pipeline asks to be watched of outcomes, beside prediction bias."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.errors import DefinitionError
from streamproc.eventtime import parse_duration_ms
from streamproc.monitors.declared import check_tolerance
from streamproc.monitors.spec import PredictionBias, Watched


@dataclass(frozen=True)
class _Overall:
    bucket: str = "1h"
    weight: float = 1.0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        if parse_duration_ms(self.bucket, f"{name}, bucket") == 0:
            raise DefinitionError(f"{name}, bucket: a bucket of 0 holds nothing; write e.g. '1h'")
        if not (isinstance(self.weight, int | float) and 0 < self.weight < float("inf")):
            raise DefinitionError(f"{name}: weight {self.weight!r} must be a number above 0")
        self._check_tolerance()

    def _check_tolerance(self) -> None:
        unit = "a part of a share, or standard deviations,"
        check_tolerance(type(self).__name__, self.tolerance, unit)

    @property
    def bucket_ms(self) -> int:
        """How much time a bucket spans."""
        return parse_duration_ms(self.bucket, f"{type(self).__name__}, bucket")


@dataclass(frozen=True)
class Calibration(_Overall):
    """Watches whether a probability means what it says, of classifiers.

    Told are predictions that are too high or too low (in the large, or of some scores only), and
    too bold or too timid (the slope), against how they were before. ``bucket`` is a span of the
    time at which labels became known, ``weight`` the monitor's part of the false alarms.

    ``tolerance`` is a part of the odds of yes (where yes is rare: of how many there are), and of
    the slope: with 0.05 odds of 1/1.05 to 1.05 times the usual ones are no change, nor are slopes.
    Without it it is 0.1; of a model that learns 1.0, and 0.4 of the slope.

    Raises `DefinitionError`, which names the field and the remedy.

    >>> Calibration(bucket="6h").bucket_ms
    21600000
    """

    def _check_tolerance(self) -> None:
        check_tolerance("Calibration", self.tolerance, "a part of the odds", below=1.0)


@dataclass(frozen=True)
class LabelShift(_Overall):
    """Watches the distribution of labels: the rate of yes, classes' shares, a target's values.

    ``bucket`` is a span of the time at which labels became known, ``weight`` the monitor's part of
    the false alarms. ``tolerance`` is a part of a share, of yes or of no, whichever is less: with
    0.05 a rate of 2 % may be 1.9 to 2.1 %. Of a regression's target it is in standard deviations.
    Without it it is 0.1.

    Raises `DefinitionError`, which names the field and the remedy.

    >>> LabelShift().bucket_ms
    3600000
    """


@dataclass(frozen=True)
class ConceptDrift(_Overall):
    """Watches how wrong predictions are: the rate of wrong decisions, and the loss.

    The rate is tested upward only, log loss (for regression ``|y - p|``) both ways: a model that is
    suddenly much better has often been given what it should not know. ``bucket`` is a span of the
    time at which labels became known, ``weight`` the monitor's part of the false alarms.

    ``tolerance`` is a part of the share of wrong decisions (with 0.05 up to 1.05 times the usual
    one is no change), and of the mean loss in standard deviations of the single losses. Without it
    it is 0.1, of a model that learns 0.25.

    Raises `DefinitionError`, which names the field and the remedy.

    >>> ConceptDrift(bucket="0s")
    Traceback (most recent call last):
    ...
    streamproc.errors.DefinitionError: ConceptDrift, bucket: a bucket of 0 holds nothing; write \
e.g. '1h'
    """


OutcomeMonitor = PredictionBias | Calibration | LabelShift | ConceptDrift


def outcome_plan(pipeline: Watched) -> list[tuple[int, OutcomeMonitor]]:
    """Return the monitors of outcomes with their numbers.

    Raises `DefinitionError` for a kind that is declared twice, and for one that says nothing of
    such a model: an anomaly score predicts no label, and a regression's is no probability.
    """
    found: list[tuple[int, OutcomeMonitor]] = [
        (number, monitor)
        for number, monitor in enumerate(pipeline.monitors)
        if isinstance(monitor, OutcomeMonitor)
    ]
    kinds: set[type] = set()
    for _, monitor in found:
        name = type(monitor).__name__
        if pipeline.kind == "anomaly" and not isinstance(monitor, LabelShift):
            raise DefinitionError(
                f"{name}: an anomaly score predicts no label; leave the monitor out"
            )
        if pipeline.kind == "regression" and isinstance(monitor, Calibration):
            raise DefinitionError(
                "Calibration: a regression gives no probability; use PredictionBias"
            )
        if type(monitor) in kinds:
            more = (
                "write one with all slices, ('country', 'channel')"
                if isinstance(monitor, PredictionBias)
                else "leave one out"
            )
            raise DefinitionError(f"{name}: declared twice; {more}")
        kinds.add(type(monitor))
    return found
