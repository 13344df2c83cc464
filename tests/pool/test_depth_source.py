"""References of other depths, and pools that cannot have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from searcher.errors import PoolError
from searcher.pool.depth_source import OtherDepths
from searcher.pool.pool import Pool, open_pool
from tests.export.tiny_models import llama_config, llama_shapes, llama_weights, write_llamas, write_model
from tests.language.tiny_llama import tiny_llama


def pool_of(*folders: Path, **settings: Any) -> Pool:
    return open_pool(base=None, models=[str(folder) for folder in folders], root=folders[0].parent, **settings)


def test_tensors_are_those_of_the_chosen_layers(tmp_path: Path) -> None:
    pool = pool_of(tiny_llama(tmp_path / "a", layers=3))
    source, origin = OtherDepths(pool).source([("a", 2), ("a", 0)]), pool.reference
    assert len(source.stored) == len(origin.stored) - 9
    assert source.stored["model.layers.0.mlp.up_proj.weight"].name == "model.layers.0.mlp.up_proj.weight"
    for reader in (source, source.reopened()):
        for name, was in (
            ("layers.0.mlp.up_proj", "layers.2.mlp.up_proj"),
            ("layers.1.mlp.up_proj", "layers.0.mlp.up_proj"),
        ):
            assert torch.equal(reader.read(f"model.{name}.weight"), origin.read(f"model.{was}.weight"))
        assert torch.equal(reader.read("lm_head.weight"), origin.read("lm_head.weight"))
    with pytest.raises(KeyError):
        source.read("model.layers.2.mlp.up_proj.weight")
    assert source.config["num_hidden_layers"] == 2
    assert origin.config["num_hidden_layers"] == 3


def test_kinds_of_layers_are_those_of_the_model_that_each_layer_is_from(tmp_path: Path) -> None:
    kinds = {"a": ["full_attention", "sliding_attention"], "b": ["sliding_attention", "full_attention"]}
    for name, layer_types in kinds.items():
        shapes = llama_shapes(2, tied=False)
        write_model(
            tmp_path / name, llama_weights(shapes, 0), llama_config(2, tied=False) | {"layer_types": layer_types}
        )
    source = OtherDepths(pool_of(tmp_path / "a", tmp_path / "b")).source([("a", 0), ("b", 0), ("b", 1), ("a", 1)])
    assert source.config["layer_types"] == [
        "full_attention",
        "sliding_attention",
        "full_attention",
        "sliding_attention",
    ]


def edited(folder: Path, **entries: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return folder


def test_layers_that_differ_by_their_number_are_refused(tmp_path: Path) -> None:
    folder = edited(write_llamas(tmp_path)[0], mlp_only_layers=[1], scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(PoolError, match=r"mlp_only_layers, scale_attn_by_inverse_layer_idx") as caught:
        OtherDepths(pool_of(folder))
    assert "space data_flow, model base" in str(caught.value)
    assert "another space" in str(caught.value)


def test_loaders_of_the_user_are_refused(tmp_path: Path) -> None:
    folder = write_llamas(tmp_path)[0]
    (tmp_path / "load.py").write_text(
        "from transformers import LlamaForCausalLM\n\ndef load(folder):\n    return LlamaForCausalLM.from_pretrained(folder)\n"
    )
    with pytest.raises(PoolError, match="the pool's loader builds modules of one depth only"):
        OtherDepths(pool_of(folder, loader="python:load.py:load"))


def test_two_stacks_are_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    with pytest.raises(PoolError, match="one stack of layers, but these have 2"):
        OtherDepths(pool_of(tmp_path / "t5"))
