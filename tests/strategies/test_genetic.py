"""The genetic algorithm: natural niches without competition and attraction."""

from __future__ import annotations

import numpy as np

from searcher.candidate import Trial
from searcher.strategies.base import Problem
from searcher.strategies.genetic import Genetic
from searcher.strategies.natural_niches import NaturalNiches

PROBLEM = Problem(("split", "ratio", "first", "second"), ("o",), 60, 3)


def test_it_is_the_same_loop_with_two_switches() -> None:
    genetic = Genetic(PROBLEM, archive=4, warm_up=2)
    preset = NaturalNiches(PROBLEM, archive=4, warm_up=2, alpha=0.0, matchmaker=False, graded=False)
    rng, number = np.random.default_rng(0), 3
    told = [Trial(i, None, (), s.mean(keepdims=True), None, (s,)) for i, s in enumerate(rng.random((3, 9)).round())]
    for strategy in (genetic, preset):
        strategy.tell(told)
    for _ in range(40):
        a, b = genetic.ask(1)[0], preset.ask(1)[0]
        assert a.parents == b.parents
        np.testing.assert_array_equal(a.genome, b.genome)
        scores = rng.random(9).round()
        for strategy in (genetic, preset):
            strategy.tell([Trial(number, a.genome, a.parents, scores.mean(keepdims=True), None, (scores,))])
        number += 1


def test_parents_are_drawn_by_total_score() -> None:
    genetic = Genetic(PROBLEM, warm_up=0)
    genetic.tell([Trial(i, None, (), np.array([v]), None, (np.array([1.0, v]),)) for i, v in enumerate((1.0, 0.0))])
    first = [p.parents[0] for p in genetic.ask(3000)]
    assert abs(np.mean([f == 0 for f in first]) - 2 / 3) < 0.03
    assert "genetic" in genetic.describe()
    assert "without split point" in Genetic(PROBLEM, split_point=False).describe()
