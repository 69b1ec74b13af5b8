"""A pipeline and its settings as a Faust app; also for ``faust -A agents.app worker``."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka
import faust
import structlog
from faust.tables.manager import TableManager
from faust.types import TP

from agents.alerts import AlertStage
from agents.bias import BiasStage
from agents.deployment import Deployment, codec_of
from agents.drift import DriftStage
from agents.learn import LearnStage
from agents.leaving import end_open_transactions, leave
from agents.lookups import LookupFollower
from agents.metrics import Metrics, MetricsServer
from agents.models import ModelFollower
from agents.notify import notifiers
from agents.observe import Observer
from agents.online import online_features
from agents.poller import Poller
from agents.rekeyed import RekeyedStage
from agents.runner import Runner
from agents.score import ScoreStage
from agents.stage import Stage
from agents.transport import Transport
from agents.writing import (
    REKEYED_TRANSACTION_EVERY_S,
    TRANSACTION_EVERY_S,
    AtLeastOnce,
    ExactlyOnce,
)
from streamproc.errors import StreamprocError
from streamproc.kafka.topics import create, probe, topic_ids
from streamproc.messages import ModelVersion
from streamproc.models.scoring import Scorer
from streamproc.models.versions import Store
from streamproc.monitors import outcome_fold
from streamproc.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.tasks.fold import watches_predictions

log = structlog.get_logger("worker")
_READY_TIMEOUT_S = 30.0


class Tables(TableManager):
    """Faust's manager of tables, which waits a second for them to be declared; we have none."""

    async def on_start(self) -> None:
        """Begin at once."""
        await self._update_channels()
        await self.recovery.start()


class App(faust.App):
    """A Faust app whose agents hand batches to a runner."""

    runner: Runner
    deployment: Deployment
    patient_topics: frozenset[str] = frozenset()
    on_ended: Callable[[], None] = staticmethod(lambda: None)

    def _new_transport(self) -> Any:
        return Transport(self.conf.broker_consumer, self, loop=self.loop)

    def _new_consumer_transport(self) -> Any:
        return self._new_transport()

    def _new_producer_transport(self) -> Any:
        return self._new_transport()

    def on_init_dependencies(self) -> Any:
        """Leave out Faust's own statistics, which time every message."""
        services = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        self.sensors.add(faust.Sensor())  # with none at all it warns at every rebalance
        return services

    def consumer_config(self) -> dict[str, Any]:
        """Return librdkafka's configuration for the group's consumer."""
        return self.deployment.consumer_config()

    @property
    def poller(self) -> Poller:
        """What polls the consumer; it is there once the app has started."""
        consumer: Any = self.consumer
        poller: Poller = consumer.poller
        return poller

    def left(self, member: str) -> None:
        """Leave the group as a static member; called in the poller's thread, at its end."""
        if not self.deployment.embedded:
            leave(self.deployment.settings, self.deployment.pipeline.name, member)

    def end_open_transactions(self) -> None:
        """Abort what dead workers left open; called in the poller's thread."""
        end_open_transactions(self.deployment)

    def start_offsets(self, committed: dict[TP, int]) -> dict[TP, int]:
        """Return where to read assigned partitions from; called in the poller's thread."""
        return self.runner.start_offsets(committed)

    def fail(self, error: Exception) -> None:
        """End the worker for a reason, also one that comes before the rounds have begun."""
        self.runner.fail(error)
        self.on_ended()

    async def stop(self) -> None:
        """Commit what was processed, then stop as Faust does."""
        if not self.should_stop:
            await self.runner.stop()
        await super().stop()


def build(
    pipeline: Pipeline,
    settings: Settings,
    fresh_model: bool = False,
    state_from: str | None = None,
) -> App:
    """Return the app of a pipeline: checks the brokers, makes missing topics, declares agents.

    With ``fresh_model`` a model that changed is learnt anew; ``state_from`` is where windows come
    from instead of snapshots, see :class:`Deployment`. Raises :class:`StreamprocError` where no
    broker answers, or topics don't fit.
    """
    config = settings.kafka_config()
    cluster = probe(config)
    topics = create(config, pipeline)
    deployment = Deployment(
        pipeline=pipeline,
        settings=settings,
        codec=codec_of(pipeline, settings),
        store=Store(settings.store),
        partitions=topics[0].partitions,
        embedded=cluster.embedded,
        exactly_once=_exactly_once(settings, cluster.embedded),
        epoch=time.time_ns() // 1_000_000,
        topic_ids={} if cluster.embedded else topic_ids(config, [each.name for each in topics]),
        unblock=end_open_transactions,
        fresh_model=fresh_model,
        state_from=state_from,
    )
    app = App(
        pipeline.name,
        broker=[f"kafka://{address.strip()}" for address in settings.brokers.split(",")],
        datadir=str(Path(tempfile.gettempdir()) / f"streamproc-{os.getpid()}"),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        value_serializer="raw",
        key_serializer="raw",
        stream_wait_empty=False,
        broker_session_timeout=60.0,
        TableManager=Tables,
    )
    app.deployment = deployment
    metrics = Metrics(settings.instance)
    score = ScoreStage(deployment, metrics)
    stages: list[Stage] = [score]
    if pipeline.rekeyed(deployment.partitions):
        stages.append(RekeyedStage(deployment, metrics))
    if pipeline.learns:
        stages.append(LearnStage(deployment))
    if watches_predictions(pipeline):
        stages.append(DriftStage(deployment, score))
    if outcome_fold(pipeline) is not None:
        stages.append(BiasStage(deployment, score))
    judge = AlertStage(deployment, metrics) if pipeline.monitors else None
    stages += [judge] if judge else []
    runner = Runner(
        pipeline,
        _writer(app),
        deployment.store,
        stages,
        metrics,
        instance=settings.instance,
        journals=deployment.exactly_once,
        all_started=deployment.readers.close,
    )
    app.runner = runner
    app.patient_topics = frozenset(t for stage in stages if stage.patient for t in stage.topics)
    observer = Observer(runner, score, judge, metrics)
    _declare(app, runner, stages)
    _declare_services(app, runner, score, observer)
    return app


