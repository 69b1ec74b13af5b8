"""How long to wait before the next try."""

from __future__ import annotations

from random import Random

from streamproc.notify.backoff import wait_s


def test_waits_double_to_a_minute_and_no_two_workers_wait_alike() -> None:
    """Each is between half of what it may be and all of it, for ever."""
    for attempts, most_s in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (10_000, 60)]:
        waits = [wait_s(attempts, Random(seed)) for seed in range(200)]
        assert most_s / 2 <= min(waits) < 0.55 * most_s
        assert 0.95 * most_s < max(waits) <= most_s


def test_the_same_seed_waits_the_same() -> None:
    """A run can be made again."""
    first, second = Random("w1 webhook"), Random("w1 webhook")
    assert [wait_s(3, first) for _ in range(5)] == [wait_s(3, second) for _ in range(5)]
