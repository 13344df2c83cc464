"""The parameter line depends on names alone and is tiled without gaps."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.pool.layout import KINDS, Layout, block_key, build_layout, kind_of

COMPONENTS = ["model", "layers", "encoder", "decoder", "h", "mlp", "self_attn", "norm", "head", "embed", "0", "1", "10"]
NAMES = st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=5).map(lambda parts: ".".join([*parts, "weight"]))
SHAPES = st.dictionaries(NAMES, st.lists(st.integers(0, 5), max_size=3).map(tuple), max_size=20)


def order(*names: str) -> list[str]:
    return [entry.name for entry in build_layout(dict.fromkeys(names, (1,)), {}).tensors]


def blocks(layout: Layout) -> dict[str, int | None]:
    return {entry.name: entry.block for entry in layout.tensors}


@given(SHAPES)
def test_ranges_tile_the_line(shapes: dict[str, tuple[int, ...]]) -> None:
    layout = build_layout(shapes, {})
    position = 0
    for entry in layout.tensors:
        assert entry.offset == position
        assert entry.size == math.prod(shapes[entry.name]) == math.prod(entry.shape)
        assert entry.kind in KINDS
        position = entry.stop
    assert position == layout.n_parameters == sum(math.prod(shape) for shape in shapes.values())
    assert {entry.name for entry in layout.tensors} == set(shapes)


@given(SHAPES, st.randoms())
def test_order_of_the_input_changes_nothing(shapes: dict[str, tuple[int, ...]], rng: random.Random) -> None:
    shuffled = list(shapes.items())
    rng.shuffle(shuffled)
    assert build_layout(dict(shuffled), {}) == build_layout(shapes, {})


@given(SHAPES)
def test_blocks_are_counted_densely_and_in_order(shapes: dict[str, tuple[int, ...]]) -> None:
    layout = build_layout(shapes, {})
    found = [entry.block for entry in layout.tensors if entry.block is not None]
    assert found == sorted(found)
    assert set(found) == set(range(layout.n_blocks))
    assert layout.n_blocks == len({key for name in shapes if (key := block_key(name)) is not None})


def test_llama_order() -> None:
    names = [
        "model.embed_tokens.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.2.mlp.down_proj.weight",
        "model.layers.10.mlp.down_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
    ]
    assert order(*reversed(names)) == names


def test_gpt2_order() -> None:
    names = [
        "wpe.weight",
        "wte.weight",
        "h.0.attn.c_attn.weight",
        "h.0.ln_1.weight",
        "h.11.mlp.c_fc.bias",
        "ln_f.weight",
    ]
    assert order(*reversed(names)) == names


def test_plain_network_order() -> None:
    names = ["embed.weight", "blocks.0.linear.bias", "blocks.0.linear.weight", "blocks.1.linear.weight", "head.weight"]
    layout = build_layout(dict.fromkeys(reversed(names), (2, 2)), {})
    assert [entry.name for entry in layout.tensors] == names
    assert [entry.kind for entry in layout.tensors] == ["embedding", "mlp", "mlp", "mlp", "head"]
    assert layout.n_blocks == 2


def test_sequential_is_counted_densely() -> None:
    layout = build_layout({"2.weight": (3,), "0.weight": (4,), "0.bias": (1,)}, {})
    assert blocks(layout) == {"0.bias": 0, "0.weight": 0, "2.weight": 1}


def test_encoder_blocks_come_before_decoder_blocks() -> None:
    names = [
        "decoder.layers.0.fc1.weight",
        "encoder.layers.0.fc1.weight",
        "encoder.layers.1.fc1.weight",
        "shared.weight",
    ]
    layout = build_layout(dict.fromkeys(names, (1,)), {})
    assert blocks(layout) == {names[3]: None, names[1]: 0, names[2]: 1, names[0]: 2}
    assert [entry.name for entry in layout.tensors] == [names[3], names[1], names[2], names[0]]


def test_vision_tower_comes_before_the_language_model() -> None:
    vision, text = "vision_tower.layers.0.fc1.weight", "language_model.layers.0.mlp.up_proj.weight"
    assert order(text, vision) == [vision, text]


def test_head_with_numbered_layers_comes_last() -> None:
    names = ["layers.0.fc1.weight", "norm.weight", "classifier.0.weight", "classifier.2.weight"]
    assert order(*reversed(names)) == names


def test_tied_names_take_no_place() -> None:
    layout = build_layout({"embed.weight": (4, 2), "head.weight": (4, 2)}, {"head.weight": "embed.weight"})
    assert layout.n_parameters == 8
    assert layout.tied == {"head.weight": "embed.weight"}


def test_alias_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="tied names"):
        build_layout({"embed.weight": (4, 2)}, {"head.weight": "other.weight"})


def test_empty_layout() -> None:
    assert build_layout({}, {}).n_parameters == 0
    assert build_layout({}, {}).n_blocks == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("transformer.wte.weight", "embedding"),
        ("shared.weight", "embedding"),
        ("bert.embeddings.word_embeddings.weight", "embedding"),
        ("bert.embeddings.LayerNorm.weight", "norm"),
        ("vit.embeddings.cls_token", "embedding"),
        ("vit.embeddings.patch_embeddings.projection.weight", "embedding"),
        ("embed.bias", "embedding"),
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("model.layers.0.self_attn.q_norm.weight", "norm"),
        ("model.layers.0.self_attn_layer_norm.weight", "norm"),
        ("h.0.attn.c_proj.weight", "attention"),
        ("bert.encoder.layer.0.attention.output.dense.weight", "attention"),
        ("bert.encoder.layer.0.output.dense.weight", "mlp"),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "attention"),
        ("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", "mlp"),
        ("encoder.block.0.layer.0.layer_norm.weight", "norm"),
        ("transformer.h.0.self_attention.query_key_value.weight", "attention"),
        ("transformer.h.0.mlp.dense_h_to_4h.weight", "mlp"),
        ("model.layers.3.block_sparse_moe.experts.7.w1.weight", "mlp"),
        ("layers.0.feed_forward.w2.weight", "mlp"),
        ("layers.0.attention.wo.weight", "attention"),
        ("encoder.layers.0.fc1.weight", "mlp"),
        ("blocks.3.linear.weight", "mlp"),
        ("model.norm.weight", "norm"),
        ("transformer.ln_f.bias", "norm"),
        ("layer1.0.bn2.running_mean", "norm"),
        ("lm_head.weight", "head"),
        ("classifier.weight", "head"),
        ("score.weight", "head"),
        ("embed_out.weight", "head"),
        ("output.weight", "head"),
        ("head.0.weight", "head"),
        ("backbone.layers.0.mixer.A_log", "other"),
        ("0.weight", "other"),
        ("weight", "other"),
    ],
)
def test_kind_from_the_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind
