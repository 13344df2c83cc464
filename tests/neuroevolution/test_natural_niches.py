"""M2N2 on weights: generation by generation equal to the authors' rules, computed directly from rows of zeros."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.neuroevolution.evolution import Variation
from searcher.neuroevolution.natural_niches import NaturalNiches
from searcher.neuroevolution.network import Network, Scorer, Weights
from tests.neuroevolution.problem import blobs

NETWORK = Network((2, 8, 4))
Crossover = Literal["split_point", "whole", "none"]


class Direct:
    """The authors' loop in float64: an archive of zeros, all sums anew every time, one random draw after another."""

    def __init__(self, scorer: Scorer, first: Weights, seed: int, capacity: int, alpha: float) -> None:
        self.scorer, self.alpha = scorer, alpha
        self.archive = np.zeros((capacity, first.shape[1]))
        self.scores = np.zeros((capacity, scorer.n_examples))
        self.is_tied = False  # the last newcomer found two different rows equally bad: rounding decides which goes
        self.rng, self.noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        for network in first:
            self.insert(network.astype(np.float64))

    def fitness_matrix(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        z = scores.sum(axis=0)
        return np.asarray(scores / np.where(z > 0, z, 1.0) ** self.alpha)

    def draw(self, weights: NDArray[np.float64], uniform: float) -> int:
        return int(np.searchsorted(np.cumsum(weights / weights.sum()), uniform, side="right"))

    def parents(self, matchmaker: bool) -> tuple[int, int]:
        shares = self.fitness_matrix(self.scores)
        fitness = shares.sum(axis=1)
        u, v = self.rng.random(2)
        a = self.draw(fitness, u)
        if not matchmaker:
            return a, self.draw(fitness, v)
        gain = np.maximum(shares - shares[a], 0.0).sum(axis=1)
        if gain.sum() == 0.0:
            gain = np.where(np.arange(len(fitness)) == a, 0.0, fitness)
        return a, self.draw(gain, v)

    def child(self, a: int, b: int, crossover: Crossover, sigma: float) -> NDArray[np.float64]:
        x, y = self.archive[a], self.archive[b]
        if crossover == "none":
            child = x.copy()
        else:
            ratio = self.rng.random()
            split = self.rng.integers(len(x)) if crossover == "split_point" else len(x)
            t = np.where(np.arange(len(x)) < split, ratio, 1.0 - ratio)
            omega = np.arccos(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))
            lines = (1.0 - t) * x + t * y
            with np.errstate(invalid="ignore", divide="ignore"):
                arcs = (np.sin((1.0 - t) * omega) * x + np.sin(t * omega) * y) / np.sin(omega)
            child = arcs if np.sin(omega) > 1e-6 else lines
        if sigma:
            child = child + torch.empty(len(x)).normal_(0.0, sigma, generator=self.noise).numpy()
        return np.asarray(child)

    def insert(self, network: NDArray[np.float64]) -> None:
        score = self.scorer.correct(network.astype(np.float32))
        assert score.any(), "rows of zeros and networks that solve nothing are not told apart here"
        extended = np.vstack([self.scores, score])
        fitness = self.fitness_matrix(extended).sum(axis=1)
        worst = int(np.argmin(fitness))
        rivals = extended[np.isclose(fitness, fitness[worst], rtol=1e-12)]
        self.is_tied = bool((rivals != rivals[0]).any())
        if worst < len(self.scores):
            self.scores[worst], self.archive[worst] = score, network

    def advance(self, matchmaker: bool, crossover: Crossover, sigma: float) -> None:
        a, b = self.parents(matchmaker)
        self.insert(self.child(a, b, crossover, sigma))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("matchmaker", [True, False])
