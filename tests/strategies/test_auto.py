"""The automatic choice."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.strategies.auto import Auto, choice
from searcher.strategies.base import Problem
from searcher.strategies.cma_es import CmaEs

GENES = ("a", "b", "c", "d")
LEVELS = ((0, 1, 0, 1),)
CHEAP, COSTLY = 1e7, 1e11


@pytest.mark.parametrize(
    ("n_objectives", "budget", "levels", "work", "name"),
    [
        (1, 60, (), COSTLY, "bayes_opt"),
        (1, 60, LEVELS, COSTLY, "coarse_to_fine"),
        (4, 60, LEVELS, COSTLY, "coarse_to_fine"),
        (2, 60, (), None, "bayes_opt"),
        (1, 200, LEVELS, CHEAP, "cma_es"),
        (3, 200, LEVELS, CHEAP, "coarse_to_fine with optuna:TPESampler"),
        (3, 200, (), CHEAP, "optuna:TPESampler"),
        (1, 5000, LEVELS, COSTLY, "cma_es"),
        (3, None, LEVELS, COSTLY, "coarse_to_fine with optuna:TPESampler"),
        (3, 600, LEVELS, COSTLY, "coarse_to_fine with optuna:TPESampler"),
        (2, 600, (), None, "optuna:TPESampler"),
        (2, 2000, LEVELS, COSTLY, "nsga2"),
        (5, 200, LEVELS, CHEAP, "coarse_to_fine with optuna:TPESampler"),
        (6, 200, LEVELS, CHEAP, "nsga3"),
        (4, 500, LEVELS, COSTLY, "nsga3"),
        (4, 5000, (), CHEAP, "nsga3"),
        (7, 60, LEVELS, COSTLY, "nsga3"),
    ],
)
def test_the_rule(
    n_objectives: int, budget: int | None, levels: tuple[tuple[int, ...], ...], work: float | None, name: str
) -> None:
    problem = Problem(GENES, tuple("uvwxyz!"[:n_objectives]), budget, 0, levels=levels, work=work)
    found, settings, why = choice(problem)
    assert found + "".join(f" with {settings[key]}" for key in settings) == name
    assert ("one objective" if n_objectives == 1 else f"{n_objectives} objectives") in why
    assert ("cheap" in why) == (work == CHEAP and budget is not None and budget < 500)
    assert Auto(problem).describe().endswith(f"; chosen because {why}")


def test_it_proposes_what_the_chosen_strategy_proposes() -> None:
    problem = Problem(GENES, ("score",), 200, 0, work=CHEAP)
    auto, cma = Auto(problem), CmaEs(problem)
    for number in range(20):
        genome = auto.ask(1)[0].genome
        assert genome.tolist() == cma.ask(1)[0].genome.tolist()
        for strategy in (auto, cma):
            strategy.tell([Trial(number, genome, (), np.array([genome.sum()]))])
