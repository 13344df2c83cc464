"""Counted generations give what Optuna's own loop gives, and let outside trials be parents."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Proposal, Trial
from searcher.strategies import optuna_sampler
from searcher.strategies.base import Problem
from searcher.strategies.generations import with_counted_generations
from searcher.strategies.optuna_sampler import OptunaSampler

GENES = tuple("abcdef")


def run(sampler: str, n_objectives: int, workers: int) -> list[list[float]]:
    """Genomes proposed with some failures and results in random order."""
    problem = Problem(GENES, tuple("xyz"[:n_objectives]), 100, workers)
    strategy = OptunaSampler(problem, sampler=sampler, settings={"population_size": 8})
    rng = np.random.default_rng(workers)
    pending: list[Proposal] = []
    proposed: list[list[float]] = []
    while len(proposed) < 90:
        asked = strategy.ask(int(rng.integers(1, workers + 1)))
        proposed += [p.genome.tolist() for p in asked]
        pending += asked
        while len(pending) >= workers:
            genome = pending.pop(int(rng.integers(len(pending)))).genome
            fitness = -((genome[:n_objectives] - 0.5) ** 2) - genome[3:].sum()
            strategy.tell([Trial(0, genome, (), fitness if rng.random() > 0.1 else None)])
    return proposed


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize(("sampler", "n_objectives"), [("NSGAIISampler", 2), ("NSGAIIISampler", 3)])
def test_same_proposals_as_optuna(
    sampler: str, n_objectives: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = run(sampler, n_objectives, workers)
    monkeypatch.setattr(optuna_sampler, "with_counted_generations", lambda cls: cls)
    assert run(sampler, n_objectives, workers) == counted


def test_known_merges_are_the_first_parents() -> None:
    """With a first generation of baselines and no mutation, children are made of the baselines' genes only."""
    settings = {"population_size": 4, "mutation_prob": 0.0, "crossover_prob": 1.0}
    problem = Problem(GENES, ("x", "y"), 100, 0)
    strategy = OptunaSampler(problem, sampler="NSGAIISampler", settings=settings)
    baselines = np.arange(24.0).reshape(4, 6) / 24
    strategy.tell([Trial(i, g, (), np.array([i, -i], dtype=float)) for i, g in enumerate(baselines)])
    children = np.stack([p.genome for p in strategy.ask(20)])
    assert (children[:, None, :] == baselines[None]).any(axis=1).all()
    assert len(np.unique(children, axis=0)) > 4


def test_more_baselines_than_the_population_all_compete_for_the_first_generation() -> None:
    settings = {"population_size": 4, "mutation_prob": 0.0, "crossover_prob": 1.0}
    problem = Problem(GENES, ("x", "y"), 100, 0)
    strategy = OptunaSampler(problem, sampler="NSGAIISampler", settings=settings)
    baselines = np.arange(60.0).reshape(10, 6) / 60
    # the last four are best, so only they may have children
    strategy.tell([Trial(i, g, (), np.array([i // 6 * 10 + i, i // 6 * 10 - i])) for i, g in enumerate(baselines)])
    children = np.stack([p.genome for p in strategy.ask(20)])
    assert (children[:, None, :] == baselines[None, 6:]).any(axis=1).all()


def test_other_samplers_are_left_alone() -> None:
    from optuna.samplers import RandomSampler

    assert with_counted_generations(RandomSampler) is RandomSampler
