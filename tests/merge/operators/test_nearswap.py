from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.nearswap import NearSwap


def draw(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    base, change = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    return base, base + 0.01 * change


@given(t=st.floats(1e-6, 1.0), c=st.floats(-2.0, 2.0))
def test_is_the_base_and_a_clipped_task_vector(t: float, c: float) -> None:
    base, model = draw(6, 7)
    expected = base.double() + c * (model - base).double().clamp(-t, t)
    found = merge_tensor(NearSwap(t=t), (c,), [model], base=base)
    torch.testing.assert_close(found, expected.float(), rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("t", [0.0, 1e-8, 3e-7, 1e-6, 1e-4, 2e-3])
def test_is_an_interpolation_weighted_by_similarity(t: float) -> None:
    change = torch.logspace(-9, 0, 200).double()
    base = torch.zeros_like(change)
    found = merge_tensor(NearSwap(t=t), (1.0,), [change], base=base)
    weight = (t / change.clamp(min=1e-6)).clamp(0.0, 1.0)  # mergekit's
    torch.testing.assert_close(found, weight * change, rtol=1e-6, atol=0)


def test_ends() -> None:
    base, model = draw(30)
    assert torch.equal(merge_tensor(NearSwap(t=0.0), (1.0,), [model], base=base), base)
    assert torch.equal(merge_tensor(NearSwap(), (0.0,), [model], base=base), base)
    torch.testing.assert_close(merge_tensor(NearSwap(t=1.0), (1.0,), [model], base=base), model, rtol=2e-7, atol=0)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3)])
def test_tiny_tensors(shape: tuple[int, ...]) -> None:
    ones = torch.ones(shape)
    assert torch.equal(merge_tensor(NearSwap(t=0.5), (1.0,), [3 * ones], base=ones), 1.5 * ones)
