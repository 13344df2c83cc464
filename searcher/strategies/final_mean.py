"""Which mean an evolution strategy proposes at the end of its budget."""

from __future__ import annotations

import math

from searcher.candidate import Genome
from searcher.strategies.pycma import Distribution


class FinalMean:
    """The mean to propose last: of the distribution, now or before a restart, whose samples were the best."""

    def __init__(self) -> None:
        self._now = self._before = math.inf
        self._mean: Genome | None = None
        self._latest: Genome | None = None
        self._is_taken = False

    def note(self, distribution: Distribution, loss: float) -> None:
        """Take note of an update with samples of this lowest loss."""
        self._now, self._latest = min(self._now, loss), distribution.mean

    def leave(self) -> None:
        """Take note that the next update is one of another distribution."""
        if self._now < self._before:
            self._before, self._mean = self._now, self._latest
        self._now, self._latest = math.inf, None

    def take(self) -> Genome | None:
        """The mean, once; None before the first update and from the second call on."""
        self.leave()
        mean, self._is_taken = None if self._is_taken else self._mean, self._mean is not None
        return mean
