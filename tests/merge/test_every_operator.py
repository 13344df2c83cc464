"""What must hold for every registered operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.merge.operators.base import OPERATORS, Operator, Setting, Sources, make_operator

NAMES = [n for n in OPERATORS.names() if OPERATORS.get(n).__module__.startswith("searcher.merge.operators")]
SYMMETRIC = ("linear", "task_arithmetic", "slerp", "ties")
Floats: TypeAlias = NDArray[np.float64]

VARIANTS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "linear": ({}, {"normalize": False}),
    "task_arithmetic": ({}, {"lambda": 0.4}, {"normalize": True, "lambda": -1.5}),
    "slerp": ({}, {"threshold": 1.0}, {"threshold": 0.0}),
    "ties": (
        {},
        {"density": 0.37},
        {"density": 0.5, "vote": "unweighted", "lambda": 2.0},
        {"density": 0.2, "normalize": False},
    ),
}
CASES = [(name, chosen) for name in NAMES for chosen in VARIANTS[name]]


def n_models(name: str) -> int:
    return min(3, OPERATORS.get(name).n_models[1] or 3)


def draw(name: str, size: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """A base of shape (n,) and weights of shape (K, n), both float32 holding values of ``dtype``."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(size, generator=generator)
    weights = base + 0.5 * torch.randn(n_models(name), size, generator=generator)
    return base.to(dtype).float(), weights.to(dtype).float()


def coefficients_of(name: str) -> tuple[float, ...]:
    return (0.3, 0.9, 0.45)[: n_models(name)]


def sources_of(base: torch.Tensor, weights: torch.Tensor, start: int = 0, stop: int | None = None) -> Sources:
    stretch = slice(start, stop)
    stored = tuple(row[stretch] for row in weights)
    return Sources(base[stretch], stored, (False,) * len(stored), start, "block.weight", tuple(base.shape))


