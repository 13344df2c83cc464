"""What a failed evaluation costs a strategy that can only rank numbers."""

from __future__ import annotations

import math


class LossRange:
    """Best and worst finite loss of the run."""

    def __init__(self) -> None:
        self.best, self._worst = math.inf, -math.inf

    def add(self, loss: float) -> None:
        """Take note of a finite loss."""
        self.best, self._worst = min(self.best, loss), max(self._worst, loss)

    def beyond_worst(self) -> float:
        """A finite loss behind every finite one: the worst plus the spread seen so far, or plus 1."""
        spread = self._worst - self.best
        return self._worst + (spread if 0 < spread < math.inf else 1.0 + abs(self._worst))
