"""The score task: what is written for each event and label, and why what is not isn't."""

from __future__ import annotations

import pickle
from typing import Any

import orjson
import pytest
from river import dummy

from streamproc.codec import JsonCodec
from streamproc.errors import AwayError, BadRecord
from streamproc.features import Field
from streamproc.models.scoring import Scorer
from streamproc.monitors import DataQuality
from streamproc.tasks.intake import FUTURE_MS, LARGEST_BYTES
from streamproc.tasks.merge import WAIT_MS
from streamproc.tasks.news import LEARNER_SILENT_MS
from streamproc.tasks.records import NO_TIME, PlainRecord
from streamproc.tasks.score import ScoreTask
from tests.unit.tasks.kit import (
    EVENTS,
    LABELS,
    NOW_MS,
    Scoring,
    event,
    headers_of,
    label,
    pipeline,
    record,
)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Says:
    """A scorer that says what it was told to."""

    name = "main@3"

    def __init__(self, score: float = 0.75) -> None:
        self.value = score

    def score(self, features: Any) -> tuple[float, bool]:
        """Answer, or fail on an amount of 13."""
        if features["amount"] == 13:
            raise BadRecord("model_failed", "unlucky")
        return self.value, True


def test_a_prediction_has_the_fields_of_the_design_in_their_order() -> None:
    """Names and order are fixed: others consume them."""
    scoring = Scoring().put(EVENTS, event(12, "1970-01-01T00:00:01Z", card=345)).run()
    (prediction,) = scoring.said("predictions")
    names = [
        "id",
        "key",
        "event_time_ms",
        "score",
        "decision",
        "model",
        "features",
        "scored_at_ms",
        "trace",
    ]
    assert list(prediction) == names
    assert (prediction["id"], prediction["key"], prediction["event_time_ms"]) == ("12", "345", 1000)
    assert (prediction["score"], prediction["decision"], prediction["model"]) == (
        0.5,
        True,
        "main@0",
    )
    assert prediction["scored_at_ms"] == NOW_MS
    assert tuple(prediction["features"]) == scoring.pipeline.feature_names
    assert scoring.out["predictions"][0]["key"] == b"345"


def test_an_outcome_is_the_prediction_byte_for_byte_and_its_label() -> None:
    """What was published is carried over as it was, then label, its time and when it was joined."""
    scoring = Scoring(pipeline(features=[Field("amount")]))
    scoring.put(EVENTS, event("ä", 1000, amount=0.1 + 0.2)).run()
    scoring.put(LABELS, label("ä", 1500)).run(NOW_MS + 7)
    said = scoring.out["predictions"][0]["value"] or b""
    more = b',"label":1,"label_time_ms":1500,"labelled_at_ms":%d}' % (NOW_MS + 7)
    assert scoring.out["outcomes"][0]["value"] == said[:-1] + more
    assert scoring.out["outcomes"][0]["key"] == scoring.out["predictions"][0]["key"]


def test_a_null_feature_is_published_as_null() -> None:
    """Absent or null, it is there by name, and the model does without."""
    scoring = Scoring().put(EVENTS, {"order": 1, "card": 7, "at": 5}).run()
    features = scoring.said("predictions")[0]["features"]
    assert features["amount"] is None
    assert (features["amount_count_50ms_by_card"], features["amount_mean_50ms_by_card"]) == (
        0,
        None,
    )


@pytest.mark.parametrize(("threshold", "decision"), [(0.75, True), (0.7500001, False)])
def test_a_score_at_the_threshold_is_a_yes(threshold: float, decision: bool) -> None:
    """The decision is yes from the threshold on."""
    model = dummy.PriorClassifier()
    scoring = Scoring(pipeline(threshold=threshold, model=model))
    for label_ in (True, True, True, False):
        model.learn_one({}, label_)
    scoring.task.take_up(Scorer(model, "binary", None, threshold, "main@1"))
    (prediction,) = scoring.put(EVENTS, event(1, 5)).run().said("predictions")
    assert (prediction["score"], prediction["decision"]) == (0.75, decision)


