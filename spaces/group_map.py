"""Groups of tensors that share genes, and the segments of the parameter line they cover."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.pool.layout import Layout, TensorEntry

TOLERANCE = 1e-9  # how far a recipe may be from the space and still count as inside


@dataclass(frozen=True, eq=False)
class GroupMap:
    """Which group each segment of the parameter line belongs to.

    Every segment has one of R rows of coefficients. The first of them are the groups', or mixtures of these; the
    others are fixed.

    Args:
        labels: One name per group that has genes, length G.
        boundaries: Segment borders, int64, shape ``(S + 1,)``.
        group_of_segment: Row of each segment, int64, shape ``(S,)``.
        weights: Rows as mixtures of groups, float64, shape ``(R', G)`` with full column rank; None: row i is group i.
        fixed: Rows without genes, float64, shape ``(F, columns)``; they follow the others.
    """

    labels: tuple[str, ...]
    boundaries: NDArray[np.int64]
    group_of_segment: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None
    fixed: NDArray[np.float64] | None = None

    def spread(self, values: NDArray[np.float64], fixed: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Values per segment, shape ``(S, columns)``, of values per group, shape ``(G, columns)``.

        Args:
            values: Of the groups.
            fixed: Of the fixed rows, shape ``(F, columns)``; None if there are none.
        """
        rows = values if self.weights is None else self.weights @ values
        rows = rows if fixed is None else np.concatenate([rows, fixed])
        return rows[self.group_of_segment]

    def gather(
        self, boundaries: NDArray[np.int64], values: NDArray[np.float64], fixed: NDArray[np.float64] | None
    ) -> NDArray[np.float64] | None:
        """Values per group, shape ``(G, columns)``, that spread to those per segment of another cut.

        Args:
            boundaries: Of the other cut, shape ``(S' + 1,)``.
            values: Of its segments, shape ``(S', columns)``.
            fixed: What the fixed rows must be; None: whatever they are.

        Returns:
            None if a row has several values, or rows are no mixtures of groups or not as fixed.
        """
        n_rows = len(self.labels) if self.weights is None else len(self.weights)
        n_fixed = 0 if self.fixed is None else len(self.fixed)
        found = _constant_on_rows(boundaries, values, self, n_rows + n_fixed)
        if found is None or (fixed is not None and np.any(np.abs(found[n_rows:] - fixed) > TOLERANCE)):
            return None
        if self.weights is None:
            return found[:n_rows]
        solved = np.asarray(np.linalg.lstsq(self.weights, found[:n_rows], rcond=None)[0], np.float64)
        return solved if np.all(np.abs(self.weights @ solved - found[:n_rows]) <= TOLERANCE) else None


def group_tensors(
    layout: Layout,
    label: Callable[[TensorEntry], str],
    unchanged: Collection[str] = frozenset(),
    fixed: Mapping[str, Sequence[float]] | None = None,
) -> GroupMap:
    """Group the tensors of a layout by a label; neighbours of one group form one segment.

    Args:
        layout: The parameter line.
        label: Name of a tensor's group.
        unchanged: Tensors that join the group before them, or at the start the one behind, instead of having one
            of their own: whatever their coefficients, the merge is the same.
        fixed: Coefficients of groups that have no genes, by label.

    Raises:
        ValueError: If every group is fixed.
    """
    index: dict[str, int] = {}
    borders: list[int] = [0]
    groups: list[int] = []
    changed = [tensor for tensor in layout.tensors if tensor.name not in unchanged] or layout.tensors
    names = {tensor.name for tensor in changed}
    current = label(changed[0])
    for tensor in layout.tensors:
        current = label(tensor) if tensor.name in names else current
        group = index.setdefault(current, len(index))
        if groups and groups[-1] == group:
            borders[-1] = tensor.stop
        else:
            groups.append(group)
            borders.append(tensor.stop)
    return make_groups(tuple(index), borders, groups, fixed or {})


def make_groups(
    labels: Sequence[str], borders: Sequence[int], groups: Sequence[int], fixed: Mapping[str, Sequence[float]]
) -> GroupMap:
    """A map from plain lists; fixed groups lose their label and come last.

    Args:
        labels: One per group.
        borders: Segment borders, length S + 1.
        groups: Index into ``labels`` per segment, length S.
        fixed: Coefficients of groups that have no genes, by label.

    Raises:
        ValueError: If every group is fixed.
    """
    free = tuple(label for label in labels if label not in fixed)
    held = [label for label in labels if label in fixed]
    if not free:
        raise ValueError("Expected at least one tensor with genes, but all are fixed.")
    row = {label: i for i, label in enumerate([*free, *held])}
    rows = np.array([fixed[label] for label in held], dtype=np.float64) if held else None
    of_segment = np.array([row[labels[group]] for group in groups], dtype=np.int64)
    return GroupMap(free, np.array(borders, dtype=np.int64), of_segment, None, rows)


def _constant_on_rows(
    boundaries: NDArray[np.int64], values: NDArray[np.float64], groups: GroupMap, n_rows: int
) -> NDArray[np.float64] | None:
    """Values per row, shape (R, columns), of values per segment of another cut; None if one row has several."""
    found = np.full((n_rows, values.shape[1]), np.nan)
    for segment, row in enumerate(groups.group_of_segment):
        first = int(np.searchsorted(boundaries, groups.boundaries[segment], side="right")) - 1
        last = int(np.searchsorted(boundaries, groups.boundaries[segment + 1], side="left"))
        for value in values[first:last]:
            if np.isnan(found[row, 0]):
                found[row] = value
            elif np.any(found[row] != value):
                return None
    return found
