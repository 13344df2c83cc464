"""Adaptive sampling by bins of hyperspherical angles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.quadratic_surrogate.angular_bins import adaptive_points, angles_of, directions_of
from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.surrogates import Measured, fit_surrogates

seeds = st.integers(0, 2**32 - 1)


@given(st.integers(2, 6), seeds)
def test_angles_and_directions_are_inverse(dim: int, seed: int) -> None:
    directions = np.random.default_rng(seed).random((5, dim)) + 1e-3
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angles = angles_of(directions)
    assert angles.shape == (5, dim - 1)
    assert ((angles >= 0) & (angles <= np.pi / 2)).all()
    np.testing.assert_allclose(directions_of(angles), directions, atol=1e-12)


def measured(points: np.ndarray) -> Measured:
    """Quadratic but for a ripple in the direction of the first gene."""
    ripple = np.where(points[:, 1] < 0.3 * points[:, 0], np.sin(25 * points[:, 0]), 0.0)
    fitness = -((points - 0.4) ** 2).sum(axis=1) + ripple
    return Measured(points, fitness[:, None], np.full((len(points), 1), np.nan))


@pytest.mark.parametrize("dim", range(1, 7))
def test_points_are_in_the_box(dim: int) -> None:
    rng, box = np.random.default_rng(0), Box.of(0.2, 0.7, dim)
    points = box.at(rng.random((70, dim)))
    data = Measured(points, points[:, :1] ** 3, np.full((70, 1), np.nan))
    surrogates = fit_surrogates(data, box, ("none",), "full")
    found = adaptive_points(surrogates, data, box, 50, rng)
    assert found.shape == (50, dim)
    assert box.contains(found).all()
    assert len(np.unique(found, axis=0)) == 50


def test_more_points_where_the_surrogate_errs() -> None:
    rng, box = np.random.default_rng(1), Box.of(0.0, 1.0, 2)
    data = measured(rng.random((60, 2)))
    found = adaptive_points(fit_surrogates(data, box, ("none",), "full"), data, box, 400, rng)
    share = (found[:, 1] < 0.42 * found[:, 0]).mean()  # the bin of the ripple is one of four
    assert share > 0.5


def test_directions_without_points_are_explored() -> None:
    rng, box = np.random.default_rng(2), Box.of(0.0, 1.0, 2)
    points = rng.random((200, 2))
    data = measured(points[points[:, 1] > 0.5 * points[:, 0]])
    found = adaptive_points(fit_surrogates(data, box, ("none",), "full"), data, box, 400, rng)
    assert (found[:, 1] < 0.4 * found[:, 0]).mean() > 0.2


def test_constant_and_exact_objectives_are_sampled_evenly_rather_than_not() -> None:
    rng, box = np.random.default_rng(3), Box.of(0.0, 1.0, 2)
    points = rng.random((20, 2))
    for fitness in (np.zeros((20, 1)), points[:, :1] ** 2):
        data = Measured(points, fitness, np.full((20, 1), np.nan))
        found = adaptive_points(fit_surrogates(data, box, ("none",), "full"), data, box, 30, rng)
        assert np.isfinite(found).all()