BAD_EVENTS: list[tuple[Any, str]] = [
    (None, "tombstone"),
    (b"", "empty_value"),
    (b"\xff", "not_json"),
    (b"{", "not_json"),
    (b'{"order": NaN}', "not_json"),
    (b'{"order": 1, "amount": Infinity}', "not_json"),
    (b"[]", "not_an_object"),
    (b"null", "not_an_object"),
    (b" " * (LARGEST_BYTES + 1), "too_large"),
    (event(None, 5), "missing_id"),
    ({"card": 7, "at": 5}, "missing_id"),
    (event(1.5, 5), "id_not_valid"),
    (event(True, 5), "id_not_valid"),
    (event("", 5), "id_not_valid"),
    (event("x" * 1001, 5), "id_not_valid"),
    (event(1, 5, card=None), "missing_key"),
    (event(1, 5, card=[7]), "key_not_valid"),
    (event(1, None), "missing_time"),
    (event(1, 5.0), "time_not_valid"),
    (event(1, "yesterday"), "time_not_valid"),
    (event(1, True), "time_not_valid"),
    (event(1, 10**15), "time_not_valid"),
    (event(1, NOW_MS + FUTURE_MS + 1), "time_in_future"),
    (event(1, 5, amount="5"), "field_not_number"),
    (event(1, 5, amount=True), "field_not_number"),
    (event(1, 5, amount=1e200), "number_out_of_range"),
]
BAD_LABELS: list[tuple[Any, str]] = [
    (None, "tombstone"),
    (b"{", "not_json"),
    (b"7", "not_an_object"),
    ({"fraud": 1, "known_at": 5}, "missing_id"),
    ({"order": 1, "known_at": 5}, "missing_label"),
    (label(1, 5, None), "label_not_valid"),
    (label(1, 5, 2), "label_not_valid"),
    (label(1, 5, "1"), "label_not_valid"),
    (label(1, None), "missing_time"),
    (label(1, 5.5), "time_not_valid"),
    (label(1, NOW_MS + FUTURE_MS + 1), "time_in_future"),
]


@pytest.mark.parametrize(
    ("topic", "value", "reason"),
    [(EVENTS, *each) for each in BAD_EVENTS] + [(LABELS, *each) for each in BAD_LABELS],
)
def test_a_bad_record_is_a_dead_letter_among_good_ones(topic: str, value: Any, reason: str) -> None:
    """Its bytes, key and headers are untouched, and it says what, where and why."""
    scoring = Scoring()
    headers = [("theirs", b"\x00\xff")]
    scoring.put(EVENTS, event("before", 1))
    scoring.put(topic, value, headers=headers)
    scoring.put(EVENTS, event("after", 9)).run()
    (letter,) = scoring.out["dead_letters"]
    assert (letter["key"], list(letter["headers"][:1])) == (b"key", headers)
    assert letter["value"] == (
        value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    )
    told = headers_of({**letter, "headers": letter["headers"][1:]})
    assert list(told) == [
        "error",
        "reason",
        "source_topic",
        "source_partition",
        "source_offset",
        "stage",
        *(["watermark_ms"] if topic == EVENTS else []),  # the label is before all events
    ]
    offset = "1" if topic == EVENTS else "0"
    assert tuple(told.values())[1:6] == (reason, topic, "0", offset, "score")
    assert len(told["error"]) < 300
    assert [p["id"] for p in scoring.said("predictions")] == ["before", "after"]
    assert scoring.task.positions() == {t: at for t, at in scoring.offsets.items() if at}


def test_the_last_time_that_is_not_in_the_future() -> None:
    """An hour ahead of the clock is taken."""
    scoring = Scoring().put(EVENTS, event(1, NOW_MS + FUTURE_MS)).run()
    assert len(scoring.said("predictions")) == 1


def test_repeated_ids_and_second_labels_are_refused_inside_the_horizon() -> None:
    """A second event or label of one id is a dead letter; the first is what counts."""
    scoring = Scoring()
    scoring.put(EVENTS, event(1, 5), event("1", 6), event(2, 7))
    scoring.put(LABELS, label(1, 8, 1), label("1", 9, 0)).run()
    assert scoring.reasons() == ["repeated_id", "second_label"]
    assert [(o["id"], o["label"]) for o in scoring.said("outcomes")] == [("1", 1)]
    assert scoring.said("predictions")[-1]["features"]["amount_count_50ms_by_card"] == 2


