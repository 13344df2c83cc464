"""mergekit-evolve's settings: start, folding, no bounds; equal to pycma driven directly."""

from __future__ import annotations

import math

import cma
import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Trial
from searcher.strategies.base import Problem
from searcher.strategies.mergekit_evolve import MergekitEvolve

GENES = ("a[0]", "b[0]", "a[1]", "b[1]", "density[0]", "density[1]")


def problem(seed: int = 0) -> Problem:
    return Problem(GENES, ("score",), 100, seed)


def loss(genome: NDArray[np.float64]) -> float:
    return float(((genome - 0.7) ** 2).sum())


def folded(point: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(np.abs(point), 1.0)


def test_it_proposes_what_pycma_does_from_the_same_numbers() -> None:
    of = problem(3)
    rng = of.rng()
    options = {"popsize": 9, "randn": lambda *shape: rng.standard_normal(shape), "seed": math.nan, "verbose": -9}
    reference = cma.CMAEvolutionStrategy([0.5, 0.5, 0.5, 0.5, 1.0, 1.0], 1 / 6, options)
    strategy = MergekitEvolve(of)
    for _ in range(12):
        points = reference.ask()
        proposals = strategy.ask(9)
        np.testing.assert_allclose([p.genome for p in proposals], [folded(np.array(p)) for p in points], atol=1e-12)
        reference.tell(points, [loss(folded(np.array(p))) for p in points])
        strategy.tell([Trial(i, p.genome, (), np.array([-loss(p.genome)])) for i, p in enumerate(proposals)])


def test_known_merges_do_not_move_the_start() -> None:
    strategy, other = MergekitEvolve(problem()), MergekitEvolve(problem())
    other.tell([Trial(0, np.full(6, 0.7), (), np.array([0.0]))])
    assert [p.genome.tolist() for p in strategy.ask(9)] == [p.genome.tolist() for p in other.ask(9)]
    assert "equal weights" in strategy.describe()


def test_all_densities_may_be_named() -> None:
    strategy = MergekitEvolve(Problem(("a", "density", "gamma"), ("score",), 100, 0), densities=("density", "gamma"))
    genomes = np.array([p.genome for _ in range(20) for p in strategy.ask(7)])
    assert (genomes.mean(axis=0) > 0.8).all()  # one model: its weight begins at 1 too
    assert ((genomes == 1.0).mean(axis=0) > 0.2).all()  # folded at 1
