from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.nuslerp import NuSlerp
from searcher.merge.operators.slerp import Slerp

CONVENTIONS = pytest.mark.parametrize("convention", ["paper", "mergekit"])


def draw(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A base and two models."""
    base, a, b = torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed))
    return base, base + 0.1 * a, base + 0.3 * b


def on_arc(a: torch.Tensor, b: torch.Tensor, t: float) -> torch.Tensor:
    """Closed form in float64."""
    x, y = a.double(), b.double()
    angle = math.acos(float((x * y).sum() / x.norm() / y.norm()))
    merged = (math.sin((1 - t) * angle) * x + math.sin(t * angle) * y) / math.sin(angle)
    return merged.float()


@given(angle=st.floats(0.04, 3.1), t=st.floats(0.0, 1.0), scale=st.floats(0.01, 100.0))
def test_is_slerp_between_two_models(angle: float, t: float, scale: float) -> None:
    first, second = torch.tensor([1.0, 0.0]), 2.0 * torch.tensor([math.cos(angle), math.sin(angle)])
    found = merge_tensor(NuSlerp(), ((1 - t) * scale, t * scale), [first, second])
    torch.testing.assert_close(found, merge_tensor(Slerp(), (1 - t, t), [first, second]), rtol=1e-5, atol=1e-6)


@CONVENTIONS
def test_turns_task_vectors_around_a_base(convention: str) -> None:
    base, a, b = draw(6, 7)
    found = merge_tensor(NuSlerp(convention=convention), (1.0, 3.0), [a, b], base=base)  # type: ignore[arg-type]
    torch.testing.assert_close(found, base + on_arc(a - base, b - base, 0.75), rtol=1e-6, atol=1e-6)
    weights = merge_tensor(NuSlerp(deltas=False, convention=convention), (1.0, 3.0), [a, b], base=base)  # type: ignore[arg-type]
    torch.testing.assert_close(weights, on_arc(a, b, 0.75), rtol=1e-6, atol=1e-6)


@CONVENTIONS
@pytest.mark.parametrize("settings", [{}, {"flatten": False}, {"flatten": False, "row_wise": True}])
def test_meets_both_ends(convention: str, settings: dict[str, bool]) -> None:
    _, a, b = draw(5, 4)
    operator = NuSlerp(**settings, convention=convention)  # type: ignore[arg-type]
    torch.testing.assert_close(merge_tensor(operator, (2.0, 0.0), [a, b]), a, rtol=2e-7, atol=0)
    torch.testing.assert_close(merge_tensor(operator, (0.0, 2.0), [a, b]), b, rtol=2e-7, atol=0)


@CONVENTIONS
@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)])
def test_one_angle_per_vector(convention: str, shape: tuple[int, ...]) -> None:
    base, a, b = draw(*shape)
    rows = merge_tensor(NuSlerp(flatten=False, convention=convention), (0.4, 0.6), [a, b], base=base)  # type: ignore[arg-type]
    columns = merge_tensor(
        NuSlerp(flatten=False, row_wise=True, convention=convention),  # type: ignore[arg-type]
        (0.4, 0.6), [a, b], base=base,
    )  # fmt: skip
    for index in np.ndindex(*shape[:-1]):
        expected = base[index] + on_arc(a[index] - base[index], b[index] - base[index], 0.6)
        torch.testing.assert_close(rows[index], expected, rtol=1e-6, atol=1e-6)
    for index in np.ndindex(*shape[1:]):
        column = (slice(None), *index)
        expected = base[column] + on_arc(a[column] - base[column], b[column] - base[column], 0.6)
        torch.testing.assert_close(columns[column], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("row_wise", [False, True])
def test_a_tensor_of_one_axis_is_one_vector(row_wise: bool) -> None:
    base, a, b = draw(9)
    found = merge_tensor(NuSlerp(flatten=False, row_wise=row_wise), (0.4, 0.6), [a, b], base=base)
    assert torch.equal(found, merge_tensor(NuSlerp(), (0.4, 0.6), [a, b], base=base))


def test_coefficients_that_sum_to_zero_count_as_equal() -> None:
    _, a, b = draw(9)
    middle = merge_tensor(NuSlerp(), (1.0, 1.0), [a, b])
    assert torch.equal(merge_tensor(NuSlerp(), (0.5, -0.5), [a, b]), middle)
    assert torch.equal(merge_tensor(NuSlerp(), (0.0, 0.0), [a, b]), middle)


@given(angle=st.floats(1e-6, 0.03), t=st.floats(0.0, 1.0))
def test_small_angles_are_on_the_circle(angle: float, t: float) -> None:
    ends = [torch.tensor([1.0, 0.0]), torch.tensor([math.cos(angle), math.sin(angle)])]
    found = merge_tensor(NuSlerp(), (1 - t, t), ends)
    torch.testing.assert_close(found, torch.tensor([math.cos(t * angle), math.sin(t * angle)]), rtol=1e-6, atol=1e-10)


def test_opposite_and_zero_vectors_are_interpolated_linearly() -> None:
    first, zero = torch.tensor([3.0, 4.0]), torch.zeros(2)
    assert merge_tensor(NuSlerp(), (0.75, 0.25), [first, -first]).tolist() == [1.5, 2.0]
    assert merge_tensor(NuSlerp(), (0.75, 0.25), [first, zero]).tolist() == [2.25, 3.0]
    assert merge_tensor(NuSlerp(), (0.75, 0.25), [zero, zero], base=first).tolist() == [-0.0, 0.0]


def test_for_mergekit_a_zero_vector_is_at_a_right_angle() -> None:
    first = torch.tensor([3.0, 4.0])
    found = merge_tensor(NuSlerp(convention="mergekit"), (0.5, 0.5), [first, torch.zeros(2)])
    torch.testing.assert_close(found, first * math.sqrt(0.5))


@CONVENTIONS
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (1, 1)])
@pytest.mark.parametrize("row_wise", [False, True])
def test_tiny_tensors(convention: str, shape: tuple[int, ...], row_wise: bool) -> None:
    operator = NuSlerp(flatten=False, row_wise=row_wise, convention=convention)  # type: ignore[arg-type]
    ones = torch.ones(shape)
    found = merge_tensor(operator, (0.5, 0.5), [ones, 3.0 * ones], base=-ones)
    torch.testing.assert_close(found, 2.0 * ones)


@CONVENTIONS
@pytest.mark.parametrize("settings", [{}, {"flatten": False}, {"flatten": False, "row_wise": True}])
def test_equal_models_are_that_model(convention: str, settings: dict[str, bool]) -> None:
    base, a, _ = draw(5, 4)
    operator = NuSlerp(**settings, convention=convention)  # type: ignore[arg-type]
    torch.testing.assert_close(merge_tensor(operator, (0.2, 0.7), [a, a], base=base), a, rtol=0, atol=1e-6)
    assert torch.equal(merge_tensor(operator, (0.2, 0.7), [base, base], base=base), base)
