"""How a recipe is laid out in a mergekit configuration, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from searcher.errors import ExportError
from searcher.export.mergekit_filters import resolve
from searcher.export.mergekit_yaml import mergekit_yaml
from searcher.pool.layout import Layout, TensorEntry, build_layout
from searcher.recipe import Recipe
from tests.export.tiny_models import llama_shapes, recipe_by
from tests.golden.make_mergekit_yaml_golden import SOURCES

LAYOUT: Layout = build_layout(llama_shapes(4, tied=False), {})


def write(recipe: Recipe, layout: Layout = LAYOUT, dtype: str = "float32") -> str:
    return mergekit_yaml(recipe, layout, sources=SOURCES, dtype=dtype)


def parsed(recipe: Recipe, layout: Layout = LAYOUT) -> Any:
    return YAML(typ="safe", pure=True).load(write(recipe, layout))


def test_notes_of_what_differs_are_comments() -> None:
    layout = build_layout({f"layers.0.{n}.weight": (200, 200) for n in "ab"}, {})
    text = write(recipe_by(layout, "ties", lambda _: (0.5, 0.5), settings={"density": 0.5}), layout)
    assert text.startswith("# Thresholds")
    exact = recipe_by(layout, "ties", lambda _: (0.5, 0.5), settings={"density": 0.5, "convention": "mergekit"})
    assert write(exact, layout).startswith("merge_method")


def test_one_segment_is_a_list_of_models() -> None:
    config = parsed(recipe_by(LAYOUT, "task_arithmetic", lambda _: (0.5, -0.25)))
    assert config == {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": [
            {"model": "low", "parameters": {"weight": 0.5}},
            {"model": "high", "parameters": {"weight": -0.25}},
        ],
        "parameters": {"normalize": False},
        "dtype": "float32",
        "out_dtype": "float32",
    }


def test_runs_of_equal_blocks_are_slices() -> None:
    rows = {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.75}
    config = parsed(recipe_by(LAYOUT, "task_arithmetic", lambda e: (rows.get(e.block or 0, 0.5), 1.0)))
    assert [s["sources"][1]["layer_range"] for s in config["slices"]] == [[0, 3], [3, 4]]
    assert [s["sources"][0] for s in config["slices"]] == [
        {"model": "base", "layer_range": [0, 3]},
        {"model": "base", "layer_range": [3, 4]},
    ]
    assert config["slices"][0]["sources"][1]["parameters"] == {"weight": 0.5}


def test_equal_blocks_with_different_modules_need_no_slices() -> None:
    config = parsed(recipe_by(LAYOUT, "task_arithmetic", lambda e: (0.25 if e.kind == "mlp" else 0.5, 1.0)))
    assert config["models"][0]["parameters"]["weight"] == [{"filter": "mlp", "value": 0.25}, {"value": 0.5}]
    assert config["models"][1]["parameters"]["weight"] == 1.0


def test_tied_heads_follow_the_embedding() -> None:
    layout = build_layout(llama_shapes(2, tied=True), {"lm_head.weight": "model.embed_tokens.weight"})
    config = parsed(recipe_by(layout, "task_arithmetic", lambda e: (0.25 if e.block is None else 0.5, 1.0)), layout)
    filters = {f["filter"]: f["value"] for f in config["models"][0]["parameters"]["weight"] if "filter" in f}
    assert filters["lm_head.weight"] == filters["model.embed_tokens.weight"] == 0.25


def test_two_stacks_of_blocks_are_told_apart_by_name() -> None:
    shapes = {f"{stack}.layers.{n}.mlp.weight": (4, 4) for stack in ("encoder", "decoder") for n in (0, 1)}
    layout = build_layout(shapes, {})
    values = {name: 0.125 * (1 + number) for number, name in enumerate(shapes)}
    config = parsed(recipe_by(layout, "linear", lambda e: (values[e.name], 1.0), base=None), layout)
    setting = config["models"][0]["parameters"]["weight"]
    found = {f["filter"]: f["value"] for f in setting if "filter" in f}
    assert found.items() <= values.items()
    assert len(found) == 3


def test_blocks_whose_numbers_are_not_in_their_names_are_told_apart_by_name() -> None:
    """Slices would need the number; a loader of one's own may name tensors as it likes."""
    names = ("first.mlp.weight", "second.mlp.weight")
    layout = Layout(tuple(TensorEntry(name, (4,), 4 * n, 4, n, "mlp") for n, name in enumerate(names)))
    config = parsed(recipe_by(layout, "linear", lambda e: (0.25 * (1 + (e.block or 0)), 1.0), base=None), layout)
    assert "slices" not in config
    setting = config["models"][0]["parameters"]["weight"]
    assert [resolve(setting, name) for name in names] == [0.25, 0.5]


@pytest.mark.parametrize("value", [1e-12, 1e-5, 123456.0, 1 / 3, -0.0000015])
def test_numbers_are_plain_decimals_that_any_yaml_reader_takes_for_numbers(value: float) -> None:
    text = write(recipe_by(LAYOUT, "task_arithmetic", lambda _: (value, 1.0)))
    line = next(line for line in text.splitlines() if "weight:" in line)
    assert "e" not in line.split(":")[1]
    assert float(line.split(":")[1]) == round(value, 12)
    assert "&" not in text


def inexpressible() -> Iterator[tuple[Recipe, str, str]]:
    inside = np.array([0, LAYOUT.tensors[3].offset + 1, LAYOUT.n_parameters])
    cut = Recipe("task_arithmetic", ("low",), "base", inside, np.array([[1.0], [2.0]]))
    yield cut, "Segments 0 and 1 meet inside a tensor", LAYOUT.tensors[3].name
    whole = np.array([0, LAYOUT.n_parameters])
    depth = Recipe("linear", ("low",), None, whole, np.array([[1.0]]), {}, (("low", 0), ("low", 0)))
    yield depth, "reorders layers", "layers"
    yield Recipe("dare", ("low",), "base", whole, np.array([[1.0]])), "operator 'dare'", "operator"
    yield Recipe("linear", ("low", "other"), None, whole, np.array([[1.0, 1.0]])), "no location", "models"


@pytest.mark.parametrize(("recipe", "words", "place"), inexpressible())
def test_what_cannot_be_expressed_says_where_and_what_to_use(recipe: Recipe, words: str, place: str) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        write(recipe)
    assert place in caught.value.where
    assert "format recipe" in caught.value.fix
    assert len(str(caught.value).splitlines()) == 3


def test_float64_is_refused_as_arithmetic_is_float32() -> None:
    with pytest.raises(ExportError, match="float64"):
        write(recipe_by(LAYOUT, "linear", lambda _: (1.0, 1.0), base=None), dtype="float64")


def test_two_sources_in_one_folder_are_refused() -> None:
    with pytest.raises(ExportError, match="same folder"):
        mergekit_yaml(
            recipe_by(LAYOUT, "linear", lambda _: (1.0, 1.0), base=None),
            LAYOUT,
            sources={"low": "x", "high": "x"},
            dtype="float32",
        )
