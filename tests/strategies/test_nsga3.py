"""NSGA-III: reference directions by population and objectives."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.nsga3 import Nsga3


def problem(n_objectives: int, budget: int | None = 400) -> Problem:
    return Problem(("a", "b", "c"), tuple(f"objective {i}" for i in range(n_objectives)), budget, 0)


def test_it_spreads_over_a_front_of_four_objectives() -> None:
    strategy = Nsga3(problem(4), population=20)
    found = []
    for number in range(300):
        genome = strategy.ask(1)[0].genome
        shares = np.append(genome, 1.0) + 1e-3
        fitness = shares / shares.sum() - 0.1 * float(np.ptp(genome))
        strategy.tell([Trial(number, genome, (), fitness)])
        found.append(fitness)
    assert (np.max(found[-100:], axis=0) > 0.3).all()
    assert "20 directions" in strategy.describe()
    assert "population 20" in strategy.describe()


def test_bad_divisions_are_refused() -> None:
    with pytest.raises(ConfigError, match="division"):
        Nsga3(problem(3), divisions=0)
