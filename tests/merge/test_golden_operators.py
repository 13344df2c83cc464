"""Every operator in its mergekit convention against mergekit 0.1.5's own results, see ``golden_operators.py``."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.base import OPERATORS, make_operator
from tests.merge.golden_operators import RECORD, GoldenCase, golden_cases, stored

TOLERANCE = 2e-6  # of the tensor's largest entry
CASES = tuple(golden_cases())


@cache
def own_settings(method: str) -> frozenset[str]:
    return frozenset(OPERATORS.get(method).settings())


def merged(case: GoldenCase, tensor: str, dtype: torch.dtype) -> torch.Tensor:
    base, models = case.sources(tensor)
    convention: dict[str, Any] = {"convention": "mergekit"} if "convention" in own_settings(case.method) else {}
    operator = make_operator(case.method, case.settings(tensor) | convention)
    return merge_tensor(operator, case.coefficients, models, base=base, name=tensor, names=case.names, dtype=dtype)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference relative to the largest entry; where all are zero, any difference counts."""
    largest = expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((found - expected).abs().max() / largest)


def bf16_steps(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference in bf16 steps at the larger magnitude; a step is at least the float32 tolerance.

    Entries far below the largest one have steps finer than float32 sums are exact.
    """
    found, expected = found.float(), expected.bfloat16().float()
    larger = torch.maximum(found.abs(), expected.abs()).clamp_min(torch.finfo(torch.float32).tiny)
    step = torch.ldexp(torch.ones_like(larger), torch.frexp(larger).exponent - 8)  # eight bits with the leading one
    return float(((found - expected).abs() / step.clamp_min(TOLERANCE * float(expected.abs().max()))).max())


def on_golden_machine() -> bool:
    """Whether torch rounds exponentials and dot products as where the goldens were made."""
    here = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    return {key: RECORD["versions"][key] for key in here} == here


def assert_near_enough(case: GoldenCase, tensor: str, found: torch.Tensor) -> None:
    """Two methods of which cancellation decides a part, so that mergekit's own results change between machines.

    What arcee_fusion keeps hangs on it, and whether karcher leaves out a model less than some 3e-4 from the mean.
    """
    base, models = case.sources(tensor)
    ends = torch.stack([t.float() for t in [base, *models] if t is not None])
    if case.method == "arcee_fusion":
        assert ((found - ends).abs() <= TOLERANCE * ends.abs().max()).any(dim=0).all()
    else:
        assert difference(found, case.results(tensor)[-1]) <= 1e-3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_mergekit(case: GoldenCase) -> None:
    """In float32 and rounded to bf16; where mergekit's float32 hangs on rounding, its float64 result counts too."""
    for tensor in case.tensors():
        results = case.results(tensor)
        found = merged(case, tensor, torch.float32)
        differences = [difference(found, expected) for expected in results]
        if len(results) > 1 and case.method in ("arcee_fusion", "karcher") and not on_golden_machine():
            assert_near_enough(case, tensor, found)
            continue
        assert min(differences) <= TOLERANCE, f"{tensor}: {differences}"
        expected = results[differences.index(min(differences))]
        assert bf16_steps(merged(case, tensor, torch.bfloat16), expected) <= 1.0, tensor


def test_every_method_of_mergekit_is_covered_on_three_pools() -> None:
    pools: dict[str, set[str]] = {method: set() for method in RECORD["methods"]}
    for case in CASES:
        pools[case.method].add(case.pool)
    assert len(pools) == 20
    assert {method: len(found) for method, found in pools.items() if len(found) < 3} == {}


def test_golden_results_are_of_the_stated_version() -> None:
    assert RECORD["versions"]["mergekit"] == "0.1.5"


def test_results_and_cases_match() -> None:
    results = {key.removeprefix("output/") for key in stored() if key.startswith("output/")}
    assert results == {str(case) for case in CASES}
    assert len(results) == len(CASES)


def test_stored_results_are_finite() -> None:
    lines = [result for case in CASES for tensor in case.tensors() for result in case.results(tensor)]
    assert all(torch.isfinite(line).all() for line in lines)
