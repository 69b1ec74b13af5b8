"""`streamproc broker`: the embedded broker in the foreground."""

from __future__ import annotations

import typer

from streamproc.cli.common import AsJson, print_json
from streamproc.errors import StreamprocError
from streamproc.kafka.embedded import PARTITIONS, EmbeddedBroker

_LOOK_EVERY_S = 0.5

_ABOUT = f"""\
An embedded broker, for trying things out. Each topic has {PARTITIONS} partitions and keeps
about the last 5 MB of each; workers process at least once, and nothing is
there after its end. In another terminal:

    export STREAMPROC_BROKERS={{address}}

ctrl-C ends it."""


def broker(as_json: AsJson = False) -> None:
    """Run an embedded broker, on a free port of this machine, until ctrl-C ends it."""
    with EmbeddedBroker() as running:
        if as_json:
            print_json({"address": running.address})
        else:
            typer.echo(_ABOUT.format(address=running.address))
        while not running.wait(_LOOK_EVERY_S):
            pass
    raise StreamprocError("the embedded broker ended by itself; start it again")
