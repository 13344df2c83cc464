"""Pending proposals are found by their genome."""

from __future__ import annotations

import numpy as np

from searcher.strategies.pending import PendingProposals


def test_first_in_first_out_for_equal_genomes() -> None:
    pending: PendingProposals[str] = PendingProposals()
    genome = np.array([0.25, 0.0])
    pending.add(genome, "first")
    pending.add(np.array([0.5, 0.5]), "other")
    pending.add(genome.copy(), "second")
    assert pending.pop(np.array([0.25, -0.0])) == "first"
    assert pending.pop(genome) == "second"
    assert pending.pop(genome) is None
    assert pending.pop(np.array([0.5, 0.5])) == "other"


def test_nothing_is_kept_of_finished_proposals() -> None:
    pending: PendingProposals[int] = PendingProposals()
    for i in range(1000):
        genome = np.array([i / 1000])
        pending.add(genome, i)
        pending.pop(genome)
    assert pending._by_genome == {}
