"""Card payments as the Fraud Detection Handbook has them, with features of what frauds look like.

`make handbook` measures it on the handbook's test week.
"""

from river import compose, linear_model, optim, preprocessing

from streamproc import (
    Clipped,
    Drift,
    Events,
    Labels,
    LabelWindow,
    Log,
    Over,
    Pipeline,
    PredictionBias,
    Ratio,
    Window,
)

# What a customer is used to, over so long that a stolen card's payments are the smaller part.
usual = Window("amount", by="customer_id", over=("60d",), aggregates=("mean", "std"))
highest = Window("amount", by="customer_id", over=("3d", "7d"), aggregates=("max",))
mean, deviation = usual.names

# A payment beside that. What is usual is all one: where nothing is suspicious, how little is known
# of the terminal is to decide which payment is looked at first.
times = Ratio("amount", mean)
times_or_usual = Clipped(times.names[0], 1.5, 10)
# A card that was stolen shows in the other payments too: one is high, and they vary more.
highest_times = [Ratio(name, mean) for name in highest.names]
varies = Ratio(deviation, mean)
varies_or_usual = Clipped(varies.names[0], 0.7, 3)

# A terminal that is compromised stays so for weeks. Log-odds add up in a logistic regression. With
# a prior that counts for one label they also say how little is known, of which more is possible.
terminal = LabelWindow(
    by="terminal_id",
    over=("1d", "3d", "7d", "14d", "21d", "35d"),
    aggregates=("log_odds",),
    prior=0.01,  # about one payment in a hundred is a fraud
    prior_count=1,
)
of_7_days, of_14_days, of_35_days = (terminal.names[i] for i in (2, 3, 5))
# One fraud may be chance, three are not.
frauds = LabelWindow(by="terminal_id", over=("14d", "21d", "28d"), aggregates=("sum",))
in_14_days, in_21_days, in_28_days = frauds.names

steps = (
    Over("amount", 220),  # nobody pays that much with a card of their own
    *(Over(times.names[0], many) for many in (2, 2.5, 3, 4)),
    *(Over(ratio.names[0], 3) for ratio in highest_times),
    Over(of_7_days, -2.2),  # odds of 1 to 9: a fraud is known
    Over(of_14_days, -2.2),
    Over(of_35_days, 0),  # more frauds than not: it began lately, and goes on
    *(Over(in_14_days, many) for many in (1, 2)),
    Over(in_21_days, 2),
)

logarithms = (*times_or_usual.names, *varies_or_usual.names, in_28_days)

# What others are made of, and what tells the model nothing beside them.
ingredients = (
    *(*usual.names, *highest.names, *times.names, *times_or_usual.names),
    *(name for ratio in highest_times for name in ratio.names),
    *(*varies.names, *varies_or_usual.names, of_35_days, *frauds.names),
)

pipeline = Pipeline(
    name="handbook",
    events=Events(
        "payments.transactions", id="transaction_id", key="customer_id", time="event_time"
    ),
    labels=Labels("payments.labels", id="transaction_id", value="fraud", horizon="14d"),
    features=[
        usual,
        highest,
        times,
        times_or_usual,
        *highest_times,
        varies,
        varies_or_usual,
        terminal,
        frauds,
        *(Log(name) for name in logarithms),
        *steps,
    ],
    # AdaGrad gives each feature a rate of its own: some are 1 in a payment of a hundred.
    model=compose.Discard(*ingredients)
    | preprocessing.StandardScaler()
    | linear_model.LogisticRegression(optim.AdaGrad(0.05)),
    monitors=[Drift(), PredictionBias()],
)
