"""Features that know the target: found in a sample, before a model is trusted with them.

A feature that alone tells the label is hardly ever that good; mostly it was written after the label
was known. So each feature is measured by itself, by ranks, whatever the model would make of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from streamproc.features import LabelWindow
from streamproc.metrics import roc_auc
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Output

NEAR_PERFECT = 0.99
"""The AUC, either way, or the rank correlation, from which a feature is said to know the label."""

FEWEST = 10
"""With fewer examples on either side chance could look like knowledge: nothing is said."""

Floats = npt.NDArray[np.float64]
Kind = Literal["leak", "constant"]


@dataclass(frozen=True)
class Finding:
    """What is wrong with a feature: ``figure`` is the statistic, ``summary`` one line."""

    kind: Kind
    feature: str
    figure: float | None
    summary: str


class Sample:
    """Gathers what a replay puts out, and says which features know the label.

    >>> from river import linear_model
    >>> from streamproc import Events, Field, Pipeline
    >>> sample = Sample(Pipeline(
    ...     name="demo",
    ...     events=Events("demo.events", id="id", key="card", time="at"),
    ...     features=[Field("amount")],
    ...     model=linear_model.LogisticRegression(),
    ... ))
    >>> said = {"id": "1", "features": {"amount": 5}}
    >>> sample.add(Output({"predictions": [{"key": b"", "value": orjson.dumps(said)}]}))
    >>> [(each.kind, each.summary) for each in sample.findings()]
    [('constant', 'is always 5: it says nothing')]
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.dead_letters: Counter[str] = Counter()
        self._features: dict[str, list[Any]] = {name: [] for name in pipeline.feature_names}
        self._ids: dict[str, int] = {}
        self._labels: dict[int, Any] = {}
        self._at_once = 0
        self._times_ms: tuple[int, int] | None = None

    @property
    def events(self) -> int:
        """How many events have features."""
        return len(self._ids)

    @property
    def labelled(self) -> int:
        """How many of them have a label."""
        return len(self._labels)

    @property
    def span_ms(self) -> int:
        """How much event time lies between the first and the last of them."""
        return 0 if self._times_ms is None else self._times_ms[1] - self._times_ms[0]

    @property
    def positives(self) -> float | None:
        """Which part of the labels is positive; None where none is, or can be."""
        if self.pipeline.kind != "binary" or not self._labels:
            return None
        positive = (self.pipeline.classes or (0, 1))[-1]
        count = sum(bool(label == positive) for label in self._labels.values())
        return count / len(self._labels)

    def add(self, output: Output) -> None:
        """Take in what a task put out."""
        for out in output.records.get("predictions", ()):
            prediction = orjson.loads(out["value"] or b"{}")
            self._ids[prediction["id"]] = len(self._ids)
            time_ms = prediction.get("event_time_ms", 0)
            first_ms, last_ms = self._times_ms or (time_ms, time_ms)
            self._times_ms = min(first_ms, time_ms), max(last_ms, time_ms)
            for name, column in self._features.items():
                column.append(prediction["features"][name])
        for out in output.records.get("outcomes", ()):
            outcome = orjson.loads(out["value"] or b"{}")
            self._labels[self._ids[outcome["id"]]] = outcome["label"]
            self._at_once += outcome["label_time_ms"] <= outcome["event_time_ms"]
        for out in output.records.get("dead_letters", ()):
            self.dead_letters[dict(out.get("headers", ()))["reason"].decode()] += 1

    def findings(self) -> list[Finding]:
        """Return what is wrong, in the order of the features."""
        found: list[Finding] = []
        for feature in self.pipeline.features:
            for name in feature.names:
                found += self._of_one(name, self._features[name])
            over_labels = isinstance(feature, LabelWindow)
            if over_labels and self.labelled and 2 * self._at_once > self.labelled:
                share = self._at_once / self.labelled
                found.append(
                    Finding(
                        "leak",
                        feature.names[0],
                        share,
                        f"is over labels, and {share:.0%} of these are known at the time of their "
                        "event; give --label-delay, or times by Labels(time=...)",
                    )
                )
        return found

    def _of_one(self, name: str, column: list[Any]) -> Iterator[Finding]:
        if not column:
            return
        if all(each == column[0] for each in column):
            said = "null" if column[0] is None else repr(column[0])[:40]
            yield Finding("constant", name, None, f"is always {said}: it says nothing")
            return
        there = np.array([each is not None for each in column])
        known = np.zeros(len(column), bool)
        known[list(self._labels)] = True
        figure = _auc(known, there.astype(float))
        if figure is not None and figure >= NEAR_PERFECT:
            yield Finding(
                "leak", name, figure,
                f"is there only where a label is (ROC AUC {figure:.3f}); known any earlier?",
            )  # fmt: skip
        rows = sorted(self._labels)
        labels = [self._labels[row] for row in rows]
        yield from self._against_labels(name, [column[row] for row in rows], labels)

    def _against_labels(self, name: str, column: list[Any], labels: list[Any]) -> Iterator[Finding]:
        null = np.array([each is None for each in column], float)
        rows = np.flatnonzero(null == 0).tolist()
        values, theirs = [column[row] for row in rows], [labels[row] for row in rows]
        if self.pipeline.kind == "regression":
            figure = _correlation(values, theirs)
            if figure is not None and abs(figure) >= NEAR_PERFECT:
                yield Finding(
                    "leak", name, figure,
                    f"alone tells the label (rank correlation {figure:.3f}); known when scored?",
                )  # fmt: skip
            return
        classes = self._classes(labels)
        for each in classes:
            positive = [label == each for label in labels]
            what = "the label" if len(classes) == 1 else f"label {each!r:.40}"
            figure = _either(_auc(np.array(positive), null))
            if figure >= NEAR_PERFECT:
                yield Finding(
                    "leak", name, figure,
                    f"being null tells {what} (ROC AUC {figure:.3f}); when is it filled in?",
                )  # fmt: skip
            figure = _either(_knowledge(values, [label == each for label in theirs]))
            if figure >= NEAR_PERFECT:
                yield Finding(
                    "leak", name, figure,
                    f"alone tells {what} (ROC AUC {figure:.3f}); known when scored?",
                )  # fmt: skip

    def _classes(self, labels: list[Any]) -> list[Any]:
        """Return the classes that are each told from the rest; of two, one is enough."""
        if self.pipeline.kind != "multiclass":
            return [(self.pipeline.classes or (0, 1))[-1]]
        return sorted(set(labels), key=str)


