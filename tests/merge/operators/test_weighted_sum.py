from __future__ import annotations

import pytest
import torch

from searcher.errors import CandidateError
from searcher.merge.operators.weighted_sum import normalized, weighted_sum


def test_product_and_sum_are_rounded_apart() -> None:
    a, b, scale = torch.tensor([1.0]), torch.tensor([1.0 + 2.0**-23]), 1.0 - 2.0**-23
    # scale * b = 1 - 2^-46 rounds to 1; fused with -1 it would be -2^-46
    found = weighted_sum([(-1.0, a), (scale, b)])
    assert found is not None
    assert found.item() == 0.0


def test_terms_with_scale_zero_are_not_read() -> None:
    found = weighted_sum([(0.0, torch.tensor([float("nan")])), (2.0, torch.tensor([3.0]))])
    assert found is not None
    assert found.item() == 6.0
    assert weighted_sum([(0.0, torch.ones(1))]) is None


def test_normalized() -> None:
    assert normalized((1.0, 3.0)) == (0.25, 0.75)
    assert normalized((-1.0, -3.0)) == (0.25, 0.75)


@pytest.mark.parametrize("coefficients", [(0.0, 0.0), (1.0, -1.0), (5e-9,)])
def test_coefficients_that_sum_to_zero(coefficients: tuple[float, ...]) -> None:
    with pytest.raises(CandidateError) as caught:
        normalized(coefficients)
    assert caught.value.error_class == "ZeroWeightSum"
