from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.karcher import Karcher
from searcher.merge.operators.slerp import Slerp

EXACT = Karcher(max_iter=200, tol=1e-12)


def draw(k: int, *shape: int, seed: int = 0) -> list[torch.Tensor]:
    """Models near one another, with a spread of about 40 degrees."""
    values = torch.randn(k + 1, *shape, generator=torch.Generator().manual_seed(seed))
    return [values[0] + 0.6 * other for other in values[1:]]


def spread(point: torch.Tensor, models: list[torch.Tensor], weights: tuple[float, ...]) -> float:
    """Weighted sum of squared angles."""
    p = point.double().flatten() / point.double().norm()
    units = [m.double().flatten() / m.double().norm() for m in models]
    return sum(w * float(torch.arccos((p @ u).clamp(-1, 1))) ** 2 for w, u in zip(weights, units, strict=True))


def test_two_models_of_equal_length_are_slerp_at_one_half() -> None:
    a, b = draw(2, 30)
    b = b * a.norm() / b.norm()
    torch.testing.assert_close(merge_tensor(EXACT, (1.0, 1.0), [a, b]), merge_tensor(Slerp(1.0), (0.5, 0.5), [a, b]))


@given(t=st.floats(0.0, 1.0), angle=st.floats(0.1, 3.0))
def test_weights_of_two_models_are_a_position_on_the_arc(t: float, angle: float) -> None:
    ends = [torch.tensor([1.0, 0.0]), torch.tensor([math.cos(angle), math.sin(angle)])]
    found = merge_tensor(EXACT, (1 - t, t), ends)
    torch.testing.assert_close(found, torch.tensor([math.cos(t * angle), math.sin(t * angle)]), rtol=0, atol=1e-6)


@given(seed=st.integers(0, 1000), weights=st.tuples(*[st.floats(0.1, 1.0)] * 3))
def test_no_direction_nearby_has_a_smaller_weighted_spread(seed: int, weights: tuple[float, ...]) -> None:
    models = draw(3, 12, seed=seed)
    total = sum(weights)
    shares = tuple(w / total for w in weights)
    found = merge_tensor(EXACT, weights, [m.double() for m in models], dtype=torch.float64)
    least = spread(found, models, shares)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(5):
        for step in (0.03, 0.3):
            moved = found + step * found.norm() * torch.nn.functional.normalize(
                torch.randn(12, generator=generator, dtype=torch.float64), dim=0
            )
            assert spread(moved, models, shares) > least


def test_length_is_the_weighted_mean_length() -> None:
    models = draw(4, 5, 6)
    weights = (0.1, 0.2, 0.3, 0.4)
    expected = sum(w * float(m.norm()) for w, m in zip(weights, models, strict=True))
    assert float(merge_tensor(Karcher(), weights, models).norm()) == pytest.approx(expected, rel=1e-6)


def test_order_of_models_and_scale_of_weights_are_irrelevant() -> None:
    models = draw(3, 40)
    found = merge_tensor(Karcher(), (0.2, 0.3, 0.9), models)
    torch.testing.assert_close(
        merge_tensor(Karcher(), (1.8, 0.4, 0.6), [models[2], *models[:2]]), found, rtol=0, atol=1e-5
    )
    turned = merge_tensor(EXACT, (1.8, 0.4, 0.6), [models[2], *models[:2]])
    torch.testing.assert_close(turned, merge_tensor(EXACT, (0.2, 0.3, 0.9), models))


def test_turns_task_vectors_on_request() -> None:
    base, models = torch.ones(20), draw(3, 20)
    found = merge_tensor(Karcher(deltas=True), (1.0, 2.0, 3.0), [base + m for m in models], base=base)
    torch.testing.assert_close(found, base + merge_tensor(Karcher(), (1.0, 2.0, 3.0), models), rtol=0, atol=2e-6)
    ignored = merge_tensor(Karcher(), (1.0, 2.0, 3.0), models, base=base)
    assert torch.equal(ignored, merge_tensor(Karcher(), (1.0, 2.0, 3.0), models))


@pytest.mark.parametrize("operator", [Karcher(), Karcher(convention="mergekit")])
def test_what_has_no_mean(operator: Karcher) -> None:
    a = torch.tensor([3.0, 4.0])
    assert torch.equal(merge_tensor(operator, (1.0, 1.0), [a, -a]), a)
    torch.testing.assert_close(merge_tensor(operator, (1.0, 1.0), [a, torch.zeros(2)]), a / 2)
    assert merge_tensor(operator, (1.0, 1.0), [torch.zeros(2)] * 2).tolist() == [0.0, 0.0]
    assert torch.equal(merge_tensor(operator, (0.3,), [a]), a)
    assert torch.equal(merge_tensor(operator, (0.3, 0.0), [a, torch.ones(2)]), a)
    assert merge_tensor(operator, (1.0, 1.0), [torch.ones(0, 2)] * 2).shape == (0, 2)
    with pytest.raises(CandidateError):
        merge_tensor(operator, (0.5, -0.5), [a, torch.ones(2)])


def test_short_vectors_count_in_full() -> None:
    models = draw(3, 20)
    short = [1e-7 * m for m in models]
    found = merge_tensor(Karcher(), (1.0, 1.0, 1.0), short)
    torch.testing.assert_close(found * 1e7, merge_tensor(Karcher(), (1.0, 1.0, 1.0), models), rtol=1e-4, atol=1e-5)
    assert not merge_tensor(Karcher(convention="mergekit"), (1.0, 1.0, 1.0), short).any()


def test_equal_models_are_that_model() -> None:
    (a,) = draw(1, 4, 5)
    torch.testing.assert_close(merge_tensor(Karcher(), (0.2, 0.7, 0.1), [a, a, a]), a, rtol=0, atol=1e-6)


def test_steps_that_grow_are_not_taken() -> None:
    models = [*torch.eye(3)]
    few, many = (merge_tensor(Karcher(max_iter=n), (0.9, -0.6, 0.5), models) for n in (1, 50))
    assert torch.equal(few, many)
    far = merge_tensor(EXACT, (0.8, -0.16, 0.4), models)  # these converge
    torch.testing.assert_close(merge_tensor(Karcher(max_iter=20), (0.8, -0.16, 0.4), models), far, rtol=0, atol=1e-5)


@given(weights=st.tuples(*[st.floats(-2.0, 2.0)] * 4))
def test_never_nan(weights: tuple[float, ...]) -> None:
    try:
        found = merge_tensor(Karcher(), weights, draw(4, 6))
    except CandidateError:
        assert abs(sum(weights)) < 1e-6
        return
    assert np.isfinite(found.numpy()).all()
