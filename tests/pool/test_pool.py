"""A pool as a whole."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from searcher.errors import PoolError
from searcher.pool.files import sha256
from searcher.pool.pool import Pool, open_pool

if TYPE_CHECKING:
    from tests.pool.conftest import Checkpoints, TinyPool


def test_base_and_models(tiny_llama_pool: TinyPool) -> None:
    pool = open_pool(base="base", models=["first", {"path": "second", "name": "other"}], root=tiny_llama_pool.root)
    assert pool.base is not None
    assert [pool.base.name, *(model.name for model in pool.models)] == ["base", "first", "other"]
    assert pool.source("other") is pool.models[1]
    assert pool.source("base") is pool.base
    assert pool.dtype == "float32"
    assert pool.warnings == ()
    assert pool.layout.n_parameters == 19616
    assert pool.layout.n_blocks == 2
    assert pool.layout.tied == {}
    assert pool.hashes["other/model.safetensors"] == sha256(tiny_llama_pool.models[1] / "model.safetensors")
    assert len(pool.hashes) == 9


def test_pool_without_base(tiny_llama_pool: TinyPool) -> None:
    pool = open_pool(base=None, models=["first", "second"], root=tiny_llama_pool.root)
    assert pool.base is None
    assert pool.reference.name == "first"
    module, _ = pool.load_module()
    assert torch.equal(module.state_dict()["lm_head.weight"], pool.models[0].read("lm_head.weight"))


def test_tied_names(tied_llama_pool: TinyPool) -> None:
    pool = open_pool(base="base", models=["first"], root=tied_llama_pool.root)
    assert pool.layout.tied == {"lm_head.weight": "model.embed_tokens.weight"}
    assert pool.layout.n_parameters == 17568
    for source in (pool.reference, *pool.models):
        assert torch.equal(source.read("lm_head.weight"), source.read("model.embed_tokens.weight"))


def test_every_source_reads_the_shapes_of_the_layout(tiny_llama_pool: TinyPool) -> None:
    pool = open_pool(base="base", models=["first", "second"], root=tiny_llama_pool.root)
    for entry in pool.layout.tensors:
        for source in (pool.reference, *pool.models):
            assert tuple(source.read(entry.name).shape) == entry.shape


def test_unknown_name(tiny_llama_pool: TinyPool) -> None:
    pool = open_pool(base="base", models=["first"], root=tiny_llama_pool.root)
    with pytest.raises(PoolError, match="no model 'third'") as caught:
        pool.source("third")
    assert "base, first" in caught.value.fix


def test_no_models_is_an_error(tiny_llama_pool: TinyPool) -> None:
    with pytest.raises(PoolError, match="no models"):
        open_pool(base="base", models=[], root=tiny_llama_pool.root)


@pytest.mark.parametrize("place", ["base", "first", "second"])
def test_adapter_needs_a_base(place: str, tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "adapter").mkdir()
    save_file({"x.lora_A.weight": torch.ones(1, 1)}, tmp_path / "adapter" / "adapter_model.safetensors")
    checkpoints.edit_json(tmp_path / "adapter" / "adapter_config.json", peft_type="LORA")
    full = str(tiny_llama_pool.base)
    base = "adapter" if place == "base" else None
    models = {"base": [full], "first": ["adapter", full], "second": [full, "adapter"]}[place]
    with pytest.raises(PoolError, match="is an adapter") as caught:
        open_pool(base=base, models=models, root=tmp_path)
    assert "pool.base" in caught.value.fix


def test_folder_without_floating_point_weights(tiny_llama_pool: TinyPool, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "ints").mkdir()
    save_file({"a": torch.arange(3)}, tmp_path / "ints" / "model.safetensors")
    with pytest.raises(PoolError, match="no floating-point tensors"):
        open_pool(base="ints", models=[str(tiny_llama_pool.base)], root=tmp_path)


def test_bits_of_sources_survive_loading_the_module(tiny_llama_pool: TinyPool) -> None:
    pool = open_pool(base="base", models=["first"], root=tiny_llama_pool.root)
    before = {entry.name: pool.reference.read(entry.name).clone() for entry in pool.layout.tensors}
    module, _ = pool.load_module()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    again = open_pool(base="base", models=["first"], root=tiny_llama_pool.root)
    for source in (pool.reference, again.reference):
        assert all(torch.equal(source.read(name), values) for name, values in before.items())
    assert pool.hashes == again.hashes


def test_travels_to_another_process(tiny_llama_pool: TinyPool) -> None:
    pool = open_pool(base="base", models=["first"], root=tiny_llama_pool.root)
    again: Pool = pickle.loads(pickle.dumps(pool))
    assert again.layout == pool.layout
    assert again.hashes == pool.hashes
    assert torch.equal(again.models[0].read("lm_head.weight"), pool.models[0].read("lm_head.weight"))
