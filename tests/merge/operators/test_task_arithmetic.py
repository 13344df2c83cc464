from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.task_arithmetic import TaskArithmetic
from tests.merge.merging import draw

coefficients = st.tuples(*[st.floats(-2.0, 2.0)] * 3)
BASE = draw(30, seed=3)
MODELS = [draw(30, seed=seed) for seed in (4, 5, 6)]


def merge(operator: TaskArithmetic, c: tuple[float, ...]) -> torch.Tensor:
    return merge_tensor(operator, c, MODELS, base=BASE)


@given(first=coefficients, second=coefficients, scale=st.floats(-1.0, 1.0))
def test_linear_in_its_coefficients(first: tuple[float, ...], second: tuple[float, ...], scale: float) -> None:
    def delta(c: tuple[float, ...]) -> torch.Tensor:
        return merge(TaskArithmetic(), c) - BASE

    combined = delta(tuple(a + scale * b for a, b in zip(first, second, strict=True)))
    torch.testing.assert_close(combined, delta(first) + scale * delta(second), rtol=1e-5, atol=2e-5)


def test_lambda_scales_all_coefficients() -> None:
    assert torch.equal(
        merge(TaskArithmetic(lambda_=0.5), (1.0, 2.0, 3.0)),
        merge(TaskArithmetic(), (0.5, 1.0, 1.5)),
    )


def test_zero_coefficients_give_the_base() -> None:
    assert torch.equal(merge(TaskArithmetic(), (0.0, 0.0, 0.0)), BASE)


def test_normalized_zero_sum_fails_the_candidate() -> None:
    with pytest.raises(CandidateError):
        merge(TaskArithmetic(normalize=True), (1.0, -0.5, -0.5))
    released = merge(TaskArithmetic(normalize=True, convention="mergekit"), (1.0, -0.5, -0.5))
    assert torch.equal(released, merge(TaskArithmetic(), (1.0, -0.5, -0.5)))
