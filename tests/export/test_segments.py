from __future__ import annotations

import numpy as np
import pytest

from searcher.errors import ExportError
from searcher.export.segments import segment_labels, segment_of_tensors
from searcher.pool.layout import Layout, build_layout
from searcher.recipe import Recipe
from tests.export.tiny_models import llama_shapes, recipe_by

LAYOUT: Layout = build_layout(llama_shapes(4, tied=False), {})


def cut_at(*borders: int) -> Recipe:
    boundaries = np.array([0, *borders, LAYOUT.n_parameters])
    rows = np.arange(boundaries.size - 1, dtype=np.float64)[:, None]
    return Recipe("task_arithmetic", ("low",), "base", boundaries, rows)


def test_tensors_know_their_segment() -> None:
    recipe = recipe_by(
        LAYOUT, "task_arithmetic", lambda e: (0.0 if e.block is None else 1.0 + e.block,), models=("low",)
    )
    found = segment_of_tensors(recipe, LAYOUT, format_name="mergekit")
    for entry, segment in zip(LAYOUT.tensors, found, strict=True):
        assert recipe.coefficients[segment, 0] == (0.0 if entry.block is None else 1.0 + entry.block)


@pytest.mark.parametrize("offset", [1, 5])
def test_a_border_inside_a_tensor_is_refused_by_name(offset: int) -> None:
    entry = LAYOUT.tensors[7]
    with pytest.raises(ExportError, match=r"Segments 0 and 1 .* mergekit") as caught:
        segment_of_tensors(cut_at(entry.offset + offset), LAYOUT, format_name="mergekit")
    assert entry.name in caught.value.where


def test_labels_name_whole_blocks_and_parts() -> None:
    by_block = recipe_by(
        LAYOUT, "task_arithmetic", lambda e: (9.0 if e.block is None else float(e.block // 2),), models=("low",)
    )
    assert segment_labels(by_block, LAYOUT) == ("embedding", "blocks 0-1", "blocks 2-3", "norm, head")
    assert segment_labels(cut_at(), LAYOUT) == ("all parameters",)
    entry = next(e for e in LAYOUT.tensors if e.name == "model.layers.1.mlp.up_proj.weight")
    first, second = segment_labels(cut_at(entry.offset + 3), LAYOUT)
    assert first == f"embedding, block 0, block 1: norm and mlp (part of {entry.name})"
    assert second == f"norm, head, blocks 2-3, block 1: mlp and norm and attention (part of {entry.name})"


def test_tensors_without_a_known_kind_are_named() -> None:
    layout = build_layout({"scale": (3,), "blocks.0.w": (2,)}, {})
    recipe = Recipe("linear", ("low",), None, np.array([0, 2, 5]), np.array([[1.0], [2.0]]))
    labels = {entry.name: label for entry, label in zip(layout.tensors, segment_labels(recipe, layout), strict=False)}
    assert "scale" in labels.values() or "scale" in str(labels)
