"""Spaces side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.baselines import standard_baselines
from searcher.recipe import Recipe
from searcher.spaces.base import SPACES
from searcher.spaces.layer_wise import LayerWise
from searcher.spaces.product import Product
from tests.spaces.test_every_space import CONTEXTS

CONTEXT = CONTEXTS["task_arithmetic"]
PARTS: tuple[dict[str, Any], ...] = (
    {"match": "*attention", "name": "layer_wise", "range": (0.0, 2.0), "label": "attention"},
    {"match": "*", "name": "model_wise", "simplex": True, "total": (0.0, 3.0)},
)


def rows_of(recipe: Recipe) -> dict[str, list[float]]:
    """The coefficients at the start of every tensor."""
    segment = np.searchsorted(recipe.boundaries, [t.offset for t in CONTEXT.layout.tensors], side="right") - 1
    return {t.name: recipe.coefficients[s].tolist() for t, s in zip(CONTEXT.layout.tensors, segment, strict=True)}


def test_each_part_has_its_tensors_and_genes() -> None:
    space = Product(CONTEXT, spaces=PARTS)
    assert space.names[:3] == ("attention: a[block 0]", "attention: b[block 0]", "attention: c[block 0]")
    assert space.names[9:] == ("*: after a", "*: after b", "*: total")
    genome = np.append(np.linspace(0.1, 0.9, 9), [0.5, 0.5, 1.0])
    rows = rows_of(space.decode(genome))
    np.testing.assert_allclose(rows["layers.1.attention"], 2 * genome[3:6], atol=1e-12)
    others = [row for name, row in rows.items() if "attention" not in name]
    assert all(row == others[0] for row in others)
    assert sum(others[0]) == pytest.approx(3.0, abs=1e-11)


def test_the_first_match_wins() -> None:
    space = Product(CONTEXT, spaces=({"match": "layers.*", "name": "model_wise"}, *PARTS[1:]))
    assert space.names[:3] == ("layers.*: a", "layers.*: b", "layers.*: c")
    assert "9 tensors" in space.describe()


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@given(data=st.data())
def test_a_product_of_one_part_is_that_part(context: Any, data: st.DataObject) -> None:
    whole, product = LayerWise(context), Product(context, spaces=({"match": "*", "name": "layer_wise"},))
    n = len(whole.names)
    assert [name.removeprefix("*: ") for name in product.names] == list(whole.names)
    genome = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    assert product.decode(genome) == whole.decode(genome)


@pytest.mark.parametrize("name", sorted(set(SPACES.names()) - {"product", "data_flow"}))
def test_every_space_can_be_a_part(name: str) -> None:
    space = Product(CONTEXT, spaces=({"match": "layers.*", "name": name}, {"match": "*", "name": "model_wise"}))
    rng = np.random.default_rng(0)
    for _ in range(5):
        recipe = space.decode(rng.random(len(space.names)))
        genome = space.encode(recipe)
        assert genome is not None
        np.testing.assert_allclose(space.decode(genome).coefficients, recipe.coefficients, atol=1e-9)


def test_baselines_are_inside() -> None:
    space = Product(CONTEXT, spaces=PARTS)
    for _, recipe in standard_baselines(CONTEXT.models, "base", CONTEXT.layout.n_parameters):
        genome = space.encode(recipe)
        assert genome is not None
        np.testing.assert_array_equal(space.decode(genome).coefficients, recipe.coefficients)


def test_products_nest() -> None:
    inner = {"match": "layers.*", "name": "product", "label": "blocks", "spaces": PARTS}
    space = Product(CONTEXT, spaces=(inner, {"match": "*", "name": "model_wise", "label": "ends"}))
    assert space.names[0] == "blocks: attention: a[block 0]"
    assert space.names[-1] == "ends: c"


def test_depth_is_that_of_the_blocks_of_a_part() -> None:
    parts = ({"match": "layers.[12].*", "name": "depth_profile"}, {"match": "*", "name": "model_wise"})
    space = Product(CONTEXT, spaces=parts)
    rows = rows_of(space.decode(np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0, 0, 0])))
    assert rows["layers.1.mlp"] == [0.1] * 3
    assert rows["layers.2.mlp"] == [0.9] * 3


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ((), "labels of their own"),
        (({"match": "*"},), "`match` and `name`"),
        (({"match": "*", "name": "layerwise"},), "layer_wise"),
        (({"match": "*", "name": "layer_wise", "granularity": "many"},), "granularity"),
        (({"match": "*", "name": "layer_wise", "knots": 3},), "knots"),
        (({"match": "layers*", "name": "model_wise"},), "'embed' matches none"),
        (({"match": "*", "name": "model_wise"}, {"match": "layers*", "name": "model_wise"}), "earlier parts"),
        (({"match": "lm_head", "name": "model_wise"}, {"match": "*", "name": "model_wise"}), "matches none"),
        (({"match": "*", "name": "model_wise"}, {"match": "*", "name": "model_wise"}), "labels of their own"),
    ],
)
def test_wrong_parts_are_refused(spaces: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Product(CONTEXT, spaces=spaces)