def test_a_label_before_its_event_waits_for_it() -> None:
    """It is joined when the event comes, once."""
    scoring = Scoring().put(LABELS, label(1, 4)).run()
    assert (scoring.task.pending.held, scoring.reasons()) == (1, [])
    scoring.put(LABELS, label(1, 5)).run()
    scoring.put(EVENTS, event(1, 6)).put(LABELS, label(1, 7)).run()
    (outcome,) = scoring.said("outcomes")
    assert (outcome["id"], outcome["label_time_ms"]) == ("1", 4)
    assert scoring.reasons() == ["second_label", "second_label"]


def test_a_label_of_no_event_is_given_up_after_the_horizon() -> None:
    """Held for exactly the horizon of a second, then a dead letter with its own place.

    label (4)                    given up at 1005
    events             (1004)    (1005)
    """
    scoring = Scoring().put(LABELS, label("who", 4)).put(EVENTS, event(1, 1004)).run()
    assert scoring.reasons() == []
    scoring.put(EVENTS, event(2, 1005)).run()
    told = headers_of(scoring.out["dead_letters"][0])
    assert (told["reason"], told["source_topic"], told["source_offset"]) == (
        "unknown_id",
        LABELS,
        "0",
    )


@pytest.mark.parametrize("most", [1, 2, 500])
def test_the_horizon_does_not_depend_on_the_batch(most: int) -> None:
    """A label for an event just beyond the horizon is unknown, however much is processed at once.

    events   a(0)    b(1001)
    labels           a(1002)    the horizon is 1000
    """
    scoring = Scoring().put(EVENTS, event("a", 0), event("b", 1001), event("a", 1003))
    scoring.put(LABELS, label("a", 1002)).run(most=most)
    outcomes = [(o["id"], o["event_time_ms"]) for o in scoring.said("outcomes")]
    assert outcomes == [("a", 1003)]
    assert [p["id"] for p in scoring.said("predictions")] == ["a", "b", "a"]


def test_an_event_later_than_allowed_is_scored_marked_and_counted() -> None:
    """20 ms late is in time; 21 is late: it says so, and no window of another holds it.

    event   1(100)   2(80)  3(79) late   4(100)
    """
    scoring = Scoring().put(
        EVENTS, *(event(i, t) for i, t in [(1, 100), (2, 80), (3, 79), (4, 100)])
    )
    predictions = scoring.run().said("predictions")
    counts = [p["features"]["amount_count_50ms_by_card"] for p in predictions]
    assert counts == [1, 1, 1, 3]
    marks = [headers_of(out) for out in scoring.out["predictions"]]
    assert (marks, scoring.task.late) == ([{}, {}, {"late": "true"}, {}], 1)


def test_where_clocks_are_watched_predictions_say_when_their_events_record_was_made() -> None:
    """By the record's own timestamp, and who produced it; a record that has none says nothing."""
    watched = pipeline(monitors=[DataQuality(producer="till")])
    scoring = Scoring(watched).put(EVENTS, event(1, 100, till="t1"), time_ms=123)
    bare = PlainRecord(EVENTS, 1, -1, b"key", orjson.dumps(event(2, 101)), time_type=NO_TIME)
    scoring.task.take(EVENTS, [bare], True, NOW_MS)
    marks = [headers_of(out) for out in scoring.run().out["predictions"]]
    assert marks == [{"record_time_ms": "123", "slices": '{"till":"t1"}'}, {"slices": "{}"}]
    for monitors in ([], [DataQuality()]):
        unwatched = Scoring(pipeline(monitors=monitors)).put(EVENTS, event(1, 100), time_ms=123)
        assert [headers_of(out) for out in unwatched.run().out["predictions"]] == [{}]


