from __future__ import annotations

import pytest
import torch

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.linear import Linear


def merge(operator: Linear, c: tuple[float, ...], *rows: list[float]) -> list[float]:
    found: list[float] = merge_tensor(operator, c, [torch.tensor(row) for row in rows]).tolist()
    return found


def test_only_one_coefficient_gives_that_model_exactly() -> None:
    rows = [0.1, 1e30], [0.3, -2e-30]
    assert merge(Linear(), (0.0, 0.7), *rows) == torch.tensor(rows[1]).tolist()


def test_models_without_a_coefficient_are_not_read() -> None:
    assert merge(Linear(), (0.0, 2.0), [float("nan")], [3.0]) == [3.0]


def test_product_and_sum_are_rounded_apart() -> None:
    scale = 1.0 - 2.0**-23
    # scale * b = 1 - 2^-46 rounds to 1; fused with -1 it would be -2^-46
    assert merge(Linear(normalize=False), (-1.0, scale), [1.0], [1.0 + 2.0**-23]) == [0.0]


def test_scale_of_the_coefficients_is_irrelevant_when_normalized() -> None:
    rows = [0.1, 0.2], [0.5, -0.4]
    assert merge(Linear(), (1.0, 3.0), *rows) == merge(Linear(), (2.0, 6.0), *rows)


def test_coefficients_that_sum_to_zero_fail_the_candidate() -> None:
    with pytest.raises(CandidateError, match="sum to"):
        merge(Linear(), (1.0, -1.0), [1.0], [2.0])
    assert merge(Linear(normalize=False), (1.0, -1.0), [1.0], [2.0]) == [-1.0]
    assert merge(Linear(normalize=False), (0.0, 0.0), [1.0], [2.0]) == [0.0]
