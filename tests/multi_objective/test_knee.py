"""The knee: by hand, under changes of unit, and on every kind of front."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.knee import knee

VALUES = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([float("nan"), float("inf")]))
POINTS = st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(lambda s: arrays(np.float64, s, elements=VALUES))


def test_largest_distance_to_the_line_through_the_ends() -> None:
    angles = np.linspace(0.0, np.pi / 2, 101)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert knee(circle) == 50
    ellipse_in_other_units = circle * [1000.0, 0.001] + [5.0, -3.0]
    assert knee(ellipse_in_other_units) == 50


def test_sharp_corner() -> None:
    front = [[1.0, 0.0], [0.95, 0.5], [0.9, 0.9], [0.5, 0.95], [0.0, 1.0]]
    assert knee(front) == 2
    assert knee([[0.0, 0.0], *front]) == 3  # a dominated row changes nothing but the number


def test_hollow_front_gives_the_balanced_point_not_an_end() -> None:
    angles = np.linspace(0.0, np.pi / 2, 101)
    hollow = 1.0 - np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert knee(hollow) == 50


def test_straight_front_gives_the_middle() -> None:
    t = np.linspace(0.0, 1.0, 11)
    assert knee(np.stack([t, 1 - t], axis=1)) == 5


def test_three_objectives() -> None:
    front = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.6, 0.6, 0.6], [0.8, 0.5, 0.1]]
    assert knee(front) == 3


def test_one_point_that_is_nearly_best_everywhere() -> None:
    front = [[1.0, 0.95, 0.9], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.3, 0.96, 0.91]]
    assert knee(front) == 0


def test_one_objective_gives_the_best() -> None:
    assert knee([[1.0], [3.0], [np.nan], [2.0]]) == 1


def test_no_finite_point_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        knee([[np.nan, 1.0], [np.inf, 0.0]])
    with pytest.raises(ValueError, match="finite"):
        knee(np.empty((0, 2)))


@settings(max_examples=50)
@given(POINTS, st.randoms(use_true_random=False))
def test_is_on_the_front_and_depends_on_values_only(points: NDArray[np.float64], random: object) -> None:
    if not np.isfinite(points).all(axis=1).any():
        return
    chosen = knee(points)
    assert non_dominated(points)[chosen]
    order = np.arange(len(points))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert np.array_equal(points[order][knee(points[order])], points[chosen])
    in_other_units = points * 2.0 ** np.arange(points.shape[1]) - 8.0
    assert knee(in_other_units) == chosen
