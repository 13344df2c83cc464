"""Which tensors of a layer write into the residual stream, for architectures that normalise before each part."""

from __future__ import annotations

import re

from searcher.pool.depth import Stack

# The norms that stand in a layer itself; one more behind attention or MLP (Gemma 2, OLMo 2, GLM 4) changes the rule.
_PRE_NORMS = (
    frozenset({"input_layernorm", "post_attention_layernorm"}),
    frozenset({"input_layernorm"}),
    frozenset({"ln_1", "ln_2"}),
    frozenset({"ln_1"}),
)
_MODULES = frozenset({"self_attn", "attn", "attention", "mlp", "block_sparse_moe"})
_ATTENTION = re.compile(r"(self_attn\.(o_proj|dense)|attn\.(c_proj|out_proj)|attention\.dense)\.(weight|bias)")
_MLP = re.compile(
    r"(mlp\.((experts\.(\d+\.)?|shared_experts?\.)?down_proj|c_proj|fc2|fc_out|dense_4h_to_h)|"
    r"block_sparse_moe\.experts\.\d+\.w2)(\.(weight|bias))?"
)


def residual_outputs(stack: Stack) -> frozenset[str]:
    """Names, inside a layer, of the output projections of attention and MLP: all that is added to the stream.

    In a layer ``x + attention(norm(x))``, ``x + mlp(norm(x))`` the norms undo a factor on ``x`` up to their epsilon, so
    that scaling the stream is the same as dividing these tensors.

    Raises:
        ValueError: If the layers are not known to be of this kind.
    """
    names = [stack.local(t.name).removeprefix(".") for t in stack.layers[0]]
    parts = {name.split(".")[0] for name in names}
    attention = {name for name in names if _ATTENTION.fullmatch(name)}
    mlp = {name for name in names if _MLP.fullmatch(name)}
    if parts - _MODULES not in _PRE_NORMS or not attention or not mlp:
        raise ValueError(
            "Expected layers like Llama's, GPT-2's or GPT-NeoX's to scale the stream between them (norms before attention "
            f"and MLP only), but these have {', '.join(sorted(parts))}. Leave `scale` at [1, 1]."
        )
    return frozenset(f".{name}" for name in attention | mlp)
