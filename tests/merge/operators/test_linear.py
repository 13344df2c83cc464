from __future__ import annotations

import pytest
import torch

from searcher.errors import CandidateError
from searcher.merge.operators.base import Sources
from searcher.merge.operators.linear import Linear


def sources(*rows: list[float]) -> Sources:
    stored = tuple(torch.tensor(row) for row in rows)
    return Sources(None, stored, (False,) * len(stored), 0, "t", tuple(stored[0].shape))


def test_only_one_coefficient_gives_that_model_exactly() -> None:
    rows = [0.1, 1e30], [0.3, -2e-30]
    assert Linear().merge((0.0, 0.7), sources(*rows), None).tolist() == torch.tensor(rows[1]).tolist()


def test_scale_of_the_coefficients_is_irrelevant_when_normalized() -> None:
    rows = sources([0.1, 0.2], [0.5, -0.4])
    assert torch.equal(Linear().merge((1.0, 3.0), rows, None), Linear().merge((2.0, 6.0), rows, None))


def test_coefficients_that_sum_to_zero_fail_the_candidate() -> None:
    with pytest.raises(CandidateError, match="sum to"):
        Linear().merge((1.0, -1.0), sources([1.0], [2.0]), None)
    assert Linear(normalize=False).merge((1.0, -1.0), sources([1.0], [2.0]), None).tolist() == [-1.0]
    assert Linear(normalize=False).merge((0.0, 0.0), sources([1.0], [2.0]), None).tolist() == [0.0]
