"""Derivatives with respect to coefficients against differences of built weights and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from searcher.merge.engine import MergeEngine
from searcher.recipe import Recipe

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

MakePool = Callable[..., "Pool"]
NAMES = ("m0", "m1", "m2")
ROWS = np.array([[0.3, 0.4, 0.5], [0.5, 0.3, 0.6]])
CASES: dict[str, dict[str, Any]] = {
    "linear": {},
    "task_arithmetic": {"lines_alpha": 0.5},
    "ties": {"density": 0.6},
    "dare_ties": {"density": 0.6},
    "dare_linear": {"density": 0.6},
    "karcher": {},
    "multislerp": {},
    "sce": {"select_topk": 0.5},
    "ram": {},
    "breadcrumbs": {"density": 0.7, "gamma": 0.1},
    "della_linear": {"density": 0.5},
}


def recipe_of(pool: Pool, operator: str, rows: np.ndarray = ROWS, **settings: Any) -> Recipe:
    borders = np.array([0, 29, pool.layout.n_parameters])
    return Recipe(operator, NAMES[: rows.shape[1]], "base", borders, rows, settings)


@pytest.mark.parametrize("operator", sorted(CASES))
def test_gradient_is_that_of_built_weights(make_pool: MakePool, operator: str) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    loss = torch.randn(pool.layout.n_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = engine.coefficient_gradient(recipe_of(pool, operator, **CASES[operator]), loss)
    expected, step = np.zeros_like(ROWS), 2e-3
    for at in np.ndindex(*ROWS.shape):
        values = []
        for sign in (1.0, -1.0):
            rows = ROWS.copy()
            rows[at] += sign * step
            weights = engine.build(recipe_of(pool, operator, rows, **CASES[operator])).weights
            values.append(float((weights.double() * loss).sum()))
        expected[at] = (values[0] - values[1]) / (2 * step)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3 * np.abs(expected).max())


def test_task_arithmetic_is_inner_products_with_task_vectors(make_pool: MakePool) -> None:
    pool: Any = make_pool(dtype=torch.bfloat16, n_adapters=1)
    engine = MergeEngine(pool, device="cpu")
    gradients = {e.name: torch.randn(e.shape, dtype=torch.float64) for e in pool.layout.tensors}
    zero = Recipe("task_arithmetic", NAMES, "base", np.array([0, pool.layout.n_parameters]), np.zeros((1, 3)))
    found = engine.coefficient_gradient(zero, gradients)  # at the base, where no model takes part yet
    for k, model in enumerate(pool.models):
        total = 0.0
        for name, gradient in gradients.items():
            stored = model.tensors[name]
            delta = stored.bfloat16().float() if model.is_delta else stored.float() - pool.base.tensors[name].float()
            total += float((gradient * delta.double()).sum())
        assert found[0, k] == pytest.approx(total, rel=1e-9)


def test_tensors_without_a_gradient_count_as_zero(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    line = torch.randn(pool.layout.n_parameters)
    entry = pool.layout.tensors[1]
    only = torch.zeros_like(line)
    only[entry.offset : entry.stop] = line[entry.offset : entry.stop]
    by_name = {entry.name: line[entry.offset : entry.stop].view(entry.shape)}
    recipe = recipe_of(pool, "ties", density=0.5)
    np.testing.assert_allclose(
        engine.coefficient_gradient(recipe, by_name), engine.coefficient_gradient(recipe, only), rtol=1e-12
    )


def test_wrong_gradients_are_refused(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_of(pool, "linear")
    for wrong in (torch.zeros(3), {"nothing": torch.zeros(2)}, {pool.layout.tensors[0].name: torch.zeros(1)}):
        with pytest.raises(ValueError, match="Expected"):
            engine.coefficient_gradient(recipe, wrong)
