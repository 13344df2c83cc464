"""Groups and fixed coefficients by patterns on tensor names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from searcher.recipe import Recipe
from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.chunk_wise import ChunkWise
from searcher.spaces.depth_profile import DepthProfile
from searcher.spaces.layer_wise import LayerWise
from searcher.spaces.model_wise import ModelWise
from tests.spaces.test_every_space import CONTEXTS, make_layout, measured

CONTEXT = measured(SpaceContext(make_layout(), ("a", "b"), "base", "task_arithmetic"))
OFFSETS = {t.name: t.offset for t in CONTEXT.layout.tensors}


def at(recipe: Recipe, tensor: str) -> list[float]:
    row: list[float] = recipe.coefficients[
        np.searchsorted(recipe.boundaries, OFFSETS[tensor], side="right") - 1
    ].tolist()
    return row


def test_filtered_tensors_are_a_group_wherever_they_stand() -> None:
    filters = (
        {"match": "*.norm", "group": "norms"},
        {"match": "*mlp", "group": "late"},
        {"match": "embed", "group": "x"},
    )
    space = LayerWise(CONTEXT, filters=filters)  # type: ignore[arg-type]
    labels = [name[2:-1] for name in space.names if name.startswith("a[")]
    assert labels == ["x", "block 0", "late", "norms", "block 1", "block 2", "norm", "head"]
    recipe = space.decode(np.linspace(0, 1, len(space.names)))
    assert at(recipe, "layers.0.norm") == at(recipe, "layers.2.norm") != at(recipe, "layers.0.attention")
    assert at(recipe, "norm") != at(recipe, "layers.0.norm")  # "*.norm" has a dot


def test_the_first_filter_wins() -> None:
    filters = ({"match": "*1*", "group": "one"}, {"match": "layers*", "group": "others"})
    space = LayerWise(CONTEXT, filters=filters)  # type: ignore[arg-type]
    assert [name[2:-1] for name in space.names if name[0] == "a"] == ["embedding", "others", "one", "norm", "head"]


@pytest.mark.parametrize("cls", [ModelWise, LayerWise, DepthProfile, ChunkWise])
@pytest.mark.parametrize(("coefficients", "row"), [(0, [0.0, 0.0]), (0.25, [0.25, 0.25]), ((0.5, -1.0), [0.5, -1.0])])
def test_fixed_tensors_have_no_genes(cls: Any, coefficients: Any, row: list[float]) -> None:
    free = cls(CONTEXT)
    space = cls(CONTEXT, fixed=({"match": "head", "coefficients": coefficients},))
    assert len(space.names) <= len(free.names)
    assert not any("head" in name for name in space.names)
    rng = np.random.default_rng(0)
    for genome in (np.ones(len(space.names)), rng.random(len(space.names))):
        recipe = space.decode(genome)
        assert at(recipe, "head") == row
        again = space.encode(recipe)
        np.testing.assert_allclose(again, genome, atol=1e-9)
    assert "head" in space.describe()
    other = Recipe("task_arithmetic", ("a", "b"), "base", np.array([0, OFFSETS["head"] + 7]), np.array([[0.75, 0.5]]))
    assert space.encode(other) is None  # the head would have to be something else


def test_the_setting_of_fixed_tensors_is_the_middle_of_its_range() -> None:
    searched = (SearchedSetting("density", 0.0, 0.5, "group"),)
    context = replace(CONTEXT, operator="ties", searched=searched)
    space = LayerWise(context, fixed=({"match": "layers.1*", "coefficients": 1.0},))
    recipe = space.decode(np.ones(len(space.names)))
    density = recipe.settings["density"]
    assert isinstance(density, np.ndarray)
    assert sorted(set(density.tolist())) == [0.25, 0.5]
    encoded = space.encode(recipe)
    assert encoded is not None
    assert encoded.tolist() == [1.0] * len(space.names)


def test_a_position_between_two_ends_can_be_fixed() -> None:
    space = ModelWise(CONTEXTS["slerp of two"], fixed=({"match": "head", "coefficients": 0.25},))
    recipe = space.decode(np.array([1.0]))
    assert (at(recipe, "head"), at(recipe, "embed")) == ([0.75, 0.25], [0.0, 1.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": ({"match": "lm_head*", "group": "head"},)}, "matches none"),
        ({"fixed": ({"match": "lm_head*", "coefficients": 0.0},)}, "matches none"),
        ({"fixed": ({"match": "head", "coefficients": (0.0, 1.0, 2.0)},)}, "one coefficient, or 2"),
        ({"fixed": ({"match": "*", "coefficients": 0.0},)}, "all are fixed"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayerWise(CONTEXT, **settings)
