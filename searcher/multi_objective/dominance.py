"""Pareto dominance for maximisation: who dominates whom, fronts, ranks, and a front that grows.

A point dominates another if it is at least as good in every objective and better in one. Rows with NaN or
infinity are broken measurements: they dominate nothing and stand on no front. Equal points do not dominate
each other, so duplicates of a front member are members too.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searcher.multi_objective.rows import GrowingRows, as_fitness

UNRANKED = -1


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether ``a`` is at least as good as ``b`` everywhere and better somewhere; False if either is not finite.

    Args:
        a: Fitness, shape ``(m,)``.
        b: Fitness, shape ``(m,)``.

    Raises:
        ValueError: If the shapes disagree.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"Expected two vectors of one length, but got shapes {first.shape} and {second.shape}.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return False
    return bool((first >= second).all() and (first > second).any())


def non_dominated(fitness: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates.

    Duplicates are all kept; rows that are not finite never count. The cost is O(n log n) for one or two
    objectives and O(n k m) beyond, for a front of k points.

    Args:
        fitness: Shape ``(n, m)``; ``n`` may be 0.

    Returns:
        Mask, shape ``(n,)``.

    Raises:
        ValueError: If the shape is not ``(n, m)`` with ``m >= 1``.

    Example:
        >>> non_dominated([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]]).tolist()
        [True, True, False]
    """
    points = as_fitness(fitness)
    mask = np.zeros(len(points), dtype=np.bool_)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if finite.size:
        unique, inverse = _distinct(points[finite])
        mask[finite] = _maxima(unique)[inverse]
    return mask


def rank(fitness: ArrayLike) -> NDArray[np.int64]:
    """Front number of every point: 0 for the Pareto front, 1 for the front of the rest, and so on.

    Reference: Zhang, Tian, Cheng and Jin 2015, efficient non-dominated sort with binary search (ENS-BS): in
    lexicographic order a point can only be dominated by earlier ones, and if any member of front k dominates
    it, some member of every earlier front does. Two objectives are sorted in O(n log n).

    Args:
        fitness: Shape ``(n, m)``; ``n`` may be 0.

    Returns:
        Shape ``(n,)``; equal points share a rank, rows that are not finite have -1.

    Raises:
        ValueError: If the shape is not ``(n, m)`` with ``m >= 1``.
    """
    points = as_fitness(fitness)
    ranks = np.full(len(points), UNRANKED, dtype=np.int64)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if finite.size:
        unique, inverse = _distinct(points[finite])
        ranks[finite] = _ranks(unique)[inverse]
    return ranks


class Front:
    """The non-dominated set of a growing collection; each insertion costs O(members).

    Args:
        n_objectives: Length ``m`` of every fitness vector.
    """

    def __init__(self, n_objectives: int) -> None:
        if n_objectives < 1:
            raise ValueError(f"Expected at least one objective, but got {n_objectives}.")
        self._rows = GrowingRows(n_objectives)
        self._members: list[int] = []

    @property
    def members(self) -> tuple[int, ...]:
        """Candidate numbers on the front, in order of insertion."""
        return tuple(self._members)

    @property
    def fitness(self) -> NDArray[np.float64]:
        """Fitness of the members, a copy of shape ``(len(members), m)``."""
        return self._rows.view.copy()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, candidate: int, fitness: ArrayLike) -> bool:
        """Offer a point; members that it dominates leave.

        Args:
            candidate: The number it is known by.
            fitness: Shape ``(m,)``; a point that is not finite is refused.

        Returns:
            Whether it entered. A duplicate of a member does.

        Raises:
            ValueError: If the shape is not ``(m,)``.
        """
        point = np.asarray(fitness, dtype=np.float64)
        held = self._rows.view
        if point.shape != held.shape[1:]:
            raise ValueError(f"Expected fitness of shape {held.shape[1:]}, (m,), but got {point.shape}.")
        if not np.isfinite(point).all():
            return False
        at_least, equal = (held >= point).all(axis=1), (held == point).all(axis=1)
        if np.any(at_least & ~equal):
            return False
        stays = ~(held <= point).all(axis=1) | equal
        if not stays.all():
            self._rows.keep(stays)
            self._members = [member for member, keeps in zip(self._members, stays, strict=True) if keeps]
        self._rows.append(point)
        self._members.append(candidate)
        return True


def _distinct(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Distinct rows, lexicographically best first, and for each input row the index of its own."""
    ascending, inverse = np.unique(points + 0.0, axis=0, return_inverse=True)  # + 0.0: -0.0 equals 0.0
    return ascending[::-1], len(ascending) - 1 - inverse.reshape(-1)


def _maxima(unique: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Non-dominated rows among distinct rows in lexicographic order, best first."""
    n, m = unique.shape
    mask = np.zeros(n, dtype=np.bool_)
    mask[0] = True
    if m == 2:
        mask[1:] = unique[1:, 1] > np.maximum.accumulate(unique[:-1, 1])
    elif m > 2:
        front = GrowingRows(m - 1)  # the first objective of earlier rows is at least as good already
        front.append(unique[0, 1:])
        for i in range(1, n):
            if not (front.view >= unique[i, 1:]).all(axis=1).any():
                front.append(unique[i, 1:])
                mask[i] = True
    return mask


def _ranks(unique: NDArray[np.float64]) -> NDArray[np.int64]:
    """Front numbers of distinct rows in lexicographic order, best first."""
    n, m = unique.shape
    if m == 1:
        return np.arange(n, dtype=np.int64)
    ranks = np.empty(n, dtype=np.int64)
    if m == 2:
        best: list[float] = []  # negated best second objective of each front, ascending
        for i, second in enumerate((-unique[:, 1]).tolist()):
            ranks[i] = place = bisect_right(best, second)  # some member of every front before it is as good
            best[place : place + 1] = [second]
        return ranks
    fronts: list[GrowingRows] = []
    for i, row in enumerate(unique[:, 1:]):
        ranks[i] = place = _search(fronts, row)
        if place == len(fronts):
            fronts.append(GrowingRows(m - 1))
        fronts[place].append(row)
    return ranks


def _search(fronts: list[GrowingRows], row: NDArray[np.float64]) -> int:
    """Binary search for the first front without a member that is at least as good in all later objectives."""
    low, high = 0, len(fronts)
    while low < high:
        middle = (low + high) // 2
        if (fronts[middle].view >= row).all(axis=1).any():
            low = middle + 1
        else:
            high = middle
    return low
