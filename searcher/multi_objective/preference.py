"""The point of a front that serves a stated target best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searcher.multi_objective.scale import front_of, unit_range

AUGMENTATION = 1e-6  # weight of the sum that decides between points with an equal worst shortfall


def closest_to_target(fitness: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> int:
    """The point whose worst shortfall against the target is smallest.

    The shortfall of an objective is ``weight * (target - fitness) / range``, with the objective's range over the
    front, and the largest one counts: a weighted Chebyshev distance in normalised units. It is signed, so that
    points beyond the target are preferred to points on it, and the target may be attainable or not.

    Reference: Wierzbicki 1980, achievement scalarising functions, with the usual small sum term that keeps the
    choice Pareto optimal.

    Args:
        fitness: Shape ``(n, m)``; dominated and non-finite rows are allowed and never chosen.
        target: Wanted fitness, shape ``(m,)``.
        weights: Importance of each objective, positive, shape ``(m,)``; equal by default.

    Returns:
        Row number of the point; ties go to the lexicographically better fitness, then to the earlier row.

    Raises:
        ValueError: If no row is finite, shapes disagree, the target is not finite or a weight is not positive.

    Example:
        >>> closest_to_target([[1.0, 0.0], [0.6, 0.6], [0.0, 1.0]], target=[0.1, 1.0])
        2
    """
    index, front = front_of(fitness)
    wanted = _vector(target, front.shape[1], "target")
    importance = np.ones_like(wanted) if weights is None else _vector(weights, front.shape[1], "weights")
    if not (importance > 0).all():
        raise ValueError(f"Expected positive weights, but got {importance}.")
    shortfall = importance * (wanted - front) / unit_range(front)[1]
    return int(index[np.argmin(shortfall.max(axis=1) + AUGMENTATION * shortfall.sum(axis=1))])


def _vector(values: ArrayLike, m: int, name: str) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (m,) or not np.isfinite(vector).all():
        raise ValueError(f"Expected {name} to be {m} finite numbers, one per objective, but got {vector}.")
    return vector
