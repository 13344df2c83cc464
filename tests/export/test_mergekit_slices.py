"""Data-flow merges as mergekit configurations: merging these gives the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from searcher.errors import ExportError
from searcher.export.mergekit_slices import mergekit_slices
from searcher.merge.engine import MergeEngine
from searcher.mergekit.merge_file import merge_file
from searcher.pool.pool import Pool, open_pool
from searcher.recipe import Recipe
from searcher.spaces.base import SpaceContext
from searcher.spaces.data_flow import DataFlow
from searcher.yaml_file import parse_yaml
from tests.export.tiny_models import write_llamas

SOURCES = {"low": "LOW", "high": "HIGH"}


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    root = tmp_path_factory.mktemp("pool")
    write_llamas(root, n_layers=4, tied=request.param)
    return open_pool(base=None, models=["low", "high"], root=root)


def recipe_of(pool: Pool, runs: str, ends: str = "low", factors: tuple[float, ...] = ()) -> Recipe:
    """The recipe of a genome in which the named layers run: ``low 0-1, high 2-3``; a factor before each of them."""
    context = SpaceContext(pool.layout, ("low", "high"), None, "linear", fixed={"normalize": True})
    space = DataFlow(context, scale=(0.5, 2.0), granularity=2, max_layers=16, ends=ends)
    names = {name.replace(", pass ", "/"): i for i, name in enumerate(space.names)}
    genome = np.where(np.char.startswith(space.names, "scale"), 1 / 3, 0.0)  # factor 1
    for name, factor in zip(runs.split(", "), factors or (1.0,) * 9, strict=False):
        genome[names[name]], genome[names[f"scale before {name}"]] = 1.0, (factor - 0.5) / 1.5
    return space.decode(genome)


def written(pool: Pool, recipe: Recipe, **sources: str) -> dict[str, Any]:
    text = mergekit_slices(recipe, pool.layout, sources=sources or SOURCES, dtype="float32")
    found: dict[str, Any] = parse_yaml(text, "mergekit.yaml").data
    return found


def test_runs_of_layers_are_slices(pool: Pool) -> None:
    recipe = recipe_of(pool, "low 0-1/1, low 2-3/1, high 2-3/1, low 2-3/2")
    assert written(pool, recipe) == {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": "LOW", "layer_range": [0, 4]}]},
            {"sources": [{"model": "HIGH", "layer_range": [2, 4]}]},
            {"sources": [{"model": "LOW", "layer_range": [2, 4]}]},
        ],
        "dtype": "float32",
        "out_dtype": "float32",
    }


CASES: dict[str, tuple[Any, ...]] = {
    "copies": ("low 0-1/1, high 2-3/1, low 0-1/2, low 2-3/2",),
    "repeats": ("high 2-3/1, high 2-3/2", "high"),
    "scaled": ("low 0-1/1, low 2-3/1, high 0-1/1, low 2-3/2", "low", (1.25, 0.8, 1.7, 1.0)),
    "ends of neither outer model": ("high 0-1/1, low 2-3/2, high 2-3/2", "low"),
    "ends of the first only": ("low 0-1/1, high 2-3/1", "low"),
    "ends of the last only, scaled": ("low 0-1/1, high 2-3/1", "high", (0.6, 1.9)),
    "one slice, other ends": ("high 0-1/1", "low"),
}


@pytest.mark.parametrize("given", CASES.values(), ids=CASES)
def test_merging_the_configuration_gives_the_same_model(pool: Pool, given: tuple[Any, ...], tmp_path: Path) -> None:
    recipe, engine = recipe_of(pool, *given), MergeEngine(pool, device="cpu")
    places = {source.name: str(source.path) for source in pool.models}
    (tmp_path / "merge.yaml").write_text(mergekit_slices(recipe, pool.layout, sources=places, dtype="float32"))
    merge_file(tmp_path / "merge.yaml", tmp_path / "out")
    ours, theirs = dict(engine.stream(recipe)), load_file(tmp_path / "out" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor.numpy(), theirs[name].numpy(), err_msg=name)


def test_mixtures_are_refused(pool: Pool) -> None:
    recipe = recipe_of(pool, "low 0-1/1")
    half = Recipe(
        "linear", ("low", "high"), None, np.array([0, recipe.n_parameters]), np.full((1, 2), 0.5), {}, recipe.layers
    )
    with pytest.raises(ExportError, match="cannot be written for mergekit") as caught:
        written(pool, half)
    assert "format recipe" in str(caught.value)
    double = Recipe(
        "linear", ("low",), None, np.array([0, recipe.n_parameters]), 2 * np.ones((1, 1)), {}, recipe.layers
    )
    with pytest.raises(ExportError, match="not those of one model"):
        written(pool, double)


def test_sources_need_a_location(pool: Pool) -> None:
    with pytest.raises(ExportError, match="no location of source 'high'"):
        written(pool, recipe_of(pool, "low 0-1/1, high 2-3/1"), low="LOW")
