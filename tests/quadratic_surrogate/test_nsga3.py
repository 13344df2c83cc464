"""NSGA-III on arrays, against fronts that are known in closed form and against its parts' definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.multi_objective.dominance import non_dominated, rank
from searcher.multi_objective.reference_directions import lattice, reference_directions
from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.nsga3 import Effort, nearest_direction, normalised, nsga3, offspring, survivors

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


@given(st.integers(1, 6), seeds, st.floats(0, 1))
def test_children_stay_in_the_box_and_keep_the_mean_where_nothing_mutates(
    dim: int, seed: int, crossover: float
) -> None:
    rng = np.random.default_rng(seed)
    box = Box.of(0.2, 0.6, dim)
    parents = box.at(rng.random((20, dim)))
    children = offspring(parents, box, rng, crossover)
    assert children.shape == parents.shape
    assert box.contains(children).all()


@given(st.integers(1, 4), st.integers(1, 30), seeds)
def test_survivors_are_whole_fronts_and_part_of_the_next(m: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fitness = rng.integers(0, 6, (size + int(rng.integers(0, 40)), m)).astype(np.float64)
    kept = survivors(fitness, size, reference_directions(m, max(size, m)), rng)
    assert len(np.unique(kept)) == size
    ranks = rank(fitness)
    left = np.setdiff1d(np.arange(len(fitness)), kept)
    assert not len(left) or ranks[kept].max() <= ranks[left].min()


def test_a_plane_is_normalised_to_its_intercepts() -> None:
    costs = lattice(6, 3) * np.array([2.0, 30.0, 0.5]) + np.array([5.0, -1.0, 0.0])
    np.testing.assert_allclose(normalised(costs, np.ones(len(costs), dtype=bool)), lattice(6, 3), atol=1e-9)


@given(st.integers(2, 4), seeds)
def test_the_nearest_direction_is_that_of_the_definition(m: int, seed: int) -> None:
    costs, directions = np.random.default_rng(seed).random((7, m)), reference_directions(m, 20)
    niche, distance = nearest_direction(costs, directions)
    for row, j, found in zip(costs, niche, distance, strict=True):
        each = [np.linalg.norm(row - (row @ w) / (w @ w) * w) for w in directions]
        assert found == pytest.approx(min(each), abs=1e-7)
        assert each[j] == pytest.approx(min(each), abs=1e-7)


def test_niching_prefers_empty_directions() -> None:
    """Many members beside one direction and one beside each other: all directions are served."""
    directions = reference_directions(2, 5)
    crowd = np.array([[1.0 - t, t] for t in np.linspace(0.0, 0.02, 20)])
    fitness = -np.concatenate([crowd, directions])
    kept = survivors(fitness, 5, directions, np.random.default_rng(0))
    niche, _ = nearest_direction(-fitness[kept], directions)
    assert sorted(niche.tolist()) == [0, 1, 2, 3, 4]


def test_the_front_of_two_spheres_is_the_segment_between_their_centres() -> None:
    a, b = np.array([0.2, 0.3, 0.8]), np.array([0.7, 0.6, 0.4])

    def spheres(points: Floats) -> Floats:
        return -np.stack([((points - c) ** 2).sum(axis=1) for c in (a, b)], axis=1)

    points, fitness = nsga3(
        spheres, 2, Box.of(0.0, 1.0, 3), np.stack([a, b]), np.random.default_rng(0), Effort(generations=120)
    )
    t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    assert np.abs(points - (a + t[:, None] * (b - a))).max() < 0.03
    assert np.diff(np.sort(t)).max() < 0.1
    roots = np.sqrt(-fitness).sum(axis=1)  # on the segment the two distances add up to its length
    assert np.abs(roots - np.linalg.norm(b - a)).max() < 1e-2
    assert non_dominated(fitness).all()


def test_the_plane_of_three_objectives_is_covered() -> None:
    """DTLZ1 without its distance function: the front is the simplex of sum 1/2."""

    def dtlz1(points: Floats) -> Floats:
        x, y, g = points[:, 0], points[:, 1], 1 + ((points[:, 2:] - 0.5) ** 2).sum(axis=1)
        return np.asarray(-0.5 * g[:, None] * np.stack([x * y, x * (1 - y), 1 - x], axis=1))

    _, fitness = nsga3(
        dtlz1, 3, Box.of(0.0, 1.0, 4), np.zeros((0, 4)), np.random.default_rng(0), Effort(generations=150)
    )
    assert np.abs(-fitness.sum(axis=1) - 0.5).max() < 0.01
    wanted = 0.5 * lattice(6, 3)
    gaps = np.linalg.norm(-fitness[:, None] - wanted, axis=2).min(axis=0)
    assert gaps.max() < 0.06
