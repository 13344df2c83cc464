"""What a surrogate learns from: the scored genomes of a search, and those that failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Genome, Trial
from searcher.strategies.base import Problem
from searcher.strategies.one_number import Scalar

if TYPE_CHECKING:
    from searcher.gaussian_process.observations import Observations


class KnownGenomes:
    """What was told of genomes inside the space.

    Args:
        problem: Its genes and objectives.
        links: Whether scores in [0, 1] are modelled as log odds.
    """

    def __init__(self, problem: Problem, links: bool) -> None:
        self._levels = problem.levels
        self._dim, self._unknown, self._links = problem.dim, np.full(problem.n_objectives, np.nan), links
        self._rows: list[tuple[Genome, NDArray[np.float64], NDArray[np.float64]]] = []
        self.failed: list[Genome] = []

    @property
    def n_scored(self) -> int:
        """Genomes with a finite fitness."""
        return len(self._rows)

    def add(self, trial: Trial, genome: Genome) -> None:
        """Learn of a trial; one whose fitness is not finite has failed."""
        place = np.clip(genome, 0.0, 1.0)
        if trial.fitness is None or not np.isfinite(trial.fitness).all():
            self.failed.append(place)
        else:
            stderr = self._unknown if trial.stderr is None else trial.stderr
            self._rows.append((place, np.array(trial.fitness, dtype=np.float64), np.array(stderr, dtype=np.float64)))

    def is_better(self, fitness: NDArray[np.float64], scalar: Scalar | None) -> bool:
        """Whether no scored genome is as good: none dominates it, or its one number is the largest."""
        if not np.isfinite(fitness).all():
            return False
        others = [row[1] for row in self._rows]
        if scalar is None:
            return not any((other >= fitness).all() for other in others)
        value = scalar.combined(fitness)
        return all(value > scalar.combined(other) for other in others)

    def observations(self) -> Observations:
        """The scored genomes in the order in which they were told."""
        from searcher.gaussian_process.observations import Observations

        genomes, fitness, stderr = (np.array(column) for column in zip(*self._rows, strict=True))
        return Observations(genomes, fitness, stderr, self._links, self._levels)

    def rows(self, genomes: Iterable[Genome]) -> NDArray[np.float64]:
        """Genomes as an array of shape ``(k, dim)``; ``k`` may be 0."""
        return np.array(list(genomes), dtype=np.float64).reshape(-1, self._dim)
