"""NSGA-III: reference directions by population and objectives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.nsga3 import Nsga3, most_divisions, n_directions


def problem(n_objectives: int, budget: int | None = 400) -> Problem:
    return Problem(("a", "b", "c"), tuple(f"objective {i}" for i in range(n_objectives)), budget, 0)


@pytest.mark.parametrize(("divisions", "n_objectives"), [(1, 2), (12, 3), (3, 5), (4, 1)])
def test_directions_are_the_lattice_points(divisions: int, n_objectives: int) -> None:
    points = [p for p in itertools.product(range(divisions + 1), repeat=n_objectives) if sum(p) == divisions]
    assert n_directions(divisions, n_objectives) == len(points)


@pytest.mark.parametrize("n_objectives", range(2, 9))
@pytest.mark.parametrize("population", [4, 16, 50, 92])
def test_no_more_directions_than_members_unless_one_division_has_more(population: int, n_objectives: int) -> None:
    divisions = most_divisions(population, n_objectives)
    assert n_directions(divisions, n_objectives) <= max(population, n_objectives)
    assert n_directions(divisions + 1, n_objectives) > population


def test_deb_and_jains_table_for_three_objectives() -> None:
    assert most_divisions(92, 3) == 12
    assert n_directions(12, 3) == 91


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