def test_a_trace_is_carried_or_made() -> None:
    """The event's traceparent is the prediction's; without one the place in the log makes it."""
    scoring = Scoring()
    scoring.put(EVENTS, event(1, 5), headers=[("x", b"y"), ("traceparent", TRACE.encode())])
    scoring.put(EVENTS, event(2, 6), event(3, 7)).put(
        EVENTS, event(4, 8), headers=[("traceparent", b"00-")]
    )
    traces = [p["trace"] for p in scoring.run().said("predictions")]
    assert traces[0] == TRACE
    parts = [trace.split("-") for trace in traces]
    assert all([len(part) for part in trace] == [2, 32, 16, 2] for trace in parts)
    assert all(int(part, 16) for trace in parts for part in trace[1:3])
    assert len(set(traces)) == 4
    again = Scoring().put(EVENTS, event(1, 5), event(2, 6)).run().said("predictions")
    assert again[1]["trace"] == traces[1]


def test_an_event_the_model_fails_on_is_done_with() -> None:
    """It is told of once; sent again it is a repeated id, and is in the windows once."""
    scoring = Scoring()
    scoring.task.take_up(Says())  # type: ignore[arg-type]
    scoring.put(EVENTS, event(1, 5, amount=13), event(1, 6, amount=13), event(2, 7)).run()
    assert scoring.reasons() == ["model_failed", "repeated_id"]
    (prediction,) = scoring.said("predictions")
    assert prediction["features"]["amount_count_50ms_by_card"] == 2


def test_a_new_version_scores_from_the_next_event_on() -> None:
    """What was scored stays; what comes is scored by the new version, by name."""
    scoring = Scoring().put(EVENTS, event(1, 5)).run()
    scoring.task.take_up(Says(0.25))  # type: ignore[arg-type]
    predictions = scoring.put(EVENTS, event(2, 6)).run().said("predictions")
    assert [(p["model"], p["score"]) for p in predictions] == [("main@0", 0.5), ("main@3", 0.25)]


def test_labels_wait_for_the_events_before_them() -> None:
    """With more events to come a label waits for them; with labels to come events wait."""
    scoring = Scoring().put(EVENTS, event(1, 10), caught_up=False).put(LABELS, label(1, 20)).run()
    assert (scoring.said("outcomes"), scoring.task.waiting()) == ([], {EVENTS: 0, LABELS: 1})
    scoring.put(EVENTS, event(2, 30), caught_up=False).run()
    assert [o["id"] for o in scoring.said("outcomes")] == ["1"]
    assert [p["id"] for p in scoring.said("predictions")] == ["1", "2"]


def test_a_wait_that_expires_is_counted_once() -> None:
    """An input that is known to have more is waited for 10 s, and not for each record again."""
    scoring = Scoring().put(LABELS, caught_up=False).put(EVENTS, event(1, 10), event(2, 11))
    for at_ms in (0, WAIT_MS - 1):
        scoring.run(NOW_MS + at_ms)
    assert scoring.said("predictions") == []
    scoring.run(NOW_MS + WAIT_MS)
    assert ([p["id"] for p in scoring.said("predictions")], scoring.task.merge.expired_waits) == (
        ["1", "2"],
        1,
    )


def test_a_bad_record_goes_at_once_in_its_place() -> None:
    """What has no time waits for nobody; what stands before it in its log goes first."""
    scoring = Scoring().put(LABELS, caught_up=False).put(EVENTS, b"{", event(1, 10), b"}").run()
    assert scoring.reasons() == ["not_json"]
    scoring.put(LABELS, caught_up=True).run()
    assert [headers_of(o)["source_offset"] for o in scoring.out["dead_letters"]] == ["0", "2"]


def test_positions_are_those_of_the_first_records_not_processed() -> None:
    """What may be committed: nothing taken in and unprocessed lies before it."""
    scoring = Scoring()
    assert scoring.task.positions() == {}
    scoring.put(EVENTS, *(event(i, i) for i in range(5))).put(LABELS, caught_up=True)
    scoring.task.process(NOW_MS, most=3)
    assert scoring.task.positions() == {EVENTS: 3}
    scoring.run()
    assert scoring.task.positions() == {EVENTS: 5}


