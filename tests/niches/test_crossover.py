"""Crossover weights: ends, the split, the circle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.niches.crossover import (
    cosine,
    interpolation_weights,
    linear_weights,
    mix,
    slerp_position,
    slerp_weights,
    split_positions,
)

unit = st.floats(0, 1)


@given(unit, st.floats(-0.999, 0.999))
def test_the_child_of_two_unit_vectors_is_a_unit_vector(t: float, cos_angle: float) -> None:
    a, b = np.array([1.0, 0.0]), np.array([cos_angle, math.sqrt(1.0 - cos_angle**2)])
    child = mix(a, b, slerp_weights(t, cos_angle))
    assert np.linalg.norm(child) == pytest.approx(1.0, abs=1e-9)
    assert child @ a == pytest.approx(math.cos(t * math.acos(cos_angle)), abs=1e-9)


@pytest.mark.parametrize("cos_angle", [-1.0, -0.3, 0.0, 0.7, 1.0, 1.0 + 1e-12, math.nan])
def test_the_ends_are_the_parents(cos_angle: float) -> None:
    p, q = slerp_weights(np.array([0.0, 1.0]), cos_angle)
    np.testing.assert_allclose(p, [1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(q, [0.0, 1.0], atol=1e-15)


@given(unit, st.floats(-1, 1))
def test_equal_shares_in_the_middle_and_symmetry(t: float, cos_angle: float) -> None:
    p, q = slerp_weights(t, cos_angle)
    mirrored = slerp_weights(1.0 - t, cos_angle)
    np.testing.assert_allclose((p, q), mirrored[::-1], rtol=1e-6, atol=1e-9)
    assert slerp_weights(0.5, cos_angle)[0] == pytest.approx(slerp_weights(0.5, cos_angle)[1])


def test_parallel_opposite_and_zero_vectors_are_mixed_linearly() -> None:
    almost = math.cos(0.9e-6)
    for cos_angle in (1.0, -1.0, math.nan, almost):
        np.testing.assert_array_equal(slerp_weights(0.3, cos_angle), linear_weights(0.3))
    assert float(slerp_weights(0.5, math.cos(2e-3))[0]) > 0.5  # on the circle


@given(unit, st.floats(-0.99, 0.99999))
def test_the_position_is_found_again(t: float, cos_angle: float) -> None:
    p, q = slerp_weights(t, cos_angle)
    assert slerp_position(float(p), float(q), cos_angle) == pytest.approx(t, abs=1e-9)
    assert slerp_position(1.0 - t, t, 1.0) == t


def test_the_ratio_is_swapped_at_every_split() -> None:
    np.testing.assert_allclose(split_positions(0.2, 4), [0.2, 0.8, 0.2, 0.8])
    np.testing.assert_array_equal(split_positions(0.5, 3), [0.5, 0.5, 0.5])


def test_cosine_of_inner_products() -> None:
    a, b = np.array([3.0, 0.0]), np.array([2.0, 2.0])
    assert cosine(a @ a, a @ b, b @ b) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(cosine(0.0, 0.0, 1.0))
    assert math.isnan(cosine(1.0, 0.0, -1e-20))  # a rounded 0


def test_interpolation_by_name() -> None:
    np.testing.assert_array_equal(interpolation_weights(0.25, 0.0, "linear"), linear_weights(0.25))
    np.testing.assert_array_equal(interpolation_weights(0.25, 0.0, "spherical"), slerp_weights(0.25, 0.0))


@given(st.integers(0, 2**32 - 1), unit, st.integers(0, 40))
def test_a_parent_crossed_with_itself_is_itself(seed: int, ratio: float, split: int) -> None:
    """Also where float32 makes the angle of equal vectors 5e-4 instead of 0."""
    a = np.random.default_rng(seed).normal(size=40)
    t = np.where(np.arange(40) < split, ratio, 1.0 - ratio)
    for cos_angle in (1.0, math.cos(5e-4)):
        np.testing.assert_allclose(mix(a, a, slerp_weights(t, cos_angle)), a, rtol=1e-6)
