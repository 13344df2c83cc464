"""Tiny checkpoints on disk, and recipes over them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from searcher.export.point import ExportPoint
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe, SettingValue

HIDDEN, INNER, VOCABULARY, HEADS = 8, 10, 16, 2


def llama_shapes(n_layers: int, *, tied: bool) -> dict[str, tuple[int, ...]]:
    """Tensor shapes of a Llama of width 8, with one key-value head of size 4."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(n_layers):
        prefix = f"model.layers.{layer}."
        shapes |= {prefix + f"self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qo"}
        shapes |= {prefix + f"self_attn.{name}_proj.weight": (HIDDEN // HEADS, HIDDEN) for name in "kv"}
        shapes |= {prefix + f"mlp.{name}_proj.weight": (INNER, HIDDEN) for name in ("gate", "up")}
        shapes[prefix + "mlp.down_proj.weight"] = (HIDDEN, INNER)
        shapes |= {prefix + f"{name}_layernorm.weight": (HIDDEN,) for name in ("input", "post_attention")}
    shapes["model.norm.weight"] = (HIDDEN,)
    return shapes if tied else {**shapes, "lm_head.weight": (VOCABULARY, HIDDEN)}


def llama_config(n_layers: int, *, tied: bool, dtype: str = "float32") -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": n_layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "head_dim": HIDDEN // HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 32,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": dtype,
    }


def write_model(folder: Path, tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def llama_weights(
    shapes: Mapping[str, tuple[int, ...]], seed: int, around: Mapping[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """Random weights; with ``around``, a fine-tune of those that moved each tensor by a different amount."""
    rng = np.random.default_rng(seed)
    found = {}
    for number, (name, shape) in enumerate(shapes.items()):
        noise = torch.from_numpy(rng.standard_normal(shape)).to(torch.float32)
        if around is None:
            found[name] = 1.0 + 0.1 * noise if "norm" in name else 0.3 * noise
        else:
            found[name] = around[name] + noise * (0.003, 0.05, 0.2)[number % 3]  # some slerps are linear, some not
    return found


def write_llamas(root: Path, *, n_layers: int = 4, tied: bool = False, dtype: str = "float32") -> list[Path]:
    """Folders ``base``, ``low`` and ``high``."""
    shapes, config = llama_shapes(n_layers, tied=tied), llama_config(n_layers, tied=tied, dtype=dtype)
    base = llama_weights(shapes, 0)
    weights = {"base": base, "low": llama_weights(shapes, 1, base), "high": llama_weights(shapes, 2, base)}
    stored = getattr(torch, dtype)
    return [write_model(root / n, {k: t.to(stored) for k, t in w.items()}, config) for n, w in weights.items()]


def recipe_by(
    layout: Layout,
    operator: str,
    row: Callable[[TensorEntry], Sequence[float]],
    *,
    models: Sequence[str] = ("low", "high"),
    base: str | None = "base",
    settings: Mapping[str, SettingValue | Callable[[TensorEntry], Any]] | None = None,
) -> Recipe:
    """A recipe with coefficients, and settings if they are functions, per tensor."""
    borders = np.array([0, *[entry.stop for entry in layout.tensors]])
    rows = np.array([row(entry) for entry in layout.tensors], dtype=np.float64)
    given = {
        name: np.array([value(entry) for entry in layout.tensors], dtype=np.float64) if callable(value) else value
        for name, value in (settings or {}).items()
    }
    return Recipe(operator, tuple(models), base, borders, rows, given).canonical()


def point_of(recipe: Recipe, **changes: Any) -> ExportPoint:
    """A point with plausible scores."""
    given: dict[str, Any] = {
        "candidate": 37,
        "tags": ("knee",),
        "recipe": recipe,
        "genome": {"low": 0.25, "high": 0.5},
        "scores": {
            "search": {"accuracy": (0.9375, 0.0125), "loss": (0.5, float("nan"))},
            "held_out": {"accuracy": (0.875, 0.025), "loss": (0.625, 0.03125)},
        },
        "objectives": {"accuracy": ("maximize", "fraction"), "loss": ("minimize", "nats")},
        "run": "quickstart",
        "seed": 7,
        "versions": {"torch": "2.13.0", "searcher": "0.1.0"},
        "source_hashes": {"base/model.safetensors": "ab" * 32},
        "loader": "transformers",
    }
    return ExportPoint(**{**given, **changes})
