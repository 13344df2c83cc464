"""Bayesian optimisation: Gaussian processes learn what the genes do, and the most promising genome is next.

References: Ament, Daulton, Eriksson, Balandat and Bakshy 2023 for the acquisition functions, as in BoTorch; Hvarfner,
Hellsten and Nardi 2024 for the prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.gaussian_process.trust_region import TrustRegion
from searcher.multi_objective.worst import MEAN_SHARE
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.bounds import Bounds, FitnessBounds
from searcher.strategies.known_genomes import KnownGenomes
from searcher.strategies.one_number import Scalar
from searcher.strategies.pending import PendingProposals
from searcher.strategies.preference import AUGMENTATION, Achievement
from searcher.strategies.scalar import WorstObjective, make_scalar

if TYPE_CHECKING:
    from searcher.gaussian_process.goal import Goal

MAX_FRONT = 5  # objectives; beyond, the hypervolume takes minutes and hardly tells genomes apart
MAX_INITIAL = 20
MIN_INITIAL = 3
ENOUGH = 2  # known genomes for each Sobol point wanted, beyond which there are none
MANY_GENES = 20  # beyond, a box: the acquisition function has its maxima at the faces of a large cube
MIN_SCORED = 2  # genomes that a surrogate needs


@STRATEGIES.register("bayes_opt")
class BayesOpt(Strategy):
    """Bayesian optimisation (BoTorch): for budgets of about 20 to 300 evaluations and noisy scores.

    One Gaussian process per objective, with the standard errors of the scores as its noise (inferred if an objective
    has none); the next genome maximises the noisy log expected improvement, or that of the hypervolume. It
    begins with the baselines inside the space and some Sobol points. Where the space has groups, the Gaussian processes
    see the means of genes that coarser searches tie together too. Failed trials are left out of the
    Gaussian processes and not proposed again; after the second, genomes near failed ones promise less.

    A proposal takes seconds. Resuming a run computes the recorded proposals again.

    Args:
        scalarize: What is maximised: ``front``, the hypervolume under the Pareto front, for 2 to 5 objectives and
            their default; ``sum``, the weighted sum of the objectives; ``worst``, the worst of them plus a quarter of
            their mean; ``chebyshev``, the worst shortfall from the reference point.
        weights: One weight per objective for ``sum`` (which requires them with several objectives), ``worst`` and
            ``chebyshev``.
        reference_point: For ``chebyshev``, the wished value of every objective, such as ``{at_least: {accuracy: 0.9},
            at_most: {loss: 1.2}}``; a number, or a share of a baseline's score, ``0.9 * base``.
        initial: Sobol points before the first proposal of the Gaussian processes; by default twice the number of
            genes, at most 20 and a quarter of the budget left, less the genomes that are known already (baselines
            inside the space), but at least 3 unless twice as many are known.
        constraints: Bounds on objectives that the search must respect, such as ``{at_least: {accuracy: 0.9}}`` or
            ``{at_least: {accuracy: 0.9 * base}}``; an objective that is minimised has an ``at_most``.
        trust_region: Whether to search a box around the best genome, or around members of the front in turn, that
            grows with success and shrinks without; ``auto`` does so beyond 20 genes, in spaces with groups and on coarse
            levels: broken merges at the faces of the cube teach a finer search little.
        bounded_by: What bounds the hypervolume: ``front``, a tenth of the front's range below its worst values;
            ``worst``, the worst values of all that was evaluated.
        link: The scale of the Gaussian processes: ``auto``, log odds for objectives whose scores all lie in [0, 1] (such as
            accuracies), else the scores themselves; ``linear``, always the scores.
    """

    uses_levels = True

    def __init__(
        self,
        problem: Problem,
        *,
        scalarize: Literal["front", "sum", "worst", "chebyshev"] | None = None,
        weights: tuple[float, ...] | None = None,
        reference_point: Mapping[str, Mapping[str, float | str]] | None = None,
        initial: int | None = None,
        constraints: Mapping[str, Mapping[str, float | str]] | None = None,
        trust_region: Literal["auto", "always", "never"] = "auto",
        bounded_by: Literal["front", "worst"] = "front",
        link: Literal["auto", "linear"] = "auto",
    ) -> None:
        self._problem, self._initial = problem, initial
        self._scalar = _scalarization(problem, scalarize, weights, reference_point)
        self._scalarize: Literal["front", "sum", "worst"] = "front"
        if self._scalar is not None:
            self._scalarize = "worst" if isinstance(self._scalar, Achievement | WorstObjective) else "sum"
        self._bounds = FitnessBounds(problem, constraints or {})
        if initial is not None and initial < 1:
            raise ConfigError(
                f"Expected 1 or more Sobol points to begin with, but got {initial}.",
                where="strategy.initial",
                fix="Leave it out for a choice by dimension and budget.",
            )
        _check_choice("bounded_by", bounded_by, ("front", "worst"))
        _check_choice("link", link, ("auto", "linear"))
        self._bounded_by: Literal["front", "worst"] = bounded_by
        self._region = _trust_region(trust_region, problem)
        self._seed = int(problem.rng().integers(2**31))
        self._n_initial: int | None = None
        self._data = KnownGenomes(problem, link == "auto")
        self._n_proposed = self._n_told = 0
        self._pending: PendingProposals[int] = PendingProposals()
        self._out: dict[int, Genome] = {}
        self._surrogates: object | None = None

    @override
    def ask(self, n: int) -> list[Proposal]:
        if self._n_initial is None:
            self._n_initial = self._choose_initial()
        return [self._propose(self._next()) for _ in range(n)]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._bounds.learn(trials)
        if self._scalar is not None:
            self._scalar.learn(trials)
        for trial in trials:
            self._n_told += 1
            if trial.genome is None:
                continue
            number = self._pending.pop(trial.genome)
            if number is not None:
                del self._out[number]
                if self._region is not None and trial.fitness is not None:
                    self._region.update(is_success=self._data.is_better(trial.fitness, self._scalar))
            self._data.add(trial, trial.genome)

    @override
    def describe(self) -> str:
        n = self._problem.n_objectives
        what = {
            "front": f"log expected hypervolume improvement of {n} objectives",
            "sum": "log expected improvement" + (f" of the weighted sum of {n} objectives" if n > 1 else ""),
            "worst": f"log expected improvement of the worst of {n} objectives"
            + (" against the reference point" if isinstance(self._scalar, Achievement) else ""),
        }[self._scalarize]
        start = "" if self._n_initial is None else f", {self._n_initial} Sobol points to begin with"
        bounds = f", {len(self._bounds)} constraints" if self._bounds else ""
        region = "" if self._region is None else f", in a trust region of side {self._region.length:g}"
        return f"Bayesian optimisation in {self._problem.dim} dimensions: noisy {what}{bounds}{region}{start}"

    def posterior_means(self, genomes: Sequence[Genome]) -> NDArray[np.float64] | None:
        """What the Gaussian processes think of genomes, shape ``(len(genomes), m)``, in units of the fitness.

        None before two genomes are scored.
        """
        from searcher.gaussian_process.surrogate import Surrogates, mean_fitness

        if self._data.n_scored < MIN_SCORED or not len(genomes):
            return None
        return mean_fitness(Surrogates().of(self._data.observations()), self._data.rows(genomes))

    def _choose_initial(self) -> int:
        if self._initial is not None:
            return self._initial
        wanted = min(2 * self._problem.dim, MAX_INITIAL)
        if self._problem.budget is not None:
            wanted = min(wanted, (self._problem.budget - self._n_told) // 4)
        if self._data.n_scored >= ENOUGH * wanted:  # from an earlier or a coarser search
            return 0
        return max(wanted - self._data.n_scored, MIN_INITIAL)

    def _propose(self, genome: Genome) -> Proposal:
        self._out[self._n_proposed] = genome.copy()
        self._pending.add(genome, self._n_proposed)
        self._n_proposed += 1
        return Proposal(genome)

    def _next(self) -> Genome:
        """The next genome: a function of what was told, what is pending and the number of the proposal."""
        assert self._n_initial is not None
        if self._n_proposed < self._n_initial or self._data.n_scored < MIN_SCORED:
            from searcher.gaussian_process.sobol import sobol_points

            points = sobol_points(self._problem.dim, 1, self._seed, skip=self._n_proposed)
            return cast(Genome, points[0])
        return self._promising()

    def _promising(self) -> Genome:
        from searcher.gaussian_process.proposal import Known, centre, propose
        from searcher.gaussian_process.surrogate import Surrogates

        if not isinstance(self._surrogates, Surrogates):
            self._surrogates = Surrogates()
        posterior, goal = self._surrogates.of(self._data.observations()), self._goal()
        known = Known(self._data.rows(self._out.values()), self._data.rows(self._data.failed))
        seed = (self._seed + self._n_proposed) % 2**31
        box = np.stack([np.zeros(self._problem.dim), np.ones(self._problem.dim)])
        if self._region is not None:
            box = self._region.box(centre(posterior, goal, seed), posterior.lengthscales.numpy())
        return propose(posterior, goal, known, box, seed)

    def _goal(self) -> Goal:
        from searcher.gaussian_process.goal import Goal

        weights = () if self._scalar is None else tuple(self._scalar.weights.tolist())
        if isinstance(self._scalar, Achievement):
            share = AUGMENTATION * sum(weight > 0 for weight in weights)  # of the mean instead of the sum
            return Goal(self._scalarize, weights, share, self._bounds.pairs, tuple(self._scalar.reference.tolist()))
        return Goal(self._scalarize, weights, MEAN_SHARE, self._bounds.pairs, bounded_by=self._bounded_by)


def _scalarization(
    problem: Problem, scalarize: object, weights: tuple[float, ...] | None, reference_point: Bounds | None
) -> Scalar | None:
    """The one number to maximise; None for the front."""
    if scalarize == "lexicographic":
        raise ConfigError(
            "A Gaussian process needs a number whose size means something; an order of importance has none.",
            where="strategy.scalarize",
            fix="Bound the important objectives with `constraints`, or use the strategy `cma_es`.",
        )
    if scalarize is None and reference_point is not None:
        scalarize = "chebyshev"
    if scalarize is None:
        scalarize = "front" if problem.n_objectives > 1 and weights is None else "sum"
    if scalarize == "front" and problem.n_objectives == 1:
        scalarize = "sum"
    if scalarize != "front" or reference_point is not None:
        return make_scalar(problem, scalarize, weights, reference_point=reference_point)
    if problem.n_objectives > MAX_FRONT:
        raise ConfigError(
            f"Expected at most {MAX_FRONT} objectives for the hypervolume, but the run has {problem.n_objectives}.",
            where="strategy.scalarize",
            fix="Write `scalarize: worst` or `scalarize: sum` with weights, or use the strategy `nsga2`.",
        )
    if weights is not None:
        raise ConfigError(
            "The front of all objectives has no weights.",
            where="strategy.weights",
            fix="Remove them, or write `scalarize: sum` or `scalarize: worst`.",
        )
    return None


def _trust_region(setting: object, problem: Problem) -> TrustRegion | None:
    _check_choice("trust_region", setting, ("auto", "always", "never"))
    is_wise = problem.dim > MANY_GENES or problem.is_refined or bool(problem.levels)
    return TrustRegion(problem.dim) if setting == "always" or (setting == "auto" and is_wise) else None


def _check_choice(setting: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(
            f"Unknown {setting} {value!r}.", where=f"strategy.{setting}", fix=f"Use {', '.join(choices)}."
        )
