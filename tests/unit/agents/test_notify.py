"""Threads that tell of alerts, with all that may go wrong at the sink."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from agents.deployment import Deployment
from agents.logs import outside
from agents.metrics import Metrics
from agents.notify import Notifier, notifiers
from agents.posting import Endpoint
from streamproc.kafka.topics import Cluster
from streamproc.messages import Alert
from streamproc.notify.alertmanager import Alertmanager
from streamproc.notify.sink import Sink
from streamproc.notify.webhook import Webhook
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from tests.alert_steps import step
from tests.kafka.processes import EXAMPLE, eventually
from tests.receiver import Posted, Receiver
from tests.servers import free_port
from tests.unit.agents.fake_topic import FakeTopic

SECRET = "T0/B0/open-sesame"
WEBHOOK = Webhook("payments", "abracadabra", pause_s=0.0)


@dataclass
class Outside:
    """A topic of alerts, and what is sent from it."""

    at: Deployment
    metrics: Metrics
    topic: FakeTopic

    def write(self, *steps: Alert) -> None:
        """Put steps on the topic of alerts."""
        for each in steps:
            self.topic.write(each["key"].encode(), orjson.dumps(each))

    @contextmanager
    def telling(self, url: str, sink: Sink = WEBHOOK, timeout_s: float = 5.0) -> Iterator[Notifier]:
        """Tell a sink of alerts, in a thread."""
        notifier = Notifier(self.at, sink, Endpoint(url, sink.path, timeout_s), self.metrics)
        notifier.start()
        try:
            yield notifier
        finally:
            notifier.stop()
            notifier.join(10)
            assert not notifier.is_alive()

    def committed(self, sink: str = "webhook") -> int:
        """Return the offset up to which a sink was told."""
        return self.topic.committed.get(f"payments-notify-{sink}", -1)

    def sent(self, result: str, sink: str = "webhook") -> float:
        """Return a counter."""
        labels = {"sink": sink, "result": result}
        return self.metrics.registry.get_sample_value("streamproc_notifications_total", labels) or 0

    def oldest_s(self, sink: str = "webhook") -> float:
        """Return the gauge of what was not taken yet."""
        name = "streamproc_notify_oldest_seconds"
        return self.metrics.registry.get_sample_value(name, {"sink": sink}) or 0


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outside:
    """A topic with nothing on it."""
    topic = FakeTopic()
    monkeypatch.setattr("agents.notify.confluent_kafka.Consumer", topic.consumer)
    pipeline, settings = Pipeline.load(EXAMPLE), Settings.load(store=str(tmp_path))
    at = outside(pipeline, settings, Cluster("", "", False, {}), 4)
    return Outside(at, Metrics("w1"), topic)


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the id and the status of each alert that was posted."""
    found = []
    for posted in receiver.posted:
        alert_id, status, _ = posted.headers["Idempotency-Key"].rsplit("-", 2)
        found.append((alert_id.removeprefix("id-"), status))
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for half a minute at most."""
    eventually(condition, what, 30)


def test_a_first_start_tells_what_is_open_and_a_second_nothing(
    out: Outside, receiver: Receiver
) -> None:
    """Alerts of the past say nothing, what comes is told in order, and nothing twice."""
    url = f"http://{receiver.address}/{SECRET}"
    out.write(step("a"), step("b"), step("a", "resolved"), step("b", "update"))
    with out.telling(url):
        until(lambda: told(receiver) == [("b", "update")], "what is open")
        out.write(step("c"))
        until(lambda: told(receiver)[1:] == [("c", "open")], "what opens")
        until(lambda: out.committed() == 5, "the offset")
        assert out.sent("delivered") == 2
    with out.telling(url):
        out.write(step("b", "resolved"))
        until(lambda: len(told(receiver)) > 2, "what is over")

    assert told(receiver) == [("b", "update"), ("c", "open"), ("b", "resolved")]
    assert receiver.posted[0].path == f"/{SECRET}"


def test_a_sink_that_is_away_misses_nothing(out: Outside) -> None:
    """Nobody listens: it is said once, all waits, and comes as it is when it is back."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/{SECRET}"
    out.write(step("a"))
    with capture_logs() as logs, out.telling(url):
        until(lambda: out.sent("failed") >= 2, "two tries")
        out.write(step("b"), step("b", "resolved"), step("a", "update"))
        until(lambda: out.oldest_s() > 0, "the age of what waits")
        assert out.committed() == -1
        with Receiver(port=port) as back:
            until(lambda: len(back.posted) == 2, "what waited")
            until(lambda: out.committed() == 4, "the offset")
            assert sorted(told(back)) == [("a", "update"), ("b", "resolved")]
            until(lambda: out.oldest_s() == 0, "nothing to wait")

    events = [each["event"] for each in logs]
    assert events == ["notify_away", "notify_back"]
    assert logs[0]["why"] == "Connection refused"
    assert "sesame" not in repr(logs)


