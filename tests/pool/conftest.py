"""Tiny real checkpoints: two-layer Llama models, written once per session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch


@dataclass(frozen=True)
class TinyPool:
    """Folders of a base and two models."""

    base: Path
    models: tuple[Path, Path]

    @property
    def root(self) -> Path:
        """The folder that holds all."""
        return self.base.parent


class Checkpoints:
    """Makes and changes tiny model folders."""

    @staticmethod
    def llama(seed: int = 0, **changes: Any) -> Any:
        """A randomly initialised two-layer Llama: hidden size 32, vocabulary 64, 19,616 parameters untied."""
        from transformers import LlamaConfig, LlamaForCausalLM

        settings: dict[str, Any] = {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 64, "max_position_embeddings": 64, "tie_word_embeddings": False,
        }  # fmt: skip
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()

    @staticmethod
    def save(module: Any, folder: Path, **options: Any) -> Path:
        """Save with transformers, without its progress bar."""
        from transformers.utils import logging

        logging.disable_progress_bar()
        module.save_pretrained(folder, **options)
        return folder

    @staticmethod
    def copy(folder: Path, to: Path, edit: Callable[[dict[str, torch.Tensor]], object] | None = None) -> Path:
        """Copy a model folder of a single file; ``edit`` may change the tensors in place."""
        from safetensors.torch import load_file, save_file

        shutil.copytree(folder, to)
        if edit is not None:
            tensors = load_file(folder / "model.safetensors")
            edit(tensors)
            save_file(tensors, to / "model.safetensors", {"format": "pt"})
        return to

    @staticmethod
    def edit_json(path: Path, **changes: Any) -> None:
        """Change entries of a JSON object; None removes one."""
        content = json.loads(path.read_text()) if path.exists() else {}
        content.update(changes)
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    @classmethod
    def pool(cls, root: Path, *, tied: bool) -> TinyPool:
        """A base and two models that differ from it by small random steps, float32."""
        base = cls.save(cls.llama(tie_word_embeddings=tied), root / "base")
        folders: list[Path] = []
        for seed, name in ((1, "first"), (2, "second")):
            generator = torch.Generator().manual_seed(seed)
            module = cls.llama(tie_word_embeddings=tied)
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
            folders.append(cls.save(module, root / name))
        return TinyPool(base, (folders[0], folders[1]))


@pytest.fixture(scope="session")
def checkpoints() -> Checkpoints:
    """Functions that make and change tiny model folders."""
    return Checkpoints()


@pytest.fixture(scope="session")
def tiny_llama_pool(tmp_path_factory: pytest.TempPathFactory) -> TinyPool:
    """Base and two models with a head of their own."""
    return Checkpoints.pool(tmp_path_factory.mktemp("untied"), tied=False)


@pytest.fixture(scope="session")
def tied_llama_pool(tmp_path_factory: pytest.TempPathFactory) -> TinyPool:
    """Base and two models whose head is the embedding."""
    return Checkpoints.pool(tmp_path_factory.mktemp("tied"), tied=True)