@pytest.mark.parametrize("crossover", ["split_point", "whole", "none"])
def test_every_generation_is_the_authors(alpha: float, matchmaker: bool, crossover: Crossover) -> None:
    scorer, variation, compared = blobs(NETWORK, 60), Variation(crossover, 0.05), []
    for seed in range(6):
        first = NETWORK.random(2, 0.5, np.random.default_rng(1))
        ours = NaturalNiches(
            scorer, first, seed=seed, capacity=6, alpha=alpha, matchmaker=matchmaker, variation=variation
        )
        direct = Direct(scorer, first, seed, 6, alpha)
        for _ in range(60):
            ours.advance()
            direct.advance(matchmaker, crossover, 0.05)
            if alpha > 0.0 and direct.is_tied:  # sums of whole numbers are exact: no excuse without competition
                break
            check_equal(ours, direct)
        compared.append(ours.n_passes)
    assert sum(compared) >= 100
    assert max(compared) >= 25


def check_equal(ours: NaturalNiches, direct: Direct) -> None:
    n = len(ours.archive)
    np.testing.assert_array_equal(ours.archive.scores, direct.scores[:n])
    assert not direct.scores[n:].any()
    rows = ours.weights[list(ours.archive.members)]
    np.testing.assert_allclose(rows, direct.archive[:n], rtol=1e-4, atol=1e-4)
    best = int(np.argmax(direct.scores.mean(axis=1)))
    assert ours.best_accuracy == pytest.approx(direct.scores[best].mean())
    np.testing.assert_allclose(ours.best, direct.archive[best], rtol=1e-4, atol=1e-4)


def test_members_scores_are_those_of_their_weights() -> None:
    scorer = blobs(NETWORK, 60)
    evolution = NaturalNiches(scorer, NETWORK.random(2, 0.5, np.random.default_rng(0)), seed=0, capacity=5)
    for _ in range(100):
        evolution.advance()
    members = list(evolution.archive.members)
    assert len(set(members)) == 5
    np.testing.assert_array_equal(scorer.correct(evolution.weights[members]), evolution.archive.scores)
    assert scorer.accuracy(evolution.best) == evolution.best_accuracy


def test_best_stays_the_same_network_while_it_is_not_said_to_change() -> None:
    evolution = NaturalNiches(blobs(NETWORK, 60), NETWORK.random(2, 0.5, np.random.default_rng(0)), seed=1, capacity=4)
    changes, best = evolution.n_changes, evolution.best.copy()
    for _ in range(200):
        evolution.advance()
        if evolution.n_changes == changes:
            np.testing.assert_array_equal(evolution.best, best)
        changes, best = evolution.n_changes, evolution.best.copy()
    assert changes > 3


def test_equal_seeds_give_equal_runs_and_others_do_not() -> None:
    def run(seed: int) -> Weights:
        evolution = NaturalNiches(blobs(NETWORK, 40), NETWORK.random(2, 0.5, np.random.default_rng(0)), seed=seed)
        for _ in range(50):
            evolution.advance()
            np.random.random()  # noqa: NPY002 - the global generators are nobody's business
            torch.rand(1)
        return evolution.weights.copy()

    np.testing.assert_array_equal(run(4), run(4))
    assert (run(4) != run(5)).any()


def test_evolution_learns_more_than_its_first_networks_know() -> None:
    scorer, first = blobs(NETWORK, 100), NETWORK.random(2, 0.1, np.random.default_rng(0))
    evolution = NaturalNiches(scorer, first, seed=0, variation=Variation(sigma=0.1))
    for _ in range(1500):
        evolution.advance()
    assert evolution.best_accuracy > max(scorer.accuracy(v) for v in first) + 0.2


@pytest.mark.parametrize("first", [np.zeros((0, 60)), np.zeros(60), np.zeros((2, 59)), np.full((1, 60), np.nan)])
def test_first_networks_are_checked(first: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="first networks"):
        NaturalNiches(blobs(NETWORK, 10), first.astype(np.float32), seed=0)


@pytest.mark.parametrize("sigma", [-1.0, np.inf, np.nan])
def test_mutation_size_is_checked(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma"):
        Variation(sigma=sigma)
