"""Brute force between two networks, against all positions scored one by one."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.neuroevolution.line_search import LineSearch
from searcher.neuroevolution.network import Network
from searcher.niches.crossover import cosine, mix, slerp_weights
from tests.neuroevolution.problem import blobs

NETWORK = Network((2, 8, 4))


def test_finds_the_best_of_all_positions() -> None:
    scorer = blobs(NETWORK, 80)
    a, b = first = NETWORK.random(2, 0.5, np.random.default_rng(3))
    search = LineSearch(scorer, first, n_positions=41)
    for _ in range(41):
        search.advance()
    angle = cosine(float(a @ a), float(a @ b), float(b @ b))
    positions = np.linspace(0.0, 1.0, 41)
    found = [scorer.accuracy(mix(a, b, slerp_weights(t, angle)).astype(np.float32)) for t in positions]
    assert search.best_accuracy == max(found)
    assert search.best_position == positions[int(np.argmax(found))]
    assert scorer.accuracy(search.best) == max(found)


def test_more_passes_than_positions_change_nothing() -> None:
    search = LineSearch(blobs(NETWORK, 20), NETWORK.random(2, 0.5, np.random.default_rng(0)), n_positions=3)
    for _ in range(3):
        search.advance()
    changes = search.n_changes
    search.advance()
    assert (search.n_passes, search.n_changes) == (4, changes)


@pytest.mark.parametrize(("n_networks", "n_positions"), [(1, 10), (3, 10), (2, 1)])
def test_settings_are_checked(n_networks: int, n_positions: int) -> None:
    first = NETWORK.random(n_networks, 1.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="2 networks"):
        LineSearch(blobs(NETWORK, 10), first, n_positions=n_positions)
