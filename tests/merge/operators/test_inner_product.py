from __future__ import annotations

import math

import pytest
import torch

from searcher.merge.operators import inner_product as module
from searcher.merge.operators.inner_product import BLOCK, inner_product


@pytest.mark.parametrize("size", [0, 1, 5, BLOCK - 1, BLOCK, 3 * BLOCK + 17])
def test_equals_the_exact_sum(size: int) -> None:
    a, b = torch.randn(2, size, generator=torch.Generator().manual_seed(size))
    exact = math.fsum((a.double() * b.double()).tolist())
    assert inner_product(a, b) == pytest.approx(exact, rel=1e-12, abs=1e-12)


def test_alignment_and_threads_do_not_matter() -> None:
    values = torch.randn(2, 5 * BLOCK + 9, generator=torch.Generator().manual_seed(0))
    a, b = values
    expected = inner_product(a, b)
    shifted = torch.cat([torch.zeros(3), a])[3:]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert inner_product(shifted, b) == expected
    finally:
        torch.set_num_threads(threads)


def test_long_vectors_are_taken_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(2, 4 * BLOCK + 5, generator=torch.Generator().manual_seed(0))
    expected = inner_product(a, b)
    monkeypatch.setattr(module, "STRETCH", BLOCK)
    assert inner_product(a, b) == expected
