"""What every space must do: decode the whole cube, deterministically, and encode what it decoded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe
from searcher.spaces.base import SPACES, SearchedSetting, Space, SpaceContext

KINDS = ("attention", "mlp", "norm")


def make_layout(n_blocks: int = 3) -> Layout:
    """Embedding, blocks of three tensors, final norm, head."""
    plan: list[tuple[str, int, int | None, str]] = [("embed", 7, None, "embedding")]
    plan += [(f"layers.{b}.{kind}", 5 + b, b, kind) for b in range(n_blocks) for kind in KINDS]
    plan += [("norm", 2, None, "norm"), ("head", 7, None, "head")]
    entries, offset = [], 0
    for name, size, block, kind in plan:
        entries.append(TensorEntry(name, (size,), offset, size, block, kind))  # type: ignore[arg-type]
        offset += size
    return Layout(tuple(entries))


CONTEXTS = {
    "task_arithmetic": SpaceContext(make_layout(), ("a", "b", "c"), "base", "task_arithmetic", fixed={"lambda": 1.0}),
    "slerp of two": SpaceContext(make_layout(), ("a", "b"), None, "slerp", interpolates=True),
    "slerp from base": SpaceContext(make_layout(), ("a",), "base", "slerp", interpolates=True),
    "ties, searched density": SpaceContext(
        make_layout(),
        ("a", "b"),
        "base",
        "ties",
        fixed={"normalize": True},
        searched=(SearchedSetting("density", 0.1, 1.0, "group"), SearchedSetting("lambda", 0.5, 1.5)),
    ),
}
every_space = pytest.mark.parametrize("name", SPACES.names())
every_context = pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)


def make(name: str, context: SpaceContext) -> Space:
    return SPACES.get(name)(context)


@every_space
@every_context
@given(data=st.data())
def test_the_whole_cube_decodes(name: str, context: SpaceContext, data: st.DataObject) -> None:
    space = make(name, context)
    gene = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
    genome = np.array(data.draw(st.lists(gene, min_size=len(space.names), max_size=len(space.names))))
    untouched = genome.copy()
    recipe = space.decode(genome)
    np.testing.assert_array_equal(genome, untouched)
    assert recipe == space.decode(genome)
    assert recipe.n_parameters == context.layout.n_parameters
    assert recipe.operator == context.operator
    assert recipe.models == context.models
    encoded = space.encode(recipe)
    assert encoded is not None
    assert encoded.shape == genome.shape
    assert np.all((encoded >= 0) & (encoded <= 1))
    np.testing.assert_allclose(space.decode(encoded).coefficients, recipe.coefficients, atol=1e-9)


@every_space
@every_context
def test_names_and_description(name: str, context: SpaceContext) -> None:
    space = make(name, context)
    assert len(set(space.names)) == len(space.names) > 0
    assert space.describe()
    for bad in (np.zeros(len(space.names) + 1), np.full(len(space.names), np.nan)):
        with pytest.raises(ValueError, match="genome"):
            space.decode(bad)


@every_space
def test_known_merges_encode_exactly(name: str) -> None:
    context = CONTEXTS["task_arithmetic"]
    space = make(name, context)
    for row in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.3, 0.3, 0.3], [1 / 3, 1 / 3, 1 / 3]):
        borders = np.array([0, context.layout.n_parameters])
        recipe = Recipe("task_arithmetic", ("a", "b", "c"), "base", borders, np.array([row]), {"lambda": 1.0})
        genome = space.encode(recipe)
        assert genome is not None
        assert space.decode(genome) == recipe


@every_space
def test_what_is_outside_is_not_encoded(name: str) -> None:
    context = CONTEXTS["task_arithmetic"]
    space = make(name, context)
    p = context.layout.n_parameters
    outside = Recipe("task_arithmetic", ("a", "b", "c"), "base", np.array([0, p]), np.array([[-5.0, 0, 0]]))
    foreign = Recipe("task_arithmetic", ("z",), "base", np.array([0, p]), np.array([[0.5]]))
    shorter = Recipe("task_arithmetic", ("a",), "base", np.array([0, p - 1]), np.array([[0.5]]))
    inside_a_tensor = Recipe(
        "task_arithmetic", ("a", "b", "c"), "base", np.array([0, 3, p]), np.array([[0.5, 0, 0], [0.1, 0, 0]])
    )
    for recipe in (outside, foreign, shorter, inside_a_tensor):
        assert space.encode(recipe) is None
