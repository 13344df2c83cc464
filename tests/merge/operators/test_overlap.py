from __future__ import annotations

import torch

from searcher.merge.facts import TensorFacts
from searcher.merge.operators.overlap import N_REMEMBERED, Overlap, overlap
from tests.merge.merging import facts_of


def facts() -> TensorFacts:
    vectors = [[1.0, 0.0, 2.0, -3.0, 0.5], [0.0, 0.0, -1.0, 4.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0]]
    return facts_of(torch.zeros(5), [torch.tensor(vector) for vector in vectors])


def test_counts() -> None:
    found = overlap(facts(), 0.0)
    assert found.unique.tolist() == [2, 0, 1]
    assert found.shared.tolist() == [2, 2, 1]


def test_entries_at_epsilon_are_not_active() -> None:
    found = overlap(facts(), 1.0)
    assert found.unique.tolist() == [1, 0, 0]
    assert found.shared.tolist() == [1, 1, 0]


def test_epsilon_is_compared_in_float32() -> None:
    third = torch.tensor([1.0 / 3.0])
    assert overlap(facts_of(torch.zeros(1), [third]), 1.0 / 3.0).unique.tolist() == [0]


def test_counted_once_for_a_few_epsilons() -> None:
    known = facts()
    found = overlap(known, 0.5)
    assert overlap(known, 0.25) is not found
    assert overlap(known, 0.5) is found
    for epsilon in range(1, 2 * N_REMEMBERED):
        overlap(known, float(epsilon))
        assert len(known.tables.get("overlap", known.models, known.name, dict)) <= N_REMEMBERED
    assert overlap(known, 0.5) is not found


def test_of_an_empty_tensor() -> None:
    found = Overlap.of([torch.zeros(0, dtype=torch.bool)] * 2)
    assert (found.unique.tolist(), found.shared.tolist()) == ([0, 0], [0, 0])