def test_a_worker_that_ends_leaves_to_the_next_what_was_not_taken(
    out: Outside, receiver: Receiver
) -> None:
    """An offset is committed when a step was taken, not before."""
    url = f"http://{receiver.address}"
    with out.telling(url):
        out.write(step("a"))
        until(lambda: out.committed() == 1, "the first")
        receiver.answer = lambda posted: 503
        out.write(step("b"))
        until(lambda: out.sent("failed") >= 1, "a try")
    assert out.committed() == 1
    receiver.answer = lambda posted: 200
    before = len(receiver.posted)
    with out.telling(url):
        until(lambda: out.committed() == 2, "the second")

    assert told(receiver)[before:] == [("b", "open")]


def test_what_is_refused_is_told_once_and_given_up(out: Outside, receiver: Receiver) -> None:
    """A wrong url holds up nothing: a line in the log and a count for each step."""
    receiver.answer = lambda posted: 404
    with capture_logs() as logs, out.telling(f"http://{receiver.address}/{SECRET}"):
        out.write(step("a"))
        until(lambda: out.committed() == 1, "the offset")
        receiver.answer = lambda posted: 200
        out.write(step("a", "update"))
        until(lambda: out.sent("delivered") == 1, "the next step")

    assert out.sent("refused") == 1
    assert told(receiver) == [("a", "open"), ("a", "update")]
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("alert_not_told", "error")
    assert (line["why"], line["alert_id"], line["status"]) == ("404 Not Found", "id-a", "open")
    assert "sesame" not in repr(logs)


def test_one_message_that_always_fails_holds_up_no_other(out: Outside, receiver: Receiver) -> None:
    """A receiver that can't take one message takes those behind it; the log says it once."""

    def answer(posted: Posted) -> int:
        return 500 if "id-a" in posted.headers["Idempotency-Key"] else 200

    receiver.answer = answer
    with capture_logs() as logs, out.telling(f"http://{receiver.address}"):
        out.write(step("a"), step("b"), step("c"))
        until(lambda: {("b", "open"), ("c", "open")} <= set(told(receiver)), "the others")
        until(lambda: out.sent("failed") >= 3, "three tries")
        assert out.committed() < 1

    assert [each["event"] for each in logs] == ["notify_away", "notify_back"]
    assert out.sent("delivered") == 2


def test_it_waits_as_long_as_it_is_told_to(out: Outside, receiver: Receiver) -> None:
    """Slack says by Retry-After when it takes the next message."""
    receiver.answer = lambda posted: 429
    receiver.headers = {"Retry-After": "3"}
    times_s: list[float] = []

    def answer(posted: Posted) -> int:
        times_s.append(time.monotonic())
        return 429 if len(times_s) == 1 else 200

    receiver.answer = answer
    with out.telling(f"http://{receiver.address}"):
        out.write(step("a"))
        until(lambda: out.sent("delivered") == 1, "the second try")

    assert times_s[1] - times_s[0] >= 3


def test_a_sink_that_never_answers_keeps_nothing(out: Outside, receiver: Receiver) -> None:
    """Tries end by themselves, and a worker that stops doesn't wait for them."""
    hold = threading.Event()

    def answer(posted: Posted) -> int:
        hold.wait(30)
        return 200

    receiver.answer = answer
    out.write(step("a"))
    with capture_logs() as logs, out.telling(f"http://{receiver.address}", timeout_s=0.3):
        until(lambda: out.sent("failed") >= 2, "two tries")
    with out.telling(f"http://{receiver.address}", timeout_s=60) as notifier:
        before = len(receiver.posted)
        until(lambda: len(receiver.posted) > before, "a try")
        began_s = time.monotonic()
        notifier.stop()
        notifier.join(10)
        assert time.monotonic() - began_s < 3
    hold.set()

    assert logs[0]["why"] == "no answer within 0.3 s"


def test_a_record_that_is_no_alert_is_passed_over(out: Outside, receiver: Receiver) -> None:
    """And a key that somebody took away is forgotten."""
    out.topic.write(b"k", b"{oops")
    out.write(step("gone"))
    out.topic.write(b"gone", None)
    out.write(step("a"))
    with capture_logs() as logs, out.telling(f"http://{receiver.address}"):
        until(lambda: out.committed() == 4, "the offset")

    assert told(receiver) == [("a", "open")]
    assert [each["event"] for each in logs] == ["alert_unreadable"]


