"""One of several evolution strategies that search for a front together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Genome
from searcher.strategies.loss_range import LossRange
from searcher.strategies.pycma import Distribution

FOREIGN = -1  # generation of a result that the kernel did not draw


@dataclass(frozen=True, eq=False)
class Draw:
    """One sample of a kernel: which distribution, generation and place it came from, and pycma's own array.

    The mean of a distribution is a draw without a place: it is evaluated, but nothing is learned from its rank.
    """

    kernel: int
    generation: int
    place: int | None
    point: NDArray[np.float64]


class Kernel:
    """A normal distribution, the results of its generation so far, and the fitness of its mean.

    Args:
        number: Its number, never used again after a restart.
        distribution: What it samples.
        population: Results that end a generation.
        start: The first mean, shape ``(dim,)``.
        fitness: Of the first mean, if known.
    """

    def __init__(
        self,
        number: int,
        distribution: Distribution,
        population: int,
        start: Genome,
        fitness: NDArray[np.float64] | None = None,
    ) -> None:
        self.number, self.fitness, self.mean = number, fitness, start
        self.is_out = False  # whether a generation is being evaluated
        self._distribution, self._population = distribution, population
        self._generation = self._place = 0
        self._results: list[tuple[Draw, NDArray[np.float64] | None]] = []

    def generation(self) -> list[Draw]:
        """The samples of the next generation."""
        self.is_out = True
        return [self._draw(point) for point in self._distribution.generation()]

    def extra(self) -> list[Draw]:
        """Further samples of the generation that is out; usually one."""
        return [self._draw(point) for point in self._distribution.extra()]

    def mean_draw(self) -> Draw:
        """The mean, to be evaluated."""
        return Draw(self.number, self._generation, None, self._distribution.point_of(self.mean))

    def foreign(self, genome: Genome) -> Draw:
        """A genome from elsewhere, as if it were a late sample."""
        return Draw(self.number, FOREIGN, -1 - len(self._results), self._distribution.point_of(genome))

    def collect(self, draw: Draw, fitness: NDArray[np.float64] | None) -> bool:
        """Keep a result, None if it failed; returns whether the generation is complete.

        A mean that is told after the next one was formed counts no more.
        """
        if draw.place is None:
            if draw.generation == self._generation:
                self.fitness = fitness
            return False
        self._results.append((draw, fitness))
        return len(self._results) >= self._population

    def update(self, merit: Callable[[NDArray[np.float64]], float]) -> bool:
        """End the generation: learn from the order of the results' merit, failed ones last.

        Args:
            merit: What a fitness is worth; maximised.

        Returns:
            Whether the distribution has converged or is lost, so that the kernel should start elsewhere.
        """
        results = sorted(self._results, key=_when_drawn)
        late = [i for i, (draw, _) in enumerate(results) if draw.generation != self._generation]
        self._results, self._place, self.is_out = [], 0, False
        self._generation += 1
        known = [None if fitness is None else -merit(fitness) for _, fitness in results]
        losses = LossRange()
        for loss in known:
            if loss is not None:
                losses.add(loss)
        if all(loss is None for loss in known):
            return False
        worst = losses.beyond_worst()
        finite = [worst if loss is None else loss for loss in known]
        has_converged = self._distribution.update([draw.point for draw, _ in results], finite, late)
        self.mean = np.clip(self._distribution.mean, 0.0, 1.0)
        return has_converged or not self._distribution.is_sound()

    def _draw(self, point: NDArray[np.float64]) -> Draw:
        self._place += 1
        return Draw(self.number, self._generation, self._place - 1, point)


def _when_drawn(result: tuple[Draw, object]) -> tuple[int, int]:
    draw = result[0]
    assert draw.place is not None
    return draw.generation, draw.place
