"""Which proposals are out for evaluation, found again by the genome that is told."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import numpy as np

from searcher.candidate import Genome

K = TypeVar("K")


class PendingProposals(Generic[K]):
    """What a strategy remembers of each proposal until it is told of it; equal genomes return in order."""

    def __init__(self) -> None:
        self._by_genome: dict[bytes, deque[K]] = {}

    def add(self, genome: Genome, what: K) -> None:
        """Remember a proposal; ``genome`` has shape ``(dim,)``."""
        self._by_genome.setdefault(_key(genome), deque()).append(what)

    def pop(self, genome: Genome) -> K | None:
        """What was remembered of the oldest proposal with this genome; None if it was never proposed."""
        key = _key(genome)
        waiting = self._by_genome.get(key)
        if waiting is None:
            return None
        what = waiting.popleft()
        if not waiting:
            del self._by_genome[key]
        return what


def _key(genome: Genome) -> bytes:
    return (np.asarray(genome, dtype=np.float64) + 0.0).tobytes()  # + 0.0: -0.0 equals 0.0
