"""Dominance, fronts and ranks against their definitions, closed forms and moocore."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from searcher.multi_objective.dominance import Front, dominates, non_dominated, rank

Points = NDArray[np.float64]

# Few distinct values, so that ties and duplicates are common; some rows are broken.
VALUES = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, float("nan"), float("inf"), float("-inf")])
POINTS = st.tuples(st.integers(0, 25), st.integers(1, 5)).flatmap(lambda s: arrays(np.float64, s, elements=VALUES))


def by_definition(points: Points) -> NDArray[np.bool_]:
    finite = np.isfinite(points).all(axis=1)
    beaten = [any(dominates(other, point) for other in points) for point in points]
    return finite & ~np.array(beaten, dtype=bool)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 1], [0, 0], True),
        ([1, 0], [0, 0], True),
        ([0, 0], [0, 0], False),
        ([1, 0], [0, 1], False),
        ([np.nan, 9], [0, 0], False),
        ([np.inf, 9], [0, 0], False),
        ([1, 1], [np.nan, 0], False),
        ([1, 1], [-np.inf, 0], False),
    ],
)
def test_dominates(a: list[float], b: list[float], expected: bool) -> None:
    assert dominates(a, b) is expected


def test_dominates_refuses_vectors_of_different_length() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        dominates([1, 2], [1, 2, 3])


@settings(max_examples=50)
@given(POINTS)
def test_front_and_ranks_follow_the_definition(points: Points) -> None:
    mask = non_dominated(points)
    assert mask.tolist() == by_definition(points).tolist()
    ranks, level = rank(points), 0
    left: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1))
    assert (ranks[~left] == -1).all()
    while left.any():
        rows = np.flatnonzero(left)
        front = rows[by_definition(points[rows])]
        assert (ranks[front] == level).all()
        left[front] = False
        level += 1


@settings(max_examples=50)
@given(POINTS, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(points: Points, random: object) -> None:
    order = np.arange(len(points))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert (non_dominated(points)[order] == non_dominated(points[order])).all()
    assert (rank(points)[order] == rank(points[order])).all()


@settings(max_examples=50)
@given(POINTS)
def test_growing_front_equals_the_front_of_all(points: Points) -> None:
    front = Front(points.shape[1])
    for number, point in enumerate(points):
        seen = points[: number + 1]
        assert front.add(number, point) == bool(non_dominated(seen)[-1])
        assert front.members == tuple(np.flatnonzero(non_dominated(seen)))
    assert len(front) == np.count_nonzero(non_dominated(points))
    assert np.array_equal(front.fitness, points[list(front.members)])


def test_growing_front_keeps_duplicates_and_drops_the_dominated() -> None:
    front = Front(2)
    assert front.add(7, [1.0, 1.0])
    assert front.add(8, [1.0, 1.0])
    assert not front.add(9, [1.0, 0.5])
    assert list(front.members) == [7, 8]
    assert front.add(10, [1.0, 2.0])
    assert list(front.members) == [10]


def test_front_refuses_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2,\)"):
        Front(2).add(0, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="at least one"):
        Front(0)
    with pytest.raises(ValueError, match=r"\(n, m\)"):
        non_dominated([1.0, 2.0])


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_empty_input(m: int) -> None:
    assert non_dominated(np.empty((0, m))).tolist() == []
    assert rank(np.empty((0, m))).tolist() == []


@pytest.mark.parametrize("m", [2, 3, 5])
def test_simplex_grid_is_all_front_and_layers_are_ranks(m: int) -> None:
    rng = np.random.default_rng(m)
    layer = rng.dirichlet(np.ones(m), size=60)
    points = np.concatenate([layer, layer - 0.01, layer - 0.02])
    assert non_dominated(layer).all()
    assert non_dominated(points).sum() == 60
    chain = np.arange(30.0)[:, None] * np.ones(m)
    assert rank(chain).tolist() == list(range(29, -1, -1))


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("decimals", [1, 9])
def test_against_moocore(m: int, decimals: int) -> None:
    moocore = pytest.importorskip("moocore")
    points = np.random.default_rng(m).random((2000, m)).round(decimals)
    expected = moocore.is_nondominated(points, maximise=True, keep_weakly=True)
    assert np.array_equal(non_dominated(points), expected)
    assert np.array_equal(rank(points), moocore.pareto_rank(points, maximise=True))


def test_input_is_unchanged() -> None:
    points = np.array([[1.0, -0.0], [np.nan, 2.0], [0.0, 3.0]])
    before = points.copy()
    non_dominated(points)
    rank(points)
    assert np.array_equal(points, before, equal_nan=True)
