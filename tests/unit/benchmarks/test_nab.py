"""The NAB score, against examples worked out by hand from the benchmark's definition."""

from math import exp

import pytest

from benchmarks.detection.nab import NAMES, PUBLISHED, WINDOWS_OF_ALL
from benchmarks.detection.nab_score import learnt, normalised, score


def sigmoid(x: float) -> float:
    """Return 1/(1 + e^-x)."""
    return 1 / (1 + exp(-x))


def earned(position: float) -> float:
    """What the paper calls sigma: 2/(1 + e^5y) - 1."""
    return 2 * sigmoid(-5 * position) - 1


def test_the_first_row_of_a_window_earns_all_and_later_ones_less() -> None:
    """The first row of a window earns all and later ones less."""
    first = score(1_000, [400], [(400, 499)])
    assert first == pytest.approx(1.0)
    # half way: 50 of 100 rows are left, position -(499 - 450 + 1)/100
    assert score(1_000, [450], [(400, 499)]) == pytest.approx(earned(-0.5) / earned(-1))
    assert score(1_000, [499], [(400, 499)]) == pytest.approx(earned(-0.01) / earned(-1))


def test_only_the_first_detection_of_a_window_counts() -> None:
    """Only the first detection of a window counts."""
    alone = score(1_000, [420], [(400, 499)])
    assert score(1_000, [420, 430, 498], [(400, 499)]) == alone


def test_a_window_missed_costs_one() -> None:
    """A window missed costs one."""
    assert score(1_000, [], [(400, 499), (700, 799)]) == -2.0


def test_what_is_found_outside_costs_by_its_distance_to_the_window_before() -> None:
    """What is found outside costs by its distance to the window before."""
    assert score(1_000, [300], [(400, 499)]) == pytest.approx(-1 - 0.11)
    # 50 rows after a window whose ends are 99 rows apart
    just_after = score(1_000, [400, 549], [(400, 499)])
    assert just_after == pytest.approx(1 + 0.11 * earned(50 / 99))
    assert score(1_000, [400, 999], [(400, 499)]) == pytest.approx(1 - 0.11)


def test_what_is_given_to_learn_from_counts_for_nothing() -> None:
    """What is given to learn from counts for nothing."""
    assert learnt(1_000) == 150
    assert learnt(10_000) == 750
    assert score(1_000, [0, 149], []) == 0.0
    assert score(1_000, [150], []) == pytest.approx(-0.11)


def test_nothing_found_is_0_and_all_found_at_once_is_100() -> None:
    """Nothing found is 0 and all found at once is 100."""
    windows = [(400, 499), (700, 799)]
    assert normalised([score(1_000, [], windows)], 2) == 0.0
    assert normalised([score(1_000, [400, 700], windows)], 2) == pytest.approx(100.0)
    assert normalised([score(1_000, [500], windows)], 2) < 0


def test_the_published_scores_give_the_published_figures() -> None:
    """The benchmark's own table of all 58 files: 74.9, 58.0 and 54.6."""
    of_all = {name: normalised([total], WINDOWS_OF_ALL) for name, (_, total) in PUBLISHED.items()}
    told = [of_all[name] for name in ("ARTime", "KNN CAD", "relative entropy")]
    assert told == pytest.approx([74.9, 58.0, 54.6], abs=0.06)
    assert {len(scores) for scores, _ in PUBLISHED.values()} == {len(NAMES)}
