"""Dividing output projections is scaling the stream: proved against hooks that scale it, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from searcher.pool.depth import find_stack
from searcher.pool.layout import Layout, build_layout
from searcher.pool.residual import residual_outputs

FACTORS = (0.7, 1.6, 0.9)
SMALL = {"vocab_size": 40, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
ROPE = {
    **SMALL, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}  # fmt: skip
GPT = {**SMALL, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {**ROPE, "rms_norm_eps": 0.0, "attention_bias": True, "mlp_bias": True},
    "Qwen2": {**ROPE, "rms_norm_eps": 0.0},
    "Qwen3": {**ROPE, "rms_norm_eps": 0.0, "head_dim": 8},
    "GPT2": {**GPT, "layer_norm_epsilon": 0.0},
    "GPTJ": {**GPT, "layer_norm_epsilon": 0.0, "rotary_dim": 4},
    "GPTNeoX": {**ROPE, "layer_norm_eps": 0.0},
    "Phi": {**ROPE, "layer_norm_eps": 0.0},
    "Starcoder2": {**ROPE, "norm_epsilon": 0.0},
    "Mixtral": {**ROPE, "rms_norm_eps": 0.0, "num_local_experts": 2, "experts_implementation": "eager"},
}


def model_of(family: str, **changes: Any) -> Any:
    import transformers

    suffix = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    config = getattr(transformers, f"{family}Config")(**{**FAMILIES.get(family, ROPE), **changes})
    torch.manual_seed(3)
    module = getattr(transformers, f"{family}{suffix}")(config).double().eval()
    for part in module.modules():
        if type(part).__name__.endswith("RMSNorm"):
            part.forward = _norm(part)  # transformers' own rounds to float32 inside
    return module


def _norm(part: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: part.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + part.variance_epsilon)


def layout_of(module: torch.nn.Module) -> Layout:
    return build_layout({name: tuple(p.shape) for name, p in module.named_parameters()}, {})


def layers_of(module: Any) -> Any:
    body = getattr(module, module.base_model_prefix)
    return body.layers if hasattr(body, "layers") else body.h


def scaled_by_hooks(module: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of a model whose stream is multiplied before each layer."""

    def hook(factor: float) -> Any:
        return lambda _, given: (given[0] * factor, *given[1:])

    handles = [layer.register_forward_pre_hook(hook(f)) for layer, f in zip(layers_of(module), FACTORS, strict=True)]
    logits: torch.Tensor = module(tokens).logits
    for handle in handles:
        handle.remove()
    return logits


def divide_outputs(module: Any) -> None:
    """Divide what each layer adds to the stream by the product of the factors so far."""
    stack, parameters = find_stack(layout_of(module)), dict(module.named_parameters())
    outputs = residual_outputs(stack)
    for layer, factor in zip(stack.layers, np.cumprod(FACTORS), strict=True):
        for tensor in layer:
            if stack.local(tensor.name) in outputs:
                parameters[tensor.name].div_(factor)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_dividing_the_outputs_is_scaling_the_stream(family: str) -> None:
    module, tokens = model_of(family), 1 + torch.arange(12)[None]
    plain, expected = module(tokens).logits, scaled_by_hooks(module, tokens)
    assert not torch.allclose(plain, expected, atol=1e-3)  # the factors matter
    divide_outputs(module)
    torch.testing.assert_close(module(tokens).logits, expected, rtol=1e-9, atol=1e-9)  # without epsilon: rounding only


@torch.no_grad()
def test_the_norms_epsilon_is_the_only_difference() -> None:
    """A norm of a stream scaled by c has epsilon / c^2 instead: relative to its mean square that is a tiny change."""
    tokens, epsilon = 1 + torch.arange(12)[None], 1e-6
    module = model_of("Llama", rms_norm_eps=epsilon)
    smallest = float(module.model.embed_tokens(tokens).square().mean(-1).min())
    expected = scaled_by_hooks(module, tokens)
    divide_outputs(module)
    difference = float((module(tokens).logits - expected).abs().max() / expected.abs().max())
    assert 0.0 < difference < 100 * epsilon / smallest


@pytest.mark.parametrize("family", ["Gemma2", "Olmo2", "Bloom"])
def test_other_layers_are_refused(family: str) -> None:
    import transformers

    changes: dict[str, Any] = (
        {"n_layer": 2, "hidden_size": 16, "n_head": 2, "vocab_size": 40} if family == "Bloom" else ROPE
    )
    with torch.device("meta"):
        module = getattr(transformers, f"{family}ForCausalLM")(getattr(transformers, f"{family}Config")(**changes))
    with pytest.raises(ValueError, match="Leave `scale` at"):
        residual_outputs(find_stack(layout_of(module)))
