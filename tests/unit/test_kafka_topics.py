"""Which topics a pipeline needs, without a broker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamproc.errors import StreamprocError
from streamproc.kafka.topics import Cluster, describe
from tests.pipelines import topics_of

PIPELINE = topics_of("card")
NAMES = PIPELINE.topics


def cluster(**partitions: int) -> Cluster:
    """Return a cluster with these topics of the pipeline; hyphens are written as underscores."""
    named = {f"card.{name.replace('_', '-')}": count for name, count in partitions.items()}
    return Cluster("127.0.0.1:9092", "c1", embedded=False, partitions=named)


def test_owned_topics_have_the_partitions_of_the_events() -> None:
    """What is written to the source's partition has that partition."""
    described = {topic.name: topic.partitions for topic in describe(PIPELINE, cluster(events=16))}
    assert described == {
        "card.events": 16,
        "card.labels": 16,
        "card.predictions": 16,
        "card.outcomes": 16,
        "card.models": 1,
        "card.alerts": 1,
        "card.dead-letters": 16,
        "card.late": 16,
        "card.journal": 16,
        "card.rekeyed": 16,
        "card.windows": 16,
        "card.learn": 1,
        "card.buckets": 1,
        "card.operations": 1,
    }


def test_missing_events_take_the_partitions_of_the_labels() -> None:
    """The input that is there says how many partitions the other gets."""
    events, labels, *_ = describe(PIPELINE, cluster(labels=6), partitions=2)
    assert (events.partitions, events.present) == (6, False)
    assert (labels.partitions, labels.present) == (6, True)


def test_the_asked_number_holds_where_no_input_is_there() -> None:
    """On an empty cluster the caller says how many partitions the inputs get."""
    events, labels, *_ = describe(PIPELINE, cluster(), partitions=2)
    assert (events.partitions, labels.partitions) == (2, 2)


def test_every_owned_topic_says_how_long_it_keeps() -> None:
    """No owned topic leaves retention or the kind of timestamp to the broker's defaults."""
    for topic in describe(PIPELINE, cluster()):
        assert "retention.ms" in topic.config
        if topic.owned:
            assert topic.config["message.timestamp.type"] == "LogAppendTime"
        else:
            assert topic.config["retention.ms"] == "-1"
            assert "message.timestamp.type" not in topic.config


def test_models_and_alerts_are_compacted() -> None:
    """The newest record of every version and of every alert is kept for ever.

    Of alerts, all steps of a week are, too: they are a history.
    """
    compacted = {
        topic.name: int(topic.config.get("min.compaction.lag.ms", 0)) // 86_400_000
        for topic in describe(PIPELINE, cluster())
        if topic.config["cleanup.policy"] == "compact"
    }
    assert compacted == {"card.models": 0, "card.alerts": 7}


def test_unequal_events_and_labels_are_refused_by_name() -> None:
    """Labels in another number of partitions would never meet their events."""
    with pytest.raises(StreamprocError, match=r"card\.events has 4 .* card\.labels has 3"):
        describe(PIPELINE, cluster(events=4, labels=3))


def test_an_owned_topic_with_other_partitions_is_refused_by_name() -> None:
    """A topic of an earlier run with another number of partitions is not written to."""
    with pytest.raises(StreamprocError, match=r"card\.outcomes has 2 partitions where 4 are due"):
        describe(PIPELINE, cluster(events=4, outcomes=2))


def test_a_pipeline_without_labels_needs_no_topic_of_them() -> None:
    """Where nothing is learnt no labels are asked for."""
    pipeline = topics_of("card", labels=False)
    assert "card.labels" not in {topic.name for topic in describe(pipeline, cluster())}


def test_what_is_looked_up_is_compacted_and_has_any_number_of_partitions() -> None:
    """It is the user's: it stays as it is, or is made to keep the newest row of each key."""
    pipeline = replace(PIPELINE, lookup_topics=("card.profiles", "shops"))
    described = describe(pipeline, cluster(events=16, profiles=3))
    found = {topic.name: topic for topic in described if topic.name in pipeline.lookup_topics}
    assert [topic.name for topic in described][:4] == [
        "card.events", "card.labels", "card.profiles", "shops",
    ]  # fmt: skip
    assert (found["card.profiles"].partitions, found["card.profiles"].present) == (3, True)
    assert (found["shops"].partitions, found["shops"].present) == (16, False)
    assert found["shops"].config["cleanup.policy"] == "compact"
    assert not found["shops"].owned
