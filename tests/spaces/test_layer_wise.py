"""Layer-wise groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.layer_wise import LayerWise
from tests.spaces.test_every_space import make_layout

CONTEXT = SpaceContext(make_layout(), ("a", "b"), "base", "task_arithmetic")


def labels(**settings: Any) -> list[str]:
    return [name[2:-1] for name in LayerWise(CONTEXT, **settings).names if name.startswith("a[")]


def test_groups_by_block_with_embedding_norm_and_head_apart() -> None:
    assert labels() == ["embedding", "block 0", "block 1", "block 2", "norm", "head"]


def test_groups_by_block_and_kind() -> None:
    found = labels(by=("block", "kind"))
    assert found[:4] == ["embedding", "block 0.attention", "block 0.mlp", "block 0.norm"]
    assert len(found) == 3 + 9


def test_groups_by_kind_alone_share_over_blocks() -> None:
    assert labels(by=("kind",)) == ["embedding", "blocks.attention", "blocks.mlp", "blocks.norm", "norm", "head"]
    space = LayerWise(CONTEXT, by=("kind",))
    genome = np.arange(len(space.names)) / 100
    recipe = space.decode(genome)
    assert recipe.n_segments == 1 + 9 + 2  # the groups alternate along the line
    np.testing.assert_array_equal(recipe.coefficients[1], recipe.coefficients[4])


def test_granularity_shares_genes_between_blocks() -> None:
    assert labels(granularity=2) == ["embedding", "blocks 0-1", "block 2", "norm", "head"]


def test_boundaries_are_those_of_the_groups() -> None:
    layout = CONTEXT.layout
    recipe = LayerWise(CONTEXT).decode(np.linspace(0, 1, 12))
    firsts = {t.offset for t in layout.tensors if t.block is None or t.kind == "attention"}
    assert recipe.boundaries.tolist() == sorted({0, layout.n_parameters} | firsts)


def test_searched_settings_per_group() -> None:
    context = SpaceContext(
        CONTEXT.layout, ("a",), "base", "ties", searched=(SearchedSetting("density", 0.1, 0.9, "group"),)
    )
    space = LayerWise(context)
    recipe = space.decode(np.concatenate([np.full(6, 0.5), np.linspace(0, 1, 6)]))
    density = recipe.settings["density"]
    assert isinstance(density, np.ndarray)
    np.testing.assert_allclose(density, np.linspace(0.1, 0.9, 6))
    assert space.names[6] == "density[embedding]"


@pytest.mark.parametrize(
    "settings",
    [{"range": (1.0, 1.0)}, {"range": (0.0, float("nan"))}, {"by": ()}, {"by": ("layer",)}, {"granularity": 0}],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        LayerWise(CONTEXT, **settings)


def test_levels_tie_neighbouring_groups_and_their_settings() -> None:
    context = SpaceContext(
        CONTEXT.layout,
        ("a", "b"),
        "base",
        "ties",
        searched=(SearchedSetting("density", 0.1, 0.9, "group"), SearchedSetting("lambda", 0.5, 1.5)),
    )
    space = LayerWise(context)  # 6 groups
    all_together, three_bundles = (np.array(level) for level in space.levels())
    assert all_together.tolist() == [0, 1] * 6 + [2] * 6 + [3]
    assert three_bundles.tolist() == [0, 1] * 2 + [2, 3] * 2 + [4, 5] * 2 + [6, 6, 7, 7, 8, 8] + [9]
    recipe = space.decode(np.array([0.2, 0.7, 0.5, 0.1])[all_together])
    np.testing.assert_allclose(recipe.coefficients, np.tile([0.2, 0.7], (recipe.n_segments, 1)))
    np.testing.assert_allclose(np.asarray(recipe.settings["density"]), 0.5)
