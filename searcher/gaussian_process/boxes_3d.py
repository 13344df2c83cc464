"""The space above a front of three objectives as disjoint boxes, by a sweep; twice as many as points, and one.

Lacour, Klamroth and Fonseca 2017, "A box decomposition algorithm to compute the hypervolume indicator", show that so
few boxes do. With three objectives a sweep down the third finds them: at each height the space above the front is a row
of strips side by side, unbounded in the second objective, and a point replaces those that it covers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def boxes_above(points: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Lower and upper corners of disjoint boxes that fill what no point dominates, above the reference.

    Args:
        points: Fitness, shape ``(n, 3)``; dominated ones and those not above the reference change nothing.
        reference: Shape ``(3,)``.

    Returns:
        Two arrays of shape ``(boxes, 3)``; upper corners may be infinite.
    """
    inside = points[(points > reference).all(axis=1)]
    sweep = _Strips(reference)
    for x, y, z in inside[np.argsort(-inside[:, 2], kind="stable")].tolist():
        sweep.add(x, y, z)
    return sweep.boxes()


class _Strips:
    """Strips ``[left_i, left_i+1) x [floor_i, inf)`` with falling floors, each since the height where it began."""

    def __init__(self, reference: Floats) -> None:
        self._x, self._y, self._z = reference.tolist()
        self._left, self._floor, self._top = [self._x], [self._y], [np.inf]
        self._found: list[tuple[float, float, float, float, float, float]] = []

    def add(self, x: float, y: float, z: float) -> None:
        """Take a point that lies no higher than those before it."""
        first = bisect_right(self._floor, -y, key=lambda floor: -floor)  # floors fall: the first below y
        stop = bisect_left(self._left, x)  # strips before it begin left of x
        if first >= stop:
            return  # dominated
        left, floor = self._left[first], self._floor[stop - 1]
        right = self._left[stop] if stop < len(self._left) else np.inf
        for i in range(first, stop):
            self._close(i, z)
        new = [(left, y)] + ([(x, floor)] if x < right else [])
        self._left[first:stop] = [a for a, _ in new]
        self._floor[first:stop] = [c for _, c in new]
        self._top[first:stop] = [z] * len(new)

    def boxes(self) -> tuple[Floats, Floats]:
        """All boxes down to the reference."""
        for i in range(len(self._left)):
            self._close(i, self._z)
        found = np.array(self._found, dtype=np.float64).reshape(-1, 6)
        return found[:, :3], found[:, 3:]

    def _close(self, i: int, z: float) -> None:
        right = self._left[i + 1] if i + 1 < len(self._left) else np.inf
        if z < self._top[i]:
            self._found.append((self._left[i], self._floor[i], z, right, np.inf, self._top[i]))
