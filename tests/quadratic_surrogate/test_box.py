"""Boxes: what they contain, and how they move."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searcher.quadratic_surrogate.box import Box

seeds = st.integers(0, 2**32 - 1)


def random_box(rng: np.random.Generator, dim: int) -> Box:
    low = rng.uniform(0.0, 0.5, dim)
    return Box(low, low + rng.uniform(0.01, 0.5, dim))


@given(st.integers(1, 8), seeds)
def test_points_of_the_cube_are_inside_and_scaled_to_one(dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = random_box(rng, dim)
    points = box.at(np.concatenate([rng.random((5, dim)), np.zeros((1, dim)), np.ones((1, dim))]))
    assert box.contains(points).all()
    assert (box.outside(points) == 0).all()
    assert np.abs(box.scaled(points)).max() <= 1 + 1e-12
    assert box.outside((box.high + 2 * box.side)[None])[0] - 2 < 1e-9


@given(st.integers(1, 8), st.integers(1, 5), seeds, st.floats(0, 1))
def test_moving_faces_keeps_the_best_points_inside_and_never_leaves_the_box(
    dim: int, n: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    box = random_box(rng, dim)
    points, least = box.at(rng.random((n, dim))), 0.05 * box.side
    found = box.towards(points, share, least)
    assert (found.low >= box.low).all()
    assert (found.high <= box.high).all()
    assert (found.low <= points.min(axis=0) + 1e-12).all()
    assert (found.high >= points.max(axis=0) - 1e-12).all()
    assert (found.side >= least - 1e-12).all()


def test_half_way_to_one_point_halves_the_sides() -> None:
    found = Box.of(0.0, 1.0, 2).towards(np.array([[0.2, 1.0]]), 0.5, np.zeros(2))
    np.testing.assert_allclose(found.low, [0.1, 0.5])
    np.testing.assert_allclose(found.high, [0.6, 1.0])


def test_growing_stops_at_the_limits() -> None:
    limits = Box.of(0.0, 1.0, 2)
    grown = Box(np.array([0.4, 0.8]), np.array([0.6, 1.0])).grown(1.5, limits)
    np.testing.assert_allclose(grown.low, [0.35, 0.75])
    np.testing.assert_allclose(grown.high, [0.65, 1.0])
