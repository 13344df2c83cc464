"""Boxes above a front of three objectives: disjoint, complete, few."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.gaussian_process.boxes_3d import boxes_above
from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.hypervolume import hypervolume

Floats = NDArray[np.float64]
REFERENCE = np.array([-0.5, 0.0, 1.0])
TOP = 9.0

grid = st.lists(st.tuples(*[st.integers(-1, 6)] * 3), max_size=25).map(
    lambda rows: np.array(rows, float).reshape(-1, 3)
)
anywhere = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 40)).map(
    lambda drawn: np.random.default_rng(drawn[0]).uniform(-1, 7, (drawn[1], 3))
)


def counted(lower: Floats, upper: Floats, places: Floats) -> NDArray[np.int64]:
    """In how many boxes each place lies."""
    inside = (places[:, None] >= lower) & (places[:, None] < upper)
    return np.asarray(inside.all(axis=-1).sum(axis=1))


@given(st.one_of(grid, anywhere), st.integers(0, 2**32 - 1))
def test_every_place_above_the_front_lies_in_one_box_and_no_other_in_any(points: Floats, seed: int) -> None:
    lower, upper = boxes_above(points, REFERENCE)
    places = np.random.default_rng(seed).uniform(-1, TOP, (200, 3))
    is_above = (places > REFERENCE).all(axis=1) & ~(points[:, None] >= places).all(axis=-1).any(axis=0)
    np.testing.assert_array_equal(counted(lower, upper, places), is_above)


@given(st.one_of(grid, anywhere))
def test_volumes_add_up(points: Floats) -> None:
    lower, upper = boxes_above(points, REFERENCE)
    above = np.prod(np.minimum(upper, TOP) - lower, axis=1).sum()
    whole = np.prod(TOP - REFERENCE)
    known = hypervolume(points, REFERENCE) if len(points) else 0.0
    np.testing.assert_allclose(above, whole - known, rtol=1e-9)


@given(anywhere)
def test_few_boxes(points: Floats) -> None:
    inside = points[(points > REFERENCE).all(axis=1)]
    n_front = int(non_dominated(inside).sum()) if len(inside) else 0
    assert len(boxes_above(points, REFERENCE)[0]) <= 2 * n_front + 1


def test_nothing_known_is_one_box() -> None:
    lower, upper = boxes_above(np.zeros((0, 3)), REFERENCE)
    assert lower.tolist() == [REFERENCE.tolist()]
    assert np.isinf(upper).all()
