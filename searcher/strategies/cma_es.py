"""CMA-ES with restarts: adapts a normal distribution to the best region of the space.

References: Hansen 2016, "The CMA evolution strategy: a tutorial"; Auger and Hansen 2005 for the restarts with growing
population (IPOP); Hansen 2011, "Injecting external solutions into CMA-ES"; Nomura et al. 2021 for the warm start. The
numbers are those of pycma.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome, Proposal, Trial
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.cma_settings import check_evolution, choose_variant
from searcher.strategies.final_mean import FinalMean
from searcher.strategies.loss_range import LossRange
from searcher.strategies.pending import PendingProposals
from searcher.strategies.pycma import Distribution, default_population
from searcher.strategies.scalar import Scalarization, make_scalar
from searcher.strategies.warm_start import promising_distribution

FEWEST_KNOWN = 2  # genomes that a warm start is made of
FOREIGN = -1  # generation of a result that another strategy proposed


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

    The other baselines are not injected: it shortens steps of many standard deviations, so that they would teach it
    little. What another strategy found (in a portfolio) is, if it is the best so far: it counts as a late result.

    Scores on a fixed choice of examples are not noisy twice: the same recipe has the same score again. Against the
    noise of that choice help a larger population and the mean of the distribution, which no single lucky score moves
    far.

    Args:
        population: Candidates per generation, at least 4; by default 4 + 3 ln(dim).
        sigma0: First standard deviation of every gene, in (0, 1].
        variant: The covariances that are learned: ``full``, ``separable`` (variances only) or ``vkd`` (a diagonal and a
            few directions); ``auto``: ``vkd`` from 30 genes on, below that ``separable`` with a budget of less than 20
            evaluations per gene, else ``full``.
        scalarize: With several objectives, what is maximised: ``sum``, their weighted sum; ``worst``, the worst of
            them plus a quarter of their mean; ``chebyshev``, the worst shortfall from ``reference_point``;
            ``lexicographic``, one after the other in ``order``.
        weights: One weight per objective; ``sum`` requires them with several objectives.
        reference_point: For ``chebyshev``, the wished value of every objective, such as ``{at_least: {accuracy: 0.9},
            at_most: {loss: 1.2}}``; a number, or a share of a baseline's score, ``0.9 * base``.
        order: For ``lexicographic``, names of objectives, the most important first.
        tolerance: For ``lexicographic``, the widths of the bands in which values of an objective count as equal, for all
            in ``order`` but the last.
        constraints: Bounds on objectives, such as ``{at_least: {accuracy: 0.9}}`` or ``{at_least: {accuracy: 0.9 * base}}``:
            whatever respects them is better than what does not.
        restarts: How many times the search may start again at a random point with twice the population, each
            time when its stopping rules say that it has converged.
        warm_start: Whether to begin with the mean and covariance of the best tenth of what is known before the first
            proposal (WS-CMA-ES) instead of at the best with ``sigma0``; for runs that know tens of genomes or more.
        final_mean: Whether the last evaluation of the budget is the mean of the distribution.
    """

    is_bounded: ClassVar[bool] = True
    uses_earlier_runs = True

    def __init__(
        self,
        problem: Problem,
        *,
        population: int | None = None,
        sigma0: float = 0.2,
        variant: Literal["auto", "full", "separable", "vkd"] = "auto",
        scalarize: Scalarization = "sum",
        weights: tuple[float, ...] | None = None,
        reference_point: Mapping[str, Mapping[str, float | str]] | None = None,
        order: tuple[str, ...] | None = None,
        tolerance: tuple[float, ...] | None = None,
        constraints: Mapping[str, Mapping[str, float | str]] | None = None,
        restarts: int = 9,
        warm_start: bool = False,
        final_mean: bool = True,
    ) -> None:
        check_evolution(population, sigma0, restarts)
        self._dim, self._rng, self._budget = problem.dim, problem.rng(), problem.budget
        self._variant, self._variant_reason = choose_variant(variant, problem.dim, problem.budget)
        self._objective = make_scalar(
            problem,
            scalarize,
            weights,
            reference_point=reference_point,
            order=order,
            tolerance=tolerance,
            constraints=constraints,
        )
        self._population = default_population(problem.dim) if population is None else population
        self._sigma0, self._restarts_left = sigma0, restarts
        self._start: Genome = np.full(problem.dim, 0.5)
        self._start_name, self._start_value = "the centre of the space", -math.inf
        self._known: list[tuple[Genome, float]] | None = [] if warm_start else None
        self._final = FinalMean() if final_mean else None
        self._n_told = self._n_out = 0
        self._losses = LossRange()
        self._distribution: Distribution | None = None
        self._run = self._generation = self._place = 0
        self._queue: list[_Sample] = []
        self._pending: PendingProposals[_Sample] = PendingProposals()
        self._results: list[_Sample] = []

    @override
    def ask(self, n: int) -> list[Proposal]:
        distribution = self._distribution or self._first()
        is_last = self._budget is not None and self._budget - self._n_told - self._n_out <= n
        if is_last and self._final is not None and (mean := self._final.take()) is not None:
            return [*self._samples(distribution, n - 1), self._proposal(self.genome_of(mean))]
        return self._samples(distribution, n)

    def _samples(self, distribution: Distribution, n: int) -> list[Proposal]:
        if not self._queue and self._place == 0:
            self._enqueue(distribution.generation())
        if not self._queue:  # the generation is out for evaluation, but somebody is idle
            for _ in range(n):
                self._enqueue(distribution.extra())
        taken, self._queue = self._queue[:n], self._queue[n:]
        return [self._propose(sample) for sample in taken]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._objective.learn(trials)
        for trial in trials:
            self._n_told += trial.candidate >= 0
            value = self._objective.value(trial)
            is_best = value is not None and -value < self._losses.best
            if value is not None:
                self._losses.add(-value)
            sample = None if trial.genome is None else self._pending.pop(trial.genome)
            if sample is not None:
                self._n_out -= 1
                self._collect(sample, value)
            elif trial.genome is not None and value is not None:
                self._learn(trial, value, is_best=is_best)

    @override
    def describe(self) -> str:
        again = f", {self._run} restarts so far" if self._run else ""
        kind = "" if self._variant == "full" else f", {self._variant} covariance{self._variant_reason}"
        return (
            f"CMA-ES in {self._dim} dimensions: population {self._population}, sigma0 {self._sigma0:g}{kind}, "
            f"started at {self._start_name}{again}"
        )

    def genome_of(self, point: NDArray[np.float64]) -> Genome:
        """The genome of a sample, shape ``(dim,)``."""
        return cast(Genome, np.clip(point, 0.0, 1.0))

    def _learn(self, trial: Trial, value: float, *, is_best: bool) -> None:
        """Use a scored genome that was not proposed here: a baseline, or the find of another strategy."""
        genome = cast(Genome, trial.genome)
        if self._distribution is None:
            if self._known is not None:
                self._known.append((np.clip(genome, 0.0, 1.0), value))
            self._consider_start(trial, value)
        elif is_best:
            place = min([0, *(sample.place for sample in self._results)]) - 1
            point = self._distribution.point_of(genome)
            self._collect(_Sample(self._run, FOREIGN, place, point), value)

    def _consider_start(self, trial: Trial, value: float) -> None:
        if value > self._start_value and trial.genome is not None:
            self._start, self._start_value = np.clip(trial.genome, 0.0, 1.0), value
            name = f"candidate {trial.candidate}" if trial.candidate >= 0 else "the best of earlier runs"
            self._start_name = f"{name}, the best known"

    def _first(self) -> Distribution:
        """The distribution that the search starts with."""
        if self._known is None or len(self._known) < FEWEST_KNOWN:
            return self._begin(self._start)
        genomes, values = zip(*self._known, strict=True)
        found = promising_distribution(np.array(genomes), np.array(values))
        self._start, self._sigma0 = found.mean, found.sigma
        self._start_name = f"the mean of the best {found.n_promising} of {len(genomes)} known genomes"
        self._known = None
        return self._begin(found.mean, found.covariance)

    def _begin(self, start: Genome, covariance: NDArray[np.float64] | None = None) -> Distribution:
        self._distribution = Distribution(
            start,
            self._sigma0,
            self._population,
            self._rng,
            is_bounded=self.is_bounded,
            variant=self._variant,
            covariance=covariance,
        )
        return self._distribution

    def _enqueue(self, points: Sequence[NDArray[np.float64]]) -> None:
        for point in points:
            self._queue.append(_Sample(self._run, self._generation, self._place, point))
            self._place += 1

    def _propose(self, sample: _Sample) -> Proposal:
        genome = self.genome_of(sample.point[: self._dim])
        self._pending.add(genome, sample)
        return self._proposal(genome)

    def _proposal(self, genome: Genome) -> Proposal:
        self._n_out += 1
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
        if self._final is not None:
            self._final.note(distribution, min(losses))
        if has_converged and self._restarts_left > 0:
            self._restart()
        elif not distribution.is_sound():  # it went on after convergence until all samples are the same
            self._run += 1
            self._begin(self._start)

    def _restart(self) -> None:
        """Start again at a random point with twice the population (IPOP)."""
        self._restarts_left -= 1
        self._run += 1
        if self._final is not None:
            self._final.leave()
        self._population *= 2
        self._start_name = "a random point"
        self._begin(self._rng.random(self._dim))