def _knowledge(values: Sequence[Any], positive: Sequence[bool]) -> float | None:
    """Return the AUC of values alone; a category stands for its share of positives.

    Those shares are of one half of the sample and are tested on the other: a category that comes
    once, such as an id, knows nothing of the next.
    """
    if not any(isinstance(each, str) for each in values):
        return _auc(np.array(positive, bool), np.array(values, float))
    seen: dict[str, list[int]] = {}
    for value, label in zip(values[::2], positive[::2], strict=True):
        counts = seen.setdefault(str(value), [0, 0])
        counts[0] += 1
        counts[1] += label
    prior = sum(positive[::2]) / max(1, len(positive[::2]))
    shares = {value: (hits + prior) / (count + 1) for value, (count, hits) in seen.items()}
    scores = [shares.get(str(value), prior) for value in values[1::2]]
    return _auc(np.array(positive[1::2], bool), np.array(scores, float))


def _auc(positive: npt.NDArray[np.bool_], scores: Floats) -> float | None:
    """Return the AUC; None where either class has too few examples."""
    count = int(positive.sum())
    if min(count, len(positive) - count) < FEWEST:
        return None
    return roc_auc(positive.astype(float), scores)


def _either(auc: float | None) -> float:
    """Return how well something tells two classes apart, whichever way round: 0.5 to 1."""
    return 0.5 if auc is None else max(auc, 1 - auc)


def _correlation(values: Sequence[Any], labels: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None for texts, constants, and with few examples."""
    if len(values) < FEWEST or any(isinstance(each, str) for each in values):
        return None
    left, right = _ranks(np.array(values, float)), _ranks(np.array(labels, float))
    if not left.std() or not right.std():
        return None
    return float(np.corrcoef(left, right)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Return ranks, equal values sharing the mean of theirs.

    >>> _ranks(np.array([5.0, 1.0, 5.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks
