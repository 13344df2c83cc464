"""Arrays of fitness vectors: the check at the border, and a table of rows that grows cheaply."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_fitness(fitness: ArrayLike) -> NDArray[np.float64]:
    """Fitness as a float64 array of shape ``(n, m)``.

    Raises:
        ValueError: If it does not have two dimensions or has no objective.
    """
    points = np.asarray(fitness, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] < 1:
        raise ValueError(f"Expected fitness of shape (n, m) with m >= 1 objectives, but got {points.shape}.")
    return points


class GrowingRows:
    """Rows of float64 with room to grow: appending costs O(m) on average.

    Args:
        width: Length ``m`` of a row.
    """

    def __init__(self, width: int) -> None:
        self._buffer = np.empty((8, width), dtype=np.float64)
        self._used = 0

    @property
    def view(self) -> NDArray[np.float64]:
        """The rows, shape ``(n, m)``; a view that the next change invalidates."""
        return self._buffer[: self._used]

    def append(self, row: NDArray[np.float64]) -> None:
        """Add one row of shape ``(m,)``."""
        if self._used == len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.empty_like(self._buffer)])
        self._buffer[self._used] = row
        self._used += 1

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop the rows where the mask of shape ``(n,)`` is False."""
        kept = self.view[mask]
        self._buffer[: len(kept)] = kept
        self._used = len(kept)
