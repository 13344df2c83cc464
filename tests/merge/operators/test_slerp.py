from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.slerp import Slerp, cosine
from tests.merge.merging import draw, facts_of


def merge(operator: Slerp, first: torch.Tensor, second: torch.Tensor, t: float) -> torch.Tensor:
    return merge_tensor(operator, (1.0 - t, t), [first, second])


def on_circle(angle: float) -> torch.Tensor:
    return torch.tensor([math.cos(angle), math.sin(angle)])


@pytest.mark.parametrize("threshold", [0.0, 0.9995, 1.0])
def test_meets_both_ends_exactly(threshold: float) -> None:
    first, second = draw(2, 40, seed=1)
    assert torch.equal(merge(Slerp(threshold), first, second, 0.0), first)
    assert torch.equal(merge(Slerp(threshold), first, second, 1.0), second)


@given(angle=st.floats(0.05, 3.0), t=st.floats(0.0, 1.0))
def test_moves_along_the_circle_at_constant_speed(angle: float, t: float) -> None:
    found = merge(Slerp(1.0), on_circle(0.0), on_circle(angle), t)
    torch.testing.assert_close(found, on_circle(t * angle), rtol=0, atol=1e-5)


def test_one_model_is_reached_from_the_base() -> None:
    first, second = on_circle(0.0), on_circle(1.0)
    found = merge_tensor(Slerp(), (0.25,), [second], base=first)
    torch.testing.assert_close(found, merge(Slerp(), first, second, 0.25), rtol=0, atol=1e-7)


def test_nearly_parallel_tensors_are_interpolated_linearly() -> None:
    first, second = on_circle(0.0), 3.0 * on_circle(0.01)
    assert torch.equal(merge(Slerp(), first, second, 0.5), first * 0.5 + second * 0.5)
    assert not torch.equal(
        merge(Slerp(1.0), on_circle(0.0), on_circle(0.01), 0.5), (on_circle(0.0) + on_circle(0.01)) / 2
    )


@pytest.mark.parametrize("threshold", [0.9995, 1.0])
def test_antiparallel_tensors_take_the_straight_line(threshold: float) -> None:
    first = torch.tensor([3.0, 4.0])
    assert merge(Slerp(threshold), first, -first, 0.25).tolist() == [1.5, 2.0]
    assert merge(Slerp(threshold), first, -first, 0.5).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("threshold", [0.0, 0.9995, 1.0])
def test_a_zero_tensor_is_interpolated_linearly(threshold: float) -> None:
    first, zero = torch.tensor([2.0, 4.0]), torch.zeros(2)
    assert merge(Slerp(threshold), first, zero, 0.25).tolist() == [1.5, 3.0]
    assert merge(Slerp(threshold), zero, zero, 0.25).tolist() == [0.0, 0.0]


def test_a_small_angle_is_not_lost() -> None:
    first = draw(10_000)
    second = first + 0.01 * draw(10_000, seed=1)
    angle = math.acos(cosine(facts_of(None, [first, second]).gram("weights")[0]))
    unit = [v.double() / v.double().norm() for v in (first, second)]
    assert angle == pytest.approx(2 * math.asin(float((unit[0] - unit[1]).norm()) / 2), rel=1e-6)


def test_only_the_ratio_of_the_coefficients_counts() -> None:
    ends = [on_circle(0.0), on_circle(2.0)]
    assert torch.equal(merge_tensor(Slerp(), (1.0, 3.0), ends), merge_tensor(Slerp(), (0.5, 1.5), ends))
    with pytest.raises(CandidateError):
        merge_tensor(Slerp(), (0.0, 0.0), ends)
