"""The demo's pipeline: payments, of which some turn out to be fraud a day later."""

from river import linear_model, preprocessing

from streamproc import Calendar, Drift, Events, Field, Labels, Pipeline, PredictionBias, Window

pipeline = Pipeline(
    name="demo",
    events=Events("demo.payments", id="transaction_id", key="customer_id", time="event_time"),
    labels=Labels("demo.labels", id="transaction_id", value="fraud", horizon="14d"),
    features=[
        Field("amount"),
        Calendar("event_time", ("is_weekend", "is_night")),
        Window("amount", by="customer_id", over=("1d", "7d"), aggregates=("count", "mean")),
    ],
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    # Some 300 payments a bucket for a mean, 600 for a rate: long enough to tell, short enough to
    # have learnt what is usual when the first fault comes.
    monitors=[Drift(bucket="6h"), PredictionBias(slices=("country",), bucket="12h")],
)
