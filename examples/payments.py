"""Card payments: is this one fraud? Labels come some days late."""

from river import linear_model, preprocessing

from streamproc import (
    Calendar,
    Calibration,
    ConceptDrift,
    DataQuality,
    Drift,
    Events,
    Field,
    Health,
    Labels,
    LabelShift,
    Performance,
    Pipeline,
    PredictionBias,
    Window,
)

pipeline = Pipeline(
    name="payments",
    events=Events(
        "payments.transactions", id="transaction_id", key="customer_id", time="event_time"
    ),
    labels=Labels("payments.labels", id="transaction_id", value="fraud", horizon="14d"),
    features=[
        Field("amount", least=0),
        Calendar("event_time", ("is_weekend", "is_night")),
        Window("amount", by="customer_id", over=("1d", "7d", "30d"), aggregates=("count", "mean")),
    ],
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    monitors=[
        DataQuality(),
        Drift(),
        LabelShift(),
        ConceptDrift(),
        PredictionBias(),
        Calibration(),
        Performance(),
        Health(),
    ],
)
