"""Fitness in units of a front's own range, so that choices do not depend on the objectives' units."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.rows import as_fitness


def front_of(fitness: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Row numbers of the non-dominated points, shape ``(k,)``, and their fitness, shape ``(k, m)``.

    Rows come in lexicographic order of their fitness, best first, so that a choice among equals depends on the
    values and not on the order in which the points were given.

    Raises:
        ValueError: If no row is finite.
    """
    points = as_fitness(fitness)
    index = np.flatnonzero(non_dominated(points))
    if index.size == 0:
        raise ValueError(f"Expected at least one point with finite fitness, but got {len(points)} without.")
    index = index[np.lexsort(-points[index].T[::-1])]
    return index, points[index]


def unit_range(front: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest value and width of every objective over a front, shapes ``(m,)``; a width of 0 becomes 1."""
    low = front.min(axis=0)
    width = front.max(axis=0) - low
    return low, np.where(width > 0, width, 1.0)
