"""A box around a good genome that grows with success and shrinks with failure, for many genes.

Reference: Eriksson, Pearce, Gardner, Turner and Poloczek 2019, "Scalable global optimization via local Bayesian
optimization" (TuRBO), with one region. Deviation: it shrinks after ``max(4, dim / 4)`` failures in a row instead of
``dim``, because a run has tens to hundreds of evaluations, not thousands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST_LENGTH, LONGEST, SHORTEST = 0.8, 1.6, 0.5**7
SUCCESSES = 3


class TrustRegion:
    """Its side length, a function of the sequence of successes and failures.

    Args:
        dim: Number of genes.
    """

    def __init__(self, dim: int) -> None:
        self.length = FIRST_LENGTH
        """Geometric mean of the sides of the box, in units of the cube's side."""
        self._patience = max(4, dim // 4)
        self._successes = self._failures = 0

    def update(self, *, is_success: bool) -> None:
        """Learn whether a proposal was better than all before; a box that shrank away starts again."""
        self._successes, self._failures = (self._successes + 1, 0) if is_success else (0, self._failures + 1)
        if self._successes == SUCCESSES:
            self.length, self._successes = min(2 * self.length, LONGEST), 0
        elif self._failures == self._patience:
            self.length, self._failures = self.length / 2, 0
            if self.length < SHORTEST:
                self.length = FIRST_LENGTH

    def box(self, centre: Floats, lengthscales: Floats) -> Floats:
        """Bounds within the unit cube, shape ``(2, dim)``; longer in genes that matter less.

        Args:
            centre: Shape ``(dim,)``.
            lengthscales: Per objective and gene, shape ``(m, dim)``.
        """
        logs = np.log(lengthscales).mean(axis=0)
        sides = self.length * np.exp(np.clip(logs - logs.mean(), -2.0, 2.0))
        return np.clip(np.stack([centre - sides / 2, centre + sides / 2]), 0.0, 1.0)