def subjects(posted: Posted) -> dict[str, bool]:
    """Return whether each alert of a post to an Alertmanager has ended, by subject."""
    alerts: Any = posted.json
    return {each["labels"]["subject"]: "endsAt" in each for each in alerts}


def test_an_alertmanager_is_told_again_of_what_is_open(out: Outside, receiver: Receiver) -> None:
    """Also after a restart, and also of what it refused; the offset stays where it is."""
    sink = replace(Alertmanager("payments"), repeat_s=0.5)
    url = f"http://{receiver.address}"
    out.write(step("a"), step("b"))
    with out.telling(url, sink):
        until(lambda: len(receiver.posted) >= 3, "two repetitions")
        out.write(step("b", "resolved"))
        until(lambda: out.committed("alertmanager") == 3, "the end of one")
    assert [subjects(each) for each in receiver.posted[:3]] == [{"a": False, "b": False}] * 3
    assert out.sent("delivered", "alertmanager") == 3
    before = len(receiver.posted)
    with out.telling(url, sink):
        until(lambda: len(receiver.posted) > before, "what is so after a restart")

    assert subjects(receiver.posted[before]) == {"a": False, "b": True}
    assert receiver.posted[before].path == "/api/v2/alerts"


def test_one_alert_that_is_refused_does_not_keep_the_others(
    out: Outside, receiver: Receiver
) -> None:
    """A request that is refused for one of its alerts is made again for each."""
    receiver.answer = lambda posted: 400 if "bad" in subjects(posted) else 200
    out.write(step("a"), step("bad"), step("c"))
    with out.telling(f"http://{receiver.address}", Alertmanager("payments")):
        until(lambda: out.committed("alertmanager") == 3, "the offset")

    assert out.sent("refused", "alertmanager") == 1
    assert out.sent("delivered", "alertmanager") == 2
    assert [set(subjects(each)) for each in receiver.posted] == [
        {"a", "bad", "c"}, {"a"}, {"bad"}, {"c"},
    ]  # fmt: skip


def test_every_result_is_counted_from_nothing(out: Outside, receiver: Receiver) -> None:
    """Prometheus sees no increase in a series that begins with its first failure."""
    with out.telling(f"http://{receiver.address}"):
        text = out.metrics.text().decode()
    for result in ("delivered", "failed", "refused", "given_up"):
        labels = f'{{result="{result}",sink="webhook"}}'
        assert f"streamproc_notifications_total{labels} 0.0" in text


def test_what_goes_wrong_is_told_and_begun_anew(
    out: Outside, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: the thread goes on, and tells nothing of what it was given."""
    monkeypatch.setattr("agents.notify._AGAIN_S", 0.01)
    out.topic.failing = [ValueError(f"http://{receiver.address}/{SECRET}")]
    out.write(step("a"))
    with capture_logs() as logs, out.telling(f"http://{receiver.address}/{SECRET}"):
        until(lambda: out.sent("delivered") == 1, "the alert")

    assert [(each["event"], each["error"]) for each in logs] == [("notify_failed", "ValueError")]


def test_what_is_over_for_days_is_given_up(out: Outside, receiver: Receiver) -> None:
    """It is counted, told in the log, and its offset passed."""
    receiver.answer = lambda posted: 503
    out.topic.committed["payments-notify-webhook"] = 0
    out.write(step("a"), step("b"), step("b", "resolved"))
    notifier = Notifier(
        out.at,
        WEBHOOK,
        Endpoint(f"http://{receiver.address}"),
        out.metrics,
        clock_ms=lambda: time.time_ns() // 1_000_000 + 4 * 86_400_000,
    )
    with capture_logs() as logs:
        notifier.start()
        until(lambda: out.sent("given_up") == 1 and out.sent("failed") >= 1, "the end of it")
        notifier.stop()
        notifier.join(10)

    lines = [each for each in logs if each["event"] == "alert_not_told"]
    assert [(each["alert_id"], each["result"]) for each in lines] == [("id-b", "given_up")]
    assert set(told(receiver)) == {("a", "open")}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, []),
        ({"alertmanager": "http://a:9093"}, ["notify-alertmanager"]),
        ({"webhook": "https://hooks/T0"}, ["notify-webhook"]),
    ],
)
def test_the_settings_name_the_sinks(
    out: Outside, given: Mapping[str, str], names: list[str]
) -> None:
    """And without any there is no thread."""
    settings = Settings.load(**given)
    found = notifiers(replace(out.at, settings=settings), out.metrics)
    assert [each.name for each in found] == names
