"""NSGA-III: a population spread along reference directions, for four objectives and more.

Reference: Deb and Jain 2014, as implemented in Optuna. Crowding distances, by which NSGA-II spreads its population,
say little with many objectives: almost everything is on the front then.
"""

from __future__ import annotations

from searcher.errors import ConfigError
from searcher.multi_objective.reference_directions import most_divisions, n_directions
from searcher.strategies.base import STRATEGIES, Problem
from searcher.strategies.genetic_sampler import Crossover, GeneticSampler, Mutation, population_for


@STRATEGIES.register("nsga3")
class Nsga3(GeneticSampler):
    """NSGA-III (Optuna) for two objectives and more; the known merges belong to its first generation.

    Args:
        population: Candidates per generation, at least 4; by default a twentieth of the budget, from 16 to 50.
        divisions: Steps along each edge of the simplex of reference directions, at least 1; by default the most that
            give no more directions than the population has members (Deb and Jain, section IV.A).
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
        divisions: int | None = None,
        crossover: Crossover = "sbx",
        crossover_prob: float = 1.0,
        swapping_prob: float = 0.5,
        mutation: Mutation = "polynomial",
        mutation_prob: float | None = None,
    ) -> None:
        size = population_for(problem.budget) if population is None else population
        chosen = most_divisions(problem.n_objectives, size) if divisions is None else divisions
        if chosen < 1:
            raise ConfigError(
                f"Expected at least 1 division, but got {divisions}.",
                where="strategy.divisions",
                fix="Leave it out for a choice by population.",
            )
        super().__init__(
            problem,
            "NSGAIIISampler",
            f"NSGA-III ({n_directions(chosen, problem.n_objectives)} directions)",
            population=population,
            crossover=crossover,
            mutation=mutation,
            probabilities={
                "crossover_prob": crossover_prob,
                "swapping_prob": swapping_prob,
                "mutation_prob": mutation_prob,
            },
            others={"dividing_parameter": chosen},
        )
