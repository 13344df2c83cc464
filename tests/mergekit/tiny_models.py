"""Tiny Hugging Face checkpoints with tokenizers, the same on every machine; no transformers needed to write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

HIDDEN, INNER, HEADS, N_WORDS = 16, 24, 4, 37
SPECIAL = ("<unk>", "<s>", "</s>")
WORDS = tuple(f"w{number}" for number in range(N_WORDS))

Shapes = dict[str, tuple[int, ...]]


def llama_shapes(n_layers: int, vocabulary: int, *, tied: bool = False) -> Shapes:
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, HIDDEN)}
    for layer in range(n_layers):
        prefix = f"model.layers.{layer}."
        shapes |= {prefix + f"self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qo"}
        shapes |= {prefix + f"self_attn.{name}_proj.weight": (HIDDEN // 2, HIDDEN) for name in "kv"}
        shapes |= {prefix + f"mlp.{name}_proj.weight": (INNER, HIDDEN) for name in ("gate", "up")}
        shapes[prefix + "mlp.down_proj.weight"] = (HIDDEN, INNER)
        shapes |= {prefix + f"{name}_layernorm.weight": (HIDDEN,) for name in ("input", "post_attention")}
    shapes["model.norm.weight"] = (HIDDEN,)
    return shapes if tied else {**shapes, "lm_head.weight": (vocabulary, HIDDEN)}


def llama_config(n_layers: int, vocabulary: int, *, tied: bool = False, dtype: str = "float32") -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": n_layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "head_dim": HIDDEN // HEADS,
        "vocab_size": vocabulary,
        "max_position_embeddings": 32,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": dtype,
    }


def gpt2_shapes(n_layers: int, vocabulary: int) -> Shapes:
    shapes: Shapes = {"transformer.wte.weight": (vocabulary, HIDDEN), "transformer.wpe.weight": (32, HIDDEN)}
    for layer in range(n_layers):
        prefix = f"transformer.h.{layer}."
        sizes = {"attn.c_attn": (HIDDEN, 3 * HIDDEN), "attn.c_proj": (HIDDEN, HIDDEN)}
        sizes |= {"mlp.c_fc": (HIDDEN, INNER), "mlp.c_proj": (INNER, HIDDEN)}
        for name, shape in sizes.items():
            shapes |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[1:]}
        shapes |= {f"{prefix}ln_{n}.{leaf}": (HIDDEN,) for n in (1, 2) for leaf in ("weight", "bias")}
    return shapes | {"transformer.ln_f.weight": (HIDDEN,), "transformer.ln_f.bias": (HIDDEN,)}


def gpt2_config(n_layers: int, vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": HIDDEN,
        "n_inner": INNER,
        "n_layer": n_layers,
        "n_head": HEADS,
        "n_positions": 32,
        "vocab_size": vocabulary,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int, around: Mapping[str, torch.Tensor] | None = None) -> Any:
    """Random weights; with ``around``, a fine-tune of those that moved each tensor by a different amount."""
    rng = np.random.default_rng(seed)
    found: dict[str, torch.Tensor] = {}
    for number, (name, shape) in enumerate(shapes.items()):
        noise = torch.from_numpy(rng.standard_normal(shape)).to(torch.float32)
        if around is None:
            found[name] = 1.0 + 0.1 * noise if "norm" in name or "ln_" in name else 0.3 * noise
        else:
            rows = around[name][torch.arange(shape[0]) % around[name].shape[0]]  # more rows than around has repeat
            found[name] = rows + noise * (0.003, 0.05, 0.2)[number % 3]  # some slerps are linear, some not
    return found


def write_model(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    *,
    tokens: Sequence[str] | None = SPECIAL + WORDS,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """A model folder, with a tokenizer of whole words if there are tokens."""
    folder.mkdir(parents=True)
    stored = {name: t.to(dtype).contiguous() for name, t in tensors.items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [2]}))
    if tokens is not None:
        write_tokenizer(folder, tokens)
    return folder


def write_tokenizer(folder: Path, tokens: Sequence[str]) -> None:
    """A tokenizer of whole words; those in angle brackets are special."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer = Tokenizer(WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in tokens if t.startswith("<")])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_llamas(root: Path, *, n_layers: int = 4, tied: bool = False, dtype: str = "float32") -> None:
    """Folders ``base``, ``a``, ``b`` and ``c`` with one vocabulary."""
    n = len(SPECIAL + WORDS)
    shapes, config = llama_shapes(n_layers, n, tied=tied), llama_config(n_layers, n, tied=tied, dtype=dtype)
    base = weights(shapes, 0)
    for seed, name in enumerate(("base", "a", "b", "c")):
        tensors = base if name == "base" else weights(shapes, seed, base)
        write_model(root / name, tensors, config, dtype=getattr(torch, dtype))


