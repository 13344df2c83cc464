"""Some tensors as a line of their own, and recipes joined again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe, SettingValue
from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.part_of_line import PartOfLine, joined
from tests.spaces.test_every_space import CONTEXTS, make_layout

SIZES = (4, 0, 3, 5, 2, 6)
STOPS = np.cumsum(SIZES)
LAYOUT = Layout(
    tuple(TensorEntry(f"{k}", (n,), int(STOPS[k]) - n, n, k, "mlp") for k, n in enumerate(SIZES)), {"x": "0", "y": "2"}
)
P = LAYOUT.n_parameters


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    inner = sorted(draw(st.sets(st.integers(1, P - 1), max_size=6)))
    n = len(inner) + 1
    numbers = st.integers(0, 9).map(lambda i: i / 10)
    rows = draw(st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=n, max_size=n))
    density = np.array(draw(st.lists(numbers, min_size=n, max_size=n)))
    settings: dict[str, SettingValue] = {"density": density, "lambda": 0.5, "normalize": True}
    return Recipe("ties", ("a", "b"), "base", np.array([0, *inner, P]), np.array(rows), settings)


def per_element(recipe: Recipe) -> np.ndarray:
    """Coefficients and density of every element, shape (P, 3)."""
    density = np.broadcast_to(np.asarray(recipe.settings["density"], np.float64), (recipe.n_segments,))
    rows = np.concatenate([recipe.coefficients, density[:, None]], axis=1)
    return np.repeat(rows, np.diff(recipe.boundaries), axis=0)


@given(recipes(), st.lists(st.integers(0, 2), min_size=len(SIZES), max_size=len(SIZES)))
def test_parts_of_a_recipe_are_its_elements_and_join_to_it(recipe: Recipe, owner: list[int]) -> None:
    owners = [[t for t, o in zip(LAYOUT.tensors, owner, strict=True) if o == k] for k in range(3)]
    parts = [PartOfLine(LAYOUT, tensors) for tensors in owners if sum(t.size for t in tensors)]
    expected = per_element(recipe)
    restricted = []
    for part, tensors in zip(parts, [o for o in owners if sum(t.size for t in o)], strict=True):
        inside = np.concatenate([np.arange(t.offset, t.stop) for t in tensors])
        restricted.append(part.restrict(recipe))
        assert part.layout.n_parameters == len(inside) == restricted[-1].n_parameters
        np.testing.assert_array_equal(per_element(restricted[-1]), expected[inside])
    again = joined(parts, restricted, {})
    np.testing.assert_array_equal(per_element(again), expected)
    assert again == recipe
    assert joined(parts, [r.canonical() for r in restricted], {}) == recipe


def test_a_part_knows_its_own_tensors_and_settings() -> None:
    searched = (SearchedSetting("density", 0, 1, "group"), SearchedSetting("lambda", 0, 1))
    part = PartOfLine(LAYOUT, [LAYOUT.tensors[0], LAYOUT.tensors[3]])
    found = part.context(SpaceContext(LAYOUT, ("a",), "base", "ties", searched=searched))
    assert [(t.name, t.offset, t.stop) for t in found.layout.tensors] == [("0", 0, 4), ("3", 4, 9)]
    assert dict(found.layout.tied) == {"x": "0"}
    assert found.searched == searched[:1]
    assert found.prefix_products is None


def test_inner_products_of_a_part_are_those_of_its_elements() -> None:
    context = CONTEXTS["task_arithmetic"]
    layout, whole = context.layout, context.prefix_products
    assert whole is not None
    tensors = [t for t in layout.tensors if t.kind in ("mlp", "head")]
    inner = PartOfLine(layout, tensors).context(context).prefix_products
    assert inner is not None
    each = [whole(p + 1) - whole(p) for t in tensors for p in range(t.offset, t.stop)]
    for position in range(len(each) + 1):
        np.testing.assert_allclose(inner(position), np.sum(each[:position], axis=0) + np.zeros((4, 4)), atol=1e-12)


def test_a_recipe_of_another_line_is_refused() -> None:
    part = PartOfLine(make_layout(), make_layout().tensors[:2])
    with pytest.raises(ValueError, match="Expected a recipe of"):
        part.restrict(Recipe("ties", ("a",), "base", np.array([0, 3]), np.ones((1, 1))))
