"""The engine on real folders: safetensors, an adapter, a loader function, and an export read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from searcher.merge.engine import MergeEngine
from searcher.pool.pool import Pool, open_pool
from searcher.recipe import Recipe, SettingValue

LOADER = """
import torch

def load(folder):
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""
SHAPES = {"0.weight": (8, 6), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
RECIPES: tuple[tuple[str, tuple[str, ...], dict[str, SettingValue]], ...] = (
    ("linear", ("full", "adapter"), {}),
    ("task_arithmetic", ("full", "adapter"), {"lambda": 0.7}),
    ("slerp", ("full", "adapter"), {}),
    ("slerp", ("full",), {"threshold": 1.0}),
    ("ties", ("full", "adapter"), {"density": np.array([[0.3, 0.8], [0.5, 1.0]])}),
)


@pytest.fixture
def pool(tmp_path: Path, request: pytest.FixtureRequest) -> Pool:
    """Base, one full model and one adapter, in the storage type of the parameter."""
    generator = torch.Generator().manual_seed(0)
    (tmp_path / "loader.py").write_text(LOADER)
    base = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    full = {name: t + 0.3 * torch.randn(t.shape, generator=generator) for name, t in base.items()}
    for name, tensors in {"base": base, "full": full}.items():
        (tmp_path / name).mkdir()
        save_file({n: t.to(request.param) for n, t in tensors.items()}, tmp_path / name / "model.safetensors")
    factors = {"lora_A": torch.randn(2, 6, generator=generator), "lora_B": torch.randn(8, 2, generator=generator)}
    (tmp_path / "adapter").mkdir()
    save_file(
        {f"base_model.model.0.{part}.weight": t for part, t in factors.items()},
        tmp_path / "adapter" / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 1, "target_modules": ["0"], "bias": "none"}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    return open_pool(base="base", models=["full", "adapter"], loader="python:loader.py:load", root=tmp_path)


def recipe_of(pool: Pool, operator: str, models: tuple[str, ...], chosen: dict[str, SettingValue]) -> Recipe:
    coefficients = np.array([[0.8, 0.4], [0.3, 0.9]])[:, : len(models)]
    return Recipe(operator, models, "base", np.array([0, 29, pool.layout.n_parameters]), coefficients, chosen)


@pytest.mark.parametrize("pool", [torch.float32, torch.bfloat16, torch.float16], indirect=True)
@pytest.mark.parametrize(("operator", "models", "chosen"), RECIPES)
def test_build_stream_and_saved_folder_are_equal(
    pool: Pool, operator: str, models: tuple[str, ...], chosen: dict[str, SettingValue], tmp_path: Path
) -> None:
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_of(pool, operator, models, chosen)
    live = engine.build(recipe)
    saved = live.path(tmp_path / "out")
    stored = load_file(saved / "model.safetensors")
    parameters = dict(live.module.named_parameters())
    assert stored.keys() == parameters.keys()
    for name, tensor in engine.stream(recipe):
        assert torch.equal(tensor, parameters[name])
        assert torch.equal(tensor, stored[name])
        assert tensor.dtype == stored[name].dtype == engine.dtype
    again = open_pool(base=None, models=[str(saved)], loader="python:loader.py:load", root=tmp_path)
    whole = np.array([0, pool.layout.n_parameters])
    alone = MergeEngine(again, device="cpu").build(Recipe("linear", ("out",), None, whole, np.ones((1, 1))))
    assert torch.equal(alone.weights, live.weights)


@pytest.mark.parametrize("pool", [torch.float32], indirect=True)
def test_an_adapter_is_base_plus_scaled_product(pool: Pool, tmp_path: Path) -> None:
    recipe = Recipe("task_arithmetic", ("adapter",), "base", np.array([0, pool.layout.n_parameters]), np.ones((1, 1)))
    module = MergeEngine(pool, device="cpu").build(recipe).module
    factors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    base = load_file(tmp_path / "base" / "model.safetensors")
    delta = 0.5 * factors["base_model.model.0.lora_B.weight"] @ factors["base_model.model.0.lora_A.weight"]
    torch.testing.assert_close(module.get_parameter("0.weight").data, base["0.weight"] + delta)
    assert torch.equal(module.get_parameter("2.weight"), base["2.weight"])
