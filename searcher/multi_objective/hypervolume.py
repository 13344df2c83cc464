"""Hypervolume, the volume that a front dominates, and what each point contributes to it.

One and two objectives are sorted, three are swept with a staircase, more are reduced one objective at a time.
References: Beume, Fonseca, Lopez-Ibanez, Paquete and Vahrenhold 2009 (the sweep over the third objective in
O(n log n)); While, Bradstreet and Barone 2012 (WFG: a point adds its box minus the hypervolume of the other
points limited to that box).
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searcher.multi_objective.rows import as_fitness


def hypervolume(front: ArrayLike, reference: ArrayLike) -> float:
    """Volume dominated by a front and bounded by a reference point, for maximisation.

    Dominated, duplicate and out-of-bounds points are allowed and add nothing, and neither do rows with NaN or
    infinity. The result does not depend on the order of the points, bit for bit. The cost is O(n log n) for up
    to three objectives; 100 points of a front in five objectives take well under a second.

    Args:
        front: Fitness of the points, shape ``(n, m)``; ``n`` may be 0.
        reference: A point worse than all that count, shape ``(m,)``.

    Returns:
        The volume in the product of the fitness units; 0.0 for an empty front.

    Raises:
        ValueError: If the shapes disagree or the reference is not finite.

    Example:
        >>> hypervolume([[2.0, 1.0], [1.0, 2.0]], [0.0, 0.0])
        3.0
    """
    points, origin = _checked(front, reference)
    return _volume(_relevant(points - origin))


def contributions(front: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Volume that each point alone dominates: what the hypervolume would lose without it.

    Computed as the point's box minus what the others cover of it, which does not cancel as a difference of two
    hypervolumes would. Dominated, duplicate, out-of-bounds and non-finite rows contribute 0.

    Args:
        front: Fitness of the points, shape ``(n, m)``; ``n`` may be 0.
        reference: Shape ``(m,)``.

    Returns:
        Shape ``(n,)``, in the product of the fitness units.

    Raises:
        ValueError: If the shapes disagree or the reference is not finite.
    """
    points, origin = _checked(front, reference)
    shifted = points - origin
    counts = np.flatnonzero(np.isfinite(points).all(axis=1) & (shifted > 0).all(axis=1))
    alone = np.zeros(len(points), dtype=np.float64)
    for i in counts:
        others = shifted[counts[counts != i]]
        alone[i] = _exclusive(shifted[i], others)
    return alone


def improvement(point: ArrayLike, front: ArrayLike, reference: ArrayLike) -> float:
    """By how much a point would raise the hypervolume of a front, computed without a difference of hypervolumes.

    Args:
        point: Fitness, shape ``(m,)``; one that is not finite or does not exceed the reference adds nothing.
        front: Fitness of the others, shape ``(n, m)``; ``n`` may be 0; as in :func:`hypervolume`.
        reference: Shape ``(m,)``.

    Returns:
        0 or more, in the product of the fitness units.

    Raises:
        ValueError: If the shapes disagree or the reference is not finite.

    Example:
        >>> improvement([2.0, 2.0], [[3.0, 1.0], [1.0, 3.0]], [0.0, 0.0])
        1.0
    """
    points, origin = _checked(front, reference)
    shifted = np.asarray(point, dtype=np.float64) - origin
    if not (np.isfinite(shifted).all() and (shifted > 0).all()):
        return 0.0
    return _exclusive(shifted, _relevant(points - origin))


def _checked(front: ArrayLike, reference: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    origin = np.asarray(reference, dtype=np.float64)
    points = np.asarray(front, dtype=np.float64)
    points = as_fitness(points.reshape(0, max(origin.size, 1)) if points.size == 0 else points)
    if origin.shape != points.shape[1:]:
        raise ValueError(f"Expected a reference of shape {points.shape[1:]}, (m,), but got {origin.shape}.")
    if not np.isfinite(origin).all():
        raise ValueError(f"Expected a finite reference point, but got {origin}.")
    return points, origin


def _relevant(shifted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite rows strictly above the origin, in an order that depends on their values only."""
    kept = shifted[np.isfinite(shifted).all(axis=1) & (shifted > 0).all(axis=1)]
    return kept[np.lexsort(kept.T)]


def _volume(points: NDArray[np.float64]) -> float:
    """Hypervolume over the origin of positive points, shape ``(n, m)``; dominated ones are allowed."""
    n, m = points.shape
    if n == 0:
        return 0.0
    if n == 1:
        return float(np.prod(points))
    if m == 1:
        return float(points.max())
    if m == 2:
        return _area(points)
    return _sweep(points) if m == 3 else _reduced(points)


def _area(points: NDArray[np.float64]) -> float:
    """Two objectives: strips of the staircase, from the widest point on."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))[::-1]]
    heights = np.maximum.accumulate(ordered[:, 1])
    return float(np.sum(ordered[:, 0] * np.diff(heights, prepend=0.0)))


def _sweep(points: NDArray[np.float64]) -> float:
    """Three objectives: add points from the highest third objective down, keeping the area of their staircase."""
    levels = points[np.lexsort((points[:, 0], points[:, 1], points[:, 2]))[::-1]].tolist()
    xs, ys = [0.0, np.inf], [np.inf, 0.0]  # a staircase: xs rises, ys falls
    area = volume = 0.0
    below = [level[2] for level in levels[1:]] + [0.0]
    for (x, y, z), next_z in zip(levels, below, strict=True):
        end = bisect_left(xs, x)  # xs[end] >= x: the first step at least as wide
        if ys[end] < y:
            last = end + 1 if xs[end] == x else end  # a step as wide but lower is dominated as well
            first, floor = end, ys[last]
            while ys[first - 1] <= y:
                first -= 1
            for k in range(first, last):
                area -= (xs[k] - xs[k - 1]) * (ys[k] - floor)
            area += (x - xs[first - 1]) * (y - floor)
            xs[first:last], ys[first:last] = [x], [y]
        volume += area * (z - next_z)
    return volume


def _reduced(points: NDArray[np.float64]) -> float:
    """Four and more objectives: one fewer for each point's exclusive volume.

    In ascending order of the last objective every later point reaches above the current one, so that the
    exclusive volume is its last coordinate times an exclusive volume of the other coordinates.
    """
    ordered = _maximal(points)
    ordered = ordered[np.argsort(ordered[:, -1], kind="stable")]
    rest = ordered[:, :-1]
    return sum(float(row[-1]) * _exclusive(row[:-1], rest[i + 1 :]) for i, row in enumerate(ordered))


def _exclusive(point: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Volume of the box of ``point`` that no other point covers, both over the origin."""
    limited = np.minimum(others, point)
    if limited.shape[1] > 2:
        limited = _maximal(limited)
    return max(0.0, float(np.prod(point)) - _volume(limited))


def _maximal(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distinct non-dominated rows; quadratic, but fast for the small sets met in the recursion."""
    kept = points[np.lexsort(points.T)[::-1]]  # best last objective first, so that most rows fall early
    at_least = (kept[:, None, :] >= kept[None, :, :]).all(axis=2)  # [i, j]: row i covers row j
    earlier = np.tri(len(kept), k=-1, dtype=np.bool_).T  # [i, j]: i < j
    return kept[~(at_least & (earlier | ~at_least.T)).any(axis=0)]
