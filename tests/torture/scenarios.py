"""The faults, each a function of a field that does one round; returns the recovery, in seconds."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.kafka.processes import eventually
from tests.torture.clock import clock, faked
from tests.torture.crashing import EXIT_CODE, POINTS
from tests.torture.field import USUAL, Field, Setup
from tests.torture.hostile import hostile
from tests.torture.lasting import flat, minute
from tests.torture.storing import failing, store
from tests.torture.verdicts import for_verdicts, killings, same_verdicts

SESSION_S = 6.0


@dataclass(frozen=True)
class Scenario:
    """A fault: how many rounds, and within how many seconds things go on in 95 of 100."""

    fault: str
    round: Callable[[Field], float]
    rounds: int
    within_s: float
    proxied: bool = False
    setup: Setup = USUAL
    after: Callable[[Field], tuple[list[str], list[str]]] = lambda field: ([], [])
    """What is told, and what did not hold, beyond the oracle's verdict."""


def kill(field: Field) -> float:
    """SIGKILL one worker at a random moment, start it again at once."""
    field.wait(0.2, 2.5)
    instance = field.any()
    field.kill(instance)
    began_s = time.monotonic()
    field.start(instance)
    return field.recovered(began_s)


def zombie(field: Field) -> float:
    """SIGSTOP one worker until it is evicted, then SIGCONT."""
    field.wait(0.2, 2.0)
    instance = field.any()
    process = field.workers[instance].process
    process.send_signal(signal.SIGSTOP)
    began_s = time.monotonic()
    took_s = field.recovered(began_s)
    field.wait(SESSION_S, SESSION_S + 6.0)
    process.send_signal(signal.SIGCONT)
    began_s = time.monotonic()
    field.wait(3.0, 5.0)
    field.revive()
    field.recovered(began_s)
    return max(0.0, took_s - SESSION_S)


def scale(field: Field) -> float:
    """Add a third worker, then take two away, by SIGTERM, and add one again."""
    field.start(_another(field)).wait_until_scoring()
    slowest_s = field.recovered(time.monotonic())
    for _ in range(2):
        field.wait(0.2, 1.0)
        slowest_s = max(slowest_s, field.recovered(field.leave(field.any())))
    field.start(_another(field)).wait_until_scoring()
    return max(slowest_s, field.recovered(time.monotonic()))


def _another(field: Field) -> str:
    """Return the name of a worker that does not run."""
    return next(name for name in ("w1", "w2", "w3") if name not in field.workers)


def gone(field: Field) -> float:
    """SIGKILL one worker that does not come back before its partitions have gone on."""
    field.wait(0.2, 2.0)
    instance = field.any()
    took_s = field.recovered(field.kill(instance))
    field.start(instance).wait_until_scoring()
    field.recovered(time.monotonic())
    return max(0.0, took_s - SESSION_S)


def twins(field: Field) -> float:
    """Start a second process with the name of one that runs: one of the two ends, with a word."""
    field.wait(0.2, 1.0)
    instance = field.any()
    first = field.workers[instance]
    began_s = time.monotonic()
    second = field.start(instance)
    eventually(lambda: not (first.alive and second.alive), "one of the two to end", 30.0)
    took_s = time.monotonic() - began_s
    ended, runs = (first, second) if second.alive else (second, first)
    ended.process.wait()
    assert "STREAMPROC_INSTANCE" in ended.tail(), ended.tail()
    field.workers[instance] = runs
    field.recovered(time.monotonic())
    return took_s


def broker(field: Field) -> float:
    """SIGKILL the broker and start it again; every other round it is away for 20 s."""
    field.wait(1.0, 3.0)
    field.kafka.kill()
    if field.chance.random() < 0.5:
        time.sleep(20.0)
    field.kafka.start()
    began_s = time.monotonic()
    took_s = field.recovered(began_s)
    if field.revive():
        raise RuntimeError("a worker ended because the broker was away")
    return took_s


