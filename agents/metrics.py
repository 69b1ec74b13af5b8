"""What a worker tells Prometheus, and whether it is alive and ready."""

from __future__ import annotations

import hmac
import ipaddress
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from streamproc.errors import StreamprocError
from streamproc.features.entities import LONGEST_ID
from streamproc.pipeline import Pipeline
from streamproc.tasks.records import Output

_LATENCY_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
_RECORDS = (1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """The metrics of one worker, in a registry of their own.

    >>> metrics = Metrics("w1")
    >>> metrics.pending_labels.set(3)
    >>> b"streamproc_pending_labels 3.0" in metrics.text()
    True
    """

    def __init__(self, instance: str) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.events = Counter("streamproc_events", "Events taken in", registry=registry)
        self.labels = Counter("streamproc_labels", "Labels taken in", registry=registry)
        self.predictions = Counter(
            "streamproc_predictions", "Predictions written", registry=registry
        )
        self.outcomes = Counter(
            "streamproc_outcomes", "Labels joined with predictions", registry=registry
        )
        self.dead_letters = Counter(
            "streamproc_dead_letters", "Dead letters", ["reason"], registry=registry
        )
        self.alerts = Counter("streamproc_alerts", "Alert messages written", registry=registry)
        self.late_events = Gauge(
            "streamproc_late_events", "Events later than the allowed lateness", registry=registry
        )
        self.unlabelled = Gauge(
            "streamproc_unlabelled", "Predictions whose label never came", registry=registry
        )
        self.lag = Gauge(
            "streamproc_lag_records",
            "Records of a partition not yet processed, as of its newest fetch",
            ["topic", "partition"],
            registry=registry,
        )
        self.latency = Histogram(
            "streamproc_latency_seconds",
            "From a record's timestamp to its prediction, the oldest event of each batch",
            buckets=_LATENCY_S,
            registry=registry,
        )
        self.batch_records = Histogram(
            "streamproc_batch_records",
            "Records a batch",
            ["topic"],
            buckets=_RECORDS,
            registry=registry,
        )
        self.window_entries = Gauge(
            "streamproc_window_entries", "Records that the windows hold", registry=registry
        )
        self.expired_entities = Counter(
            "streamproc_expired_entities",
            "Entities that were idle for so long that their windows were let go",
            registry=registry,
        )
        self.overtaken_labels = Counter(
            "streamproc_overtaken_labels",
            "Labels for windows that came after an event of their time or later was scored",
            registry=registry,
        )
        self.hashed = Gauge(
            "streamproc_hashed_categories",
            "Distinct categories a partition hashed since its start, and those that share a column",
            ["feature", "share"],
            registry=registry,
        )
        self.lookup_rows = Gauge(
            "streamproc_lookup_rows", "Rows that can be looked up", ["topic"], registry=registry
        )
        self.lookup_bytes = Gauge(
            "streamproc_lookup_bytes", "Memory that they take", ["topic"], registry=registry
        )
        self.lookup_bad_rows = Counter(
            "streamproc_lookup_bad_rows",
            "Rows read that could not be used, or not all of them",
            ["topic"],
            registry=registry,
        )
        self.pending_labels = Gauge(
            "streamproc_pending_labels", "Predictions that wait for a label", registry=registry
        )
        self.held_labels = Gauge(
            "streamproc_held_labels", "Labels that wait for their event", registry=registry
        )
        self.queued = Gauge(
            "streamproc_queued_records", "Records taken in, not yet processed", registry=registry
        )
        self.model_version = Gauge(
            "streamproc_model_version", "The version that scores", registry=registry
        )
        self.model_staleness = Gauge(
            "streamproc_model_staleness_seconds",
            "How long ago the version that scores was published",
            registry=registry,
        )
        self.reactions = Counter(
            "streamproc_reactions", "Reactions taken in", ["topic"], registry=registry
        )
        self.models_held_back = Gauge(
            "streamproc_models_held_back",
            "Versions held back for the numbers in them, since the learner started",
            registry=registry,
        )
        self.alerts_open = Gauge(
            "streamproc_alerts_open", "Open alerts", ["kind"], registry=registry
        )
        self.performance = Gauge(
            "streamproc_performance",
            "How good predictions were in the last window, by metric; what=model is the model's",
            ["metric", "what", "about", "slice"],
            registry=registry,
        )
        self.alert_open = Gauge(
            "streamproc_alert_open",
            "1 for each open alert",
            ["kind", "subject", "slice", "severity", "alert_id"],
            registry=registry,
        )
        self.notifications = Counter(
            "streamproc_notifications",
            "Steps of alerts that a sink was told of, and what came of it",
            ["sink", "result"],
            registry=registry,
        )
        self.notify_oldest = Gauge(
            "streamproc_notify_oldest_seconds",
            "How long ago the oldest step was written that the sink has not taken yet",
            ["sink"],
            registry=registry,
        )
        self.store_away = Gauge(
            "streamproc_store_away", "1 while the store cannot be written to", registry=registry
        )
        self.registry_away = Gauge(
            "streamproc_registry_away",
            "1 while the schema registry does not answer, and a record waits for it",
            registry=registry,
        )
        self.snapshots = Counter("streamproc_snapshots", "Snapshots written", registry=registry)
        self.snapshot_cpu = Counter(
            "streamproc_snapshot_cpu_seconds", "CPU that snapshots took", registry=registry
        )
        self.snapshot_failures = Counter(
            "streamproc_snapshot_failures", "Snapshots that could not be written", registry=registry
        )
        self.snapshots_unusable = Counter(
            "streamproc_snapshots_unusable", "Snapshots passed over at a start", registry=registry
        )
        self.snapshot_age = Gauge(
            "streamproc_snapshot_age_seconds",
            "How long ago the oldest of the tasks' last snapshots was written",
            registry=registry,
        )
        self.expired_waits = Gauge(
            "streamproc_expired_waits", "Waits for a lagging input given up", registry=registry
        )
        self.rekeyed_waiting = Gauge(
            "streamproc_rekeyed_waiting",
            "Records that wait for other partitions before they enter re-keyed windows",
            registry=registry,
        )
        self.incomplete = Counter(
            "streamproc_incomplete",
            "Predictions made without all of a re-keyed window",
            registry=registry,
        )
        self.overtaken = Gauge(
            "streamproc_overtaken",
            "Records that came when later ones had entered re-keyed windows",
            registry=registry,
        )
        Gauge("streamproc_worker", "This worker", ["instance"], registry=registry).labels(
            instance
        ).set(1)

    def taken(self, pipeline: Pipeline, topic: str, records: int) -> None:
        """Count a batch that a task took in."""
        self.batch_records.labels(topic).observe(records)
        if topic == pipeline.topics.events:
            self.events.inc(records)
        elif topic == pipeline.topics.labels:
            self.labels.inc(records)
        elif topic in pipeline.reaction_topics:
            self.reactions.labels(topic).inc(records)

    def wrote(self, output: Output) -> None:
        """Count what a task had written."""
        records = output.records
        self.predictions.inc(len(records.get("predictions", ())))
        for prediction in records.get("predictions", ()):
            self.incomplete.inc(
                any(name == "incomplete" for name, _ in prediction.get("headers", ()))
            )
        self.outcomes.inc(len(records.get("outcomes", ())))
        self.alerts.inc(len(records.get("alerts", ())))
        for letter in records.get("dead_letters", ()):
            reason = dict(letter.get("headers", ())).get("reason", b"")
            self.dead_letters.labels(reason.decode()).inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsServer:
    """Serves ``/metrics``, ``/healthz``, ``/readyz`` and ``/features/ENTITY``.

    ``features`` returns what the windows by some fields (none are the key) hold of an entity, as
    JSON, or None where this worker holds nothing; it is called in a thread of the server's.
    ``address`` is ``host:port``; port 0 takes a free one, and :attr:`address` tells which. With a
    ``token`` every request has to bring it (``Authorization: Bearer ...``); without, only loopback
    addresses are served. Raises :class:`StreamprocError` for others, and where the port is taken.
    """

    def __init__(
        self,
        address: str,
        metrics: Metrics,
        healthy: Callable[[], bool],
        ready: Callable[[], bool],
        refresh: Callable[[], None],
        token: str | None = None,
        features: Callable[[str, tuple[str, ...]], bytes | None] = lambda entity, by: None,
    ) -> None:
        host, _, port = address.rpartition(":")
        if token is None and not _is_loopback(host.strip("[]")):
            raise StreamprocError(
                f"STREAMPROC_METRICS_ADDRESS: {address} can be reached from other machines; set "
                "STREAMPROC_METRICS_TOKEN, which every request then has to bring, or use 127.0.0.1"
            )
        handler = _handler(metrics, healthy, ready, refresh, token, features)
        try:
            self._server = ThreadingHTTPServer((host.strip("[]"), int(port)), handler)
        except (OSError, OverflowError) as error:
            raise StreamprocError(
                f"STREAMPROC_METRICS_ADDRESS: cannot listen on {address}: {error}; "
                "choose another port, or 0 for a free one"
            ) from error
        self._server.daemon_threads = True
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def start(self) -> None:
        """Serve, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


_FEATURES = "/features/"
_TEXT = "text/plain"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _handler(
    metrics: Metrics,
    healthy: Callable[[], bool],
    ready: Callable[[], bool],
    refresh: Callable[[], None],
    token: str | None,
    features: Callable[[str, tuple[str, ...]], bytes | None],
) -> type[BaseHTTPRequestHandler]:
    wanted = None if token is None else f"Bearer {token}".encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "").encode()
            if wanted is not None and not hmac.compare_digest(given, wanted):
                self._answer(401, b"bring the token: Authorization: Bearer ...\n")
            elif self.path == "/metrics":
                refresh()
                self._answer(200, metrics.text(), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz":
                self._answer_if(healthy())
            elif self.path == "/readyz":
                self._answer_if(ready())
            elif self.path.startswith(_FEATURES):
                self._answer(*_features_of(self.path, features))
            else:
                self._answer(404, b"there are /metrics, /healthz, /readyz and /features/ENTITY\n")

        def _answer_if(self, fine: bool) -> None:
            self._answer(200 if fine else 503, b"ok\n" if fine else b"not yet\n")

        def _answer(self, status: int, body: bytes, kind: str = _TEXT) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not worth a line each."""

    return Handler


def _features_of(
    path: str, features: Callable[[str, tuple[str, ...]], bytes | None]
) -> tuple[int, bytes, str]:
    """Return the status, the body and its type for a path such as ``/features/C1?by=card``."""
    asked = urlsplit(path)
    entity = unquote(asked.path.removeprefix(_FEATURES))
    by = tuple(parse_qs(asked.query).get("by", ()))
    if not 0 < len(entity) <= LONGEST_ID:
        return 400, b"name an entity of 1 to 1000 characters: /features/ENTITY\n", _TEXT
    try:
        found = features(entity, by)
    except TimeoutError:
        return 503, b"the worker is busy; ask again\n", _TEXT
    if found is None:
        return 404, b"no state of this entity is here; other workers may have it\n", _TEXT
    return 200, found, "application/json"
