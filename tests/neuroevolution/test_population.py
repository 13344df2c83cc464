"""Crossover and mutation in place, against a computation in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.neuroevolution.population import Population


def slerp(a: NDArray[np.floating], b: NDArray[np.floating], ratio: float, split: int) -> NDArray[np.float64]:
    """The authors' formula, element by element."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    t = np.where(np.arange(len(a)) < split, ratio, 1.0 - ratio)
    omega = math.acos(np.clip((a @ b) / math.sqrt((a @ a) * (b @ b)), -1.0, 1.0))
    if math.sin(omega) <= 1e-6:
        return np.asarray((1.0 - t) * a + t * b)
    return np.asarray((np.sin((1.0 - t) * omega) * a + np.sin(t * omega) * b) / math.sin(omega))


def two_parents(n: int, seed: int) -> Population:
    population = Population(3, n, seed=0)
    for row, vector in enumerate(np.random.default_rng(seed).standard_normal((2, n))):
        population.place(row, vector)
    return population


@given(n=st.integers(2, 300), seed=st.integers(0, 99), ratio=st.floats(0.0, 1.0), where=st.floats(0.0, 1.0))
def test_child_is_the_authors_formula(n: int, seed: int, ratio: float, where: float) -> None:
    population, split = two_parents(n, seed), round(where * n)
    a, b = population.rows[0].copy(), population.rows[1].copy()
    population.cross(2, 0, 1, ratio, split)
    # near opposite directions the angle is known to float32 precision only, and sin(Omega) divides by it
    sine = math.sqrt(max(1.0 - (a @ b) ** 2 / ((a @ a) * (b @ b)), 1e-12))
    np.testing.assert_allclose(population.rows[2], slerp(a, b, ratio, split), rtol=1e-5, atol=1e-5 / sine**2)
    np.testing.assert_array_equal(population.rows[0], a)
    np.testing.assert_array_equal(population.rows[1], b)


@pytest.mark.parametrize(
    ("ratio", "split", "parent"), [(0.0, 0, 1), (1.0, 0, 0), (0.0, 50, 0), (1.0, 50, 1)], ids=["B", "A", "A'", "B'"]
)
def test_ends_are_the_parents(ratio: float, split: int, parent: int) -> None:
    population = two_parents(50, 3)
    population.cross(2, 0, 1, ratio, split)
    np.testing.assert_allclose(population.rows[2], population.rows[parent], rtol=1e-6, atol=1e-7)


def test_equal_shares_do_not_depend_on_the_split_point() -> None:
    population = two_parents(40, 1)
    population.cross(2, 0, 1, 0.5, 0)
    first = population.rows[2].copy()
    for split in (1, 20, 40):
        population.cross(2, 0, 1, 0.5, split)
        np.testing.assert_array_equal(population.rows[2], first)


@given(ratio=st.floats(0.0, 1.0), split=st.integers(0, 500))
def test_equal_parents_have_an_equal_child(ratio: float, split: int) -> None:
    population = two_parents(500, 2)
    population.copy(1, 0)
    population.cross(2, 0, 1, ratio, split)
    np.testing.assert_allclose(population.rows[2], population.rows[0], rtol=2e-6)


def test_row_of_zeros_is_crossed_along_the_straight_line() -> None:
    population = two_parents(4, 0)
    population.place(0, np.zeros(4))
    population.cross(2, 0, 1, 0.25, 4)
    np.testing.assert_allclose(population.rows[2], 0.25 * population.rows[1], rtol=1e-6)


def test_mutation_is_gaussian_and_a_function_of_the_seed() -> None:
    n = 20_000
    first, second, third = (Population(1, n, seed) for seed in (5, 5, 6))
    for population in (first, second, third):
        population.place(0, np.full(n, 3.0))
        population.mutate(0, 0.01)
    np.testing.assert_array_equal(first.rows, second.rows)
    assert (first.rows != third.rows).any()
    noise = (first.rows[0].astype(np.float64) - 3.0) / 0.01
    assert abs(noise.mean()) < 4 / math.sqrt(n)
    assert abs(noise.std() - 1.0) < 4 / math.sqrt(2 * n)
    assert abs((np.abs(noise) < 1.0).mean() - 0.6827) < 4 * math.sqrt(0.25 / n)


def test_crossing_after_mutation_uses_the_new_length() -> None:
    population = two_parents(30, 4)
    population.mutate(0, 1.0)
    population.cross(2, 0, 1, 0.3, 11)
    expected = slerp(population.rows[0], population.rows[1], 0.3, 11)
    np.testing.assert_allclose(population.rows[2], expected, rtol=1e-5, atol=1e-5)
