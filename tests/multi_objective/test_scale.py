"""The front in units of its own range."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.multi_objective.scale import front_of, unit_range


def test_front_comes_best_first_with_its_row_numbers() -> None:
    points = [[0.0, 2.0], [1.0, 1.0], [0.5, 0.5], [np.nan, 9.0], [2.0, 0.0]]
    index, front = front_of(points)
    assert index.tolist() == [4, 1, 0]
    assert front.tolist() == [[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]


def test_an_objective_without_spread_has_width_one() -> None:
    low, width = unit_range(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert low.tolist() == [1.0, 5.0]
    assert width.tolist() == [2.0, 1.0]


def test_no_finite_point_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        front_of([[np.nan, 1.0]])
