from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.arcee_fusion import ArceeFusion

CONVENTIONS = pytest.mark.parametrize("convention", ["paper", "mergekit"])
EVERYTHING = -100.0  # a multiplier


def draw(*shape: int, size: float = 0.05, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    base, change = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))
    return base, base + size * change


def importance(base: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """In float64."""
    vector = (model - base).double()
    return vector.abs() * vector.var(dim=-1, correction=0, keepdim=True) / 2


@pytest.mark.parametrize("shape", [(60, 40), (5, 12, 40), (2000,)])
@pytest.mark.parametrize("multiplier", [0.0, 1.5, 3.0])
def test_keeps_what_stands_out(shape: tuple[int, ...], multiplier: float) -> None:
    base, model = draw(*shape)
    found = merge_tensor(ArceeFusion(multiplier=multiplier), (1.0,), [model], base=base)
    kept, score = found != base, importance(base, model)
    first, median, third = np.quantile(score.numpy(), [0.25, 0.5, 0.75])
    torch.testing.assert_close(found[kept], model[kept], rtol=2e-7, atol=2e-7)
    threshold = float(median + multiplier * (third - first))
    assert float(score[kept].min()) >= threshold * 0.99
    assert float(score[~kept].max()) <= threshold * 1.01


def test_keeps_a_seventh_of_normal_task_vectors() -> None:
    base, model = draw(300, 100)
    kept = merge_tensor(ArceeFusion(), (1.0,), [model], base=base) != base
    assert 0.06 < float(kept.float().mean()) < 0.16


@CONVENTIONS
def test_a_low_multiplier_keeps_everything(convention: str) -> None:
    base, model = draw(20, 30)
    operator = ArceeFusion(multiplier=EVERYTHING, convention=convention)  # type: ignore[arg-type]
    torch.testing.assert_close(merge_tensor(operator, (1.0,), [model], base=base), model, rtol=2e-7, atol=2e-7)


@given(c=st.floats(-2.0, 2.0))
def test_the_coefficient_scales_what_is_kept(c: float) -> None:
    base, model = draw(12, 30)
    for convention in ("paper", "mergekit"):
        operator = ArceeFusion(convention=convention)
        full = merge_tensor(operator, (1.0,), [model], base=base) - base
        found = merge_tensor(operator, (c,), [model], base=base) - base
        torch.testing.assert_close(found, c * full, rtol=0, atol=1e-6)


def test_the_divergence_is_half_the_variance_where_mergekit_can_resolve_it() -> None:
    base, model = draw(40, 500, size=0.05)
    base, model = 0.02 * base, 0.02 * base + (model - base)
    score = importance(base, model)
    released = merge_tensor(ArceeFusion(convention="mergekit"), (1.0,), [model], base=base) != base
    paper = merge_tensor(ArceeFusion(), (1.0,), [model], base=base) != base
    assert float((released == paper).float().mean()) > 0.99
    assert float(score[released].mean()) > 2 * float(score[~released].mean())


@CONVENTIONS
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (4, 1)])
def test_tiny_tensors(convention: str, shape: tuple[int, ...]) -> None:
    operator = ArceeFusion(convention=convention)  # type: ignore[arg-type]
    ones = torch.ones(shape)
    assert torch.equal(merge_tensor(operator, (1.0,), [3 * ones], base=ones), 3 * ones)


@CONVENTIONS
def test_an_unchanged_model_is_the_base(convention: str) -> None:
    base, _ = draw(6, 7)
    operator = ArceeFusion(convention=convention)  # type: ignore[arg-type]
    assert torch.equal(merge_tensor(operator, (1.0,), [base], base=base), base)
