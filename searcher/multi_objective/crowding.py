"""Crowding distance: how lonely a point is among its neighbours on a front."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searcher.multi_objective.rows import as_fitness


def crowding_distance(fitness: ArrayLike) -> NDArray[np.float64]:
    """Sum over the objectives of the gap between a point's two neighbours, as a share of the objective's range.

    Reference: Deb, Pratap, Agarwal and Meyarivan 2002, section III-B. Unlike there, the order of the rows does
    not matter: neighbours with an equal value are ordered by the other objectives, and of several equal points
    the first has the distance and the others 0. An objective in which all points agree adds nothing.

    Args:
        fitness: Members of one front, shape ``(n, m)``; ``n`` may be 0.

    Returns:
        Shape ``(n,)``; infinite at the ends of an objective, 0 for duplicates and for rows that are not finite.

    Raises:
        ValueError: If the shape is not ``(n, m)`` with ``m >= 1``.
    """
    points = as_fitness(fitness)
    distances = np.zeros(len(points), dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    unique, first = np.unique(points[finite] + 0.0, axis=0, return_index=True)
    distances[finite[first]] = _gaps(unique)
    return distances


def _gaps(unique: NDArray[np.float64]) -> NDArray[np.float64]:
    """Crowding distance of distinct rows in lexicographic order."""
    total = np.zeros(len(unique), dtype=np.float64)
    for values in unique.T:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        if len(ordered) and ordered[-1] > ordered[0]:
            total[order[[0, -1]]] = np.inf
            total[order[1:-1]] += (ordered[2:] - ordered[:-2]) / (ordered[-1] - ordered[0])
    if len(unique) == 1:
        total[:] = np.inf  # a single point is the end of every objective
    return total
