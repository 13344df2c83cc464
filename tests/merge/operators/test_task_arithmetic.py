from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.operators.base import Sources
from searcher.merge.operators.task_arithmetic import TaskArithmetic

coefficients = st.tuples(*[st.floats(-2.0, 2.0)] * 3)


def draw() -> Sources:
    values = torch.randn(4, 30, generator=torch.Generator().manual_seed(3))
    return Sources(values[0], tuple(values[1:]), (False,) * 3, 0, "t", (30,))


@given(first=coefficients, second=coefficients, scale=st.floats(-1.0, 1.0))
def test_linear_in_its_coefficients(first: tuple[float, ...], second: tuple[float, ...], scale: float) -> None:
    sources = draw()
    assert sources.base is not None

    def delta(c: tuple[float, ...]) -> torch.Tensor:
        assert sources.base is not None
        return TaskArithmetic().merge(c, sources, None) - sources.base

    combined = delta(tuple(a + scale * b for a, b in zip(first, second, strict=True)))
    torch.testing.assert_close(combined, delta(first) + scale * delta(second), rtol=1e-5, atol=2e-5)


def test_lambda_scales_all_coefficients() -> None:
    sources = draw()
    halved = TaskArithmetic(lambda_=0.5).merge((1.0, 2.0, 3.0), sources, None)
    assert torch.equal(halved, TaskArithmetic().merge((0.5, 1.0, 1.5), sources, None))


def test_zero_coefficients_give_the_base() -> None:
    sources = draw()
    assert sources.base is not None
    assert torch.equal(TaskArithmetic().merge((0.0, 0.0, 0.0), sources, None), sources.base)


def test_normalized_zero_sum_fails_the_candidate() -> None:
    with pytest.raises(CandidateError):
        TaskArithmetic(normalize=True).merge((1.0, -0.5, -0.5), draw(), None)
