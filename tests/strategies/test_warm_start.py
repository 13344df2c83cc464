"""WS-CMA-ES: the mean and covariance of promising genomes, and a search that begins with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.candidate import Genome, Trial
from searcher.strategies.base import Problem
from searcher.strategies.cma_es import CmaEs
from searcher.strategies.pycma import Distribution, Variant
from searcher.strategies.warm_start import promising_distribution


@given(st.integers(1, 6), st.integers(1, 60), st.integers(0, 1000), st.sampled_from([0.1, 0.25, 1.0]))
def test_equals_the_formulas(dim: int, n: int, seed: int, gamma: float) -> None:
    """Sums over single numbers, as in the paper, in the mixture's own terms."""
    rng = np.random.default_rng(seed)
    genomes, values = rng.random((n, dim)), rng.normal(size=n)
    found = promising_distribution(genomes, values, gamma=gamma, alpha=0.2)
    best = sorted(range(n), key=lambda i: -values[i])[: max(1, int(gamma * n))]
    mean = [sum(genomes[i][a] for i in best) / len(best) for a in range(dim)]
    covariance = np.empty((dim, dim))
    for a in range(dim):
        for b in range(dim):
            second = sum(genomes[i][a] * genomes[i][b] for i in best) / len(best)
            covariance[a, b] = second - mean[a] * mean[b] + (0.04 if a == b else 0.0)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.sigma**2 * found.covariance, covariance, rtol=1e-9, atol=1e-12)
    assert np.linalg.det(found.covariance) == pytest.approx(1.0)
    assert found.n_promising == len(best)


def test_one_known_genome_and_ties() -> None:
    found = promising_distribution(np.array([[0.2, 0.3], [0.9, 0.9]]), np.array([1.0, 1.0]))
    assert found.mean.tolist() == [0.2, 0.3]
    assert found.sigma == pytest.approx(0.1)
    np.testing.assert_allclose(found.covariance, np.eye(2), atol=1e-15)


@pytest.mark.parametrize("shape", [(0, 2), (3,), (3, 2)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Expected genomes"):
        promising_distribution(np.zeros(shape), np.zeros(0))


@pytest.mark.parametrize("variant", ["full", "separable", "vkd"])
def test_samples_have_the_mean_and_covariance(variant: Variant) -> None:
    covariance = np.array([[2.0, 1.2, 0.0], [1.2, 1.0, 0.0], [0.0, 0.0, 1.786]])
    expected = 0.03**2 * (covariance if variant == "full" else np.diag(np.diag(covariance)))
    rng = np.random.default_rng(0)
    distribution = Distribution(np.array([0.4, 0.5, 0.6]), 0.03, 4000, rng, variant=variant, covariance=covariance)
    points = np.stack(distribution.generation())
    assert np.abs(points.mean(axis=0) - [0.4, 0.5, 0.6]).max() < 0.003
    assert np.abs(np.cov(points.T) - expected).max() < 0.06 * expected.max()
    np.testing.assert_allclose(distribution.mean, [0.4, 0.5, 0.6], atol=1e-12)


def problem(budget: int = 100) -> Problem:
    return Problem(("a", "b", "c"), ("o",), budget, 1)


def ridge(genome: Genome) -> float:
    return -float((genome[0] - 0.3) ** 2 + 30 * (genome[1] - genome[0]) ** 2 + (genome[2] - 0.7) ** 2)


def known(n: int) -> list[Trial]:
    genomes = np.random.default_rng(5).random((n, 3))
    return [Trial(i, genome, (), np.array([ridge(genome)])) for i, genome in enumerate(genomes)]


def test_the_search_begins_with_the_promising_genomes() -> None:
    strategy = CmaEs(problem(), warm_start=True, variant="full", population=500)
    trials = known(200)
    strategy.tell([*trials, Trial(900, None, (), np.array([9.0])), Trial(901, np.zeros(3))])
    points = np.stack([proposal.genome for proposal in strategy.ask(500)])
    found = promising_distribution(
        np.array([t.genome for t in trials]), np.array([ridge(t.genome) for t in trials if t.genome is not None])
    )
    assert np.abs(points.mean(axis=0) - found.mean).max() < 0.05
    assert np.asarray(np.corrcoef(points.T))[0, 1] > 0.3
    assert "best 20 of 200 known" in strategy.describe()


def test_it_saves_evaluations() -> None:
    def best(*, warm_start: bool, seed: int) -> float:
        strategy = CmaEs(Problem(("a", "b", "c"), ("o",), 60, seed), warm_start=warm_start)
        strategy.tell(known(100))
        found = []
        for i in range(40):
            genome = strategy.ask(1)[0].genome
            found.append(ridge(genome))
            strategy.tell([Trial(i, genome, (), np.array([found[-1]]))])
        return float(np.mean(found[:20]))

    warm, cold = ([best(warm_start=w, seed=s) for s in range(9)] for w in (True, False))
    assert np.median(warm) > np.median(cold)


def test_without_known_genomes_it_starts_as_ever() -> None:
    plain, warm = CmaEs(problem()), CmaEs(problem(), warm_start=True)
    for strategy in (plain, warm):
        strategy.tell([Trial(0, None, (), np.array([1.0])), Trial(1, np.full(3, 0.4), (), np.array([1.0]))])
    assert plain.ask(1)[0].genome.tolist() == warm.ask(1)[0].genome.tolist()
