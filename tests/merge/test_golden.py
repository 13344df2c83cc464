"""Our operators against mergekit's own outputs on stored tensors, see ``tests/golden/make_mergekit_golden.py``.

The conventions coincide for the stored cases: densities that are whole numbers of elements (mergekit truncates,
we round), non-negative coefficients wherever TIES normalises (we divide by absolute values), equal coefficients
for the unweighted vote (mergekit always weighs).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from searcher.merge.engine import MergeEngine
from searcher.merge.operators.base import OPERATORS
from searcher.recipe import Recipe, SettingValue

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

FOLDER = Path(__file__).parents[1] / "golden"
RECORD: dict[str, Any] = json.loads((FOLDER / "mergekit_0_1_5.json").read_text(encoding="utf-8"))


@cache
def stored() -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(FOLDER / "mergekit_0_1_5.safetensors")
    return tensors


def recipe_of(case: dict[str, Any], n_parameters: int) -> Recipe:
    settings: dict[str, SettingValue] = {
        name: np.array([value]) if isinstance(value, list) else value for name, value in case["settings"].items()
    }
    boundaries = np.array([0, n_parameters])
    return Recipe(
        case["operator"], tuple(case["models"]), case["base"], boundaries, np.array([case["coefficients"]]), settings
    )


def pool_of(make_pool: Callable[..., Pool], make_source: Callable[..., Any]) -> Pool:
    """The stored sources in a pool; its random models only give it the right layout."""
    from dataclasses import replace

    shapes = {name: tuple(stored()[f"source/base/{name}"].shape) for name in RECORD["tensors"]}
    names = sorted({key.split("/")[1] for key in stored() if key.startswith("source/")} - {"base"})
    models = {
        model: make_source(model, {n: stored()[f"source/{model}/{n}"] for n in shapes}) for model in [*names, "base"]
    }
    return replace(make_pool(shapes=shapes), base=models["base"], models=tuple(models[name] for name in names))


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: str(case["name"]))
def test_equals_mergekit(case: dict[str, Any], make_pool: Callable[..., Pool], make_source: Callable[..., Any]) -> None:
    engine = MergeEngine(pool_of(make_pool, make_source), device="cpu")
    for name, found in engine.stream(recipe_of(case, engine.layout.n_parameters)):
        expected = stored()[f"output/{case['name']}/{name}"]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_golden_results_are_of_the_stated_version() -> None:
    assert RECORD["versions"]["mergekit"] == "0.1.5"


def test_every_operator_has_a_golden_result() -> None:
    ours = {name for name in OPERATORS.names() if OPERATORS.get(name).__module__.startswith("searcher.")}
    others = json.loads((FOLDER / "mergekit_operators_0_1_5.json").read_text(encoding="utf-8"))
    assert {case["method"] for case in others["cases"]} == ours
