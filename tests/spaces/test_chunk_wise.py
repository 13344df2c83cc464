"""Chunks where the task vectors are large."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe
from searcher.spaces.base import SpaceContext
from searcher.spaces.chunk_wise import ChunkWise
from tests.spaces.test_every_space import CONTEXTS

SIZES = {"embed": 10, "layers.0.w": 20, "layers.0.v": 20, "layers.1.w": 40, "head": 10}
MEANS = {"embed": 0.0, "layers.0.w": 0.1, "layers.0.v": 0.2, "layers.1.w": 0.1, "head": 0.4}
STOPS = np.cumsum(list(SIZES.values()))
LAYOUT = Layout(
    tuple(
        TensorEntry(name, (n,), int(stop) - n, n, int(name[7]) if "layers" in name else None, "mlp")
        for (name, n), stop in zip(SIZES.items(), STOPS, strict=True)
    )
)
CONTEXT = SpaceContext(
    LAYOUT,
    ("a", "b"),
    "base",
    "task_arithmetic",
    magnitudes=lambda: {name: np.array([mean, 0.0]) for name, mean in MEANS.items()},
)  # norms: 0, 2, 4, 4, 4, together 14


def labels(**settings: Any) -> list[str]:
    names = ChunkWise(CONTEXT, **settings).names
    return [name[2:-1] for name in names if name.startswith("a[")]


def test_layers_are_cut_by_importance() -> None:
    """Shares 0, 6/14, 4/14, 4/14 of a budget of 7: 0, 3, 2, 2 chunks."""
    space = ChunkWise(CONTEXT, chunks=7, rest="base")
    assert labels(chunks=7, rest="base") == [
        "block 0 1/3", "block 0 2/3", "block 0 3/3", "block 1 1/2", "block 1 2/2", "head 1/2", "head 2/2",
    ]  # fmt: skip
    recipe = space.decode(np.linspace(0, 1, len(space.names)))
    assert recipe.boundaries.tolist() == [0, 10, 23, 36, 50, 70, 90, 95, 100]
    assert recipe.coefficients[0].tolist() == [0.0, 0.0]  # the embedding stays at the base


def test_the_rest_shares_a_group_within_the_budget() -> None:
    """The floors use up the budget, so that the formula is applied to one chunk less: 0, 2, 1, 1."""
    assert labels(chunks=7) == ["the rest", "block 0 1/2", "block 0 2/2", "block 1", "head"]
    assert labels(chunks=9) == [  # 0, 3.86, 2.57, 2.57
        "the rest", "block 0 1/3", "block 0 2/3", "block 0 3/3", "block 1 1/2", "block 1 2/2", "head 1/2", "head 2/2",
    ]  # fmt: skip
    assert ChunkWise(CONTEXT, chunks=1).names == ("a", "b")
    assert len(labels(chunks=7, remainder=True)) == 7


def test_tensors_can_be_cut_one_by_one() -> None:
    """Shares 0, 2/14, 4/14, 4/14, 4/14."""
    assert labels(per="tensor", chunks=7, rest="base") == [
        "layers.0.w", "layers.0.v 1/2", "layers.0.v 2/2", "layers.1.w 1/2", "layers.1.w 2/2", "head 1/2", "head 2/2",
    ]  # fmt: skip


def test_an_exponent_of_zero_cuts_all_layers_alike() -> None:
    assert labels(kappa=0.0) == ["embed", "block 0", "block 1", "head"]
    assert len(labels(kappa=0.0, chunks=12)) == 12


def test_assumed_coefficients_weigh_models(tmp_path: Path) -> None:
    second = replace(
        CONTEXT, magnitudes=lambda: {n: np.array([m, float(n == "embed")]) for n, m in MEANS.items()}
    )  # model b changed the embedding only: its norm is 10
    assert "embed" in " ".join(ChunkWise(second, chunks=6).names)
    assert "embed" not in " ".join(ChunkWise(second, chunks=6, coefficients=(1.0, 0.0)).names)
    recipe = Recipe(
        "task_arithmetic", ("b", "a"), "base", np.array([0, 5, 30, 100]), np.array([[-0.5, 0], [0, 1], [0, 0.0]])
    )
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**recipe.to_json(), "dtype": "float32"}))
    space = ChunkWise(second, chunks=6, coefficients=str(path), rest="base")
    # embed: mean |b| is 0.25 times 10 = 2.5; block 0: mean |a| over 40 elements is 0.5 times 6 = 3; the others are 0
    assert [name for name in space.names if name[0] == "a"] == [
        "a[embed 1/2]", "a[embed 2/2]", "a[block 0 1/3]", "a[block 0 2/3]", "a[block 0 3/3]",
    ]  # fmt: skip


def test_tensors_that_no_model_changes_are_passed_over() -> None:
    space = ChunkWise(replace(CONTEXT, unchanged=frozenset({"embed", "layers.0.v"})), chunks=10)
    # norms 2, 4, 4: 2, 4, 4 chunks and no rest
    assert len(space.names) == 20
    recipe = space.decode(np.linspace(0, 1, 20))
    assert recipe.boundaries.tolist() == [0, 20, 50, 60, 70, 80, 90, 92, 95, 97, 100]


def test_the_plan_is_readable_and_largest_first() -> None:
    text = ChunkWise(CONTEXT, chunks=7).describe().split("\n")
    assert text[0] == "chunk_wise: 5 groups x 2 = 10 genes for coefficients in [0, 1]; at most 7 groups asked for"
    assert text[1] == "  block 0: 2 chunks of 20 parameters, importance 0.429"
    assert text[2] == "  block 1: 1 chunk of 40 parameters, importance 0.286"
    assert text[4] == "  the 1 least important of 4 share one group"


def test_two_ends_have_one_position_per_chunk() -> None:
    space = ChunkWise(CONTEXTS["slerp of two"], chunks=9)
    recipe = space.decode(np.linspace(0, 1, len(space.names)))
    np.testing.assert_allclose(recipe.coefficients.sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunks": 0}, "at least 1 chunk"),
        ({"kappa": -1.0}, "kappa"),
        ({"per": "layer"}, "per"),
        ({"rest": "none"}, "rest"),
        ({"coefficients": (1.0, 1.0, 1.0)}, "one per model"),
        ({"coefficients": "absent.json"}, "cannot be read"),
        ({"chunks": 2, "kappa": 0.0, "rest": "base"}, "all are fixed"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChunkWise(CONTEXT, **settings)


def test_a_pool_that_cannot_be_measured_or_has_no_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="measured"):
        ChunkWise(replace(CONTEXT, magnitudes=None))
    with pytest.raises(ValueError, match="no base"):
        ChunkWise(replace(CONTEXT, base=None), rest="base")
    other = Recipe("linear", ("a",), None, np.array([0, 3]), np.ones((1, 1)))
    (tmp_path / "other.json").write_text(json.dumps(other.to_json()))
    with pytest.raises(ValueError, match="is of another"):
        ChunkWise(CONTEXT, coefficients=str(tmp_path / "other.json"))