@pytest.mark.parametrize("count", [5, 3_000])
def test_labels_of_one_time_do_not_block_the_task(count: int) -> None:
    """However many labels share a time, a learner that answers at once is never waited for."""
    scoring = Scoring(ahead=4)
    scoring.put(EVENTS, *(event(i, 1) for i in range(count)), caught_up=False)
    scoring.put(LABELS, *(label(i, 2) for i in range(count)), label(0, 4))
    scoring.put(EVENTS, event("next", 3), caught_up=False)
    for _ in range(2 * count // 500 + 5):
        scoring.run()
        learnt = sum(
            sum(o["label_time_ms"] < said["watermark_ms"] for o in said["outcomes"])
            for said in scoring.said("learn")
            for said in [{**said, "watermark_ms": scoring.said("learn")[-1]["watermark_ms"]}]
        )
        scoring.task.news.heard(0, learnt, NOW_MS)
    assert len(scoring.said("outcomes")) == count
    assert [p["id"] for p in scoring.said("predictions")][-1] == "next"


def test_a_task_waits_for_the_learner_only_while_it_speaks() -> None:
    """In a backlog it stays a bounded way ahead; a learner silent for a second it leaves."""
    scoring = Scoring(ahead=4)
    pairs = [(event(i, 10 * i), label(i, 10 * i + 1)) for i in range(20)]
    scoring.put(EVENTS, *(e for e, _ in pairs), caught_up=False).put(
        LABELS, *(la for _, la in pairs)
    )
    scoring.run()
    assert len(scoring.said("outcomes")) == 4
    scoring.task.news.heard(0, 2, NOW_MS + 10)
    assert len(scoring.run(NOW_MS + 10).said("outcomes")) == 6
    scoring.task.news.heard(99, 6, NOW_MS + 20)  # of another run
    assert len(scoring.run(NOW_MS + 20).said("outcomes")) == 6
    scoring.run(NOW_MS + 20 + LEARNER_SILENT_MS)
    assert len(scoring.said("outcomes")) == 19  # the last waits for events after it


def test_an_event_from_the_future_stays_out_when_a_task_is_restored() -> None:
    """What was refused for its time is refused again, and does not make all that follows late."""
    live = Scoring().put(EVENTS, event(1, 5), event(2, NOW_MS + 10**9), event(3, 6)).run()
    again = Scoring()
    for offset, value in enumerate((event(1, 5), event(2, NOW_MS + 10**9), event(3, 6))):
        read = again.task.read_event(record(EVENTS, offset, value), NOW_MS)
        if read is not None:
            again.task.replay_event(read, {})
    assert again.task.watermark_ms == live.task.watermark_ms == 6
    assert again.task.features.window_entries == live.task.features.window_entries


def test_a_task_cannot_be_pickled_as_it_is() -> None:
    """What scores is a function made for the model: a snapshot must leave the scorer out."""
    scoring = Scoring().put(EVENTS, event(1, 5)).run()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(scoring.task.scorer)
    for part in (scoring.task.pending, scoring.task.merge):
        assert pickle.dumps(pickle.loads(pickle.dumps(part)))


def test_records_are_taken_in_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the registry is away for one of them they come again, and none comes twice."""
    scoring = Scoring()
    whole, away = JsonCodec.decode_input, [True]

    def decode(self: JsonCodec, topic: str, data: bytes | None) -> dict[str, Any]:
        if away[0] and data is not None and b'"order":2' in data:
            raise AwayError("no schema registry answered")
        return whole(self, topic, data)

    def decode_all(self: JsonCodec, topic: str, datas: list[bytes | None]) -> list[Any]:
        return [decode(self, topic, data) for data in datas]

    monkeypatch.setattr(JsonCodec, "decode_input", decode)
    monkeypatch.setattr(JsonCodec, "decode_inputs", decode_all)
    records = [record(EVENTS, offset, event(offset + 1, 5 + offset)) for offset in range(3)]
    again = ScoreTask(scoring.pipeline, 0, JsonCodec())
    again.labels.caught_up = True
    with pytest.raises(AwayError):
        again.take(EVENTS, records, True, NOW_MS)
    assert again.waiting()[EVENTS] == 0
    away[0] = False
    again.take(EVENTS, records, True, NOW_MS)
    assert len(again.process(NOW_MS).records["predictions"]) == 3
