from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.model_stock import ModelStock

RELEASED = ModelStock(convention="mergekit")


def draw(
    k: int, *shape: int, seed: int = 0, shared: float = 1.0, size: float = 0.1
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A base and models whose task vectors have a part in common."""
    base, common, *rest = torch.randn(k + 2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return base.float(), [(base + size * (shared * common + own)).float() for own in rest]


def published(base: torch.Tensor, models: list[torch.Tensor]) -> tuple[float, torch.Tensor]:
    """``t`` and the merge in float64."""
    vectors = [(m - base).double().flatten() for m in models]
    cosine = np.mean([float(a @ b / a.norm() / b.norm()) for a, b in combinations(vectors, 2)])
    n = len(models)
    t = float(n * cosine / (1 + (n - 1) * cosine))
    average = sum(m.double() for m in models) / n
    return t, (t * average + (1 - t) * base.double()).float()


@pytest.mark.parametrize("operator", [ModelStock(), RELEASED])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_equal_coefficients_are_the_published_operator(operator: ModelStock, k: int) -> None:
    base, models = draw(k, 8, 9)
    _, expected = published(base, models)
    found = merge_tensor(operator, (0.7,) * k, models, base=base)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_t_scale_multiplies_the_change() -> None:
    base, models = draw(3, 20)
    full = merge_tensor(ModelStock(), (1.0,) * 3, models, base=base) - base
    half = merge_tensor(ModelStock(t_scale=0.5), (1.0,) * 3, models, base=base) - base
    torch.testing.assert_close(half, 0.5 * full, rtol=0, atol=1e-6)


@given(weights=st.tuples(*[st.floats(0.1, 1.0)] * 3), seed=st.integers(0, 100))
def test_unequal_coefficients_reach_the_point_nearest_to_the_centre(weights: tuple[float, ...], seed: int) -> None:
    basis = torch.linalg.qr(torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q.T
    centre, models = 2.0 * basis[0], [2.0 * basis[0] + basis[k] for k in (1, 2, 3)]  # equal lengths and angles
    found = merge_tensor(ModelStock(), weights, models, base=torch.zeros_like(centre))
    mean = sum(w * m for w, m in zip(weights, models, strict=True)) / sum(weights)
    nearest = (centre @ mean) / (mean @ mean) * mean
    torch.testing.assert_close(found, nearest, rtol=1e-5, atol=1e-6)


def test_one_t_per_row() -> None:
    base, models = draw(3, 4, 5, 6)
    found = merge_tensor(ModelStock(filter_wise=True), (1.0,) * 3, models, base=base)
    for index in np.ndindex(4, 5):
        t, expected = published(base[index], [m[index] for m in models])
        torch.testing.assert_close(found[index], expected if t > 0 else base[index], rtol=1e-6, atol=1e-6)
    released = merge_tensor(ModelStock(filter_wise=True, convention="mergekit"), (1.0,) * 3, models, base=base)
    _, expected = published(base[0, 0], [m[0, 0] for m in models])
    torch.testing.assert_close(released[0, 0], expected, rtol=1e-6, atol=1e-6)


def test_order_of_models_and_scale_of_coefficients_are_irrelevant() -> None:
    base, models = draw(3, 20)
    c = (0.2, 0.5, 0.9)
    expected = merge_tensor(ModelStock(), c, models, base=base)
    for order in permutations(range(3)):
        found = merge_tensor(ModelStock(), tuple(3 * c[k] for k in order), [models[k] for k in order], base=base)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@given(c=st.tuples(*[st.floats(0.1, 2.0)] * 3))
def test_equal_models_are_that_model(c: tuple[float, ...]) -> None:
    base, models = draw(1, 12)
    for operator in (ModelStock(), RELEASED, ModelStock(filter_wise=True)):
        torch.testing.assert_close(merge_tensor(operator, c, models * 3, base=base), models[0], rtol=0, atol=1e-6)


def test_a_coefficient_of_zero_leaves_a_model_out() -> None:
    base, models = draw(3, 20)
    two = merge_tensor(ModelStock(), (1.0, 1.0), models[:2], base=base)
    assert torch.equal(merge_tensor(ModelStock(), (1.0, 1.0, 0.0), models, base=base), two)
    alone = merge_tensor(ModelStock(), (0.0, 0.4, 0.0), models, base=base)
    torch.testing.assert_close(alone, models[1], rtol=0, atol=1e-6)
    with pytest.raises(CandidateError):
        merge_tensor(ModelStock(), (1.0, -1.0, 0.0), models, base=base)


def test_task_vectors_that_disagree() -> None:
    base, change = torch.ones(2), torch.tensor([1.0, 0.0])
    opposed = [base + change, base - change]
    assert torch.equal(merge_tensor(ModelStock(), (1.0, 3.0), opposed, base=base), base)
    assert torch.equal(merge_tensor(RELEASED, (1.0, 1.0), opposed, base=base), base)  # divisor 0
    wide = [base + change, base + torch.tensor([-0.6, 0.8])]
    assert torch.equal(merge_tensor(ModelStock(), (1.0, 1.0), wide, base=base), base)
    t, expected = published(base, wide)
    assert t == pytest.approx(-3.0)
    torch.testing.assert_close(merge_tensor(RELEASED, (1.0, 1.0), wide, base=base), expected)


def test_only_mergekit_draws_small_task_vectors_to_the_base() -> None:
    common, *own = 1e-5 / 2**0.5 * torch.randn(3, 4096, generator=torch.Generator().manual_seed(0))
    base, models = torch.zeros(4096), [common + one for one in own]
    t, expected = published(base, models)
    torch.testing.assert_close(merge_tensor(ModelStock(), (1.0, 1.0), models, base=base), expected)
    shrunk = merge_tensor(RELEASED, (1.0, 1.0), models, base=base)
    assert t == pytest.approx(2 / 3, abs=0.03)
    assert float(shrunk.norm() / expected.norm()) < 0.7


@pytest.mark.parametrize("operator", [ModelStock(), RELEASED, ModelStock(filter_wise=True)])
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (2, 1)])
def test_tiny_tensors_and_zero_task_vectors(operator: ModelStock, shape: tuple[int, ...]) -> None:
    ones = torch.ones(shape)
    assert torch.equal(merge_tensor(operator, (1.0, 1.0), [ones, ones], base=ones), ones)
    torch.testing.assert_close(merge_tensor(operator, (1.0, 1.0), [3 * ones, 3 * ones], base=ones), 3 * ones)
    assert torch.equal(merge_tensor(operator, (1.0, 1.0), [3 * ones, ones], base=ones), ones)
