"""COMO-CMA-ES: several CMA-ES search for one point of the front each, so that together they cover it.

Reference: Toure, Hansen, Auger and Brockhoff 2019, "Uncrowded hypervolume improvement: COMO-CMA-ES and the Sofomore
framework", GECCO. The authors' package is not used: it proposes and learns in lockstep, draws from the global
generator, is made for two objectives, and contains a file under the GPL; a test compares with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.multi_objective.uncrowded import uncrowded_improvement
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.cma_settings import check_evolution, choose_variant
from searcher.strategies.kernel import Draw, Kernel
from searcher.strategies.known_front import KnownFront
from searcher.strategies.pending import PendingProposals
from searcher.strategies.pycma import Distribution, default_population

GENERATIONS = 8  # of each kernel that the budget should allow
FEWEST, MOST = 3, 16


@STRATEGIES.register("mo_cma_es")
class MoCmaEs(Strategy):
    """Multi-objective CMA-ES (COMO-CMA-ES) for two to four objectives and hundreds of evaluations.

    Each kernel is a CMA-ES whose samples rank by their uncrowded hypervolume improvement over the means of the other
    kernels. Kernels take turns; after its turn a kernel's new mean is evaluated too. They begin at the non-dominated
    known merges, several at one if there are fewer. A kernel that has converged begins again at a random member of the
    front.

    Unlike in the paper the reference point follows the front (a tenth of its range behind its worst values), and
    distances are in units of that range, so that the objectives' units do not matter.

    Args:
        kernels: Number of kernels; by default as many as give each eight generations, from 3 to 16.
        population: Samples per generation, at least 4; by default 4 + 3 ln(dim).
        sigma0: First standard deviation of every gene, in (0, 1].
        variant: The covariances that are learned, as for ``cma_es``; ``auto`` counts the evaluations of one kernel.
    """

    uses_earlier_runs = True

    def __init__(
        self,
        problem: Problem,
        *,
        kernels: int | None = None,
        population: int | None = None,
        sigma0: float = 0.2,
        variant: Literal["auto", "full", "separable", "vkd"] = "auto",
    ) -> None:
        check_evolution(population, sigma0, 0)
        if kernels is not None and kernels < 1:
            raise ConfigError(
                f"Expected 1 kernel or more, but got {kernels}.",
                where="strategy.kernels",
                fix="Leave it out for a choice by budget.",
            )
        self._dim, self._n_objectives, self._rng = problem.dim, problem.n_objectives, problem.rng()
        self._population = default_population(problem.dim) if population is None else population
        self._n_kernels = self._kernels_for(problem.budget) if kernels is None else kernels
        share = None if problem.budget is None else problem.budget // self._n_kernels
        self._sigma0 = sigma0
        self._variant, self._variant_reason = choose_variant(variant, problem.dim, share)
        self._known = KnownFront(problem.n_objectives)
        self._kernels: list[Kernel] = []
        self._n_made = self._turn = 0
        self._queue: list[Draw] = []
        self._pending: PendingProposals[Draw] = PendingProposals()

    @override
    def ask(self, n: int) -> list[Proposal]:
        if not self._kernels:
            self._place_kernels()
        while len(self._queue) < n:
            self._queue += self._next_draws()
        taken, self._queue = self._queue[:n], self._queue[n:]
        return [self._propose(draw) for draw in taken]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            is_scored = trial.fitness is not None and bool(np.isfinite(trial.fitness).all())
            fitness = np.array(trial.fitness, dtype=np.float64) if is_scored else None
            draw = None if trial.genome is None else self._pending.pop(trial.genome)
            if fitness is not None and not trial.is_estimate:
                self._known.add(trial.genome, fitness)
            if draw is not None:
                self._collect(draw, fitness)
            elif self._kernels and trial.genome is not None and fitness is not None:
                self._learn_foreign(trial.genome, fitness)

    @override
    def describe(self) -> str:
        kind = "" if self._variant == "full" else f", {self._variant} covariances{self._variant_reason}"
        again = f", {self._n_made - self._n_kernels} restarts so far" if self._n_made > self._n_kernels else ""
        return (
            f"COMO-CMA-ES in {self._dim} dimensions: {self._n_kernels} kernels of population {self._population}, "
            f"sigma0 {self._sigma0:g}{kind}{again}"
        )

    def _kernels_for(self, budget: int | None) -> int:
        if self._n_objectives == 1:
            return 1
        if budget is None:
            return MOST
        return min(max(budget // (GENERATIONS * (self._population + 1)), FEWEST), MOST)

    def _place_kernels(self) -> None:
        """Kernels at the loneliest known front members first, then at the same again, or at random."""
        starts = self._known.starts()
        for i in range(self._n_kernels):
            if starts:
                genome, fitness = starts[i % len(starts)]
                self._kernels.append(self._new_kernel(genome, fitness))
            else:
                self._kernels.append(self._new_kernel(self._rng.random(self._dim), None))
                self._queue.append(self._kernels[-1].mean_draw())

    def _new_kernel(self, start: Genome, fitness: NDArray[np.float64] | None) -> Kernel:
        distribution = Distribution(start, self._sigma0, self._population, self._rng, variant=self._variant)
        self._n_made += 1
        return Kernel(self._n_made - 1, distribution, self._population, start, fitness)

    def _next_draws(self) -> list[Draw]:
        """The generation of the next kernel in turn that has none out, or an extra sample if all have."""
        for _ in self._kernels:
            kernel = self._kernels[self._turn % len(self._kernels)]
            self._turn += 1
            if not kernel.is_out:
                return kernel.generation()
        kernel = self._kernels[self._turn % len(self._kernels)]
        self._turn += 1
        return kernel.extra()

    def _propose(self, draw: Draw) -> Proposal:
        genome: Genome = np.clip(draw.point[: self._dim], 0.0, 1.0)
        self._pending.add(genome, draw)
        return Proposal(genome)

    def _collect(self, draw: Draw, fitness: NDArray[np.float64] | None) -> None:
        """Give a result to its kernel; those of kernels that have begun anew are of no more use."""
        place = next((i for i, kernel in enumerate(self._kernels) if kernel.number == draw.kernel), None)
        if place is not None and self._kernels[place].collect(draw, fitness):
            self._end_turn(place)

    def _end_turn(self, place: int) -> None:
        kernel = self._kernels[place]
        self._queue = [draw for draw in self._queue if draw.kernel != kernel.number]
        reference, width = self._frame()
        others = [k.fitness for k in self._kernels if k is not kernel and k.fitness is not None]
        front = (np.array(others).reshape(-1, self._n_objectives) - reference) / width
        zero = np.zeros(self._n_objectives)
        is_over = kernel.update(lambda fitness: uncrowded_improvement((fitness - reference) / width, front, zero))
        if is_over:
            starts = self._known.starts() or [(self._rng.random(self._dim), None)]
            self._kernels[place] = self._new_kernel(*starts[int(self._rng.integers(len(starts)))])
        else:
            self._queue.insert(0, kernel.mean_draw())

    def _learn_foreign(self, genome: Genome, fitness: NDArray[np.float64]) -> None:
        """Another strategy's find that the kernels' means leave room for counts for the kernel nearest to it."""
        reference, width = self._frame()
        means = [(k.fitness - reference) / width for k in self._kernels if k.fitness is not None]
        front = np.array(means).reshape(-1, self._n_objectives)
        if uncrowded_improvement((fitness - reference) / width, front, np.zeros(self._n_objectives)) > 0:
            nearest = min(self._kernels, key=lambda kernel: float(np.sum((kernel.mean - genome) ** 2)))
            self._collect(nearest.foreign(genome), fitness)

    def _frame(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Reference point and unit of every objective, shapes ``(n_objectives,)``."""
        return self._known.frame()
