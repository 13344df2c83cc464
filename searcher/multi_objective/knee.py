"""Knee of a front: the compromise that gives up least."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from searcher.multi_objective.scale import front_of, unit_range

TOLERANCE = 1e-9  # in units of the front's range; hides rounding when rows tie


def knee(fitness: ArrayLike) -> int:
    """The point that bulges farthest beyond the plane through the ends of the front.

    Every objective is first divided by its range over the front, so the choice does not depend on units; the
    plane is then ``sum = 1``, and the distance beyond it grows with the sum of the normalised objectives. With
    two objectives this is exactly the definition of Das 1999, "On characterizing the knee of the Pareto curve
    based on normal-boundary intersection"; with more, Das's plane through the best points of each objective may
    not exist, which is the one deviation. A front that nowhere bulges has no such point: whenever the farthest
    one is the best in some objective, the most balanced point is taken instead, the one with the smallest
    largest loss against the ideal point (Chebyshev distance). Ties go to the larger sum, then to the
    lexicographically better fitness, then to the earlier row.

    Args:
        fitness: Shape ``(n, m)``; dominated and non-finite rows are allowed and never chosen. With one objective
            the knee is the best point.

    Returns:
        Row number of the knee.

    Raises:
        ValueError: If no row is finite or the shape is not ``(n, m)``.

    Example:
        >>> knee([[1.0, 0.0], [0.8, 0.9], [0.0, 1.0]])
        1
    """
    index, front = front_of(fitness)
    low, width = unit_range(front)
    normalised = (front - low) / width
    sums = normalised.sum(axis=1)
    bulging = int(np.argmax(sums >= sums.max() - TOLERANCE))
    is_end = (front[bulging] >= front.max(axis=0)) & (front.max(axis=0) > low)
    if not is_end.any():
        return int(index[bulging])
    loss = ((front.max(axis=0) - front) / width).max(axis=1)
    balanced = np.where(loss <= loss.min() + TOLERANCE, sums, -np.inf)
    return int(index[np.argmax(balanced >= balanced.max() - TOLERANCE)])
