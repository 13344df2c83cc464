"""MAP-Elites on weights: elites are the best of their cells, by direct bookkeeping."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import override

from searcher.neuroevolution.evolution import Variation
from searcher.neuroevolution.map_elites import MapElites
from searcher.neuroevolution.network import Network, Scorer, Weights
from tests.neuroevolution.problem import blobs

NETWORK = Network((2, 6, 4))


class Recorded(Scorer):
    """Remembers what single networks were asked for."""

    def __init__(self, inner: Scorer) -> None:
        super().__init__(NETWORK, inner._inputs.numpy(), inner._labels)
        self.seen: list[NDArray[np.bool_]] = []

    @override
    def correct(self, vectors: Weights) -> NDArray[np.bool_]:
        found = super().correct(vectors)
        self.seen.append(found)
        return found


def test_elites_are_the_best_of_their_cells() -> None:
    scorer = Recorded(blobs(NETWORK, 60))
    groups = np.arange(60) % 2
    first = NETWORK.random(2, 0.5, np.random.default_rng(1))
    evolution = MapElites(scorer, first, groups, seed=0, cells=5, variation=Variation(sigma=0.2))
    for _ in range(300):
        evolution.advance()
    expected: dict[int, float] = {}
    for correct in scorer.seen:
        i, j = (min(int(correct[groups == g].mean() * 5), 4) for g in (0, 1))
        expected[5 * i + j] = max(expected.get(5 * i + j, 0.0), float(correct.mean()))
    assert evolution.elites == expected
    assert len(expected) > 3
    assert evolution.best_accuracy == max(expected.values()) == scorer.accuracy(evolution.best)


def test_equal_seeds_give_equal_runs() -> None:
    def run() -> Weights:
        first = NETWORK.random(2, 0.5, np.random.default_rng(1))
        evolution = MapElites(blobs(NETWORK, 40), first, np.arange(40) % 2, seed=7)
        for _ in range(60):
            evolution.advance()
        return evolution.best.copy()

    np.testing.assert_array_equal(run(), run())


def test_perfect_network_has_a_cell() -> None:
    network = Network((2, 2))
    inputs = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    first = np.array([[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]], np.float32)
    evolution = MapElites(Scorer(network, inputs, np.arange(2)), first, np.arange(2), seed=0)
    assert evolution.elites == {99: 1.0}


def test_networks_that_solve_nothing_are_survived() -> None:
    network = Network((2, 2))
    scorer = Scorer(network, np.ones((4, 2), np.float32), np.array([1, 1, 1, 1]))
    first = np.zeros((2, 6), np.float32)  # equal logits: class 0, always wrong
    evolution = MapElites(scorer, first, np.arange(4) % 2, seed=0)
    for _ in range(20):
        evolution.advance()
    assert evolution.best_accuracy > 0.0


@pytest.mark.parametrize(("groups", "cells"), [(np.zeros(10, int), 10), (np.arange(9) % 2, 10), (np.arange(10) % 2, 0)])
def test_settings_are_checked(groups: NDArray[np.integer], cells: int) -> None:
    with pytest.raises(ValueError, match="Expected"):
        MapElites(blobs(NETWORK, 10), NETWORK.random(2, 1.0, np.random.default_rng(0)), groups, seed=0, cells=cells)
