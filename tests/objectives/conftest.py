"""Small live models and data files for the objectives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from searcher.merge.live_model import LiveModel

LiveMaker = Callable[[nn.Module], LiveModel]
DataMaker = Callable[..., Path]


def live(module: nn.Module) -> LiveModel:
    """A live model around any module."""
    module.eval().requires_grad_(False)
    weights = torch.cat([p.reshape(-1) for p in module.parameters()])
    return LiveModel(module, weights)


@pytest.fixture
def make_live() -> LiveMaker:
    return live


@pytest.fixture
def classifier() -> LiveModel:
    """Six inputs, four classes, one hidden layer; fixed random weights."""
    generator = torch.Generator().manual_seed(5)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return live(module)


@pytest.fixture
def write_data(tmp_path: Path) -> DataMaker:
    """Writes ``data.npz`` with 50 examples of six inputs and four classes; arrays may be replaced or added."""

    def write(**arrays: object) -> Path:
        rng = np.random.default_rng(3)
        made: dict[str, object] = {
            "inputs": rng.standard_normal((50, 6)).astype(np.float32),
            "labels": rng.integers(4, size=50),
        }
        made.update(arrays)
        path = tmp_path / "data.npz"
        np.savez_compressed(path, **{key: value for key, value in made.items() if value is not None})  # type: ignore[arg-type]
        return path

    return write
