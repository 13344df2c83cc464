"""NSGA-II: a population that spreads along the Pareto front.

Reference: Deb, Pratap, Agarwal and Meyarivan 2002, as implemented in Optuna.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.optuna_sampler import OptunaSampler

CROSSOVERS = {
    "uniform": "UniformCrossover",
    "blx_alpha": "BLXAlphaCrossover",
    "sbx": "SBXCrossover",
    "vsbx": "VSBXCrossover",
    "spx": "SPXCrossover",
    "undx": "UNDXCrossover",
}
MUTATIONS = {"uniform": "", "polynomial": "PolynomialMutation"}
SMALLEST, LARGEST = 16, 50
GENERATIONS = 8  # fewer are hardly more than random search, more leave a small population


@STRATEGIES.register("nsga2")
class Nsga2(Strategy):
    """NSGA-II (Optuna) for one or several objectives; the known merges belong to its first generation.

    Args:
        population: Candidates per generation, at least 4; by default an eighth of the budget, from 16 to 50.
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
        crossover: Literal["uniform", "blx_alpha", "sbx", "vsbx", "spx", "undx"] = "sbx",
        crossover_prob: float = 0.9,
        swapping_prob: float = 0.5,
        mutation: Literal["uniform", "polynomial"] = "polynomial",
        mutation_prob: float | None = None,
    ) -> None:
        self._population = population_for(problem.budget) if population is None else population
        if self._population < 4:
            raise ConfigError(
                f"Expected a population of at least 4, but got {population}.",
                where="strategy.population",
                fix=f"Leave it out for a choice by budget, or give 4 or more; {SMALLEST} to {LARGEST} is usual.",
            )
        probabilities = {"crossover_prob": crossover_prob, "swapping_prob": swapping_prob}
        if mutation_prob is not None:
            probabilities["mutation_prob"] = mutation_prob
        for name, value in probabilities.items():
            _check_probability(name, value)
        self._sampler = OptunaSampler(
            problem,
            sampler="NSGAIISampler",
            settings={
                "population_size": self._population,
                "crossover": _choice("crossover", crossover, CROSSOVERS),
                "mutation": _choice("mutation", mutation, MUTATIONS),
                **probabilities,
            },
        )
        self._described = f"NSGA-II: population {self._population}, {crossover} crossover, {mutation} mutation"

    @override
    def ask(self, n: int) -> list[Proposal]:
        return self._sampler.ask(n)

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._sampler.tell(trials)

    @override
    def describe(self) -> str:
        return self._described


def population_for(budget: int | None) -> int:
    """The population that gives a budget about eight generations, within the usual sizes."""
    return LARGEST if budget is None else min(max(budget // GENERATIONS, SMALLEST), LARGEST)


def _check_probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ConfigError(
            f"Expected {name} in [0, 1], but got {value}.", where=f"strategy.{name}", fix="Give a probability."
        )


def _choice(name: str, value: str, choices: dict[str, str]) -> str | None:
    if value not in choices:
        raise ConfigError(
            f"Unknown {name} {value!r}.", where=f"strategy.{name}", fix=f"Use one of: {', '.join(choices)}."
        )
    return choices[value] or None
