"""Principal directions of the task vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.baselines import standard_baselines
from searcher.recipe import Recipe
from searcher.spaces.base import SpaceContext
from searcher.spaces.principal import Principal, principal_axes
from tests.spaces.test_every_space import CONTEXTS, make_layout

P = make_layout().n_parameters


def context_of(vectors: NDArray[np.float64], base: str | None = "base") -> SpaceContext:
    """A pool with these task vectors, or models if there is no base."""
    rows = vectors if base is None else np.concatenate([np.ones((1, P)), vectors])
    names = tuple("abcdefgh"[: len(vectors)])
    operator = "linear" if base is None else "task_arithmetic"
    return SpaceContext(make_layout(), names, base, operator, prefix_products=lambda p: rows[:, :p] @ rows[:, :p].T)


def random_vectors(n: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, P)) + 2.0 * rng.normal(size=P)


@given(st.integers(1, 6))
def test_directions_are_those_of_the_singular_value_decomposition(k: int) -> None:
    """Of the matrix of task vectors; the effects of two genes are orthogonal in weight space."""
    vectors = random_vectors(6)
    values, axes = principal_axes(vectors @ vectors.T, k)
    left, singular, _ = np.linalg.svd(vectors)
    np.testing.assert_allclose(values, singular[:k] ** 2)
    np.testing.assert_allclose(np.abs(np.sum(left[:, :k] * axes, axis=0)), 1.0)
    effects = axes.T @ vectors
    np.testing.assert_allclose(effects @ effects.T, np.diag(values), atol=1e-9 * values[0])


def test_genes_move_the_merge_along_one_direction() -> None:
    vectors = random_vectors(4)
    space = Principal(context_of(vectors), directions=2)
    assert space.names == ("direction 1", "direction 2")
    weights = [
        space.decode(np.array(genome)).coefficients[0] @ vectors for genome in ([0.5, 0.5], [1.0, 0.5], [0.5, 1.0])
    ]
    left = np.linalg.svd(vectors, full_matrices=False)[2]
    for j in range(2):
        move = weights[j + 1] - weights[0]
        assert abs(move @ left[j]) == pytest.approx(np.linalg.norm(move))


@pytest.mark.parametrize("base", ["base", None])
def test_all_directions_contain_the_baselines(base: str | None) -> None:
    context = context_of(random_vectors(5), base)
    space = Principal(context)
    assert len(space.names) == (5 if base else 4)
    for _, recipe in standard_baselines(context.models, base, P):
        genome = space.encode(recipe)
        assert genome is not None
        np.testing.assert_allclose(space.decode(genome).coefficients, recipe.coefficients, atol=1e-11)


def test_without_a_base_coefficients_add_up_to_one() -> None:
    space = Principal(context_of(random_vectors(4), None))
    for genome in np.random.default_rng(0).random((20, 3)):
        assert space.decode(genome).coefficients.sum() == pytest.approx(1.0, abs=1e-11)
    sum_of_two = Recipe("linear", ("a", "b"), None, np.array([0, P]), np.array([[1.0, 1.0]]))
    assert space.encode(sum_of_two) is None


def test_what_few_directions_do_not_reach_is_not_encoded() -> None:
    context = context_of(random_vectors(4))
    one, names = Principal(context, directions=1), context.models
    apart = Recipe("task_arithmetic", names, "base", np.array([0, P]), np.array([[1.0, 0, 0, 0]]))
    assert one.encode(apart) is None
    inside = one.decode(np.array([0.3]))
    genome = one.encode(inside)
    assert genome is not None
    assert genome[0] == pytest.approx(0.3, abs=1e-9)
    layered = Recipe("task_arithmetic", names, "base", np.array([0, 7, P]), np.array([[0.1] * 4, [0.2] * 4]))
    assert Principal(context).encode(layered) is None


def test_spread_widens_the_ranges_about_their_middle() -> None:
    context = context_of(random_vectors(3))
    narrow, wide = Principal(context), Principal(context, spread=2.0)
    middle = np.full(3, 0.5)
    assert narrow.decode(middle) == wide.decode(middle)
    move = narrow.decode(np.array([1.0, 0.5, 0.5])).coefficients - narrow.decode(middle).coefficients
    moved = wide.decode(np.array([1.0, 0.5, 0.5])).coefficients - wide.decode(middle).coefficients
    np.testing.assert_allclose(moved, 2 * move, atol=1e-11)


def test_equal_and_empty_task_vectors_are_survived() -> None:
    one = random_vectors(1)
    for vectors in (np.repeat(one, 3, axis=0), np.zeros((3, P))):
        for base in ("base", None):
            space = Principal(context_of(vectors, base))
            recipe = space.decode(np.full(len(space.names), 0.25))
            assert space.encode(recipe) is not None


def test_the_description_tells_shares_and_models() -> None:
    vectors = np.zeros((2, P))
    vectors[0, 0], vectors[1, 1] = 3.0, 1.0
    text = Principal(context_of(vectors)).describe().split("\n")
    assert text[0] == "principal: 2 genes for coefficients along principal directions, 100.0% of the squared lengths"
    assert text[1] == "  direction 1 in [-0.5, 0.5], 90.0%: +1.00 a +0.00 b"


def test_two_ends_have_a_position() -> None:
    assert Principal(CONTEXTS["slerp of two"]).names == ("t",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"directions": 0}, "from 1 to 3"), ({"directions": 4}, "from 1 to 3"), ({"spread": 0.0}, "spread")],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Principal(CONTEXTS["task_arithmetic"], **settings)
    with pytest.raises(ValueError, match="measured"):
        Principal(replace(CONTEXTS["task_arithmetic"], prefix_products=None))
