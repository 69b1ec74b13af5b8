"""The NAB score, against examples worked out by hand from the benchmark's definition."""

from math import exp

import pytest

from benchmarks.detection.nab_score import learnt, normalised, score


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def earned(position: float) -> float:
    """What the paper calls sigma: 2/(1 + e^5y) - 1."""
    return 2 * sigmoid(-5 * position) - 1


def test_the_first_row_of_a_window_earns_all_and_later_ones_less() -> None:
    first = score(1_000, [400], [(400, 499)])
    assert first == pytest.approx(1.0)
    # half way: 50 of 100 rows are left, position -(499 - 450 + 1)/100
    assert score(1_000, [450], [(400, 499)]) == pytest.approx(earned(-0.5) / earned(-1))
    assert score(1_000, [499], [(400, 499)]) == pytest.approx(earned(-0.01) / earned(-1))


def test_only_the_first_detection_of_a_window_counts() -> None:
    alone = score(1_000, [420], [(400, 499)])
    assert score(1_000, [420, 430, 498], [(400, 499)]) == alone


def test_a_window_missed_costs_one() -> None:
    assert score(1_000, [], [(400, 499), (700, 799)]) == -2.0


def test_what_is_found_outside_costs_by_its_distance_to_the_window_before() -> None:
    assert score(1_000, [300], [(400, 499)]) == pytest.approx(-1 - 0.11)
    # 50 rows after a window whose ends are 99 rows apart
    just_after = score(1_000, [400, 549], [(400, 499)])
    assert just_after == pytest.approx(1 + 0.11 * earned(50 / 99))
    assert score(1_000, [400, 999], [(400, 499)]) == pytest.approx(1 - 0.11)


def test_what_is_given_to_learn_from_counts_for_nothing() -> None:
    assert learnt(1_000) == 150 and learnt(10_000) == 750
    assert score(1_000, [0, 149], []) == 0.0
    assert score(1_000, [150], []) == pytest.approx(-0.11)


def test_nothing_found_is_0_and_all_found_at_once_is_100() -> None:
    windows = [(400, 499), (700, 799)]
    assert normalised([score(1_000, [], windows)], 2) == 0.0
    assert normalised([score(1_000, [400, 700], windows)], 2) == pytest.approx(100.0)
    assert normalised([score(1_000, [500], windows)], 2) < 0


def test_a_published_line_is_what_its_counts_say() -> None:
    """NAB's own results: HTM found nothing false in `art_daily_small_noise`, and all of taxi but one.

    2 false detections far from windows and 4 of 5 windows are at most 4 - 1 - 0.22.
    """
    from benchmarks.detection.nab import PUBLISHED

    scores, total = PUBLISHED["Numenta HTM"]
    assert scores[0] == 0.0 and scores[5] <= 5
    assert 100 * (total + 116) / 232 == pytest.approx(65.27, abs=0.01)
