from __future__ import annotations

import pytest
import torch

from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.passthrough import Passthrough


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_copies_bit_for_bit(dtype: torch.dtype) -> None:
    model = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    model[0, 0] = -0.0
    assert torch.equal(merge_tensor(Passthrough(), (1.0,), [model]), model)
    assert torch.equal(merge_tensor(Passthrough(), (1.0,), [model], base=torch.zeros_like(model)), model)


def test_scales() -> None:
    model = torch.tensor([1.0, -2.0, 0.5])
    assert merge_tensor(Passthrough(), (-1.5,), [model]).tolist() == [-1.5, 3.0, -0.75]
    assert merge_tensor(Passthrough(), (0.0,), [model]).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_tiny_tensors(shape: tuple[int, ...]) -> None:
    assert torch.equal(merge_tensor(Passthrough(), (2.0,), [torch.ones(shape)]), 2.0 * torch.ones(shape))


def test_takes_one_model() -> None:
    with pytest.raises(ValueError, match="Expected 1 to 1 models"):
        merge_tensor(Passthrough(), (1.0, 1.0), [torch.ones(2)] * 2)
