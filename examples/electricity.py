"""Electricity in New South Wales: will the price be above its average of the last day?

The half-hourly market data known as Elec2 (Harries 1999; Gama 2004). It has no id, time or entity
of its own: rows are numbered and stamped as they are sent, and the day of the week serves as the
key, so that a window of a day is today so far, and one of eight days adds the same day last week.

    streamproc backtest examples/electricity.py electricity.csv.gz \
        --start 1996-05-07 --every 30m --number-rows --label-delay 30m
"""

from river import forest

from streamproc import Drift, Events, Field, Labels, Pipeline, PredictionBias, Window

pipeline = Pipeline(
    name="electricity",
    events=Events("electricity.readings", id="row", key="day", time="at"),
    labels=Labels("electricity.labels", id="row", value="up", horizon="1d"),
    features=[
        Field("period"),
        Field("nswprice"),
        Field("nswdemand"),
        Field("vicprice"),
        Field("vicdemand"),
        Field("transfer"),
        Window("nswprice", by="day", over=("1h", "1d", "8d"), aggregates=("mean",)),
    ],
    model=forest.ARFClassifier(n_models=5, seed=7),
    monitors=[Drift(bucket="6h"), PredictionBias(bucket="6h")],
    publish_every=100,
)
