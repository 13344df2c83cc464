from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.counter_hash import TIES, bound, counter_hash, shared_round
from tests.merge.counter_hash_reference import random_words

INDICES = [0, 1, 2, 1000, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40]
N = 100_000


@given(tensor=st.text(max_size=12), model=st.text(min_size=1, max_size=12), seed=st.integers(-(2**40), 2**40))
def test_equals_its_definition(tensor: str, model: str, seed: int) -> None:
    found = counter_hash(tensor, torch.tensor(INDICES), model=model, seed=seed)
    expected = random_words(tensor, model, np.array(INDICES, np.uint64), seed)
    assert found.tolist() == expected.tolist()


def test_stays_what_it_was() -> None:
    """Stored runs are reproduced only while these numbers last."""
    found = counter_hash("block.weight", torch.tensor([0, 1, 2**33]), model="m", seed=7)
    assert found.tolist() == [1005005155, 4164787113, 3102370954]


def test_ties_are_ordered_by_the_shared_round() -> None:
    indices = torch.arange(5)
    assert torch.equal(counter_hash("t", indices, model=TIES[0], seed=TIES[1]), shared_round("t", indices, 0))
    assert torch.equal(counter_hash("t", indices), shared_round("t", indices, 0))


def test_no_two_elements_collide() -> None:
    for model in ("", "m"):
        assert len(set(counter_hash("t", torch.arange(N), model=model).tolist())) == N


@pytest.mark.parametrize("model", ["", "a", "some/model"])
def test_bits_are_balanced_and_independent_of_neighbours(model: str) -> None:
    words = counter_hash("t", torch.arange(N), model=model)
    bits = torch.stack([(words >> bit) & 1 for bit in range(32)]).double()
    assert ((bits.mean(dim=1) - 0.5).abs() < 5 * 0.5 / N**0.5).all()
    for step in (1, 2, 64, 4096):
        top = bits[31]
        assert abs(float((top[step:] == top[:-step]).double().mean()) - 0.5) < 0.01


def test_other_names_and_seeds_give_independent_numbers() -> None:
    low = [
        counter_hash(tensor, torch.arange(N), model=model, seed=seed) < 2**31
        for tensor, model, seed in [("t", "a", 0), ("t", "b", 0), ("t", "a", 1), ("u", "a", 0), ("t", *TIES)]
    ]
    for i, first in enumerate(low):
        for second in low[:i]:
            assert abs(float((first == second).double().mean()) - 0.5) < 0.01


@pytest.mark.parametrize("fraction", [0.0, 1e-9, 0.25, 0.5, 1.0])
def test_a_bound_is_the_fraction_of_all_hashes(fraction: float) -> None:
    assert bound(fraction) == round(fraction * 2**32)
    words = counter_hash("t", torch.arange(N), model="m")
    assert abs(float((words < bound(fraction)).double().mean()) - fraction) < 0.005


def test_bounds_are_clamped() -> None:
    assert (bound(-0.5), bound(1.5)) == (0, 2**32)
