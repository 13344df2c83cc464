"""Which tensors each segment of a recipe covers, for readers and for formats that know tensors, not positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from searcher.errors import ExportError
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe


def segment_of_tensors(recipe: Recipe, layout: Layout, *, format_name: str) -> tuple[int, ...]:
    """Index of the segment of each tensor, in layout order, shape ``(n_tensors,)``.

    Raises:
        ExportError: If a border cuts a tensor, which ``format_name`` cannot express; the segment and the tensor
            are named.
    """
    starts = np.array([entry.offset for entry in layout.tensors], dtype=np.int64)
    stops = np.array([entry.stop for entry in layout.tensors], dtype=np.int64)
    first = np.searchsorted(recipe.boundaries, starts, side="right") - 1
    last = np.searchsorted(recipe.boundaries, stops, side="left") - 1
    cut = np.flatnonzero((first != last) & (stops > starts))
    if cut.size:
        entry = layout.tensors[int(cut[0])]
        segment = int(first[cut[0]])
        raise ExportError(
            f"Segments {segment} and {segment + 1} meet inside a tensor, which format {format_name} cannot express.",
            where=f"recipe, segments {segment} and {segment + 1}, tensor {entry.name}",
            fix="Export with format recipe (the exact recipe) or hf (the merged weights).",
        )
    return tuple(int(segment) for segment in np.minimum(first, recipe.n_segments - 1))


def segment_labels(recipe: Recipe, layout: Layout) -> tuple[str, ...]:
    """A readable name of what each segment covers, shape ``(S,)``: ``embedding``, ``blocks 0-3``, ``block 2: mlp``.

    Whole blocks are counted; a segment that ends inside a tensor says so.
    """
    return tuple(
        _label(layout, int(start), int(stop))
        for start, stop in zip(recipe.boundaries[:-1], recipe.boundaries[1:], strict=True)
    )


def _label(layout: Layout, start: int, stop: int) -> str:
    """What lies between two positions of the parameter line."""
    if start == 0 and stop == layout.n_parameters:
        return "all parameters"
    covered = [entry for entry in layout.tensors if entry.offset < stop and entry.stop > start]
    parts = _outside_blocks(covered) + _in_blocks(layout, covered)
    text = ", ".join(dict.fromkeys(parts))
    cut = [entry.name for entry in covered if entry.offset < start or entry.stop > stop]
    return f"{text} (part of {', '.join(cut)})" if cut else text


def _outside_blocks(covered: Sequence[TensorEntry]) -> list[str]:
    """Module kinds of tensors that belong to no block."""
    return [entry.kind if entry.kind != "other" else entry.name for entry in covered if entry.block is None]


def _in_blocks(layout: Layout, covered: Sequence[TensorEntry]) -> list[str]:
    """Runs of whole blocks as ranges, the rest with its module kinds."""
    by_block: dict[int, list[TensorEntry]] = {}
    for entry in covered:
        if entry.block is not None:
            by_block.setdefault(entry.block, []).append(entry)
    sizes: dict[int, int] = {}
    for entry in layout.tensors:
        if entry.block is not None:
            sizes[entry.block] = sizes.get(entry.block, 0) + 1
    whole = [block for block, entries in by_block.items() if len(entries) == sizes[block]]
    parts = [
        f"block {block}: {' and '.join(dict.fromkeys(entry.kind for entry in entries))}"
        for block, entries in by_block.items()
        if block not in whole
    ]
    return ranges(whole) + parts


def ranges(blocks: Sequence[int]) -> list[str]:
    """Block numbers as text: ``[0, 1, 2, 5]`` becomes ``["blocks 0-2", "block 5"]``."""
    runs: list[list[int]] = []
    for block in sorted(blocks):
        if runs and block == runs[-1][-1] + 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    return [f"block {run[0]}" if len(run) == 1 else f"blocks {run[0]}-{run[-1]}" for run in runs]
