"""Random search."""

from __future__ import annotations

import numpy as np

from searcher.candidate import Trial
from searcher.strategies.base import Problem
from searcher.strategies.random import RandomSearch

PROBLEM = Problem(("a", "b", "c"), ("score",), 100, 7)


def test_sequence_does_not_depend_on_the_size_of_asks() -> None:
    one, many = RandomSearch(PROBLEM), RandomSearch(PROBLEM)
    singles = np.stack([one.ask(1)[0].genome for _ in range(10)])
    assert np.array_equal(singles, np.stack([p.genome for n in (3, 5, 2) for p in many.ask(n)]))


def test_is_uniform() -> None:
    genomes = np.stack([p.genome for p in RandomSearch(PROBLEM).ask(20_000)])
    # standard error of the mean is 0.002, of the standard deviation about 0.001
    assert np.abs(genomes.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(genomes.std(axis=0) - 12**-0.5).max() < 0.005
    assert np.abs(np.corrcoef(genomes.T) - np.eye(3)).max() < 0.03


def test_keeps_nothing_of_what_it_is_told() -> None:
    strategy = RandomSearch(PROBLEM)
    state = {k: v for k, v in vars(strategy).items() if k != "_rng"}
    strategy.tell([Trial(i, np.zeros(3), (), np.zeros(1)) for i in range(1000)])
    assert {k: v for k, v in vars(strategy).items() if k != "_rng"} == state
    assert np.array_equal(strategy.ask(1)[0].genome, RandomSearch(PROBLEM).ask(1)[0].genome)