def cut(field: Field) -> float:
    """Cut the wire between one worker and the broker for 1 to 30 s."""
    assert field.proxy is not None
    field.wait(0.5, 2.0)
    field.proxy.cut()
    field.wait(1.0, 30.0)
    field.proxy.mend()
    took_s = field.recovered(time.monotonic())
    if field.revive():
        raise RuntimeError("a worker ended because its wire was cut")
    return took_s


def points(field: Field) -> float:
    """Let a worker crash at one of the named points, each in its turn, and start it again."""
    names = sorted(POINTS)
    random.Random(field.seed).shuffle(names)  # which ones, where rounds are capped
    point = names[field.round % len(names)]
    field.round += 1
    # The first of a group's members gets the one partition of the learner, who alone stores.
    instance = "w1" if point.endswith("store") else field.any()
    field.leave(instance)
    times = str(field.chance.randint(1, POINTS[point]))
    line = [sys.executable, "-m", "tests.torture.crashing", point, times, str(field.pipeline)]
    worker = field.start(instance, line)
    eventually(lambda: not worker.alive, f"the crash at {point}", 60.0)
    assert worker.process.returncode == EXIT_CODE, worker.tail()
    began_s = time.monotonic()
    field.start(instance)
    return field.recovered(began_s)


SCENARIOS = {
    "kill": Scenario("kill -9 of a worker, restarted at once", kill, 200, 3.0),
    "zombie": Scenario("SIGSTOP past the session timeout, then SIGCONT", zombie, 30, 3.0),
    "scale": Scenario("workers added and removed (2, 3, 1, 2)", scale, 30, 3.0),
    "gone": Scenario("kill -9 of a worker that never comes back", gone, 30, 3.0),
    "twins": Scenario("two processes with one instance name", twins, 10, 10.0),
    "broker": Scenario("broker killed with -9, or away for 20 s", broker, 30, 5.0),
    "points": Scenario("crash at a named point of start and commit", points, len(POINTS), 3.0),
    "cut": Scenario("connection cut between a worker and the broker", cut, 30, 5.0, proxied=True),
    "sixteen": Scenario(
        "kill -9 of one worker with 16 partitions and all stages",
        kill, 10, 3.0, setup=Setup(partitions=16, instances=("w1",), every=16),
    ),
    "rekeyed": Scenario(
        "kill -9 of one of two with 16 partitions and windows by another entity",
        kill, 30, 3.0, setup=Setup(partitions=16, every=4, terminals=True),
    ),
    **{
        f"alerts{partitions}": Scenario(
            f"kill -9 at random, verdicts on {partitions} as on one",
            killings, 10, 5.0, after=same_verdicts,
            setup=Setup(partitions, instances, every=16, rewrite=for_verdicts),
        )
        for partitions, instances in ((1, ("w1",)), (4, ("w1", "w2")), (16, ("w1", "w2")))
    },
    "store": Scenario(
        "store away, full, read-only, slow; snapshots damaged",
        store, 50, 10.0, setup=Setup(before=failing, alone=True),
    ),
    "clock": Scenario(
        "clock stepped back and forth by an hour", clock, 5, 3.0, setup=Setup(before=faked)
    ),
    "hostile": Scenario(
        "hostile records, ten thousand a round",
        hostile, 100, 5.0, setup=Setup(rate=100, every=16), after=flat,
    ),
    "avro": Scenario(
        "hostile Avro, ten thousand a round",
        hostile, 10, 5.0, after=flat,
        setup=Setup(instances=("w1",), rate=100, every=16, avro=True),
    ),
    "soak": Scenario(
        "2,000 events/s, a kill -9 a minute",
        minute, 30, 3.0, setup=Setup(rate=2_000), after=flat,
    ),
}  # fmt: skip
"""Times of zombie and gone are those beyond the session timeout of 6 s."""
