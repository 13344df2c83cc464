"""Maxima of quadratics in a box, the predicted front, and the few points that stand for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.front import maximum, predicted_front, thinned
from searcher.quadratic_surrogate.quadratic import fit_quadratic
from searcher.quadratic_surrogate.surrogates import Measured, fit_surrogates

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_the_maximum_in_a_box_is_that_of_a_fine_grid(seed: int) -> None:
    """Concave, convex and saddle-shaped quadratics of two genes."""
    rng = np.random.default_rng(seed)
    box = Box(np.array([0.1, 0.2]), np.array([0.9, 0.5]))
    axes = np.linspace(0, 1, 61)
    grid = box.at(np.stack(np.meshgrid(axes, axes), axis=-1).reshape(-1, 2))
    points = box.at(rng.random((12, 2)))
    fit = fit_quadratic(points, rng.normal(size=12), box=box)
    found = maximum(fit, box, box.at(rng.random((24, 2))))
    assert box.contains(found[None])[0]
    best = fit.predict(grid).max()
    assert fit.predict(found[None])[0] >= best - 1e-9 * max(1.0, abs(best))


def test_the_front_of_two_quadratics_is_the_segment_between_their_optima() -> None:
    rng, box = np.random.default_rng(0), Box.of(0.0, 1.0, 4)
    a, b = np.array([0.2, 0.3, 0.8, 0.5]), np.array([0.7, 0.6, 0.4, 0.1])
    points = rng.random((30, 4))
    fitness = -np.stack([((points - c) ** 2).sum(axis=1) for c in (a, b)], axis=1)
    surrogates = fit_surrogates(Measured(points, fitness, np.full((30, 2), np.nan)), box, ("none",) * 2, "full")
    found, predicted = predicted_front(surrogates, box, points[:0], rng)
    assert np.abs(np.sqrt(-np.minimum(predicted, 0)).sum(axis=1) - np.linalg.norm(b - a)).max() < 1e-2
    for optimum in (a, b):
        assert np.abs(found - optimum).max(axis=1).min() < 1e-6


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 12), seeds)
def test_a_thinned_front_has_distinct_points_and_the_ends(k: int, m: int, n: int, seed: int) -> None:
    fitness = np.random.default_rng(seed).integers(0, 9, (k, m)).astype(np.float64)
    chosen = thinned(fitness, n, np.zeros((0, m)))
    assert len(chosen) <= n
    assert len(np.unique(fitness[chosen], axis=0)) == len(chosen)
    assert len(chosen) == min(n, len(np.unique(fitness, axis=0)))
    if n >= m:
        assert (fitness[chosen].max(axis=0) == fitness.max(axis=0)).all()


def test_points_beside_measured_ones_come_last() -> None:
    fitness = np.stack([np.linspace(0, 1, 11), np.linspace(1, 0, 11)], axis=1)
    assert 5 in thinned(fitness, 3, np.zeros((0, 2)))
    assert 5 not in thinned(fitness, 4, fitness[[5]])
    assert len(thinned(np.zeros((0, 2)), 3, np.zeros((0, 2)))) == 0
