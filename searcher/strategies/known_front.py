"""The front of what a strategy was told, with its genomes, and the scale that follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Genome
from searcher.multi_objective.crowding import crowding_distance
from searcher.multi_objective.dominance import Front

MARGIN = 0.1  # of the front's range, by which the reference point is worse than the front's worst values


class KnownFront:
    """Non-dominated fitness with genomes, and the range of everything that was told.

    Args:
        n_objectives: Length of a fitness vector.
    """

    def __init__(self, n_objectives: int) -> None:
        self._front = Front(n_objectives)
        self._genomes: dict[int, Genome | None] = {}
        self._n_told = 0
        unseen = np.full(n_objectives, np.inf)
        self._seen = np.stack([unseen, -unseen])

    @property
    def fitness(self) -> NDArray[np.float64]:
        """Fitness of the front members, shape ``(k, n_objectives)``."""
        return self._front.fitness

    def add(self, genome: Genome | None, fitness: NDArray[np.float64]) -> bool:
        """Take note of a finite fitness; the genome is None outside the space. Returns whether it is on the front."""
        self._seen = np.stack([np.minimum(self._seen[0], fitness), np.maximum(self._seen[1], fitness)])
        self._n_told += 1
        if not self._front.add(self._n_told, fitness):
            return False
        self._genomes[self._n_told] = None if genome is None else np.clip(genome, 0.0, 1.0)
        self._genomes = {number: self._genomes[number] for number in self._front.members}
        return True

    def starts(self) -> list[tuple[Genome, NDArray[np.float64] | None]]:
        """Genome and fitness of the front members inside the space, the loneliest first."""
        fitness, members = self._front.fitness, self._front.members
        lonely = np.argsort(-crowding_distance(fitness), kind="stable")
        found = [(self._genomes[members[i]], fitness[i]) for i in lonely]
        return [(genome, values) for genome, values in found if genome is not None]

    def frame(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Reference point and unit of every objective, shapes ``(n_objectives,)``.

        The unit is the front's range, or the range of all that was told where the front has none, or 1; the
        reference point lies a tenth of it behind the front's worst values.
        """
        front = self._front.fitness
        if len(front) == 0:
            return np.zeros(front.shape[1]), np.ones(front.shape[1])
        width = front.max(axis=0) - front.min(axis=0)
        width = np.where(width > 0, width, self._seen[1] - self._seen[0])
        width = np.where(width > 0, width, 1.0)
        return front.min(axis=0) - MARGIN * width, width
