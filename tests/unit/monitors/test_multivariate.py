"""All features at once: a change of how they go together is seen, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamproc.alerts import new_judge
from streamproc.monitors import Drift
from streamproc.monitors.crossed import MOST_PAIRS, Crossed, table_of
from streamproc.monitors.growing import Span
from streamproc.monitors.multivariate import FeaturesTest
from streamproc.monitors.reservoir import RESERVOIR, Rows
from streamproc.monitors.sample import Row, Sample, hashes_of, merged
from streamproc.monitors.series import Limits
from streamproc.monitors.together import TogetherTest
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, judged, steps

Floats = NDArray[np.float64]
BUCKET = 50


def names(width: int) -> tuple[str, ...]:
    """Return names of so many features."""
    return tuple(f"f{i}" for i in range(width))


def new(
    width: int, alarm_ms: float = 1e5, least_n: int = 2_000, tolerance: float = 0.0
) -> FeaturesTest:
    """Return a test of buckets of 50 events, one a millisecond."""
    return FeaturesTest(names(width), Limits(alarm_ms, BUCKET, tolerance, Span(0, least_n)))


def fed(test: FeaturesTest, rows: Floats, at: int) -> list[tuple[int, str]]:
    """Feed rows, one a millisecond; return what was said and when."""
    said = []
    for i in range(0, len(rows), BUCKET):
        keys = hashes_of([str(at + j) for j in range(i, i + BUCKET)])
        what = test.take(Rows(at + i, keys, rows[i : i + BUCKET]))
        if what is not None:
            said.append((at + i + BUCKET, what))
    return said


def correlated(rng: np.random.Generator, n: int, width: int, rho: float) -> Floats:
    """Return standard normal columns of which the first two have this correlation."""
    rows = rng.normal(size=(n, width))
    rows[:, 1] = rho * rows[:, 0] + (1 - rho**2) ** 0.5 * rows[:, 1]
    return rows


def test_a_change_of_correlation_alone_is_seen_and_its_end() -> None:
    """From 0 to 0.5 with unchanged marginals: within 500 events, and over once it is back."""
    delays = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        test = new(6, tolerance=0.1)
        assert not fed(test, rng.normal(size=(4_000, 6)), 0)
        said = fed(test, correlated(rng, 2_000, 6, 0.5), 4_000)
        assert said[0][1] == "opened"
        delays.append(said[0][0] - 4_000)
        a, b, usual, found = test.best()
        assert (a, b) == ("f0", "f1")
        assert usual == pytest.approx(0.0, abs=0.08)
        assert found == pytest.approx(0.5, abs=0.12)
        assert {name for name, _ in test.moved()[:2]} == {"f0", "f1"}
        assert sum(share for _, share in test.moved()) == pytest.approx(1.0)
        assert abs(test.since_ms - 4_000) <= 200
        back = fed(test, rng.normal(size=(3_000, 6)), 6_000)
        assert [what for _, what in back if what != "open"] == ["over"]
        assert back[-1][0] < 7_500
    assert np.mean(delays) < 300


def test_what_does_not_change_seldom_alarms() -> None:
    """One alarm in 100,000 events is allowed; heavy tails and correlations change nothing."""
    alarms = 0
    for seed, kind in enumerate(("normal", "lognormal", "t3", "together")):
        rng = np.random.default_rng(100 + seed)
        rows = rng.normal(size=(20_000, 4))
        if kind == "lognormal":
            rows = np.exp(2 * rows)
        if kind == "t3":
            rows = rng.standard_t(3, size=rows.shape)
        if kind == "together":
            rows = rows + rng.normal(size=(20_000, 1))
        alarms += len({what for _, what in fed(new(4), rows, 0) if what == "opened"})
    assert alarms <= 2  # 0.7 expected


def test_the_features_that_moved_come_first() -> None:
    """Two of eight are shifted: they have the evidence, in the order of how far."""
    rng = np.random.default_rng(5)
    test = new(8)
    fed(test, rng.normal(size=(4_000, 8)), 0)
    shift = np.array([0, 0, 0.6, 0, 0, 0, 1.0, 0])
    said = fed(test, rng.normal(size=(1_000, 8)) + shift, 4_000)
    assert said[0][1] == "opened"
    moved = test.moved()
    assert [name for name, _ in moved[:2]] == ["f6", "f2"]
    assert sum(share for _, share in moved[:2]) > 0.85


def test_nothing_breaks_on_strange_features() -> None:
    """Constant, all missing, huge, infinite, one of a kind: no false alarm, no warning."""
    rng = np.random.default_rng(6)
    n = 6_000
    rows = np.column_stack(
        (
            np.full(n, 7.0),
            np.full(n, np.nan),
            np.where(rng.random(n) < 0.5, 1e308, -1e308),
            np.where(rng.random(n) < 0.001, np.inf, 0.0),
            rng.normal(size=n),
        )
    )
    with np.errstate(all="raise", under="ignore"):
        test = new(5, alarm_ms=1e7)
        assert not fed(test, rows, 0)
    assert test.ready
    only = new(2)
    assert not fed(only, np.full((4_000, 2), 3.0), 0)


def test_texts_and_numbers_go_together_too() -> None:
    """A country that suddenly comes with high amounts is a change, and named."""
    rng = np.random.default_rng(7)
    test = TogetherTest(
        ("amount", "country"), Limits(1e6, 1_000, 0.1, Span(0, 2_000)), texts=("country",)
    )
    told = []
    for second in range(100):
        rows = []
        for i in range(100):
            amount, country = float(rng.normal()), "NL" if rng.random() < 0.6 else "DE"
            if second >= 80 and rng.random() < 0.7:
                country = "NL" if amount < 0.25 else "DE"
            rows.append(Row(f"{second}-{i}", (amount, country), 0.5, True, "m@1"))
        finding = test.update(second * 1_000, Sample.of(("amount", "country"), rows))
        told += [] if finding is None else [finding]
    assert told
    assert told[0].first_seen_ms == 80_000
    assert told[0].key == "covariate_drift/features"
    assert "the correlation of amount and country" in told[0].summary


def test_the_verdict_does_not_depend_on_partitions() -> None:
    """Samples merged from four parts, in another order, give the same evidence to the bit."""
    rng = np.random.default_rng(8)
    whole, parts = (TogetherTest(names(3), Limits(1e6, 1_000, 0.1, Span(0, 1_000))) for _ in "12")
    for second in range(40):
        rows = [
            Row(f"{second}-{i}", tuple(rng.normal(size=3).tolist()), 0.5, True, "m@1")
            for i in range(300)
        ]
        whole.update(second * 1_000, Sample.of(names(3), rows))
        split = [Sample.of(names(3), rows[i::4][::-1]) for i in (2, 0, 3, 1)]
        parts.update(second * 1_000, merged(split))
        assert parts.test.evidence == whole.test.evidence
    assert whole.test.evidence > -np.inf


def test_the_reference_is_bounded_and_every_row_has_the_same_chance() -> None:
    """It holds 5,000 rows: those of the least keys, of all that were learnt."""
    rng = np.random.default_rng(9)
    test = new(2, alarm_ms=1e12, least_n=1_000)
    fed(test, rng.normal(size=(30_000, 2)), 0)
    usual = test._usual
    assert usual._rows is not None
    assert len(usual._rows) == RESERVOIR
    expected = np.sort(hashes_of([str(i) for i in range(usual.n)]))[:RESERVOIR]
    assert usual._keys.tolist() == expected.tolist()


def test_pairs_are_bounded() -> None:
    """All pairs of 50 features; of more, as many, those that go together among them."""
    rng = np.random.default_rng(10)
    rows = rng.normal(size=(400, 80))
    rows[:, 79] = rows[:, 3] + 0.1 * rows[:, 79]
    crossed = Crossed(rows, np.zeros(80, bool))
    pairs = set(zip(crossed.a.tolist(), crossed.b.tolist(), strict=True))
    assert len(pairs) == 80 + 80 + MOST_PAIRS
    assert (3, 79) in pairs
    all_ = Crossed(rows[:, :50], np.zeros(50, bool))
    assert len(all_.a) == 50 + 50 + 1_225


def test_a_table_is_made_of_rows() -> None:
    """Texts are numbers that stand for them, what is no value is missing."""
    rows = [(1, "a", True), (None, None, False), (2.5, 7, "b")]
    table = table_of(list(map(list, zip(*rows, strict=True))), np.array([False, True, False]))
    assert np.isnan(table[[1, 1, 2], [0, 1, 2]]).all()
    assert table[0, 1] != table[2, 1]
    assert table[2, 1] == table_of([["7"]], np.array([True]))[0, 0]
    assert table[:2, 2].tolist() == [1.0, 0.0]


def test_it_is_told_once_whatever_the_partitions() -> None:
    """The whole way: folds, parts, judge, alert; the same from one partition and from four."""
    rng = np.random.default_rng(11)
    told = []
    for number, (amount, age) in enumerate(rng.normal(size=(9_600, 2)).tolist()):
        event_ms = number * HOUR_MS // 40
        together = event_ms >= 6 * DAY_MS
        told.append(
            {
                "id": str(number),
                "event_time_ms": event_ms,
                "features": {
                    "amount": amount,
                    "age": 0.6 * amount + 0.8 * age if together else age,
                },
                "score": 0.5,
                "decision": False,
                "model": "main@1",
            }
        )
    facts = Facts(
        monitors=[Drift(bucket="1h", reference="2d")],
        numeric_features=("amount", "age"),
        lateness_ms=0,
    )
    whole = judged(facts, "drift", told)
    assert steps(whole) == [("open", "covariate_drift/features")]
    assert abs(whole[0]["first_seen_ms"] - 6 * DAY_MS) <= 6 * HOUR_MS
    assert "amount" in whole[0]["summary"]
    parts = judged(facts, "drift", told, partitions=4, batch=40)
    for each in (*whole, *parts):
        each["detected_at_ms"] = 0
    assert parts == whole


@pytest.mark.parametrize("value", [5.0, None])
def test_features_that_never_vary_are_no_crash_and_are_learnt_once_they_do(value: Any) -> None:
    """A reference over days fits waves, of no score at all; later there is something to learn."""
    test = FeaturesTest(("x", "y"), Limits(1e15, HOUR_MS, 0.0, Span(72 * HOUR_MS, 1_000)))
    rng = np.random.default_rng(3)

    def take(hour: int, rows: list[tuple[Any, ...]]) -> str | None:
        kept = [Row(f"{hour}-{i}", row, 0.5, True, "m@1") for i, row in enumerate(rows)]
        return test.update(hour * HOUR_MS, Sample.of(("x", "y"), kept))

    for hour in range(24 * 10):
        assert take(hour, [(value, value)] * 40) is None
    assert not test.ready
    for hour in range(24 * 10, 24 * 20):
        assert take(hour, [tuple(row) for row in rng.normal(size=(40, 2)).tolist()]) is None
    assert test.ready


def test_two_drift_monitors_have_an_alert_each_for_their_features() -> None:
    """Under one key the end of one would resolve what the other still sees."""
    numbers = ("a", "b", "c", "d")
    facts = Facts(
        monitors=[Drift(features=("a", "b")), Drift(features=("c", "d"))],
        numeric_features=numbers,
        learns=False,
    )
    judge = new_judge(facts, 1)
    rows = [Row(str(i), (float(i), 1.0), 0.5, True, "m@1") for i in range(9)]
    for number, monitor in judge._drift.items():
        pair = numbers[2 * number : 2 * number + 2]
        monitor.update(0, {"=sample": Sample.of(pair, rows).packed()})
    keys = [test.key for monitor in judge._drift.values() for test in monitor._tests.values()]
    assert keys == ["covariate_drift/features", "covariate_drift/features with c"]
