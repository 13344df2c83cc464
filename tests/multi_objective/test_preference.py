"""Closest to a target: by hand, beyond the target, weights, units."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.preference import closest_to_target

LINE = np.stack([np.linspace(0.0, 1.0, 11), np.linspace(1.0, 0.0, 11)], axis=1)


def test_target_on_the_front_is_met() -> None:
    for i, point in enumerate(LINE):
        assert closest_to_target(LINE, point) == i


def test_unattainable_target_shares_the_shortfall() -> None:
    assert closest_to_target(LINE, [1.0, 1.0]) == 5
    assert closest_to_target(LINE, [1.2, 0.8]) == 7


def test_attainable_target_is_exceeded_evenly() -> None:
    assert closest_to_target(LINE, [0.1, 0.1]) == 5


def test_weights_shift_the_choice() -> None:
    # with weight 4 on the first, 4 (1 - x) = 1 - (1 - x) has its solution at x = 0.8
    assert closest_to_target(LINE, [1.0, 1.0], weights=[4.0, 1.0]) == 8


def test_units_do_not_matter() -> None:
    scale, shift = np.array([1000.0, 0.01]), np.array([-7.0, 3.0])
    for target in ([1.0, 1.0], [1.2, 0.8], [0.3, 0.9]):
        moved = closest_to_target(LINE * scale + shift, np.array(target) * scale + shift)
        assert moved == closest_to_target(LINE, target)


def test_choice_is_always_on_the_front() -> None:
    points = np.random.default_rng(0).random((200, 3)).round(1)
    points[::7, 0] = np.nan
    mask = non_dominated(points)
    for target in np.random.default_rng(1).random((30, 3)):
        assert mask[closest_to_target(points, target)]


def test_equal_worst_shortfalls_prefer_the_larger_rest() -> None:
    front = [[0.0, 1.0, 0.2], [0.0, 0.9, 0.9], [1.0, 0.0, 0.0]]
    assert closest_to_target(front, [1.0, 1.0, 1.0]) == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="target"):
        closest_to_target(LINE, [1.0])
    with pytest.raises(ValueError, match="target"):
        closest_to_target(LINE, [1.0, np.nan])
    with pytest.raises(ValueError, match="positive"):
        closest_to_target(LINE, [1.0, 1.0], weights=[1.0, 0.0])
    with pytest.raises(ValueError, match="finite"):
        closest_to_target([[np.nan, 0.0]], [1.0, 1.0])
