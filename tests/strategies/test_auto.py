"""The automatic choice."""

from __future__ import annotations

import numpy as np

from searcher.candidate import Trial
from searcher.strategies.auto import Auto
from searcher.strategies.base import Problem
from searcher.strategies.cma_es import CmaEs
from searcher.strategies.nsga2 import Nsga2


def test_one_objective_takes_cma_es() -> None:
    problem = Problem(("a", "b"), ("score",), 100, 0)
    auto = Auto(problem)
    assert "CMA-ES" in auto.describe()
    assert "one objective" in auto.describe()
    assert auto.ask(1)[0].genome.tolist() == CmaEs(problem).ask(1)[0].genome.tolist()


def test_several_objectives_take_nsga2() -> None:
    problem = Problem(("a", "b"), ("low", "high", "noisy"), 200, 0)
    auto, nsga2 = Auto(problem), Nsga2(problem)
    assert "NSGA-II: population 25" in auto.describe()
    assert "3 objectives" in auto.describe()
    for number in range(40):
        genome = auto.ask(1)[0].genome
        assert genome.tolist() == nsga2.ask(1)[0].genome.tolist()
        for strategy in (auto, nsga2):
            strategy.tell([Trial(number, genome, (), np.append(genome, genome.sum()))])
