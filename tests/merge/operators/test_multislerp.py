from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.karcher import Karcher
from searcher.merge.operators.multislerp import MultiSlerp
from searcher.merge.operators.slerp import Slerp

RELEASED = MultiSlerp(convention="mergekit")


def draw(k: int, *shape: int, seed: int = 0, size: float = 0.6) -> list[torch.Tensor]:
    values = torch.randn(k + 1, *shape, generator=torch.Generator().manual_seed(seed))
    return [values[0] + size * other for other in values[1:]]


def mean_direction(models: list[torch.Tensor], weights: tuple[float, ...]) -> torch.Tensor:
    """Normalised weighted mean of the directions, times the weighted mean length."""
    total = sum(weights)
    shares = [w / total for w in weights]
    mean = torch.stack([w * m.double() / m.double().norm() for w, m in zip(shares, models, strict=True)]).sum(dim=0)
    length = sum(w * float(m.double().norm()) for w, m in zip(shares, models, strict=True))
    merged: torch.Tensor = mean / mean.norm() * length
    return merged.float()


@given(t=st.floats(0.0, 1.0), angle=st.floats(0.1, 3.0), scale=st.floats(0.1, 10.0))
def test_two_models_of_equal_length_are_slerp(t: float, angle: float, scale: float) -> None:
    ends = [torch.tensor([1.0, 0.0]), torch.tensor([math.cos(angle), math.sin(angle)])]
    found = merge_tensor(MultiSlerp(), (scale * (1 - t), scale * t), ends)
    torch.testing.assert_close(found, merge_tensor(Slerp(1.0), (1 - t, t), ends), rtol=0, atol=2e-6)


@given(seed=st.integers(0, 1000), weights=st.tuples(*[st.floats(0.05, 1.0)] * 3))
def test_mergekit_normalises_the_mean_direction(seed: int, weights: tuple[float, ...]) -> None:
    models = draw(3, 15, seed=seed)
    found = merge_tensor(RELEASED, weights, models)
    torch.testing.assert_close(found, mean_direction(models, weights), rtol=1e-6, atol=1e-6)


def test_is_one_step_of_the_mean_on_the_sphere() -> None:
    models, weights = draw(4, 25, size=1.5), (0.1, 0.3, 0.2, 0.4)
    found = merge_tensor(MultiSlerp(), weights, models)
    torch.testing.assert_close(found, merge_tensor(Karcher(max_iter=1, tol=0.0), weights, models))
    mean = merge_tensor(Karcher(max_iter=100, tol=1e-12), weights, models)
    released = merge_tensor(RELEASED, weights, models)
    assert 0.0 < float((found - mean).norm()) < 0.2 * float((released - mean).norm())


@pytest.mark.parametrize("operator", [MultiSlerp(), RELEASED])
def test_turns_task_vectors_around_a_base(operator: MultiSlerp) -> None:
    base, models = torch.ones(20), draw(3, 20)
    found = merge_tensor(operator, (1.0, 2.0, 3.0), [base + m for m in models], base=base)
    torch.testing.assert_close(found, base + merge_tensor(operator, (1.0, 2.0, 3.0), models), rtol=0, atol=2e-6)
    weights = merge_tensor(MultiSlerp(deltas=False), (1.0, 2.0, 3.0), models, base=base)
    assert torch.equal(weights, merge_tensor(MultiSlerp(), (1.0, 2.0, 3.0), models))


@pytest.mark.parametrize("operator", [MultiSlerp(), RELEASED])
def test_order_of_models_and_scale_of_weights_are_irrelevant(operator: MultiSlerp) -> None:
    models = draw(3, 40)
    turned = merge_tensor(operator, (1.8, 0.4, 0.6), [models[2], *models[:2]])
    torch.testing.assert_close(turned, merge_tensor(operator, (0.2, 0.3, 0.9), models))


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_without_normalisation_the_sum_scales_the_length(convention: str) -> None:
    models, weights = draw(3, 12), (0.4, 0.6, 2.0)
    plain = MultiSlerp(normalize_weights=False, convention=convention)  # type: ignore[arg-type]
    normal = merge_tensor(MultiSlerp(convention=convention), weights, models)  # type: ignore[arg-type]
    torch.testing.assert_close(merge_tensor(plain, weights, models), 3.0 * normal)


@pytest.mark.parametrize("operator", [MultiSlerp(), RELEASED])
def test_what_has_no_mean(operator: MultiSlerp) -> None:
    a, zero = torch.tensor([3.0, 4.0]), torch.zeros(2)
    assert merge_tensor(operator, (0.5, 0.5), [a, -a]).tolist() == [0.0, 0.0]
    torch.testing.assert_close(merge_tensor(operator, (0.25, 0.75), [a, zero]), a / 4)
    for n in (1, 2, 3):
        assert torch.equal(merge_tensor(operator, (0.5,) * n, [a] * n, base=a), a)
    assert merge_tensor(operator, (1.0, 1.0), [torch.ones(0, 2)] * 2).shape == (0, 2)
    torch.testing.assert_close(merge_tensor(operator, (0.3, 0.0, 0.0), [a, a + 1.0, a - 1.0]), a)
    with pytest.raises(CandidateError):
        merge_tensor(operator, (0.5, -0.5), [a, torch.ones(2)])


def test_three_directions_that_cancel() -> None:
    models = [
        torch.tensor([math.cos(w), math.sin(w)], dtype=torch.float64) for w in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)
    ]
    found = merge_tensor(MultiSlerp(), (1.0, 1.0, 1.0), models)
    assert float(found.abs().max()) < 1e-7
    exact = [torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 0.0]), torch.zeros(2)]
    with pytest.raises(CandidateError, match="cancel") as caught:
        merge_tensor(RELEASED, (1.0, 1.0, 1.0), exact)
    assert caught.value.error_class == "NoMeanDirection"


def test_eps_shrinks_short_vectors() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1e-3])
    found = merge_tensor(MultiSlerp(eps=1e-3, convention="mergekit"), (0.5, 0.5), [a, b])
    assert float(found[1] / found[0]) == pytest.approx(0.5 * 1.001, rel=1e-5)


def test_one_model_is_that_model() -> None:
    (a,) = draw(1, 5)
    for operator in (MultiSlerp(), RELEASED, MultiSlerp(normalize_weights=False, convention="mergekit")):
        torch.testing.assert_close(merge_tensor(operator, (0.3,), [a]), a, rtol=1e-7, atol=0)
    torch.testing.assert_close(merge_tensor(MultiSlerp(normalize_weights=False), (0.3,), [a]), 0.3 * a)
