"""Card payments as the Fraud Detection Handbook has them: its features, and what they lack.

`make handbook` measures it on the handbook's test week.
"""

from river import compose, linear_model, optim, preprocessing

from streamproc import (
    Calendar,
    Drift,
    Events,
    Field,
    Labels,
    LabelWindow,
    Log,
    Over,
    Pipeline,
    PredictionBias,
    Ratio,
    Window,
)

clock = Calendar("event_time", ("is_weekend", "is_night"))
customer = Window(
    "amount",
    by="customer_id",
    over=("1d", "7d", "30d"),
    aggregates=("count", "mean", "std"),  # std: with stolen payments among them, amounts vary more
)
terminal = LabelWindow(
    by="terminal_id",
    over=("1d", "3d", "7d", "14d", "28d"),  # the newest label tells most, the oldest how long ago
    aggregates=("count", "mean"),  # count: of whom little is known, more is possible
    prior=0.01,  # about one payment in a hundred is a fraud
    prior_count=2,  # and two labels tell as much as knowing that
)
# The same as log-odds, which a logistic regression adds up as they are.
of_late = LabelWindow(
    by="terminal_id",
    over=("1d", "3d", "7d"),
    aggregates=("log_odds",),
    prior=0.01,
    prior_count=2,
)
# Frauds that are known, of the last 21 days of labels: a terminal stays compromised for 28 days
# and a label is 7 days late, so one that has these may well be compromised still.
frauds = LabelWindow(by="terminal_id", over=("21d",), aggregates=("sum",))

# What is bought for, beside what the customer is used to.
used_to = Ratio("amount", "amount_mean_30d_by_customer_id")
# What the customer does of late, beside what was usual: a stolen card shows in all that is paid.
this_week = Ratio("amount_mean_7d_by_customer_id", "amount_mean_30d_by_customer_id")
today = Ratio("amount_mean_1d_by_customer_id", "amount_mean_30d_by_customer_id")
varies_more = Ratio("amount_std_7d_by_customer_id", "amount_std_30d_by_customer_id")
varies = Ratio("amount_std_30d_by_customer_id", "amount_mean_30d_by_customer_id")
of_customer = (this_week, today, varies_more, varies)
skewed = tuple(name for ratio in of_customer for name in ratio.names)

pipeline = Pipeline(
    name="handbook",
    events=Events(
        "payments.transactions", id="transaction_id", key="customer_id", time="event_time"
    ),
    labels=Labels("payments.labels", id="transaction_id", value="fraud", horizon="14d"),
    features=[
        Field("amount"),
        clock,
        customer,
        terminal,
        of_late,
        frauds,
        Log("amount"),  # amounts are skewed; a linear model is not
        Over("amount", 220),  # nobody pays that much with a card of their own
        used_to,
        *of_customer,
        *(Log(name) for name in (*used_to.names, *skewed)),  # ratios are skewed too
        *(Over(used_to.names[0], times) for times in (2, 2.5, 3, 4)),  # steps, where risk leaps
        *(Over(frauds.names[0], many) for many in (0, 1, 2)),  # one may be chance, three are not
    ],
    # AdaGrad gives each feature a rate of its own: some are 1 in a payment of a hundred. What says
    # nothing beside the rest (the clock, what logarithms are taken of) is left out, as noise.
    model=compose.Discard("amount", *clock.parts, *customer.names, *frauds.names, *skewed)
    | preprocessing.StandardScaler()
    | linear_model.LogisticRegression(optim.AdaGrad(0.05)),
    monitors=[Drift(), PredictionBias()],
)
