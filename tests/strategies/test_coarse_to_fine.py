"""Levels of tied genes: what moves together, when the next level begins, what it is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.coarse_to_fine import CoarseToFine, Level
from searcher.strategies.factory import make_strategy

COARSE = (0, 1, 0, 1, 0, 1, 0, 1)
MIDDLE = (0, 1, 0, 1, 2, 3, 2, 3)


def problem(budget: int | None, levels: tuple[tuple[int, ...], ...] = (COARSE, MIDDLE)) -> Problem:
    return Problem(tuple("abcdefgh"), ("score",), budget, 5, levels=levels)


def sphere(genome: np.ndarray) -> np.ndarray:
    return -np.array([np.sum((genome - np.linspace(0.2, 0.8, 8)) ** 2)])


def run(strategy: CoarseToFine, n: int, *, baselines: int = 2) -> list[np.ndarray]:
    told = [Trial(0, None, (), np.array([-9.0]))]
    told += [Trial(i, np.full(8, i / 4), (), sphere(np.full(8, i / 4))) for i in range(1, baselines)]
    strategy.tell(told)
    found = []
    for number in range(n):
        (proposal,) = strategy.ask(1)
        found.append(proposal.genome)
        strategy.tell([Trial(100 + number, proposal.genome, (), sphere(proposal.genome))])
    return found


def n_free(genomes: list[np.ndarray], tie: tuple[int, ...]) -> int:
    """How many genomes a level does not contain."""
    return sum(Level(np.array(tie)).reduce(g) is None for g in genomes)


def test_the_levels_follow_each_other() -> None:
    strategy = CoarseToFine(problem(100), inner="random")
    found = run(strategy, 98)
    assert n_free(found[:30], COARSE) == 0  # 15 evaluations for each of 2 genes
    assert n_free(found[30:64], MIDDLE) == 0  # half of what is left
    assert n_free(found[30:64], COARSE) == 34
    assert n_free(found[64:], MIDDLE) == 34
    assert "2, then 4, then 8 genes; with 8: " in strategy.describe()


def test_numbers_of_evaluations_can_be_given() -> None:
    found = run(CoarseToFine(problem(None), inner="random", evaluations=(3, 4)), 10)
    assert [n_free([g], COARSE) for g in found] == [0] * 3 + [1] * 7
    assert [n_free([g], MIDDLE) for g in found] == [0] * 7 + [1] * 3


def test_without_a_budget_every_level_gets_what_it_wants() -> None:
    found = run(CoarseToFine(problem(None), inner="random"), 110)
    assert n_free(found[:30], COARSE) == 0
    assert (n_free(found[30:90], COARSE), n_free(found[30:90], MIDDLE)) == (60, 0)
    assert n_free(found[90:], MIDDLE) == 20


def test_a_level_without_an_evaluation_per_gene_is_not_entered() -> None:
    found = run(CoarseToFine(problem(14), inner="random"), 30)
    assert n_free(found, MIDDLE) == 0
    assert n_free(found[6:], COARSE) == 24  # 12 left, 6 for 2 genes; the other 6 are enough for 4 genes, not for 8


def test_without_levels_it_is_the_inner_strategy() -> None:
    inner = make_strategy("cma_es", problem(40, ()), {})
    both = CoarseToFine(problem(40, ()), inner="cma_es")
    for strategy in (inner, both):
        strategy.tell([Trial(0, np.full(8, 0.3), (), sphere(np.full(8, 0.3)))])
    for _ in range(20):
        first, second = inner.ask(1)[0].genome, both.ask(1)[0].genome
        assert first.tolist() == second.tolist()
        for strategy, genome in ((inner, first), (both, second)):
            strategy.tell([Trial(1, genome, (), sphere(genome))])


def test_the_next_level_starts_at_the_best_of_the_last() -> None:
    strategy = CoarseToFine(problem(400), inner={"name": "cma_es", "sigma0": 0.1}, evaluations=(80, 80))
    found = run(strategy, 300)
    best = [max(float(sphere(g)[0]) for g in part) for part in (found[:80], found[80:160], found[160:])]
    exact = [max(float(sphere(np.array(c)[list(tie)])[0]) for c in [means(tie)]) for tie in (COARSE, MIDDLE)]
    assert best[0] == pytest.approx(exact[0], abs=5e-3)
    assert best[1] == pytest.approx(exact[1], abs=5e-3)
    assert best[2] > best[1] > best[0]


def means(tie: tuple[int, ...]) -> list[float]:
    """The best genome of a level for the sphere."""
    target = np.linspace(0.2, 0.8, 8)
    return [float(target[np.array(tie) == i].mean()) for i in range(max(tie) + 1)]


def test_scores_of_pending_coarse_proposals_reach_the_fine_level() -> None:
    strategy = CoarseToFine(problem(None), inner="cma_es", evaluations=(2, 2))
    strategy.tell([Trial(0, np.full(8, 0.4), (), sphere(np.full(8, 0.4)))])
    waiting = [strategy.ask(1)[0].genome for _ in range(3)]
    strategy.tell([Trial(1 + i, g, (), sphere(g)) for i, g in enumerate(waiting)])
    assert n_free([strategy.ask(1)[0].genome for _ in range(4)][1:], MIDDLE) == 3


def test_parents_are_bred_on_every_level() -> None:
    strategy = CoarseToFine(problem(None), inner="natural_niches", evaluations=(20, 20))
    found = run(strategy, 60, baselines=4)
    assert strategy.wants_examples
    assert (n_free(found[:20], COARSE), n_free(found[20:40], MIDDLE)) == (0, 0)
    assert n_free(found[20:40], COARSE) > 10
    assert n_free(found[40:], MIDDLE) > 10


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_expanding_and_reducing_are_inverse(raw: list[int], seed: int) -> None:
    level = Level(np.unique(np.array(raw), return_inverse=True)[1].astype(np.int64))
    genome = np.random.default_rng(seed).random(level.dim)
    reduced = level.reduce(level.expand(genome))
    assert reduced is not None
    assert reduced.tolist() == genome.tolist()


@pytest.mark.parametrize("inner", ["auto", {"sigma0": 0.1}, "coarse_to_fine"])
def test_inner_strategies_that_cannot_be(inner: object) -> None:
    with pytest.raises(ConfigError, match="Expected the name of a strategy"):
        CoarseToFine(problem(30), inner=inner)  # type: ignore[arg-type]


@pytest.mark.parametrize("evaluations", [(3,), (3, 0), (1, 2, 3)])
def test_numbers_that_do_not_fit_the_levels(evaluations: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="Expected 2 positive numbers"):
        CoarseToFine(problem(30), inner="random", evaluations=evaluations)


def test_inner_strategies_know_what_the_levels_before_tied() -> None:
    strategy = CoarseToFine(problem(None), inner="bayes_opt", evaluations=(3, 4))
    run(strategy, 9)
    assert strategy._coarser() == (COARSE, MIDDLE)
    strategy._at = 1  # whose genes are the first of each of MIDDLE's: a, b, e, f
    assert strategy._coarser() == ((0, 1, 0, 1),)


def test_an_inner_strategy_that_knows_the_levels_needs_less_of_each() -> None:
    found = run(CoarseToFine(problem(60), inner={"name": "bayes_opt", "initial": 40}), 40)
    assert n_free(found[:16], COARSE) == 0  # 8 evaluations for each of 2 genes
    assert (n_free(found[16:37], COARSE), n_free(found[16:37], MIDDLE)) == (21, 0)
    assert n_free(found[37:], MIDDLE) == 3
