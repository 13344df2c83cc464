"""A synthetic pool in the shape of a Llama model, written once and reused."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

SHAPES_135M = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "vocab_size": 49152}
SHAPES_TINY = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 4, "vocab_size": 2048}


def llama_config(shape: dict[str, int]) -> dict[str, object]:
    """config.json of a tied Llama in bfloat16 with 64-wide heads, a third of them for keys and values."""
    heads = max(1, shape["hidden_size"] // 64)
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "tie_word_embeddings": True, "num_attention_heads": heads, "num_key_value_heads": max(1, heads // 3),
        "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, **shape,
    }  # fmt: skip


def tensor_shapes(shape: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Name to shape of every stored tensor."""
    hidden, wide = shape["hidden_size"], shape["intermediate_size"]
    heads = max(1, hidden // 64)
    narrow = max(1, heads // 3) * (hidden // heads)
    block = {
        "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,), "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (narrow, hidden), "self_attn.v_proj": (narrow, hidden), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden), "mlp.down_proj": (hidden, wide),
    }  # fmt: skip
    found = {"model.embed_tokens.weight": (shape["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(shape["num_hidden_layers"]):
        found |= {f"model.layers.{layer}.{name}.weight": size for name, size in block.items()}
    return found


def make_pool(folder: Path, n_models: int, shape: dict[str, int]) -> tuple[Path, list[Path]]:
    """Base and models, N(0, 0.02) weights and N(0, 0.002) changes in bfloat16; written unless they are there.

    Returns:
        Folder of the base, folders of the models.
    """
    names = ["base", *(f"model{k}" for k in range(n_models))]
    for seed, name in enumerate(names):
        _write(folder / name, seed, shape)
    return folder / "base", [folder / name for name in names[1:]]


def _write(folder: Path, seed: int, shape: dict[str, int]) -> None:
    config = json.dumps(llama_config(shape), indent=1)
    if (folder / "config.json").is_file() and (folder / "config.json").read_text() == config:
        return
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for index, (name, size) in enumerate(tensor_shapes(shape).items()):
        weights = torch.randn(size, generator=torch.Generator().manual_seed(index)) * 0.02
        if seed:
            weights = weights + torch.randn(size, generator=torch.Generator().manual_seed(1000 * seed + index)) * 0.002
        tensors[name] = weights.to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(config)
