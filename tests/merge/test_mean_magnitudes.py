"""Mean magnitudes of task vectors, against float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from searcher.merge import mean_magnitudes as module
from searcher.merge.mean_magnitudes import mean_magnitudes
from searcher.merge.tables.mean_magnitudes import MeanMagnitudes
from searcher.merge.tables.store import TableStore
from searcher.pool.pool import open_pool

LOADER = """
import torch

def load(folder):
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""
SHAPES = {"0.weight": (8, 6), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base and two models, 16-bit."""
    generator = torch.Generator().manual_seed(0)
    (tmp_path / "loader.py").write_text(LOADER)
    for name, scale in (("base", 1.0), ("small", 0.01), ("large", 2.0)):
        (tmp_path / name).mkdir()
        tensors = {key: scale * torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}
        save_file({key: value.bfloat16() for key, value in tensors.items()}, tmp_path / name / "model.safetensors")
    return tmp_path


def exact(folder: Path, name: str) -> dict[str, np.ndarray]:
    from safetensors.torch import load_file

    return {key: v.double().numpy() for key, v in load_file(folder / name / "model.safetensors").items()}


def measured(folder: Path, *, base: bool, store: TableStore | None = None) -> dict[str, np.ndarray]:
    loader = f"python:{folder}/loader.py:load"
    models = [str(folder / "small"), str(folder / "large")]
    pool = open_pool(base=str(folder / "base") if base else None, models=models, loader=loader, root=folder)
    return dict(mean_magnitudes(pool, "cpu", torch.bfloat16, store or TableStore(None)))


def test_with_a_base_they_are_those_of_task_vectors(folder: Path) -> None:
    found, origin = measured(folder, base=True), exact(folder, "base")
    assert found.keys() == SHAPES.keys()
    for key in SHAPES:
        expected = [np.abs(exact(folder, name)[key] - origin[key]).mean() for name in ("small", "large")]
        np.testing.assert_allclose(found[key], expected, rtol=1e-6)


def test_without_a_base_they_are_those_of_deviations_from_the_mean(folder: Path) -> None:
    found = measured(folder, base=False)
    for key in SHAPES:
        models = np.array([exact(folder, name)[key] for name in ("small", "large")])
        expected = np.abs(models - models.mean(axis=0)).reshape(2, -1).mean(axis=1)
        np.testing.assert_allclose(found[key], expected, rtol=1e-6)


def test_a_later_run_finds_them_on_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TableStore(folder / "tables")
    first = measured(folder, base=True, store=store)
    monkeypatch.setattr(module, "PoolVectors", lambda *_: None)  # nothing may be read
    again = measured(folder, base=True, store=store)
    for key in SHAPES:
        np.testing.assert_array_equal(first[key], again[key])


def test_an_empty_tensor_has_magnitude_zero() -> None:
    assert MeanMagnitudes.of([torch.zeros(0), torch.zeros(0)]).values.tolist() == [0.0, 0.0]


def test_a_large_tensor_is_summed_in_float64() -> None:
    values = torch.full((1 << 22,), 0.1) * torch.tensor([1.0, -1.0]).repeat(1 << 21)
    assert MeanMagnitudes.of([values]).values[0] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)
