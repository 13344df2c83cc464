"""Genes of groups, and what fits them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe
from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.group_map import group_tensors
from searcher.spaces.groups import GroupedGenes, ranges

SIZES = (4, 1, 5, 2)
STOPS = np.cumsum(SIZES)
LAYOUT = Layout(tuple(TensorEntry(f"{k}", (n,), int(STOPS[k]) - n, n, k, "mlp") for k, n in enumerate(SIZES)))
CONTEXT = SpaceContext(LAYOUT, ("a", "b"), "base", "ties", fixed={"lambda": 1.0})
GROUPS = group_tensors(LAYOUT, lambda tensor: "odd" if int(tensor.name) % 2 else "even")
SEARCHED = (SearchedSetting("density", 0.0, 0.5, "group"), SearchedSetting("lambda", 1.0, 3.0))


def genes(context: SpaceContext = CONTEXT, low: float = 0.0, high: float = 2.0) -> GroupedGenes:
    return GroupedGenes(context, GROUPS, low, high)


def recipe(boundaries: list[int], rows: list[list[float]], **settings: float | np.ndarray) -> Recipe:
    return Recipe("ties", ("a", "b"), "base", np.array(boundaries), np.array(rows), settings)


def encoded(space: GroupedGenes, recipe: Recipe) -> list[float]:
    genome = space.encode(recipe)
    assert genome is not None
    found: list[float] = genome.tolist()
    return found


def test_genes_are_groups_of_models_and_then_settings() -> None:
    space = genes(replace(CONTEXT, searched=SEARCHED))
    assert space.names == ("a[even]", "b[even]", "a[odd]", "b[odd]", "density[even]", "density[odd]", "lambda")
    assert space.n_coefficients == 4
    found = space.decode(np.array([0.0, 0.25, 0.5, 1.0, 0.0, 1.0, 0.5]))
    assert found.coefficients.tolist() == [[0.0, 0.5], [1.0, 2.0], [0.0, 0.5], [1.0, 2.0]]
    density = found.settings["density"]
    assert isinstance(density, np.ndarray)
    assert density.tolist() == [0.0, 0.5, 0.0, 0.5]
    assert found.settings["lambda"] == 2.0


def test_a_recipe_cut_more_finely_fits_if_each_group_is_constant() -> None:
    fine = recipe([0, 2, 4, 5, 10, 11, 12], [[1, 0], [1, 0], [2, 0], [1, 0], [2, 0], [2, 0]])
    assert encoded(genes(), fine) == [0.5, 0.0, 1.0, 0.0]
    inside = recipe([0, 2, 12], [[1, 0], [2, 0]])  # a cut inside the first tensor
    assert genes().encode(inside) is None
    apart = recipe([0, 4, 5, 10, 12], [[1, 0], [2, 0], [0.5, 0], [2, 0]])  # the two parts of "even" differ
    assert genes().encode(apart) is None


def test_models_that_a_recipe_leaves_out_are_zero_and_the_order_is_ours() -> None:
    only_b = Recipe("ties", ("b",), "base", np.array([0, 12]), np.array([[0.5]]))
    assert encoded(genes(), only_b) == [0.0, 0.25, 0.0, 0.25]
    assert genes(low=0.25).encode(only_b) is None  # no gene is 0 then


@pytest.mark.parametrize(("row", "t"), [([0.75, 0.25], 0.25), ([1.5, 0.5], None), ([0.0, 0.0], None)])
def test_a_position_between_two_ends_needs_a_sum_of_one(row: list[float], t: float | None) -> None:
    between = SpaceContext(LAYOUT, ("a", "b"), None, "slerp", interpolates=True)
    found = genes(between, 0.0, 1.0).encode(Recipe("slerp", ("a", "b"), None, np.array([0, 12]), np.array([row])))
    assert (found is None) if t is None else found is not None and found.tolist() == [t, t]


def test_settings_are_encoded_where_they_are_the_operators_own() -> None:
    """A baseline of another operator, or with a setting that is not constant, is given the middle of the range."""
    space = genes(replace(CONTEXT, searched=SEARCHED))
    row, whole = [[0.0, 0.0]], [0, 12]
    same = recipe(whole, row, density=0.125, **{"lambda": 3.0})
    assert encoded(space, same)[4:] == [0.25, 0.25, 1.0]
    other = Recipe("task_arithmetic", ("a", "b"), "base", np.array(whole), np.array(row), {"lambda": 3.0})
    assert encoded(space, other)[4:] == [0.5, 0.5, 0.5]
    varied = recipe([0, 4, 5, 10, 12], row * 4, density=np.array([0.1, 0.0, 0.2, 0.0]))
    assert encoded(space, varied)[4:] == [0.5, 0.5, 0.5]
    outside = recipe(whole, row, density=0.125, **{"lambda": 9.0})
    assert encoded(space, outside)[6] == 1.0


def test_a_setting_without_a_range_has_a_gene_without_effect() -> None:
    fixed = genes(replace(CONTEXT, searched=(SearchedSetting("density", 0.5, 0.5),)))
    assert encoded(fixed, recipe([0, 12], [[0.0, 0.0]], density=0.5))[4:] == [0.5]
    assert fixed.describe_settings() == ["density of ties: [0.5, 0.5], one gene per run"]


@pytest.mark.parametrize("pair", [(), (1.0,), (0.0, 1.0, 2.0), (1.0, 1.0), (2.0, 1.0), (0.0, float("inf"))])
def test_a_range_is_two_finite_numbers_in_order(pair: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"range \[low, high\]"):
        ranges(pair)


def test_a_range_of_whole_numbers_is_one_of_floats() -> None:
    assert ranges([0, 2]) == (0.0, 2.0)
    assert all(type(end) is float for end in ranges([0, 2]))
