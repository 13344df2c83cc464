"""Crossover of merges without their weights: piecewise constant coefficients over the parameter line.

A merge is ``theta_j = sum_k C_k(j) v_k,j`` with ``C`` constant on segments, and so is every child of two such merges:
its rows are ``p C_A + q C_B`` on the union of the borders. The angle between the parents follows from the inner
products of the ``v_k`` on the segments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.niches.crossover import Interpolation, cosine, interpolation_weights, split_positions

Prefix: TypeAlias = Callable[[int], NDArray[np.float64]]
"""From a position p to the inner products of the v_k over positions 0 ... p - 1, shape (V, V)."""


@dataclass(frozen=True, eq=False)
class Field:
    """Coefficients of V vectors along the parameter line.

    Args:
        boundaries: Segment borders, int64, shape ``(S + 1,)``, first 0, strictly increasing, last P.
        rows: One row per segment, float64, shape ``(S, V)``.
    """

    boundaries: NDArray[np.int64]
    rows: NDArray[np.float64]

    @classmethod
    def constant(cls, row: NDArray[np.float64], n_parameters: int) -> Field:
        """The same row, shape ``(V,)``, everywhere."""
        return cls(np.array([0, n_parameters], dtype=np.int64), np.asarray(row, np.float64)[None])

    def on(self, boundaries: NDArray[np.int64]) -> NDArray[np.float64]:
        """The rows of a finer cut, whose borders include all of this one, shape ``(len(boundaries) - 1, V)``."""
        return self.rows[np.searchsorted(self.boundaries, boundaries[:-1], side="right") - 1]


def inner_products(a: Field, b: Field, prefix: Prefix) -> tuple[float, float, float]:
    """``<A, A>``, ``<A, B>`` and ``<B, B>`` of the merged vectors: sums of ``C_A^T G C_B`` over segments.

    Args:
        a: A field of V vectors.
        b: Another one on the same line.
        prefix: Inner products of the vectors; asked once for every border.
    """
    borders = np.union1d(a.boundaries, b.boundaries)
    segments = np.diff(np.stack([prefix(int(border)) for border in borders]), axis=0)  # (S, V, V)
    rows_a, rows_b = a.on(borders), b.on(borders)
    along_a, along_b = (np.einsum("sv,svu->su", rows, segments) for rows in (rows_a, rows_b))
    return float(np.vdot(along_a, rows_a)), float(np.vdot(along_a, rows_b)), float(np.vdot(along_b, rows_b))


def crossed(
    a: Field, b: Field, splits: NDArray[np.int64], ratio: float, interpolation: Interpolation, prefix: Prefix | None
) -> Field:
    """The child of two fields: position ``ratio`` between A and B before the first split, 1 - ratio behind it, ...

    Args:
        a: The first parent.
        b: The second parent.
        splits: Split points on the line, shape ``(n,)``, in any order; equal ones cancel in pairs.
        ratio: The mixing ratio w, in [0, 1].
        interpolation: Along the sphere or straight.
        prefix: Inner products; None takes the straight line.
    """
    ordered, last = np.sort(splits), int(a.boundaries[-1])
    inside = ordered[(ordered > 0) & (ordered < last)]
    borders = np.union1d(np.union1d(a.boundaries, b.boundaries), inside).astype(np.int64)
    pieces = np.searchsorted(ordered, borders[:-1], side="right")  # how many splits lie at or before each segment
    t = split_positions(ratio, len(ordered) + 1)[pieces]
    is_straight = interpolation == "linear" or prefix is None
    angle = math.nan if is_straight or prefix is None else cosine(*inner_products(a, b, prefix))
    p, q = interpolation_weights(t, angle, interpolation)
    return Field(borders, p[:, None] * a.on(borders) + q[:, None] * b.on(borders))


def simplified(field: Field, max_segments: int) -> Field:
    """The field with at most so many segments: those borders go first where little changes on few parameters.

    A border's weight is the largest change of a coefficient there times the length of the shorter neighbour. Segments
    that lose the border between them get their mean, weighted by length.
    """
    if len(field.rows) <= max_segments:
        return field
    lengths = np.diff(field.boundaries)
    weight = np.abs(np.diff(field.rows, axis=0)).max(axis=1) * np.minimum(lengths[1:], lengths[:-1])
    kept = np.sort(np.argsort(-weight, kind="stable")[: max_segments - 1]) + 1
    starts = np.concatenate([[0], kept])
    sums = np.add.reduceat(field.rows * lengths[:, None], starts, axis=0)
    borders = np.append(field.boundaries[starts], field.boundaries[-1])
    return Field(borders, sums / np.diff(borders)[:, None])
