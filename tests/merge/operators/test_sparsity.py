from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.facts import TensorFacts
from searcher.merge.operators.sparsity import Sparsified, norm_matched
from searcher.merge.plan import Keep, KeepAll, KeepMask
from tests.merge.merging import draw, facts_of


def masked(*masks: list[bool]) -> Sparsified:
    """What masks keep of each model."""

    def keep(used: tuple[int, ...]) -> Keep:
        return KeepMask(torch.tensor([masks[k] for k in used]))

    return Sparsified(keep, lambda k: 1.0)


def facts(*vectors: list[float]) -> TensorFacts:
    return facts_of(torch.zeros(len(vectors[0])), [torch.tensor(vector) for vector in vectors])


def test_the_factor_brings_the_norm_back() -> None:
    sparse = norm_matched(masked([True, False, True], [False, True, True]), facts([1.0, -2.0, 3.0], [4.0, 0.5, -0.5]))
    assert [sparse.factor(0), sparse.factor(1)] == [1.5, 5.0]


@given(seed=st.integers(0, 100), size=st.integers(1, 50))
def test_norms_agree(seed: int, size: int) -> None:
    values, mask = draw(size, seed=seed), draw(size, seed=seed + 1000) > 0.0
    mask[0] = True
    factor = norm_matched(masked(mask.tolist()), facts(values.tolist())).factor(0)
    assert float((values * mask * factor).abs().sum()) == pytest.approx(float(values.abs().sum()), rel=1e-6)


@pytest.mark.parametrize(
    ("vector", "mask"),
    [([1.0, 2.0], [False, False]), ([1e-8, -2e-8], [True, False]), ([1.0, 1e-8], [False, True]), ([], [])],
)
def test_tiny_norms_are_not_matched(vector: list[float], mask: list[bool]) -> None:
    assert norm_matched(masked(mask), facts(vector)).factor(0) == 1.0


def test_what_is_whole_or_gone_keeps_its_factor() -> None:
    whole = Sparsified(lambda used: KeepAll(), lambda k: 0.25)
    assert norm_matched(whole, facts([1.0])).factor(0) == 0.25
    gone = Sparsified(masked([True]).keep, lambda k: 0.0)
    assert norm_matched(gone, facts([1.0])).factor(0) == 0.0


def test_the_number_of_threads_does_not_matter() -> None:
    values = draw(200_000)
    few = facts_of(torch.zeros(200_000), [values])
    sparse = norm_matched(Sparsified(lambda used: KeepMask((values > 0.3)[None]), lambda k: 1.0), few)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = np.float32(sparse.factor(0))
        torch.set_num_threads(3)
        assert np.float32(sparse.factor(0)) == one
    finally:
        torch.set_num_threads(threads)
