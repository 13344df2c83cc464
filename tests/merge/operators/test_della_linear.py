from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.dare_linear import DareLinear
from searcher.merge.operators.della_linear import DellaLinear
from searcher.merge.operators.task_arithmetic import TaskArithmetic
from tests.merge.merging import change, draw

numbers = (
    st.just(0.0) | st.floats(-2.0, -1e-6) | st.floats(1e-6, 2.0)
)  # a recipe has 12 decimals: nothing smaller occurs
coefficients = st.tuples(numbers, numbers, numbers)
BASE, *MODELS = draw(4, 5, 6, seed=3)


@given(c=coefficients, scale=st.floats(-2.0, 2.0), convention=st.sampled_from(["paper", "mergekit"]))
def test_without_dropping_this_is_task_arithmetic(c: tuple[float, ...], scale: float, convention: str) -> None:
    found = merge_tensor(DellaLinear(lambda_=scale, convention=convention), c, MODELS, base=BASE)  # type: ignore[arg-type]
    assert torch.equal(found, merge_tensor(TaskArithmetic(lambda_=scale), c, MODELS, base=BASE))


@given(bits=st.integers(1, 255), c=st.floats(0.1, 1.0), seed=st.integers(0, 9))
def test_without_epsilon_this_is_dare(bits: int, c: float, seed: int) -> None:
    density = bits / 256
    found = change(DellaLinear(density, 0.0, seed=seed), (c, 0.5, 1.0), *MODELS)
    torch.testing.assert_close(found, change(DareLinear(density, seed=seed), (c, 0.5, 1.0), *MODELS))


def test_every_entry_is_unbiased() -> None:
    """Over seeds, every entry is right on average: within five standard errors of its own probability."""
    values, n, low, high = draw(20), 200, 0.2, 0.6
    merged = torch.stack([change(DellaLinear(0.4, 0.2, seed=seed), (0.7,), values) for seed in range(n)]).double()
    p = low + (high - low) * values.abs().argsort().argsort().double() / 19
    expected = 0.7 * values.double()
    standard_error = expected.abs() * ((1 - p) / p / n) ** 0.5
    assert bool(((merged.mean(dim=0) - expected).abs() < 5 * standard_error).all())
    torch.testing.assert_close((merged.abs().amax(dim=0)), expected.abs() / p, rtol=1e-4, atol=0)


def test_mergekit_rescales_by_one_factor() -> None:
    values = draw(6, 50)
    found = change(DellaLinear(0.5, convention="mergekit"), (1.0,), values)
    assert float(found.abs().sum()) == pytest.approx(float(values.abs().sum()), rel=1e-5)
    ratios = found[found != 0] / values[found != 0]
    assert float(ratios.max() - ratios.min()) < 1e-5


def test_one_epsilon_per_model() -> None:
    found = change(DellaLinear(0.5, (0.1, 0.3)), (1.0, 1.0), *MODELS[:2], names="ab")
    first = change(DellaLinear(0.5, 0.1), (1.0,), MODELS[0], names="a")
    torch.testing.assert_close(found, first + change(DellaLinear(0.5, 0.3), (1.0,), MODELS[1], names="b"))
    with pytest.raises(ValueError, match="one epsilon per model"):
        change(DellaLinear(0.5, (0.1,)), (1.0, 1.0), *MODELS[:2])


def test_coefficients_that_sum_to_zero() -> None:
    with pytest.raises(CandidateError):
        change(DellaLinear(normalize=True), (1.0, -1.0), draw(5), draw(5))
    released = DellaLinear(normalize=True, convention="mergekit")
    assert torch.equal(change(released, (1.0, -1.0), draw(5), torch.zeros(5)), draw(5))


def test_density_zero_leaves_the_base() -> None:
    assert torch.equal(merge_tensor(DellaLinear(0.0), (1.0, 0.5, 2.0), MODELS, base=BASE), BASE)
