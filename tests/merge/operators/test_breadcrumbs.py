from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.breadcrumbs import Breadcrumbs
from searcher.merge.operators.task_arithmetic import TaskArithmetic
from tests.merge.merging import change, changes, draw

numbers = (
    st.just(0.0) | st.floats(-2.0, -1e-6) | st.floats(1e-6, 2.0)
)  # a recipe has 12 decimals: nothing smaller occurs
coefficients = st.tuples(numbers, numbers, numbers)
BASE, *MODELS = draw(4, 30, seed=3)
VALUES = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0, -10.0]


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_the_largest_and_the_smallest_go(convention: str) -> None:
    found = changes(Breadcrumbs(0.5, 0.2, convention=convention), (1.0,), VALUES)  # type: ignore[arg-type]
    assert found == [0.0, 0.0, 0.0, -4.0, 5.0, -6.0, 7.0, -8.0, 0.0, 0.0]


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_fewer_outliers_go_if_too_little_would_stay(convention: str) -> None:
    found = changes(Breadcrumbs(0.9, 0.3, convention=convention), (1.0,), VALUES)  # type: ignore[arg-type]
    assert found == [*VALUES[:-1], 0.0]
    assert changes(Breadcrumbs(1.0, 0.3, convention=convention), (1.0,), VALUES) == VALUES  # type: ignore[arg-type]


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
@pytest.mark.parametrize("gamma", [0.0, 0.01])
def test_small_tensors_are_not_zeroed(convention: str, gamma: float) -> None:
    assert changes(Breadcrumbs(0.5, gamma, convention=convention), (1.0,), [1.0, 2.0]) == [0.0, 2.0]  # type: ignore[arg-type]


def test_mergekit_rounds_down() -> None:
    assert changes(Breadcrumbs(0.9, 0.0), (1.0,), [1.0]) == [1.0]
    assert changes(Breadcrumbs(0.9, 0.0, convention="mergekit"), (1.0,), [1.0]) == [0.0]
    assert changes(Breadcrumbs(0.5, 0.0, convention="mergekit"), (1.0,), [1.0, 2.0, 3.0]) == [0.0, 0.0, 3.0]
    assert changes(Breadcrumbs(0.5, 0.0), (1.0,), [1.0, 2.0, 3.0]) == [0.0, 2.0, 3.0]


@given(c=coefficients, scale=st.floats(-2.0, 2.0), gamma=st.floats(0.0, 1.0))
def test_without_trimming_this_is_task_arithmetic(c: tuple[float, ...], scale: float, gamma: float) -> None:
    found = merge_tensor(Breadcrumbs(1.0, gamma, lambda_=scale), c, MODELS, base=BASE)
    assert torch.equal(found, merge_tensor(TaskArithmetic(lambda_=scale), c, MODELS, base=BASE))


@given(first=coefficients, second=coefficients)
def test_linear_in_its_coefficients(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    def merged(c: tuple[float, ...]) -> torch.Tensor:
        return change(Breadcrumbs(0.5, 0.1), c, *MODELS)

    both = merged(tuple(a + b for a, b in zip(first, second, strict=True)))
    torch.testing.assert_close(both, merged(first) + merged(second), rtol=1e-5, atol=1e-4)


def test_one_value_per_model() -> None:
    found = changes(Breadcrumbs((1.0, 0.5), (0.0, 0.2)), (1.0, 1.0), VALUES, VALUES)
    assert found == [1.0, -2.0, 3.0, -8.0, 10.0, -12.0, 14.0, -16.0, 9.0, -10.0]
    with pytest.raises(ValueError, match="one gamma per model"):
        changes(Breadcrumbs(0.5, (0.1,)), (1.0, 1.0), VALUES, VALUES)


def test_rescaling_brings_the_norm_back() -> None:
    found = change(Breadcrumbs(0.5, 0.1, rescale=True), (1.0,), MODELS[0])
    assert float(found.abs().sum()) == pytest.approx(float(MODELS[0].abs().sum()), rel=1e-6)


def test_coefficients_that_sum_to_zero() -> None:
    with pytest.raises(CandidateError):
        changes(Breadcrumbs(normalize=True), (1.0, -1.0), VALUES, VALUES)
    released = Breadcrumbs(normalize=True, convention="mergekit")
    assert changes(released, (1.0, -1.0), VALUES, [0.0] * 10) == VALUES
