"""The growing table of rows."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.multi_objective.rows import GrowingRows, as_fitness


def test_rows_survive_growth_and_selection() -> None:
    rows = GrowingRows(2)
    expected = np.arange(80.0).reshape(40, 2)
    for row in expected:
        rows.append(row)
    assert np.array_equal(rows.view, expected)
    mask = np.arange(40) % 3 == 0
    rows.keep(mask)
    assert np.array_equal(rows.view, expected[mask])
    rows.append(np.array([-1.0, -2.0]))
    assert rows.view[-1].tolist() == [-1.0, -2.0]


def test_fitness_needs_two_dimensions_and_an_objective() -> None:
    assert as_fitness([[1, 2]]).dtype == np.float64
    for bad in ([1.0, 2.0], np.zeros((3, 0)), np.zeros((1, 2, 3))):
        with pytest.raises(ValueError, match=r"\(n, m\)"):
            as_fitness(bad)
