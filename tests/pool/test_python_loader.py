"""Models that a user's own function builds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from searcher.errors import PoolError
from searcher.pool.pool import open_pool

LOADER = """
import json
from pathlib import Path
import torch

class Network(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = torch.nn.Linear(4, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.head = torch.nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.norm(self.embed(x)))

def load(folder: Path) -> torch.nn.Module:
    return Network(json.loads((folder / "config.json").read_text())["width"])

def failing(folder):
    raise RuntimeError("no such thing")

def wrong(folder):
    return folder

constant = 3
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "network.py").write_text(LOADER)
    for seed, name in enumerate(("base", "model")):
        generator = torch.Generator().manual_seed(seed)
        shapes = {"embed.weight": (3, 4), "embed.bias": (3,), "head.weight": (2, 3), "head.bias": (2,)}
        shapes |= {f"norm.{name}": (3,) for name in ("weight", "bias", "running_mean", "running_var")}
        tensors = {key: torch.rand(shape, generator=generator) for key, shape in shapes.items()}
        (tmp_path / name).mkdir()
        save_file({**tensors, "norm.num_batches_tracked": torch.tensor(seed)}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text('{"width": 3}')
    return tmp_path


def test_function_of_a_file(root: Path) -> None:
    pool = open_pool(base="base", models=["model"], loader="python:network.py:load", root=root)
    module, tokenizer = pool.load_module()
    assert tokenizer is None
    assert not module.training
    assert pool.layout.n_parameters == 35
    assert [entry.kind for entry in pool.layout.tensors] == ["embedding"] * 2 + ["norm"] * 4 + ["head"] * 2
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, pool.reference.read(name))  # the function itself loaded nothing


def test_function_of_an_importable_module(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "my_networks.py").write_text(LOADER)
    monkeypatch.syspath_prepend(str(root))
    pool = open_pool(base=None, models=["base", "model"], loader="python:my_networks:load", root=root)
    assert type(pool.load_module()[0]).__module__ == "my_networks"


def test_single_files_in_one_folder(root: Path) -> None:
    for name in ("base", "model"):
        (root / name / "model.safetensors").rename(root / f"{name}.safetensors")
    (root / "config.json").write_text('{"width": 3}')
    pool = open_pool(base="base.safetensors", models=["model.safetensors"], loader="python:network.py:load", root=root)
    module, _ = pool.load_module()
    assert pool.source("model").name == "model"
    assert torch.equal(module.state_dict()["head.weight"], pool.source("base").read("head.weight"))
    assert set(pool.source("base").files) == {"base.safetensors", "config.json"}


@pytest.mark.parametrize(
    ("loader", "fault"),
    [
        ("python:", "not of the form"),
        ("python:network.py", "not of the form"),
        ("python:network.py:", "not of the form"),
        ("python:missing.py:load", "Importing missing.py failed"),
        ("python:no_such_module_anywhere:load", "Importing no_such_module_anywhere failed"),
        ("python:network.py:missing", "no function 'missing'"),
        ("python:network.py:constant", "no function 'constant'"),
        ("python:network.py:failing", "RuntimeError: no such thing"),
        ("python:network.py:wrong", "not a torch.nn.Module"),
    ],
)
def test_faults_of_the_loader_are_three_lines(loader: str, fault: str, root: Path) -> None:
    with pytest.raises(PoolError) as caught:
        open_pool(base="base", models=["model"], loader=loader, root=root)
    assert fault in caught.value.what
    assert str(caught.value).count("\n") == 2


def test_file_with_an_error_is_imported_again_after_it_is_mended(root: Path) -> None:
    (root / "broken.py").write_text("import")
    with pytest.raises(PoolError, match="SyntaxError"):
        open_pool(base="base", models=["model"], loader="python:broken.py:load", root=root)
    (root / "broken.py").write_text(LOADER)
    assert open_pool(base="base", models=["model"], loader="python:broken.py:load", root=root).models


def test_module_of_another_shape_is_refused(root: Path) -> None:
    (root / "base" / "config.json").write_text('{"width": 5}')
    with pytest.raises(PoolError, match="do not fit") as caught:
        open_pool(base="base", models=["model"], loader="python:network.py:load", root=root)
    assert "embed.weight" in str(caught.value)
