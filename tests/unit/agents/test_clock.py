"""A clock that is set back or forward, as tasks see it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.clock import SteadyClock


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(-4_000_000, 4_000_000)), max_size=50))
def test_it_goes_on_and_never_back(steps: list[tuple[int, int]]) -> None:
    """Whatever is done to the wall clock: at least half as fast, and never behind it."""
    wall_ms, passed_ms = 10_000_000_000, 0
    clock = SteadyClock(lambda: wall_ms, lambda: passed_ms / 1000)
    before_ms = clock()
    for took_ms, set_by_ms in steps:
        passed_ms += took_ms
        wall_ms += took_ms + set_by_ms
        now_ms = clock()
        assert now_ms >= before_ms + took_ms // 2 - 1
        assert now_ms >= wall_ms
        before_ms = now_ms


def test_it_is_the_wall_clock_where_nobody_sets_it() -> None:
    """It takes the small corrections that a clock gets all the time."""
    wall_ms, passed_s = 1_000_000, 0.0
    clock = SteadyClock(lambda: wall_ms, lambda: passed_s)
    for number in range(100):
        wall_ms, passed_s = wall_ms + 1_001 - number % 3, passed_s + 1.0
        assert clock() == wall_ms
