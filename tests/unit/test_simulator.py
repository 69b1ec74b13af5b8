"""The simulator: the same for a seed, in order, with the frauds and faults it promises."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from datetime import UTC, datetime

import pytest

from streamproc.errors import StreamprocError
from streamproc.simulator import (
    COUNTRIES,
    DAY_MS,
    LARGE_AMOUNT,
    CovariateDrift,
    Payment,
    PredictionBias,
    simulate,
)

START_MS = 1_522_540_800_000  # 2018-04-01T00:00:00Z


@pytest.fixture(scope="module")
def payments() -> list[Payment]:
    """Forty days without a fault."""
    return list(simulate(seed=7, start_ms=START_MS, days=40))


def at_ms(days: float) -> int:
    """Return the time so many days after the start."""
    return START_MS + int(days * DAY_MS)


def test_one_seed_gives_one_stream() -> None:
    """Two runs of one seed agree payment by payment; another seed differs."""
    first, again, other = (list(simulate(seed, START_MS, days=2)) for seed in (1, 1, 2))
    assert again == first
    assert other != first
    terminals = [
        {p.event["terminal_id"] for p in stream if p.scenario == 2} for stream in (first, other)
    ]
    assert len(terminals[0] & terminals[1]) <= 1, "another seed compromises other terminals"


def test_a_longer_run_begins_with_the_shorter(payments: list[Payment]) -> None:
    """The number of days does not change the days before, so a demo can be cut or extended."""
    assert payments[: len(list(simulate(7, START_MS, days=3)))] == list(
        simulate(7, START_MS, days=3)
    )


def test_payments_come_in_time_order_with_running_ids(payments: list[Payment]) -> None:
    """Times never go back and ids count from 0 over the days."""
    times = [payment.event_time_ms for payment in payments]
    assert times == sorted(times)
    assert [payment.event["transaction_id"] for payment in payments] == list(range(len(payments)))
    assert times[0] >= START_MS
    assert times[-1] < at_ms(40)


def test_the_event_time_is_the_time_in_rfc_3339(payments: list[Payment]) -> None:
    """The text has milliseconds and Z, and the standard library reads the same time from it."""
    for payment in payments[:2_000]:
        text = payment.event["event_time"]
        read = datetime.fromisoformat(text)
        assert text.endswith("Z")
        assert len(text) == len("2018-04-01T00:00:00.000Z")
        assert (read - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000 == pytest.approx(
            payment.event_time_ms, abs=0.01
        )


def test_the_label_is_not_in_the_event(payments: list[Payment]) -> None:
    """The event has six fields, fraud not among them; the row adds it in one column."""
    payment = payments[0]
    assert list(payment.event) == [
        "transaction_id",
        "event_time",
        "customer_id",
        "terminal_id",
        "amount",
        "country",
    ]
    assert payment.row == {**payment.event, "fraud": payment.fraud}


def test_amounts_are_positive_with_two_decimals(payments: list[Payment]) -> None:
    """Every amount is at least a cent and no fraction of one."""
    for payment in payments:
        amount = payment.event["amount"]
        assert amount >= 0.01
        assert amount == round(amount, 2)


def test_a_customer_has_one_country_and_few_terminals(payments: list[Payment]) -> None:
    """Customers stay in their country and pay at the terminals around them."""
    countries, terminals = defaultdict(set), defaultdict(set)
    for payment in payments:
        countries[payment.event["customer_id"]].add(payment.event["country"])
        terminals[payment.event["customer_id"]].add(payment.event["terminal_id"])
    assert {len(names) for names in countries.values()} == {1}
    # A circle of radius 5 on the map of 100 x 100 holds 3,000 * pi * 25 / 10,000 = 24 of them.
    assert 15 < sum(map(len, terminals.values())) / len(terminals) < 26


def test_countries_have_their_shares(payments: list[Payment]) -> None:
    """Each country has its uneven share of customers, within chance for 600 of them."""
    of = {payment.event["customer_id"]: payment.event["country"] for payment in payments}
    found = Counter(of.values())
    for country, share in COUNTRIES.items():
        spread = math.sqrt(share * (1 - share) * len(of))
        assert abs(found[country] - share * len(of)) < 4 * spread


def test_fraud_is_one_to_three_percent_and_steady(payments: list[Payment]) -> None:
    """The rate is between 1 and 3 % over all, and near that from the first week to the last."""
    rate = sum(payment.fraud for payment in payments) / len(payments)
    assert 0.01 < rate < 0.03
    for week in range(5):
        span = [p for p in payments if at_ms(7 * week) <= p.event_time_ms < at_ms(7 * week + 7)]
        assert rate / 1.7 < sum(p.fraud for p in span) / len(span) < rate * 1.7


def test_each_kind_of_fraud_looks_as_the_handbook_says(payments: list[Payment]) -> None:
    """Large amounts are fraud, leaked cards pay some five times as much, terminals do not."""
    mean = {
        scenario: sum(p.event["amount"] for p in group) / len(group)
        for scenario in range(4)
        if (group := [p for p in payments if p.scenario == scenario])
    }
    assert sorted(mean) == [0, 1, 2, 3]
    assert all(p.event["amount"] <= LARGE_AMOUNT for p in payments if p.scenario == 0)
    assert all(p.event["amount"] > LARGE_AMOUNT for p in payments if p.scenario == 1)
    assert 0.8 < mean[2] / mean[0] < 1.25
    assert 4 < mean[3] / mean[0] < 6
    assert all(p.fraud == (p.scenario > 0) for p in payments)


def test_a_compromised_terminal_is_bad_for_days_on_end(payments: list[Payment]) -> None:
    """Between the first and last fraud of a terminal in one spell, all its payments are fraud."""
    by_terminal = defaultdict(list)
    for payment in payments:
        by_terminal[payment.event["terminal_id"]].append(payment)
    spells = 0
    for history in by_terminal.values():
        bad = [p.event_time_ms for p in history if p.scenario == 2]
        for first, last in itertools.pairwise(bad):
            if last - first < DAY_MS:
                spells += 1
                assert all(p.fraud for p in history if first <= p.event_time_ms <= last)
    assert spells > 20


def test_days_are_busier_than_nights_and_weekends_like_weekdays(payments: list[Payment]) -> None:
    """Noon sees several times the payments of the small hours; no day of the week stands out."""
    hours = Counter(p.event_time_ms // 3_600_000 % 24 for p in payments)
    weekdays = Counter(p.event_time_ms // DAY_MS % 7 for p in payments[: len(payments) * 35 // 40])
    assert 2 < (hours[11] + hours[12]) / (hours[1] + hours[2]) < 6
    assert max(weekdays.values()) < 1.25 * min(weekdays.values())


def test_a_drift_changes_amounts_inside_its_span_and_nothing_else(payments: list[Payment]) -> None:
    """Inside, amounts are the old ones times the factor plus the shift; labels stay."""
    drift = CovariateDrift(start_ms=at_ms(10), end_ms=at_ms(15), factor=1.5, shift=2.0)
    drifted = list(simulate(7, START_MS, days=40, faults=[drift]))
    assert len(drifted) == len(payments)
    for before, after in zip(payments, drifted, strict=True):
        if at_ms(10) <= before.event_time_ms < at_ms(15):
            assert after.event["amount"] == pytest.approx(
                before.event["amount"] * 1.5 + 2, abs=0.02
            )
            assert after._replace(event={}) == before._replace(event={})
        else:
            assert after == before


def test_a_bias_multiplies_the_fraud_of_one_country_and_shows_in_no_feature(
    payments: list[Payment],
) -> None:
    """Only labels of that country within the span change, to more than twice the fraud."""
    bias = PredictionBias(country="BE", start_ms=at_ms(20), end_ms=at_ms(27))
    biased = list(simulate(7, START_MS, days=40, faults=[bias]))
    assert [p.event for p in biased] == [p.event for p in payments]
    assert all(b.fraud <= a.fraud for b, a in zip(payments, biased, strict=True))
    changed = [after for before, after in zip(payments, biased, strict=True) if after != before]
    assert {p.event["country"] for p in changed} == {"BE"}
    assert {p.scenario for p in changed} == {4}
    assert sum(p.fraud for p in biased) == sum(p.fraud for p in payments) + len(changed)
    assert all(at_ms(20) <= p.event_time_ms < at_ms(27) for p in changed)
    slice_before = sum(
        p.fraud
        for p in payments
        if p.event["country"] == "BE" and at_ms(20) <= p.event_time_ms < at_ms(27)
    )
    assert slice_before + len(changed) > 2 * slice_before


def test_it_is_lazy() -> None:
    """The first payment of a million days is there at once: days are made as they are asked for."""
    assert next(simulate(1, START_MS, days=1_000_000)).event["transaction_id"] == 0


def test_a_customer_far_from_all_terminals_pays_at_the_nearest() -> None:
    """With one terminal everyone pays there, however far."""
    few = list(simulate(1, START_MS, days=2, customers=5, terminals=1))
    assert {payment.event["terminal_id"] for payment in few} == {0}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"days": 0}, "days=0"),
        ({"days": 1, "customers": 0}, "customers=0"),
        ({"days": 1, "terminals": 0}, "terminals=0"),
        ({"days": 1, "start_ms": START_MS + 1}, "midnight"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(arguments: dict[str, int], named: str) -> None:
    """The message names the argument, at the call and not at the first payment."""
    with pytest.raises(StreamprocError, match=named):
        simulate(**{"seed": 1, "start_ms": START_MS, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CovariateDrift(field="country", start_ms=0, end_ms=1), "'amount'"),  # type: ignore[arg-type]
        (lambda: CovariateDrift(start_ms=0, end_ms=1, factor=0), "factor=0"),
        (lambda: CovariateDrift(start_ms=1, end_ms=1), "end must come after"),
        (lambda: PredictionBias(country="XX", start_ms=0, end_ms=1), "NL, DE"),
        (lambda: PredictionBias(country="NL", start_ms=2, end_ms=1), "end must come after"),
        (lambda: PredictionBias(country="NL", start_ms=0, end_ms=1, extra_rate=0), "extra_rate=0"),
    ],
)
def test_a_fault_that_would_do_nothing_is_refused(make: object, named: str) -> None:
    """The message names what is wrong with it."""
    assert callable(make)
    with pytest.raises(StreamprocError, match=named):
        make()
