"""What should have come out, worked out from the input topics alone.

Nothing of the project's features or tasks is used: windows by comparing each of a customer's
payments with each other, scores by the published model that a prediction names.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Message

from streamproc.models.versions import Store
from tests.kafka import payments_oracle
from tests.kafka.topic_reader import TopicReader, as_json, read_all

_SETTLE_S = 60.0


@dataclass
class Verdict:
    """What was found, in events."""

    events: int
    lost: int
    repeated: int
    wrong_windows: int
    wrong_scores: int
    labels: int
    outcomes_lost: int
    outcomes_repeated: int
    versions: int
    versions_wrong: int

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, repeated or wrong."""
        found = (self.lost, self.repeated, self.wrong_windows, self.wrong_scores)
        return not any((*found, self.outcomes_lost, self.outcomes_repeated, self.versions_wrong))


def settle(address: str, name: str) -> None:
    """Wait until every event has a prediction and every label an outcome, or nothing comes."""
    for source, result in (("transactions", "predictions"), ("labels", "outcomes")):
        wanted = set(read_all(address, f"{name}.{source}", _input_id))
        reader: TopicReader[str] = TopicReader(address, f"{name}.{result}", _id)
        with reader as results:
            try:
                results.until(lambda w=wanted, r=results: w <= set(r.records), "all", _SETTLE_S)  # type: ignore[misc]
            except AssertionError:  # the verdict tells what is missing
                return
    time.sleep(1.0)  # what comes twice comes late: give it the time


def judge(address: str, name: str, file: Path, store: Path) -> Verdict:
    """Compare what came out with what should have."""
    events = set(read_all(address, f"{name}.transactions", _input_id))
    labels = set(read_all(address, f"{name}.labels", _input_id))
    predictions = read_all(address, f"{name}.predictions", as_json)
    outcomes = Counter(read_all(address, f"{name}.outcomes", _id))
    versions = [each for each in read_all(address, f"{name}.models", as_json) if "sha256" in each]
    numbers = [version["version"] for version in versions]
    counts = Counter(each["id"] for each in predictions)
    return Verdict(
        events=len(events),
        lost=len(events - counts.keys()),
        repeated=sum(counts.values()) - len(counts) + len(counts.keys() - events),
        wrong_windows=_wrong_windows(predictions, payments_oracle.read(file).only(events)),
        wrong_scores=_wrong_scores(predictions, versions, Store(str(store))),
        labels=len(labels),
        outcomes_lost=len(labels - outcomes.keys()),
        outcomes_repeated=sum(outcomes.values()) - len(outcomes),
        versions=len(versions),
        versions_wrong=len(set(range(1, len(numbers) + 1)) ^ set(numbers))
        + len(numbers) - len(set(numbers)),
    )  # fmt: skip


def _wrong_windows(predictions: list[dict[str, Any]], payments: payments_oracle.Payments) -> int:
    place = {event_id: i for i, event_id in enumerate(payments.ids)}
    expected = payments_oracle.features_of(payments)
    known = [each for each in predictions if each["id"] in place]
    if not known:
        return 0
    rows = np.array([place[each["id"]] for each in known])
    actual = np.array([payments_oracle.as_row(each["features"]) for each in known])
    off = np.abs(actual - expected[rows]).max(axis=1)
    return int((~(off <= 1e-9)).sum())


def _wrong_scores(
    predictions: list[dict[str, Any]], versions: list[dict[str, Any]], store: Store
) -> int:
    """Score each event again by River itself, with the model that its prediction names."""
    published: dict[str, Any] = {version["model"]: version for version in versions}
    models: dict[str, Any] = {}
    wrong = 0
    for each in predictions:
        name = each["model"]
        if name == "main@0":
            wrong += each["score"] != 0.5
            continue
        if name not in published:
            wrong += 1
            continue
        if name not in models:
            models[name] = store.load(published[name])
        wrong += models[name].predict_proba_one(each["features"])[True] != each["score"]
    return wrong


def _input_id(message: Message) -> str:
    return str(orjson.loads(message.value() or b"{}")["transaction_id"])


def _id(message: Message) -> str:
    return str(as_json(message)["id"])
