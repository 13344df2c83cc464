from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.operators.sphere import Directions, Float64, lengths

angles = st.floats(-1.5, 1.5)
shares = st.floats(0.1, 1.0)


def on_circle(*turns: float) -> Float64:
    return np.array([[math.cos(turn), math.sin(turn)] for turn in turns])


def directions_of(vectors: Float64, *weights: float) -> Directions:
    return Directions.of(vectors @ vectors.T, np.array(weights))


@given(turns=st.tuples(angles, angles, angles), weights=st.tuples(shares, shares, shares))
def test_one_step_on_a_circle_reaches_the_mean_angle(
    turns: tuple[float, float, float], weights: tuple[float, float, float]
) -> None:
    units = on_circle(*turns)
    directions = directions_of(units, *weights)
    mean = directions.mean()
    assert mean is not None
    reached = directions.exponential(mean, directions.logarithm(mean)) @ units
    expected = float(np.average(turns, weights=weights))
    np.testing.assert_allclose(reached, [math.cos(expected), math.sin(expected)], atol=1e-7)


def test_logarithm_points_at_the_direction_and_is_as_long_as_the_angle() -> None:
    units = on_circle(0.0, 1.2)
    directions = directions_of(units, 0.0, 1.0)
    tangent = directions.logarithm(np.array([1.0, 0.0]))
    np.testing.assert_allclose(tangent @ units, [0.0, 1.2], atol=1e-12)
    np.testing.assert_allclose(directions.exponential(np.array([1.0, 0.0]), tangent) @ units, units[1], atol=1e-12)


def test_an_opposite_direction_adds_nothing() -> None:
    directions = directions_of(on_circle(0.0, math.pi), 0.5, 0.5)
    assert directions.mean() is None
    tangent = directions.logarithm(np.array([1.0, 0.0]))
    assert directions.length(tangent) == 0.0


def test_a_zero_vector_has_no_direction() -> None:
    directions = directions_of(np.array([[3.0, 4.0], [0.0, 0.0], [4.0, 3.0]]), 0.2, 0.5, 0.3)
    assert directions.weights.tolist() == [0.4, 0.0, 0.6]
    assert directions.norms.tolist() == [5.0, 0.0, 5.0]
    assert directions.scales(np.array([1.0, 0.0, 0.0]), 10.0).tolist() == [2.0, 0.0, 0.0]


def test_lengths_of_almost_nothing_are_not_nan() -> None:
    np.testing.assert_array_equal(lengths(np.array([[[4.0, 1.0], [1.0, -1e-17]]])), [[2.0, 0.0]])


def test_weights_of_the_directions_must_not_cancel() -> None:
    with pytest.raises(CandidateError, match="sum to 0"):
        directions_of(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), 0.5, -0.5, 1.0)
