"""What must hold for every registered operator."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.merge_tensor import merge_tensor, run
from searcher.merge.operators.base import OPERATORS, Setting, make_operator
from searcher.merge.plan import TensorPlan
from tests.merge.merging import NAME, draw, facts_of, in_stretches
from tests.merge.operator_references import REFERENCES

NAMES = [n for n in OPERATORS.names() if OPERATORS.get(n).__module__.startswith("searcher.merge.operators")]
LIMITED = ("nearswap", "arcee_fusion")  # take only part of a model over
SUMMED = ("task_arithmetic", "dare_linear", "della_linear", "breadcrumbs")
ELECTING = {"vote": "unweighted", "normalize": True, "lambda": 0.7}
VARIANTS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "linear": ({}, {"normalize": False}),
    "task_arithmetic": ({}, {"lambda": 0.4}, {"normalize": True, "lambda": -1.5}),
    "slerp": ({}, {"threshold": 1.0}, {"threshold": 0.0}),
    "nuslerp": ({}, {"deltas": False}),
    "model_stock": ({}, {"t_scale": 1.3}),
    "nearswap": ({}, {"t": 0.3}),
    "ties": ({}, {"density": 0.37}, {"density": 0.5, "vote": "unweighted", "lambda": 2.0},
             {"density": 0.2, "normalize": False}),
    "breadcrumbs": ({}, {"density": 0.6, "gamma": 0.1}, {"density": 0.9, "gamma": 0.3, "normalize": True}),
    "breadcrumbs_ties": ({}, {"density": 0.6, "gamma": 0.1}, {"density": 0.4, **ELECTING}),
    "dare_linear": ({}, {"density": 0.4}, {"density": 0.7, "seed": 5, "rescale": False, "normalize": True}),
    "dare_ties": ({}, {"density": 0.4}, {"density": 0.7, "seed": 5, **ELECTING}),
    "della": ({}, {"density": 0.4}, {"density": 0.9, "seed": 5, "normalize": False}, {"density": 0.5, **ELECTING}),
    "della_linear": ({}, {"density": 0.4, "epsilon": 0.3}, {"density": 0.7, "seed": 5, "rescale": False}),
    "sce": ({}, {"select_topk": 0.3}, {"select_topk": 0.8, "exponent": 0.5, "lambda": 1.5}),
    "ram": ({}, {"epsilon": 0.4}),
    "ramplus_tl": ({}, {"epsilon": 0.4, "r": 1.0, "alpha": 2.0}),
}  # fmt: skip


def n_models(name: str) -> int:
    return min(3, OPERATORS.get(name).n_models[1] or 3)


CASES = [(name, chosen) for name in NAMES for chosen in VARIANTS.get(name, ({},))]
CONVENTIONS = [
    *CASES,
    *(
        (name, chosen | {"convention": "mergekit"})
        for name, chosen in CASES
        if "convention" in OPERATORS.get(name).settings()
        if (name, chosen.get("density")) != ("della", 0.9)  # mergekit refuses it
    ),
]
SEVERAL = [(name, chosen) for name, chosen in CONVENTIONS if n_models(name) > 1]
WHOLE = [(name, chosen) for name, chosen in CONVENTIONS if name not in LIMITED]
WITH_BASE = [(name, chosen) for name, chosen in CONVENTIONS if OPERATORS.get(name).needs_base]

SHAPES = ((), (1,), (0,), (3, 0), (0, 3), (6, 1), (1, 6), (2, 3, 4), (2, 1, 3, 2))
each_convention = pytest.mark.parametrize(("name", "chosen"), CONVENTIONS, ids=str)


def pool(name: str, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """A base, and models around it."""
    base, *changes = (draw(*shape, seed=10 * seed + k) for k in range(n_models(name) + 1))
    return [tensor.to(dtype) for tensor in (base, *(base + 0.5 * change for change in changes))]


def coefficients_of(name: str, *, signed: bool = False) -> tuple[float, ...]:
    return (0.3, -0.9 if signed else 0.9, 0.45)[: n_models(name)]


def merge(name: str, chosen: dict[str, Any], tensors: list[torch.Tensor], **options: Any) -> torch.Tensor:
    base, *models = tensors
    c = options.pop("c", coefficients_of(name))
    merged: torch.Tensor = merge_tensor(make_operator(name, chosen), c, models, base=base, name=NAME, **options)
    return merged


def test_every_operator_has_variants_or_tests_of_its_own() -> None:
    assert set(VARIANTS) <= set(NAMES)
    assert set(REFERENCES) <= set(NAMES)
    folder = Path(__file__).parent / "operators"
    assert [name for name in NAMES if not (folder / f"test_{name}.py").exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_default_a_meaning_and_a_legal_range(name: str) -> None:
    cls = OPERATORS.get(name)
    assert make_operator(name, {}) == make_operator(name, cls.settings())
    assert cls.reference
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        (described,) = hints[field.name].__metadata__
        assert described.help
        if isinstance(described, Setting):
            for legal in (described.low, described.high, field.default):
                make_operator(name, {field.name.rstrip("_"): legal})


@pytest.mark.parametrize("shape", [(), (1,), (2,), (7,), (8, 12), (3, 4, 5)], ids=str)
@pytest.mark.parametrize(("name", "chosen"), [case for case in CASES if case[0] in REFERENCES], ids=str)
def test_agrees_with_float64(name: str, chosen: dict[str, Any], shape: tuple[int, ...]) -> None:
    base, *models = pool(name, *shape, seed=len(shape))
    numbers = base.double().numpy(), torch.stack(models).double().numpy()
    for c in (coefficients_of(name), coefficients_of(name, signed=True)):
        found = merge(name, chosen, [base, *models], c=c)
        expected = REFERENCES[name](np.array(c), *numbers, chosen)
        assert (found.shape, found.dtype) == (shape, torch.float32)
        size = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found.numpy(), expected, rtol=3e-6, atol=3e-6 * size)


@each_convention
def test_tensors_are_not_changed(name: str, chosen: dict[str, Any]) -> None:
    tensors = pool(name, 50)
    before = [tensor.clone() for tensor in tensors]
    merged = [merge(name, chosen, tensors), merge(name, chosen, tensors, c=(1.0, *[0.0] * (n_models(name) - 1)))]
    for tensor, copy in zip(tensors, before, strict=True):
        assert torch.equal(tensor, copy)
        assert tensor.data_ptr() not in {one.data_ptr() for one in merged}


@each_convention
def test_equal_calls_give_equal_bits(name: str, chosen: dict[str, Any]) -> None:
    tensors = pool(name, 9, 11)
    assert torch.equal(merge(name, chosen, tensors), merge(name, chosen, tensors))


@pytest.mark.parametrize(("name", "chosen"), WHOLE, ids=str)
def test_copies_of_one_model_are_that_model(name: str, chosen: dict[str, Any]) -> None:
    neutral = {"lambda": 1.0, "density": 1.0, "select_topk": 1.0, "t_scale": 1.0, "epsilon": 0.0}
    kept = chosen | {key: value for key, value in neutral.items() if key in OPERATORS.get(name).settings()}
    n = n_models(name)
    counted = name in ("ram", "ramplus_tl", "model_stock") or n == 1
    c = (1.0,) * n if counted else tuple(x / n for x in (1.5, 0.5, 1.0)[:n])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        base, model, *_ = pool(name, 64, dtype=dtype)
        merged = merge(name, kept, [base, *[model] * n], c=c)
        assert merged.dtype == dtype
        torch.testing.assert_close(merged, model, rtol=max(2e-6, 2 * torch.finfo(dtype).eps), atol=2e-6)


@pytest.mark.parametrize(("name", "chosen"), SEVERAL, ids=str)
def test_order_of_models_is_irrelevant(name: str, chosen: dict[str, Any]) -> None:
    base, *models = pool(name, 10, 20)
    c, names = coefficients_of(name), ["x", "y", "z"][: len(models)]
    expected = merge(name, chosen, [base, *models], names=names)
    found = merge(name, chosen, [base, *models[::-1]], c=c[::-1], names=names[::-1])
    torch.testing.assert_close(found, expected, rtol=5e-6, atol=5e-6)


@each_convention
@settings(max_examples=5)
@given(cuts=st.sets(st.integers(1, 149), max_size=12), coarse=st.booleans())
def test_same_bits_for_any_stretches(name: str, chosen: dict[str, Any], cuts: set[int], coarse: bool) -> None:
    base, *models = pool(name, 10, 15)
    if coarse:  # many equal magnitudes
        base, *models = ((4 * tensor).round() / 4 for tensor in (base, *models))
    facts, operator, c = facts_of(base, models), make_operator(name, chosen), coefficients_of(name)
    plan, whole = operator.plan(c, facts), torch.full((150,), torch.nan)
    if isinstance(plan, TensorPlan):
        run(plan, facts, whole)
        assert torch.equal(in_stretches(operator, c, facts, cuts), whole)


@pytest.mark.parametrize(("name", "chosen"), WITH_BASE, ids=str)
def test_task_vectors_may_be_given_in_place_of_weights(name: str, chosen: dict[str, Any]) -> None:
    base, *models = (4 * t.round() / 8 for t in pool(name, 8, 10))  # differences without rounding
    operator, c = make_operator(name, chosen), coefficients_of(name)
    found = []
    for is_delta in (False, True):
        stored = [model - base for model in models] if is_delta else models
        facts, out = facts_of(base, stored, is_delta=is_delta), torch.full((80,), torch.nan)
        run(operator.plan(c, facts), facts, out)
        found.append(out)
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "chosen"), WITH_BASE, ids=str)
def test_models_that_are_the_base_change_nothing(name: str, chosen: dict[str, Any]) -> None:
    for shape in SHAPES:
        base = draw(*shape)
        assert torch.equal(merge(name, chosen, [base] * (n_models(name) + 1)), base)


@each_convention
def test_any_shape(name: str, chosen: dict[str, Any]) -> None:
    for shape in SHAPES:
        merged = merge(name, chosen, pool(name, *shape))
        assert merged.shape == shape
        assert bool(torch.isfinite(merged).all())


@each_convention
def test_any_layout_and_type(name: str, chosen: dict[str, Any]) -> None:
    tensors = [(8 * t).round() / 8 for t in pool(name, 6, 7)]  # exact in every type
    dtypes = [torch.float64, torch.bfloat16, torch.float16, torch.float32]
    odd = [t.T.contiguous().T.to(dtype) for t, dtype in zip(tensors, dtypes, strict=False)]
    found = merge(name, chosen, odd, dtype=torch.float32)
    torch.testing.assert_close(found, merge(name, chosen, tensors), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "chosen"), WITH_BASE, ids=str)
def test_coefficients_of_zero_give_the_base_or_fail(name: str, chosen: dict[str, Any]) -> None:
    base, *models = pool(name, 20)
    undefined = name == "model_stock" or (name in SUMMED and chosen.get("normalize") and "convention" not in chosen)
    with pytest.raises(CandidateError) if undefined else nullcontext():
        assert torch.equal(merge(name, chosen, [base, *models], c=[0.0] * len(models)), base)
