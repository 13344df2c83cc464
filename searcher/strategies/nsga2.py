"""NSGA-II: a population that spreads along the Pareto front.

Reference: Deb, Pratap, Agarwal and Meyarivan 2002, as implemented in Optuna.
"""

from __future__ import annotations

from searcher.strategies.base import STRATEGIES, Problem
from searcher.strategies.genetic_sampler import Crossover, GeneticSampler, Mutation


@STRATEGIES.register("nsga2")
class Nsga2(GeneticSampler):
    """NSGA-II (Optuna) for one or several objectives; the known merges belong to its first generation.

    Args:
        population: Candidates per generation, at least 4; by default a twentieth of the budget, from 16 to 50.
        crossover: How two parents (three for spx and undx) are combined.
        crossover_prob: Probability that a child has several parents, in [0, 1].
        swapping_prob: Probability of each gene to come from the second parent in a uniform crossover, in [0, 1].
        mutation: What happens to a mutated gene: ``uniform`` draws it anew, ``polynomial`` moves it a little.
        mutation_prob: Probability of each gene to mutate, in [0, 1]; by default 1 / dim.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        population: int | None = None,
        crossover: Crossover = "sbx",
        crossover_prob: float = 0.9,
        swapping_prob: float = 0.5,
        mutation: Mutation = "polynomial",
        mutation_prob: float | None = None,
    ) -> None:
        super().__init__(
            problem,
            "NSGAIISampler",
            "NSGA-II",
            population=population,
            crossover=crossover,
            mutation=mutation,
            probabilities={
                "crossover_prob": crossover_prob,
                "swapping_prob": swapping_prob,
                "mutation_prob": mutation_prob,
            },
        )
