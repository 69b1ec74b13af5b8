"""Electricity demand in New South Wales, from its price and what the neighbours use.

The same file as in electricity.py; the demand becomes known half an hour later.

    streamproc backtest examples/demand.py electricity.csv.gz \
        --start 1996-05-07 --every 30m --number-rows --label-delay 30m
"""

from river import tree

from streamproc import Calendar, Drift, Events, Field, Labels, Pipeline, PredictionBias, Window

pipeline = Pipeline(
    name="demand",
    events=Events("demand.readings", id="row", key="day", time="at"),
    labels=Labels("demand.labels", id="row", value="nswdemand", horizon="1d"),
    features=[
        Field("period"),
        Field("nswprice"),
        Field("vicdemand"),
        Field("transfer"),
        Calendar("at", ("is_weekend", "is_night")),
        Window("vicdemand", by="day", over=("2h", "1d"), aggregates=("mean", "max")),
    ],
    model=tree.HoeffdingAdaptiveTreeRegressor(seed=7),
    monitors=[Drift(bucket="6h"), PredictionBias(bucket="6h")],
    publish_every=100,
)
