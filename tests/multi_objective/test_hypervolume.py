"""Hypervolume against closed forms, inclusion and exclusion, moocore and its own axioms."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.hypervolume import contributions, hypervolume

Points = NDArray[np.float64]

VALUES = st.one_of(st.integers(-1, 4).map(float), st.floats(-1.0, 4.0, allow_nan=False, width=32))
POINTS = st.tuples(st.integers(0, 8), st.integers(1, 6)).flatmap(lambda s: arrays(np.float64, s, elements=VALUES))


def by_inclusion_exclusion(points: Points) -> float:
    """Volume of a union of boxes over the origin."""
    boxes = [np.maximum(point, 0.0) for point in points]
    total = 0.0
    for size in range(1, len(boxes) + 1):
        for chosen in combinations(boxes, size):
            total -= (-1.0) ** size * float(np.prod(np.min(chosen, axis=0)))
    return total


def sphere_front(n: int, m: int, seed: int = 0) -> Points:
    points = np.abs(np.random.default_rng(seed).normal(size=(n, m)))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float64)


@pytest.mark.parametrize("n", [1, 2, 10, 300])
def test_staircase(n: int) -> None:
    steps = np.arange(n, dtype=np.float64)
    front = np.stack([n - steps, steps + 1], axis=1)
    # a square of side n, less the triangle of unit cells above the staircase
    assert hypervolume(front, [0, 0]) == n * n - n * (n - 1) / 2
    assert contributions(front, [0, 0]).tolist() == [1.0] * n


@pytest.mark.parametrize("m", range(1, 7))
def test_one_box(m: int) -> None:
    point = np.arange(2.0, 2.0 + m)
    assert hypervolume(point[None], np.ones(m)) == np.prod(point - 1)
    assert contributions(point[None], np.ones(m)).tolist() == [np.prod(point - 1)]


@pytest.mark.parametrize("m", range(2, 7))
def test_slabs(m: int) -> None:
    """Point i is 1 in every objective but 2 in the i-th: a unit cube with a slab on each of m faces."""
    front = np.ones((m, m)) + np.eye(m)
    assert hypervolume(front, np.zeros(m)) == 1.0 + m
    assert contributions(front, np.zeros(m)).tolist() == [1.0] * m


@pytest.mark.parametrize(("m", "size"), [(2, 12), (3, 6), (4, 4), (5, 4)])
def test_simplex_grid(m: int, size: int) -> None:
    """Integer points with coordinates from 1 that sum to ``size + m - 1`` cover as many cells as are below them."""
    grid = np.array([p for p in product(range(1, size + 1), repeat=m) if sum(p) == size + m - 1], dtype=np.float64)
    cells = sum(1 for p in product(range(1, size + 1), repeat=m) if sum(p) <= size + m - 1)
    assert hypervolume(grid, np.zeros(m)) == cells
    assert hypervolume(np.concatenate([grid, grid - 1]), np.zeros(m)) == cells


@settings(max_examples=50)
@given(POINTS)
def test_equals_inclusion_and_exclusion(points: Points) -> None:
    assert hypervolume(points, np.zeros(points.shape[1])) == pytest.approx(by_inclusion_exclusion(points), abs=1e-9)


@settings(max_examples=50)
@given(POINTS)
def test_contribution_is_what_is_lost_without_the_point(points: Points) -> None:
    reference = np.zeros(points.shape[1])
    whole = hypervolume(points, reference)
    lost = [whole - hypervolume(np.delete(points, i, axis=0), reference) for i in range(len(points))]
    assert contributions(points, reference).tolist() == pytest.approx(lost, abs=1e-9)


@settings(max_examples=50)
@given(POINTS, st.randoms(use_true_random=False))
def test_order_does_not_matter(points: Points, random: object) -> None:
    order = np.arange(len(points))
    random.shuffle(order)  # type: ignore[attr-defined]
    reference = np.full(points.shape[1], -0.5)
    assert hypervolume(points[order], reference) == hypervolume(points, reference)


@settings(max_examples=50)
@given(POINTS)
def test_grows_with_points_and_ignores_the_dominated(points: Points) -> None:
    reference = np.full(points.shape[1], -1.5)
    whole = hypervolume(points, reference)
    assert hypervolume(points[:-1], reference) <= whole * (1 + 1e-12)
    assert hypervolume(points[non_dominated(points)], reference) == pytest.approx(whole, rel=1e-12)
    assert hypervolume(np.concatenate([points, points - 0.25]), reference) == pytest.approx(whole, rel=1e-12)


@settings(max_examples=50)
@given(POINTS, st.integers(-3, 3))
def test_scales_with_the_units(points: Points, power: int) -> None:
    reference = np.full(points.shape[1], -1.5)
    factors = 2.0 ** (power * np.arange(points.shape[1]))
    scaled = hypervolume(points * factors, reference * factors)
    assert scaled == pytest.approx(hypervolume(points, reference) * np.prod(factors), rel=1e-12)


@pytest.mark.parametrize("m", range(1, 6))
def test_broken_and_out_of_bounds_rows_add_nothing(m: int) -> None:
    good = sphere_front(6, m)
    bad = np.full((4, m), 5.0)
    bad[0, 0], bad[1, -1], bad[2, 0], bad[3, 0] = np.nan, np.inf, -np.inf, -1.0
    reference = np.zeros(m)
    assert hypervolume(np.concatenate([bad, good]), reference) == hypervolume(good, reference)
    assert hypervolume(bad, reference) == 0.0
    both = contributions(np.concatenate([bad, good]), reference)
    assert both[:4].tolist() == [0.0] * 4
    assert np.array_equal(both[4:], contributions(good, reference))


@pytest.mark.parametrize("m", range(1, 6))
def test_empty_front(m: int) -> None:
    assert hypervolume(np.empty((0, m)), np.zeros(m)) == 0.0
    assert hypervolume([], np.zeros(m)) == 0.0
    assert contributions(np.empty((0, m)), np.zeros(m)).shape == (0,)


def test_wrong_shapes_and_references_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\)"):
        hypervolume([[1.0, 2.0]], [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="finite reference"):
        hypervolume([[1.0, 2.0]], [0.0, np.nan])


@pytest.mark.parametrize(("n", "m"), [(400, 2), (400, 3), (80, 4), (60, 5), (25, 6)])
def test_against_moocore(n: int, m: int) -> None:
    moocore = pytest.importorskip("moocore")
    points = np.concatenate([sphere_front(n, m), np.random.default_rng(1).random((n, m))])
    expected = moocore.hypervolume(points, ref=np.full(m, 0.1), maximise=True)
    assert hypervolume(points, np.full(m, 0.1)) == pytest.approx(expected, rel=1e-10)