def write_gpt2s(root: Path, *, n_layers: int = 3) -> None:
    """Folders ``base`` and ``a`` of GPT-2."""
    n = len(SPECIAL + WORDS)
    shapes, config = gpt2_shapes(n_layers, n), gpt2_config(n_layers, n)
    base = weights(shapes, 0)
    for seed, name in enumerate(("base", "a")):
        write_model(root / name, base if name == "base" else weights(shapes, seed, base), config)


OTHER_TOKENS = {
    "other": (*SPECIAL, *WORDS[5:30], "<sep>", "new0", "new1", *WORDS[:5]),  # fewer and more, in another order
    "third": (*SPECIAL, *reversed(WORDS[:20]), "new1", "own", "<sep>"),
}


def write_vocabularies(root: Path) -> None:
    """Folders ``base``, ``other`` and ``third`` whose tokenizers differ; ``third`` also has rows without tokens."""
    base = weights(llama_shapes(2, len(SPECIAL + WORDS)), 0)
    write_model(root / "base", base, llama_config(2, len(SPECIAL + WORDS)))
    for seed, (name, tokens) in enumerate(OTHER_TOKENS.items(), 1):
        rows = len(tokens) + (6 if name == "third" else 0)
        tensors = weights(llama_shapes(2, rows), seed, base)
        write_model(root / name, tensors, llama_config(2, rows), tokens=tokens)


def write_tied_and_untied(root: Path) -> None:
    """Folders ``tied`` (no head) and ``untied`` (with one)."""
    n = len(SPECIAL + WORDS)
    base = weights(llama_shapes(2, n), 0)
    write_model(root / "untied", base, llama_config(2, n))
    tied = {k: t for k, t in weights(llama_shapes(2, n), 1, base).items() if k != "lm_head.weight"}
    write_model(root / "tied", tied, llama_config(2, n, tied=True))


def write_adapters(root: Path) -> None:
    """Folder ``base`` and the LoRA adapters ``first`` (attention) and ``second`` (all, rank-stabilised)."""
    n = len(SPECIAL + WORDS)
    write_model(root / "base", weights(llama_shapes(2, n), 0), llama_config(2, n))
    _write_adapter(root / "first", 5, ("self_attn.q_proj", "self_attn.v_proj"), rank=2, use_rslora=False)
    _write_adapter(root / "second", 6, ("self_attn.q_proj", "mlp.down_proj"), rank=3, use_rslora=True)


def _write_adapter(folder: Path, seed: int, modules: Sequence[str], *, rank: int, use_rslora: bool) -> None:
    shapes = llama_shapes(2, len(SPECIAL + WORDS))
    rng = np.random.default_rng(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name in shapes:
        module = name.removesuffix(".weight")
        if module.endswith(tuple(modules)):
            rows, columns = shapes[name]
            for part, shape in (("lora_A", (rank, columns)), ("lora_B", (rows, rank))):
                drawn = torch.from_numpy(rng.standard_normal(shape)).to(torch.float32) * 0.2
                tensors[f"base_model.model.{module}.{part}.weight"] = drawn
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 4, "bias": "none"}
    config |= {"target_modules": [module.split(".")[-1] for module in modules], "use_rslora": use_rslora}
    config |= {"lora_dropout": 0.0, "inference_mode": True, "base_model_name_or_path": "base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


WRITERS = {
    "llama": write_llamas,
    "tied": lambda root: write_llamas(root, n_layers=2, tied=True),
    "bfloat16": lambda root: write_llamas(root, n_layers=2, dtype="bfloat16"),
    "gpt2": write_gpt2s,
    "vocabularies": write_vocabularies,
    "tied_and_untied": write_tied_and_untied,
    "adapters": write_adapters,
}
"""Pool name to the function that writes its folders into a root."""
