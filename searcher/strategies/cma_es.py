"""CMA-ES with restarts: adapts a normal distribution to the best region of the space.

References: Hansen 2016, "The CMA evolution strategy: a tutorial"; Auger and Hansen 2005 for the restarts with
growing population (IPOP). The numbers are those of pycma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.pending import PendingProposals
from searcher.strategies.pycma import Distribution, default_population
from searcher.strategies.scalar import Scalarization, make_scalar


@dataclass(frozen=True)
class _Sample:
    """One draw: which distribution it came from, its place among the draws, and pycma's own array."""

    run: int
    generation: int
    place: int
    point: NDArray[np.float64]
    loss: float | None = None


@STRATEGIES.register("cma_es")
class CmaEs(Strategy):
    """CMA-ES (pycma) on the unit cube, started at the best known merge.

    A generation ends as soon as ``population`` results are in, whatever their order; workers that are free
    before that get extra samples of the same distribution, and results that come late count, with their step
    length limited, in the next generation. Failed trials rank behind every scored one; a generation in which
    all failed says nothing of the landscape and leaves the distribution as it is.

    The other baselines are not injected: pycma would propose them again, which costs an evaluation for a known
    result, and it shortens steps of many standard deviations, so that they would teach it little.

    Args:
        population: Candidates per generation, at least 4; by default 4 + 3 ln(dim).
        sigma0: First standard deviation of every gene, in (0, 1].
        scalarize: With several objectives, what is maximised: ``sum``, their weighted sum; ``worst``, the worst of
            them plus a quarter of their mean.
        weights: One weight per objective; ``sum`` requires them with several objectives.
        restarts: How many times the search may start again at a random point with twice the population, each
            time when its stopping rules say that it has converged.
    """

    is_bounded: ClassVar[bool] = True

    def __init__(
        self,
        problem: Problem,
        *,
        population: int | None = None,
        sigma0: float = 0.2,
        scalarize: Scalarization = "sum",
        weights: tuple[float, ...] | None = None,
        restarts: int = 9,
    ) -> None:
        _check(population, sigma0, restarts)
        self._dim, self._rng = problem.dim, problem.rng()
        self._objective = make_scalar(problem, scalarize, weights)
        self._population = default_population(problem.dim) if population is None else population
        self._sigma0, self._restarts_left = sigma0, restarts
        self._start: Genome = np.full(problem.dim, 0.5)
        self._start_name, self._start_value = "the centre of the space", -math.inf
        self._losses = _LossRange()
        self._distribution: Distribution | None = None
        self._run = self._generation = self._place = 0
        self._queue: list[_Sample] = []
        self._pending: PendingProposals[_Sample] = PendingProposals()
        self._results: list[_Sample] = []

    @override
    def ask(self, n: int) -> list[Proposal]:
        distribution = self._distribution or self._begin(self._start)
        if not self._queue and self._place == 0:
            self._enqueue(distribution.generation())
        if not self._queue:  # the generation is out for evaluation, but somebody is idle
            for _ in range(n):
                self._enqueue(distribution.extra())
        taken, self._queue = self._queue[:n], self._queue[n:]
        return [self._propose(sample) for sample in taken]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            value = self._objective.value(trial)
            if value is not None:
                self._losses.add(-value)
            sample = None if trial.genome is None else self._pending.pop(trial.genome)
            if sample is not None:
                self._collect(sample, value)
            elif self._distribution is None and trial.genome is not None and value is not None:
                self._consider_start(trial, value)

    @override
    def describe(self) -> str:
        again = f", {self._run} restarts so far" if self._run else ""
        return (
            f"CMA-ES in {self._dim} dimensions: population {self._population}, sigma0 {self._sigma0:g}, "
            f"started at {self._start_name}{again}"
        )

    def genome_of(self, point: NDArray[np.float64]) -> Genome:
        """The genome of a sample, shape ``(dim,)``."""
        return cast(Genome, np.clip(point, 0.0, 1.0))

    def _consider_start(self, trial: Trial, value: float) -> None:
        if value > self._start_value and trial.genome is not None:
            self._start = np.clip(trial.genome, 0.0, 1.0)
            self._start_name, self._start_value = f"candidate {trial.candidate}, the best known", value

    def _begin(self, start: Genome) -> Distribution:
        self._distribution = Distribution(start, self._sigma0, self._population, self._rng, is_bounded=self.is_bounded)
        return self._distribution

    def _enqueue(self, points: Sequence[NDArray[np.float64]]) -> None:
        for point in points:
            self._queue.append(_Sample(self._run, self._generation, self._place, point))
            self._place += 1

    def _propose(self, sample: _Sample) -> Proposal:
        genome = self.genome_of(sample.point[: self._dim])
        self._pending.add(genome, sample)
        return Proposal(genome)

    def _collect(self, sample: _Sample, value: float | None) -> None:
        """Keep a result; results of a distribution before the last restart are of no more use."""
        if sample.run != self._run:
            return
        loss = None if value is None else -value
        self._results.append(_Sample(sample.run, sample.generation, sample.place, sample.point, loss))
        if len(self._results) >= self._population:
            self._end_generation()

    def _end_generation(self) -> None:
        """Update the distribution with the collected results, in the order in which they were drawn."""
        results = sorted(self._results, key=lambda sample: (sample.generation, sample.place))
        late = [i for i, sample in enumerate(results) if sample.generation != self._generation]
        self._results, self._queue, self._place = [], [], 0
        self._generation += 1
        distribution = cast(Distribution, self._distribution)
        if all(sample.loss is None for sample in results):
            return
        worst = self._losses.beyond_worst()
        losses = [worst if sample.loss is None else sample.loss for sample in results]
        has_converged = distribution.update([sample.point for sample in results], losses, late)
        if has_converged and self._restarts_left > 0:
            self._restart()
        elif not distribution.is_sound():  # it went on after convergence until all samples are the same
            self._run += 1
            self._begin(self._start)

    def _restart(self) -> None:
        """Start again at a random point with twice the population (IPOP)."""
        self._restarts_left -= 1
        self._run += 1
        self._population *= 2
        self._start_name = "a random point"
        self._begin(self._rng.random(self._dim))


class _LossRange:
    """Best and worst finite loss of the run."""

    def __init__(self) -> None:
        self._best, self._worst = math.inf, -math.inf

    def add(self, loss: float) -> None:
        self._best, self._worst = min(self._best, loss), max(self._worst, loss)

    def beyond_worst(self) -> float:
        """A finite loss behind every finite one: the worst plus the spread seen so far, or plus 1."""
        spread = self._worst - self._best
        return self._worst + (spread if 0 < spread < math.inf else 1.0 + abs(self._worst))


def _check(population: int | None, sigma0: float, restarts: int) -> None:
    if population is not None and population < 4:
        raise ConfigError(
            f"Expected a population of at least 4, but got {population}.",
            where="strategy.population",
            fix="Leave it out for the usual 4 + 3 ln(dim), or give 4 or more.",
        )
    if not 0.0 < sigma0 <= 1.0:
        raise ConfigError(
            f"Expected sigma0 above 0 and at most 1, but got {sigma0}.",
            where="strategy.sigma0",
            fix="Genes lie in [0, 1]; 0.15 to 0.3 is usual.",
        )
    if restarts < 0:
        raise ConfigError(
            f"Expected 0 or more restarts, but got {restarts}.",
            where="strategy.restarts",
            fix="Give 0 to never restart.",
        )
