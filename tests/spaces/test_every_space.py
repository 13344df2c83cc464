"""What every space must do: decode the whole cube, deterministically, and encode what it decoded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

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


def measured(context: SpaceContext) -> SpaceContext:
    """The same pool with weights: what a space may ask to be measured, computed from them."""
    n, rng = len(context.models), np.random.default_rng(5)
    vectors = rng.normal(size=(n + (context.base is not None), context.layout.n_parameters))
    changes = vectors[1:] if context.base is not None else vectors - vectors.mean(axis=0)

    def magnitudes() -> dict[str, NDArray[np.float64]]:
        return {t.name: np.abs(changes[:, t.offset : t.stop]).mean(axis=1) for t in context.layout.tensors}

    def prefix_products(position: int) -> NDArray[np.float64]:
        products: NDArray[np.float64] = vectors[:, :position] @ vectors[:, :position].T
        return products

    return replace(context, magnitudes=magnitudes, prefix_products=prefix_products)


UNMEASURED = {
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
CONTEXTS = {name: measured(context) for name, context in UNMEASURED.items()}
# spaces that take whole layers want an operator that leaves them as they are
WHOLE_LAYERS = {
    "linear": SpaceContext(make_layout(), ("a", "b", "c"), None, "linear", fixed={"normalize": True}),
    "linear beside a base": SpaceContext(make_layout(), ("a", "b"), "base", "linear", fixed={"normalize": True}),
}
CHANGING_DEPTH = sorted(name for name in SPACES.names() if SPACES.get(name).changes_depth)
KEEPING_DEPTH = sorted(set(SPACES.names()) - set(CHANGING_DEPTH))
CASES = {
    f"{name}-{label}": (name, context)
    for name in SPACES.names()
    for label, context in (WHOLE_LAYERS if name in CHANGING_DEPTH else CONTEXTS).items()
}
every_space = pytest.mark.parametrize("name", KEEPING_DEPTH)
every_space_and_context = pytest.mark.parametrize(("name", "context"), CASES.values(), ids=CASES)


# what has no default
SETTINGS: dict[str, dict[str, Any]] = {
    "product": {"spaces": ({"match": "*mlp", "name": "layer_wise"}, {"match": "*", "name": "model_wise"})}
}


def make(name: str, context: SpaceContext) -> Space:
    cls: Any = SPACES.get(name)
    space: Space = cls(context, **SETTINGS.get(name, {}))
    return space


def n_parameters(recipe: Recipe, layout: Layout) -> int:
    """Length of a recipe's line: the pool's, or that of its own layers between the pool's ends."""
    if recipe.layers is None:
        return layout.n_parameters
    inside = [t.size for _, layer in recipe.layers for t in layout.tensors if t.block == layer]
    return sum(inside) + sum(t.size for t in layout.tensors if t.block is None)


@every_space_and_context
@given(data=st.data())
def test_the_whole_cube_decodes(name: str, context: SpaceContext, data: st.DataObject) -> None:
    space = make(name, context)
    gene = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
    genome = np.array(data.draw(st.lists(gene, min_size=len(space.names), max_size=len(space.names))))
    untouched = genome.copy()
    recipe = space.decode(genome)
    np.testing.assert_array_equal(genome, untouched)
    assert recipe == space.decode(genome)
    assert recipe.n_parameters == n_parameters(recipe, context.layout)
    assert recipe.operator == context.operator
    assert recipe.models == context.models
    encoded = space.encode(recipe)
    assert encoded is not None
    assert encoded.shape == genome.shape
    assert np.all((encoded >= 0) & (encoded <= 1))
    np.testing.assert_allclose(space.decode(encoded).coefficients, recipe.coefficients, atol=1e-9)


@every_space_and_context
def test_names_and_description(name: str, context: SpaceContext) -> None:
    space = make(name, context)
    assert len(set(space.names)) == len(space.names) > 0
    assert space.describe()
    for bad in (np.zeros(len(space.names) + 1), np.full(len(space.names), np.nan)):
        with pytest.raises(ValueError, match="genome"):
            space.decode(bad)


@every_space_and_context
def test_levels_refine_each_other(name: str, context: SpaceContext) -> None:
    space = make(name, context)
    ties = [np.array(level) for level in (*space.levels(), range(len(space.names)))]
    for coarse, fine in pairwise(ties):
        assert coarse.shape == (len(space.names),)
        assert sorted(set(coarse.tolist())) == list(range(coarse.max() + 1))
        assert coarse.max() < fine.max()
        assert (
            len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == fine.max() + 1
        )  # a function of the fine one


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


@pytest.mark.parametrize("name", CHANGING_DEPTH)
def test_single_models_encode_as_their_own_layers(name: str) -> None:
    context = measured(WHOLE_LAYERS["linear"])
    space, borders = make(name, context), np.array([0, context.layout.n_parameters])
    for column, model in enumerate(context.models):
        for operator, base in (("linear", None), ("task_arithmetic", "base")):
            row = np.eye(len(context.models))[column : column + 1]
            genome = space.encode(Recipe(operator, context.models, base, borders, row))
            assert genome is not None
            found = space.decode(genome)
            assert found.layers == tuple((model, layer) for layer in range(context.layout.n_blocks))
            np.testing.assert_array_equal(found.coefficients, row)
            np.testing.assert_array_equal(found.boundaries, borders)


@pytest.mark.parametrize("name", CHANGING_DEPTH)
def test_what_is_outside_a_space_of_layers_is_not_encoded(name: str) -> None:
    context = measured(WHOLE_LAYERS["linear"])
    space, models = make(name, context), context.models
    p = context.layout.n_parameters
    mixture = Recipe("linear", models, None, np.array([0, p]), np.full((1, 3), 1 / 3))
    foreign = Recipe("linear", ("z",), None, np.array([0, p]), np.array([[1.0]]))
    shorter = Recipe("linear", ("a",), None, np.array([0, p - 1]), np.array([[1.0]]))
    halves = Recipe("linear", models, None, np.array([0, 3, p]), np.eye(3)[:2])
    unknown = Recipe("linear", models, None, np.array([0, p]), np.eye(3)[:1], {"normalize": False}, (("a", 9),))
    scaled = Recipe("linear", models, None, np.array([0, p]), 2 * np.eye(3)[:1], {"normalize": False}, (("a", 0),))
    for recipe in (mixture, foreign, shorter, halves, unknown, scaled):
        assert space.encode(recipe) is None
