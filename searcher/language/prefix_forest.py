"""Sequences that share prefixes, packed into rows in which every shared token stands once.

A row is a forest in depth-first order. Token j is an ancestor of token i (or i itself) exactly if
``j <= i < ends[j]``, so one number per token describes the whole attention mask. A prefix that many rows would
repeat is their *stem*: it is computed once and its keys and values are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MIN_STEM = 32
"""A stem of fewer tokens costs more in small passes through the model than it saves."""

Tokens = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Row:
    """A packed row of n tokens.

    Args:
        stem: Tokens that precede all of the row, computed elsewhere.
        tokens: Shape ``(n,)``.
        depths: Shape ``(n,)``, each token's position in its sequences, counting the stem.
        ends: Shape ``(n,)``, one past the last token that continues this one.
        paths: Number of a sequence to the places in the row of its tokens after the stem.
    """

    stem: Tokens
    tokens: NDArray[np.int64]
    depths: NDArray[np.int64]
    ends: NDArray[np.int64]
    paths: dict[int, NDArray[np.int64]]


@dataclass(frozen=True)
class _Tree:
    """Sequences ``start`` to ``stop`` of the sorted list, after ``depth`` tokens of stem; ``size`` tokens."""

    start: int
    stop: int
    depth: int
    size: int


def pack(sequences: Sequence[Tokens], first: Sequence[int], capacity: int, *, min_stem: int = MIN_STEM) -> list[Row]:
    """Pack sequences into rows.

    Args:
        sequences: Distinct, at least one token each, in any order.
        first: For each, the first token whose output is needed; no later token is in a stem.
        capacity: Tokens of a row; a row may be longer if a single sequence, or its trunk with little branching, is.
        min_stem: Tokens a stem has at least.

    Returns:
        Rows in order of stem, long ones first; every sequence is in exactly one.
    """
    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    ordered = [sequences[i] for i in order]
    shared = shared_prefixes(ordered)
    trees = _split(ordered, shared, [first[i] for i in order], capacity, min_stem)
    rows = []
    for stem, members in trees.items():
        for bin_ in _first_fit(members, capacity):
            rows.append(_row(stem, bin_, ordered, shared, order))
    return rows


def shared_prefixes(ordered: Sequence[Tokens]) -> NDArray[np.int64]:
    """How many first tokens each sequence shares with the one before it, shape ``(n,)``, first 0."""
    found = np.zeros(len(ordered), dtype=np.int64)
    arrays = [np.array(sequence, dtype=np.int64) for sequence in ordered]
    for i in range(1, len(ordered)):
        n = min(len(arrays[i - 1]), len(arrays[i]))
        differs = arrays[i - 1][:n] != arrays[i][:n]
        found[i] = differs.argmax() if differs.any() else n
    return found


def leaves(ordered: Sequence[Tokens]) -> list[int]:
    """Places in the sorted list of the sequences that no other one continues."""
    shared = shared_prefixes(ordered)
    return [i for i in range(len(ordered)) if i + 1 == len(ordered) or shared[i + 1] < len(ordered[i])]


def _split(
    ordered: Sequence[Tokens], shared: NDArray[np.int64], first: Sequence[int], capacity: int, min_stem: int
) -> dict[Tokens, list[_Tree]]:
    """Cut the forest where trees are too large for a row; a large tree's trunk becomes the stem of its parts."""
    lengths = np.array([len(sequence) for sequence in ordered], dtype=np.int64)
    added = np.concatenate(([0], np.cumsum(lengths - shared)))  # tokens that each adds to the tree before it

    def size(i: int, j: int, depth: int) -> int:
        return int(added[j] - added[i + 1] + lengths[i]) - depth

    needed = np.array(first, dtype=np.int64)
    found: dict[Tokens, list[_Tree]] = defaultdict(list)
    # An own stack: a text and all of its beginnings would nest as deep as it has tokens.
    stack = [(i, j, 0) for i, j in _parts(shared, 0, len(ordered), 0)]
    while stack:
        i, j, depth = stack.pop()
        common = int(shared[i + 1 : j].min(initial=lengths[i]))
        if j - i == 1 or size(i, j, common) <= capacity:  # little branches off
            found[ordered[i][:depth]].append(_Tree(i, j, depth, size(i, j, depth)))
            continue
        stem = min(common, int(needed[i:j].min()))
        kept = stem if stem - depth >= min_stem else depth
        parts = _parts(shared, i, j, common)
        if kept < common:  # what cannot be a stem is at least shared within a row
            parts = _joined(parts, lambda a, b, kept=kept: size(a, b, kept) <= capacity)  # type: ignore[misc]
        stack += [(a, b, kept) for a, b in parts]
    return found


def _parts(shared: NDArray[np.int64], start: int, stop: int, depth: int) -> list[tuple[int, int]]:
    """The sorted run cut where no more than ``depth`` tokens are shared."""
    cuts = start + 1 + np.flatnonzero(shared[start + 1 : stop] <= depth)
    borders = [start, *cuts.tolist(), stop]
    return list(pairwise(borders))


def _joined(parts: Sequence[tuple[int, int]], fits: Callable[[int, int], bool]) -> list[tuple[int, int]]:
    """Neighbouring parts in one as long as that fits."""
    found = [parts[0]]
    for start, stop in parts[1:]:
        if fits(found[-1][0], stop):
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found


def _first_fit(trees: Sequence[_Tree], capacity: int) -> list[list[_Tree]]:
    """Trees together in rows, largest first (first-fit decreasing)."""
    bins: list[list[_Tree]] = []
    room: list[int] = []
    for tree in sorted(trees, key=lambda t: (-t.size, t.start)):
        place = next((k for k, free in enumerate(room) if free >= tree.size), None)
        if place is None:
            bins.append([tree])
            room.append(capacity - tree.size)
        else:
            bins[place].append(tree)
            room[place] -= tree.size
    return bins


def _row(
    stem: Tokens, trees: Sequence[_Tree], ordered: Sequence[Tokens], shared: NDArray[np.int64], order: Sequence[int]
) -> Row:
    """Write the trees one after another."""
    tokens: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    paths: dict[int, NDArray[np.int64]] = {}
    for tree in trees:
        path: list[int] = []  # places of the present sequence's tokens after the stem
        for k in range(tree.start, tree.stop):
            kept = int(shared[k]) - tree.depth if k > tree.start else 0
            for place in path[kept:]:
                ends[place] = len(tokens)
            new = ordered[k][tree.depth + kept :]
            path = path[:kept] + list(range(len(tokens), len(tokens) + len(new)))
            depths += range(tree.depth + kept, len(ordered[k]))
            tokens += new
            ends += [-1] * len(new)
            paths[order[k]] = np.array(path, dtype=np.int64)
        for place in path:
            ends[place] = len(tokens)
    return Row(
        stem,
        np.array(tokens, dtype=np.int64),
        np.array(depths, dtype=np.int64),
        np.array(ends, dtype=np.int64),
        paths,
    )
