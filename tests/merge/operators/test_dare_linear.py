from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.dare_linear import DareLinear
from searcher.merge.operators.task_arithmetic import TaskArithmetic
from tests.merge.merging import change, draw

numbers = (
    st.just(0.0) | st.floats(-2.0, -1e-6) | st.floats(1e-6, 2.0)
)  # a recipe has 12 decimals: nothing smaller occurs
coefficients = st.tuples(numbers, numbers, numbers)
BASE, *MODELS = draw(4, 30, seed=3)


@given(c=coefficients, scale=st.floats(-2.0, 2.0), convention=st.sampled_from(["paper", "mergekit"]))
def test_without_dropping_this_is_task_arithmetic(c: tuple[float, ...], scale: float, convention: str) -> None:
    found = merge_tensor(DareLinear(lambda_=scale, convention=convention), c, MODELS, base=BASE)  # type: ignore[arg-type]
    assert torch.equal(found, merge_tensor(TaskArithmetic(lambda_=scale), c, MODELS, base=BASE))


def test_unbiased() -> None:
    """Over seeds, every entry is right on average: within five standard errors."""
    values, n, p = torch.tensor([1.0, -2.0, 0.5, 3.0, -0.1]), 200, 0.3
    merged = torch.stack([change(DareLinear(p, seed=seed), (0.7,), values) for seed in range(n)]).double()
    expected = 0.7 * values.double()
    standard_error = expected.abs() * ((1 - p) / p / n) ** 0.5
    assert bool(((merged.mean(dim=0) - expected).abs() < 5 * standard_error).all())


@given(first=coefficients, second=coefficients)
def test_linear_in_its_coefficients(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    def merged(c: tuple[float, ...]) -> torch.Tensor:
        return change(DareLinear(0.5), c, *MODELS)

    both = merged(tuple(a + b for a, b in zip(first, second, strict=True)))
    torch.testing.assert_close(both, merged(first) + merged(second), rtol=1e-5, atol=1e-4)


def test_rescaled_by_the_density() -> None:
    values = draw(50)
    found, plain = change(DareLinear(0.25), (1.0,), values), change(DareLinear(0.25, rescale=False), (1.0,), values)
    assert torch.equal(found, 4.0 * plain)


def test_density_zero_leaves_the_base() -> None:
    assert torch.equal(merge_tensor(DareLinear(0.0), (1.0, 0.5, 2.0), MODELS, base=BASE), BASE)


def test_one_density_per_model() -> None:
    one, two = draw(40), draw(40, seed=1)
    found = change(DareLinear((0.5, 0.25)), (1.0, 1.0), one, two, names="ab")
    alone = change(DareLinear(0.5), (1.0,), one, names="a") + change(DareLinear(0.25), (1.0,), two, names="b")
    torch.testing.assert_close(found, alone)
    with pytest.raises(ValueError, match="one density per model"):
        change(DareLinear((0.5,)), (1.0, 1.0), one, two)


def test_normalized_by_all_coefficients_also_of_what_is_dropped() -> None:
    values = draw(20)
    found = change(DareLinear((1.0, 0.0), normalize=True), (1.0, 3.0), values, values)
    assert torch.equal(found, 0.25 * values)


def test_coefficients_that_sum_to_zero() -> None:
    with pytest.raises(CandidateError):
        change(DareLinear(normalize=True), (1.0, -1.0), draw(5), draw(5))
    released = DareLinear(normalize=True, convention="mergekit")
    assert torch.equal(change(released, (1.0, -1.0), draw(5), torch.zeros(5)), draw(5))
