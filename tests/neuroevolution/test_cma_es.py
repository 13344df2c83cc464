"""CMA-ES on weights, and why its covariance may be held at the identity."""

from __future__ import annotations

from typing import Literal

import cma
import numpy as np
import pytest

from searcher.neuroevolution.cma_es import CmaEs, covariance_change
from searcher.neuroevolution.network import Network, Weights
from tests.neuroevolution.problem import blobs

NETWORK = Network((2, 8, 4))


@pytest.mark.parametrize("covariance", ["diagonal", "identity"])
def test_learns_and_repeats_itself(covariance: Literal["diagonal", "identity"]) -> None:
    def run() -> tuple[Weights, float]:
        first = NETWORK.random(1, 0.1, np.random.default_rng(0))
        evolution = CmaEs(blobs(NETWORK, 80), first, seed=2, covariance=covariance, sigma0=0.3)
        for _ in range(40):
            evolution.advance()
            np.random.random()  # noqa: NPY002 - the global generators are nobody's business
        assert evolution.n_passes == 800
        assert blobs(NETWORK, 80).accuracy(evolution.best) == pytest.approx(evolution.best_accuracy)
        return evolution.best.copy(), evolution.best_accuracy

    (one, accuracy), (other, _) = run(), run()
    np.testing.assert_array_equal(one, other)
    assert accuracy > 0.7


def test_bound_is_the_change_of_pycmas_own_matrix() -> None:
    dim, generations = 12, 5
    strategy = cma.CMAEvolutionStrategy(
        np.zeros(dim), 1.0, {"popsize": 20, "verbose": -9, "seed": 1, "CMA_active": False}
    )
    kept = 1.0
    for _ in range(generations):
        strategy.tell(strategy.ask(), list(np.random.default_rng(0).random(20)))
        kept *= 1.0 - strategy.sp.c1 - strategy.sp.cmu
    assert covariance_change(dim, 20, generations) == pytest.approx(1.0 - kept, rel=0.1)


def test_authors_problem_leaves_the_covariance_where_it_was() -> None:
    assert covariance_change(19_210, 20, 50_000 // 20) < 1e-4


def test_one_first_network() -> None:
    with pytest.raises(ValueError, match="one first network"):
        CmaEs(blobs(NETWORK, 10), NETWORK.random(2, 1.0, np.random.default_rng(0)), seed=0)
