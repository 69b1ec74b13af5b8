"""A machine's temperature every five minutes: is something out of the ordinary going on?

A series of the Numenta Anomaly Benchmark, whose windows end in a shutdown and a failure. An anomaly
detector needs no labels: it learns from what it has scored. One series has no entity either, so
its time serves as the key, which spreads the events over the partitions.

    streamproc backtest examples/machine.py machine_temperature_system_failure.csv --number-rows
"""

from river import anomaly, preprocessing

from streamproc import Calendar, Drift, Events, Field, Pipeline

pipeline = Pipeline(
    name="machine",
    events=Events("machine.readings", id="row", key="timestamp", time="timestamp"),
    features=[Field("value"), Calendar("timestamp", ("hour",))],
    model=preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=7),
    monitors=[Drift(bucket="1d")],
    threshold=0.99,  # a half-space tree's scores crowd together near 1
    publish_every=288,
)
