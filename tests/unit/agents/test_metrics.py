"""The metrics server, over HTTP."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from agents.metrics import Metrics, MetricsServer
from streamproc.errors import StreamprocError
from streamproc.tasks.records import Out, Output
from tests.commands import run

NO_NAME = "name an entity of 1 to 1000 characters: /features/ENTITY\n"


class State:
    """What a worker is, as the server asks."""

    healthy = True
    ready = False
    refreshed = 0

    def refresh(self) -> None:
        """Count."""
        self.refreshed += 1

    def features(self, entity: str, by: tuple[str, ...]) -> bytes | None:
        """Know one entity; be too busy for another."""
        if entity == "busy":
            raise TimeoutError
        return orjson.dumps({"features": {"n": len(by)}}) if entity == "a/b c" else None


@contextmanager
def serving(
    address: str = "127.0.0.1:0", token: str | None = None
) -> Iterator[tuple[str, State, Metrics]]:
    """Serve the metrics of a worker."""
    metrics, state = Metrics("w1"), State()
    server = MetricsServer(
        address,
        metrics,
        lambda: state.healthy,
        lambda: state.ready,
        state.refresh,
        token,
        state.features,
    )
    server.start()
    try:
        yield server.address, state, metrics
    finally:
        server.stop()


def get(address: str, path: str, **headers: str) -> tuple[int, str]:
    """Return the status and the body of an answer."""
    connection = http.client.HTTPConnection(address.replace("0.0.0.0", "127.0.0.1"), timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_metrics_are_fresh_and_in_prometheus_format() -> None:
    """Each scrape brings the gauges up to date first."""
    with serving() as (address, state, metrics):
        metrics.wrote(Output({"predictions": [Out(key=None, value=b"")] * 3}))
        letter = Out(key=None, value=b"", headers=[("reason", b"not_json")])
        metrics.wrote(Output({"dead_letters": [letter]}))
        status, text = get(address, "/metrics")
    assert (status, state.refreshed) == (200, 1)
    assert "streamproc_predictions_total 3.0" in text
    assert 'streamproc_dead_letters_total{reason="not_json"} 1.0' in text
    assert 'streamproc_worker{instance="w1"} 1.0' in text


def test_health_and_readiness_say_what_is_so() -> None:
    """200 or 503, as the worker is at that moment."""
    with serving() as (address, state, _):
        before = get(address, "/healthz")[0], get(address, "/readyz")[0]
        state.healthy, state.ready = False, True
        after = get(address, "/healthz")[0], get(address, "/readyz")[0]
        nothing = get(address, "/")
    assert (before, after) == ((200, 503), (503, 200))
    assert nothing == (404, "there are /metrics, /healthz, /readyz and /features/ENTITY\n")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/"])
def test_with_a_token_every_request_has_to_bring_it(path: str) -> None:
    """None, another or a longer one is refused, and nothing is told."""
    with serving("0.0.0.0:0", token="secret") as (address, state, _):
        for given in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret"}):
            assert get(address, path, **given) == (
                401,
                "bring the token: Authorization: Bearer ...\n",
            )
        assert state.refreshed == 0
        assert get(address, path, Authorization="Bearer secret")[0] != 401


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]", "example.com", ""])
def test_off_loopback_a_token_is_needed(host: str) -> None:
    """Without one the server does not start, and the error names both settings."""
    with pytest.raises(StreamprocError, match=r"STREAMPROC_METRICS_TOKEN.* or use 127\.0\.0\.1"):
        MetricsServer(f"{host}:0", Metrics("w"), bool, bool, lambda: None)


def test_a_port_that_is_taken_is_named() -> None:
    """The error says which address, and what to do."""
    with (
        serving() as (address, _, _),
        pytest.raises(StreamprocError, match=r"cannot listen on .* 0 for a free"),
    ):
        MetricsServer(address, Metrics("w"), bool, bool, lambda: None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/features/a%2Fb%20c", (200, '{"features":{"n":0}}')),
        ("/features/a%2Fb%20c?by=x&by=y", (200, '{"features":{"n":2}}')),
        ("/features/other", (404, "no state of this entity is here; other workers may have it\n")),
        ("/features/busy", (503, "the worker is busy; ask again\n")),
        ("/features/", (400, "name an entity of 1 to 1000 characters: /features/ENTITY\n")),
        (
            "/features/" + 1001 * "x",
            (400, "name an entity of 1 to 1000 characters: /features/ENTITY\n"),
        ),
    ],
)
def test_features_of_an_entity_are_answered(path: str, expected: tuple[int, str]) -> None:
    """With those of the fields that were asked for; an entity of any text has a path."""
    with serving() as (address, _, _):
        assert get(address, path) == expected


def test_features_are_read_by_command(tmp_path: Path) -> None:
    """With the token that the worker wants; what goes wrong is one line."""
    with serving(token="s3cret") as (address, _, _):
        known = {"STREAMPROC_METRICS_ADDRESS": address, "STREAMPROC_METRICS_TOKEN": "s3cret"}
        for words, env, code, told in (
            (("get", "a/b c"), known, 0, "n  0"),
            (("get", "a/b c", "--by", "x", "--json"), known, 0, '{"features":{"n":1}}'),
            (("get", "other"), known, 1, "no state of this entity is here"),
            (("get", "a/b c", "--at", address), {}, 1, "set STREAMPROC_METRICS_TOKEN"),
            (("get", "a/b c"), {}, 2, "give --at HOST:PORT"),
            (("get", "a/b c", "--at", "127.0.0.1:9"), {}, 1, "127.0.0.1:9 does not answer"),
            (("get",), known, 2, "whose features?"),
            (("payments.py", "x"), known, 2, "write: features get ENTITY"),
        ):
            result = run(tmp_path, "features", *words, env=env)
            said = result.out + result.err
            assert (result.code, told in said, said.count("\n")) == (code, True, 1), said
