"""NSGA-II: population by budget, settings, elitism."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.genetic_sampler import CROSSOVERS, population_for
from searcher.strategies.nsga2 import Nsga2


def problem(budget: int | None = 200) -> Problem:
    return Problem(("a", "b", "c"), ("low", "high"), budget, 0)


@pytest.mark.parametrize(("budget", "expected"), [(None, 50), (1, 16), (320, 16), (400, 20), (1000, 50), (9999, 50)])
def test_population_follows_the_budget(budget: int | None, expected: int) -> None:
    assert population_for(budget) == expected
    assert f"population {expected}," in Nsga2(problem(budget)).describe()


@pytest.mark.parametrize("crossover", list(CROSSOVERS))
@pytest.mark.parametrize("mutation", ["uniform", "polynomial"])
def test_every_crossover_and_mutation_works(crossover: str, mutation: str) -> None:
    strategy = Nsga2(problem(), population=6, crossover=crossover, mutation=mutation)  # type: ignore[arg-type]
    for number in range(30):
        genome = strategy.ask(1)[0].genome
        assert ((genome >= 0.0) & (genome <= 1.0)).all()
        strategy.tell([Trial(number, genome, (), genome[:2] - genome[2])])
    assert crossover in strategy.describe()


@pytest.mark.parametrize(
    "settings",
    [
        {"population": 3},
        {"crossover": "two_point"},
        {"crossover_prob": 1.1},
        {"swapping_prob": -0.1},
        {"mutation": "gaussian"},
        {"mutation_prob": float("nan")},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        Nsga2(problem(), **settings)  # type: ignore[arg-type]
    assert f"strategy.{next(iter(settings))}" in str(caught.value)


def test_known_merges_are_parents() -> None:
    strategy = Nsga2(problem(), population=4, crossover="uniform", crossover_prob=1.0, mutation_prob=0.0)
    known = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [0.0, 1.0, 0.0]])
    strategy.tell([Trial(i, genome, (), np.array([i, -i], dtype=float)) for i, genome in enumerate(known)])
    children = np.stack([p.genome for p in strategy.ask(12)])
    assert np.isclose(children[:, None, :], known[None]).any(axis=1).all()