def merge(operator: Operator, c: tuple[float, ...], base: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    whole = sources_of(base, weights)
    return operator.merge(c, whole, operator.prepare(c, whole))


def linear_reference(c: Floats, base: Floats, weights: Floats, normalize: bool = True) -> Floats:
    merged: Floats = c @ weights / (c.sum() if normalize else 1.0)
    return merged


def task_arithmetic_reference(c: Floats, base: Floats, weights: Floats, normalize: bool = False, **s: float) -> Floats:
    return base + s.get("lambda", 1.0) * (c @ (weights - base)) / (c.sum() if normalize else 1.0)


def slerp_reference(c: Floats, base: Floats, weights: Floats, threshold: float = 0.9995) -> Floats:
    a, b = weights
    t = c[1] / c.sum()
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    if abs(cosine) > min(threshold, 1 - 1e-15):
        merged: Floats = (1 - t) * a + t * b
    else:
        angle = np.arccos(cosine)
        merged = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    return merged


def ties_reference(
    c: Floats,
    base: Floats,
    weights: Floats,
    density: float = 1.0,
    vote: str = "weighted",
    normalize: bool = True,
    **s: float,
) -> Floats:
    # The trimmed set must be that of float32 task vectors: a near tie may fall otherwise in float64.
    vectors = (weights.astype(np.float32) - base.astype(np.float32)).astype(np.float64)
    k = max(1, round(density * base.size))
    for row in vectors:
        row[np.argsort(-np.abs(row), kind="stable")[k:]] = 0.0
    scaled = c[:, None] * vectors
    sign = np.where((scaled if vote == "weighted" else vectors).sum(axis=0) >= 0, 1.0, -1.0)
    agrees = np.sign(scaled) == sign
    total = (scaled * agrees).sum(axis=0)
    weight = (c[:, None] * agrees).sum(axis=0)
    merged: Floats = base + s.get("lambda", 1.0) * total / (np.where(weight == 0, 1.0, weight) if normalize else 1.0)
    return merged


REFERENCES: Mapping[str, Callable[..., Floats]] = {
    "linear": linear_reference,
    "task_arithmetic": task_arithmetic_reference,
    "slerp": slerp_reference,
    "ties": ties_reference,
}


def test_every_operator_has_variants_and_a_reference() -> None:
    assert set(NAMES) == set(VARIANTS) == set(REFERENCES)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_default_and_a_meaning(name: str) -> None:
    cls = OPERATORS.get(name)
    assert make_operator(name, {}) == make_operator(name, cls.settings())
    assert cls.reference
    for field in fields(cls):  # type: ignore[arg-type]
        assert "Annotated" in str(field.type)


@pytest.mark.parametrize(("name", "chosen"), CASES)
@pytest.mark.parametrize("size", [1, 2, 7, 96])
def test_agrees_with_float64(name: str, chosen: dict[str, Any], size: int) -> None:
    base, weights = draw(name, size, seed=size)
    c = coefficients_of(name)
    found = merge(make_operator(name, chosen), c, base, weights)
    expected = REFERENCES[name](np.array(c), base.double().numpy(), weights.double().numpy(), **chosen)
    assert found.shape == (size,)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_sources_are_not_changed(name: str, chosen: dict[str, Any]) -> None:
    base, weights = draw(name, 50)
    before = base.clone(), weights.clone()
    merged = merge(make_operator(name, chosen), coefficients_of(name), base, weights)
    merge(make_operator(name, chosen), (1.0, *[0.0] * (n_models(name) - 1)), base, weights)
    assert torch.equal(base, before[0])
    assert torch.equal(weights, before[1])
    assert merged.data_ptr() not in {base.data_ptr(), *(row.data_ptr() for row in weights)}


@pytest.mark.parametrize(("name", "chosen"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_copies_of_one_model_are_that_model(name: str, chosen: dict[str, Any], dtype: torch.dtype) -> None:
    base, weights = draw(name, 64, dtype=dtype)
    copies = weights[:1].expand(n_models(name), -1)
    c = np.array(coefficients_of(name))
    neutral = {"lambda": 1.0} if "lambda" in chosen else {}
    if name == "ties":
        neutral["density"] = 1.0
    if not chosen.get("normalize", OPERATORS.get(name).settings().get("normalize", True)):
        c = c / c.sum()
    merged = merge(make_operator(name, chosen | neutral), tuple(c), base, copies)
    torch.testing.assert_close(merged, weights[0], rtol=1e-6, atol=1e-6)
    if dtype != torch.float32:  # the rounding to storage removes the last float32 bit
        assert torch.equal(merged.to(dtype), weights[0].to(dtype))


@pytest.mark.parametrize(("name", "chosen"), [case for case in CASES if case[0] in SYMMETRIC])
def test_order_of_models_is_irrelevant(name: str, chosen: dict[str, Any]) -> None:
    base, weights = draw(name, 200)
    c = coefficients_of(name)
    operator = make_operator(name, chosen)
    expected = merge(operator, c, base, weights)
    order = list(range(len(c)))[::-1]
    found = merge(operator, tuple(c[k] for k in order), base, weights[order])
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("name", "chosen"), CASES)
@settings(max_examples=20)
@given(cuts=st.sets(st.integers(1, 149), max_size=12), coarse=st.booleans())
def test_same_bits_for_any_cut(name: str, chosen: dict[str, Any], cuts: set[int], coarse: bool) -> None:
    base, weights = draw(name, 150)
    if coarse:  # many equal magnitudes
        base, weights = (base * 4).round() / 4, (weights * 4).round() / 4
    c = coefficients_of(name)
    operator = make_operator(name, chosen)
    whole = sources_of(base, weights)
    prepared = operator.prepare(c, whole)
    borders = [0, *sorted(cuts), 150]
    parts = [operator.merge(c, sources_of(base, weights, a, b), prepared) for a, b in pairwise(borders)]
    assert torch.equal(torch.cat(parts), operator.merge(c, whole, prepared))


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_prepared_depends_only_on_its_key(name: str, chosen: dict[str, Any]) -> None:
    base, weights = draw(name, 60)
    operator = make_operator(name, chosen)
    first, second = coefficients_of(name), tuple(2.0 + c for c in coefficients_of(name))
    if operator.prepare_key(first) == operator.prepare_key(second):
        whole = sources_of(base, weights)
        assert operator.prepare(first, whole) == operator.prepare(second, whole)


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_task_vectors_may_be_given_in_place_of_weights(name: str, chosen: dict[str, Any]) -> None:
    base, weights = draw(name, 80)
    operator = make_operator(name, chosen)
    c = coefficients_of(name)
    stored = tuple(row - base for row in weights)
    deltas = Sources(base, stored, (True,) * len(stored), 0, "block.weight", (80,))
    found = operator.merge(c, deltas, operator.prepare(c, deltas))
    torch.testing.assert_close(found, merge(operator, c, base, weights), rtol=2e-6, atol=2e-6)


def test_ranges_are_legal() -> None:
    for name in NAMES:
        for key, value in OPERATORS.get(name).settings().items():
            setting = next((s for s in metadata(name, key) if isinstance(s, Setting)), None)
            if setting is not None:
                for legal in (setting.low, setting.high, value):
                    make_operator(name, {key: legal})


def metadata(name: str, key: str) -> tuple[Any, ...]:
    from typing import get_type_hints

    hints = get_type_hints(OPERATORS.get(name), include_extras=True)
    found: tuple[Any, ...] = next(h for f, h in hints.items() if f.rstrip("_") == key).__metadata__
    return found