def _exactly_once(settings: Settings, embedded: bool) -> bool:
    if embedded:
        log.info("at_least_once", why="the embedded broker does not isolate transactions")
        return False
    return settings.guarantee != "at_least_once"


def _writer(app: App) -> AtLeastOnce | ExactlyOnce:
    """Return what writes; for the group it asks the poller, which is there once the app runs."""
    at = app.deployment
    if not at.exactly_once:
        producer = confluent_kafka.Producer(at.producer_config())
        return AtLeastOnce(producer, lambda offsets: app.poller.commit(offsets))
    instance, rekeyed = at.settings.instance, at.pipeline.rekeyed(at.partitions)
    writer = ExactlyOnce(
        lambda: confluent_kafka.Producer(at.transactional_config(instance)),
        group=lambda: app.poller.group,
        instance=instance,
        every_s=REKEYED_TRANSACTION_EVERY_S if rekeyed else TRANSACTION_EVERY_S,
    )
    writer.start_meanwhile()
    return writer


def _declare(app: App, runner: Runner, stages: list[Stage]) -> None:
    """Declare one Faust agent a topic: it moves batches from its stream to the runner."""
    for stage in stages:
        for name in stage.topics:
            topic = app.topic(
                name, value_type=None, value_serializer="raw", key_serializer="raw", acks=False
            )

            async def move(stream: Any) -> None:
                async for batch in stream:
                    runner.offer(batch)

            app.agent(topic, name=f"{stage.name}-{name}")(move)


def _declare_services(app: App, runner: Runner, score: ScoreStage, observer: Observer) -> None:
    """Connect the runner with Faust's life: the rounds, and the coming and going of partitions."""

    @app.task  # type: ignore[untyped-decorator]  # Faust's decorator has no types
    async def rounds() -> None:
        ending: list[Callable[[], None]] = []
        try:
            server = _server(app.deployment.settings, runner, score, observer)
            ending.append(server.stop)
            lookups = _lookups(app, score)
            ending.append(lookups.stop)
            follower = _follower(app.deployment, runner, score, observer)
            ending.append(follower.stop)
            if not await asyncio.to_thread(follower.ready.wait, _READY_TIMEOUT_S):
                raise StreamprocError(
                    f"{runner.pipeline.topics.models} could not be read within "
                    f"{_READY_TIMEOUT_S:.0f} s; see whether the broker is up"
                )
            await lookups.until_ready()  # the first event is given what was there before it
            for notifier in notifiers(app.deployment, runner.metrics):
                notifier.start()
                ending.append(notifier.stop)
            runner.models_known.set()
            runner.rejoin = app.poller.rejoin
            await runner.run()
        except Exception as error:  # whatever ends the rounds ends the worker, and is told
            runner.fail(error)
        finally:
            for end in ending:
                end()
            app.on_ended()

    async def on_assigned(*args: Any, **kwargs: Any) -> None:
        runner.assigned(args[1])

    async def on_revoked(*args: Any, **kwargs: Any) -> None:
        await runner.revoked(args[1])

    app.on_partitions_assigned.connect(on_assigned, weak=False)
    app.on_partitions_revoked.connect(on_revoked, weak=False)


def _lookups(app: App, score: ScoreStage) -> LookupFollower:
    loop, metrics = asyncio.get_running_loop(), app.runner.metrics

    def on_failed(error: Exception) -> None:
        loop.call_soon_threadsafe(app.fail, error)

    lookups = LookupFollower(app.deployment, score.tables, metrics, on_failed)
    lookups.start()
    return lookups


def _follower(
    deployment: Deployment, runner: Runner, score: ScoreStage, observer: Observer
) -> ModelFollower:
    loop = asyncio.get_running_loop()

    def on_version(version: ModelVersion, scorer: Scorer) -> None:
        loop.call_soon_threadsafe(score.take_up, scorer)
        observer.version = version["version"]
        observer.published_at_ms = version["published_at_ms"]

    def hear(learnt: dict[str, Any]) -> None:
        score.heard(learnt, runner.clock_ms())
        runner.wake(score)

    def on_progress(learnt: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(hear, learnt)

    follower = ModelFollower(deployment, on_version, on_progress)
    follower.start()
    return follower


def _server(
    settings: Settings, runner: Runner, score: ScoreStage, observer: Observer
) -> MetricsServer:
    token = settings.metrics_token
    rekeyed = next((stage for stage in runner.stages if isinstance(stage, RekeyedStage)), None)
    server = MetricsServer(
        settings.metrics_address,
        runner.metrics,
        healthy=lambda: runner.failure is None,
        ready=runner.ready,
        refresh=observer.refresh,
        token=token.get_secret_value() if token else None,
        features=online_features(score, rekeyed),
    )
    server.start()
    log.info("serving", metrics=f"http://{server.address}/metrics")
    return server


def __getattr__(name: str) -> Any:
    """Make ``app`` when Faust asks for it, from STREAMPROC_PIPELINE."""
    if name != "app":
        raise AttributeError(name)
    settings = Settings.load()
    if settings.pipeline is None:
        raise StreamprocError("STREAMPROC_PIPELINE: set it to the pipeline file to run")
    globals()["app"] = made = build(Pipeline.load(settings.pipeline), settings)
    return made
