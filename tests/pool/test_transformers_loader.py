"""The transformers loader: exact weights, no code from model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from searcher.errors import PoolError
from searcher.pool.pool import open_pool

if TYPE_CHECKING:
    from tests.pool.conftest import Checkpoints, TinyPool


def open_one(root: Path, **options: Any) -> Any:
    return open_pool(base="model", models=[{"path": "model", "name": "again"}], root=root, **options)


@pytest.mark.parametrize("fixture", ["tiny_llama_pool", "tied_llama_pool"])
def test_module_is_what_transformers_loads(fixture: str, request: pytest.FixtureRequest) -> None:
    from transformers import LlamaForCausalLM

    tiny: TinyPool = request.getfixturevalue(fixture)
    module: Any
    module, tokenizer = open_pool(base="base", models=["first"], root=tiny.root).load_module()
    expected = LlamaForCausalLM.from_pretrained(tiny.base).eval()
    assert tokenizer is None
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert module.state_dict().keys() == expected.state_dict().keys()
    tokens = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        assert torch.equal(module(tokens).logits, expected(tokens).logits)
    assert (module.lm_head.weight is module.model.embed_tokens.weight) == (fixture == "tied_llama_pool")


def test_module_of_a_sharded_folder(tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(checkpoints.llama(), tmp_path / "model", max_shard_size="20KB")
    module, _ = open_one(tmp_path).load_module()
    for name, tensor in checkpoints.llama().state_dict().items():
        assert torch.equal(module.state_dict()[name], tensor)


def test_pool_type_is_the_module_type(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(checkpoints.llama().to(torch.bfloat16), tmp_path / "model")
    module, _ = open_one(tmp_path).load_module()
    assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}


def test_classifier_and_encoder_decoder(checkpoints: Checkpoints, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, T5Config, T5ForConditionalGeneration

    bert = BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=40, num_labels=3
    )
    t5 = T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=40)
    for module in (BertForSequenceClassification(bert), T5ForConditionalGeneration(t5)):
        folder = tmp_path / type(module).__name__
        checkpoints.save(module, folder / "model")
        pool = open_one(folder)
        loaded, _ = pool.load_module()
        state = module.state_dict()
        for entry in pool.layout.tensors:
            assert torch.equal(loaded.state_dict()[entry.name], state[entry.name])
        unique = {tensor.data_ptr(): tensor.numel() for tensor in state.values() if tensor.is_floating_point()}
        assert pool.layout.n_parameters == sum(unique.values())
        assert pool.layout.n_blocks == (2 if "Bert" in folder.name else 4)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_custom_code_is_refused_and_never_run(
    file: str, tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = checkpoints.copy(tiny_llama_pool.base, tmp_path / "model")
    canary = tmp_path / "canary"
    (folder / "modeling_evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass Evil: ...\n")
    checkpoints.edit_json(folder / file, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"}, model_type="evil")
    with pytest.raises(PoolError, match="code of its own") as caught:
        open_one(tmp_path)
    assert "trust_remote_code" in caught.value.fix
    assert not canary.exists()


CODE = """
from transformers import LlamaForCausalLM
class MyLlama(LlamaForCausalLM):
    pass
"""


def test_custom_code_of_a_local_folder_runs_when_trusted(
    tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = checkpoints.copy(tiny_llama_pool.base, tmp_path / "model")
    (folder / "modeling_mine.py").write_text(CODE)
    checkpoints.edit_json(
        folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_mine.MyLlama"}, architectures=["MyLlama"]
    )
    module, _ = open_one(tmp_path, trust_remote_code=True).load_module()
    assert type(module).__name__ == "MyLlama"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"architectures": None}, "exactly one class"),
        ({"architectures": ["LlamaForCausalLM", "LlamaModel"]}, "exactly one class"),
        ({"architectures": "LlamaForCausalLM"}, "exactly one class"),
        ({"architectures": ["NoSuchModel"]}, "no model class 'NoSuchModel'"),
        ({"architectures": ["AutoTokenizer"]}, "no model class"),
        ({"architectures": ["__name__"]}, "no model class"),
        ({"architectures": ["LlamaConfig"]}, "no model class"),
        ({"model_type": "no_such_type"}, "config.json cannot be used"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers 'many'"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000, the files have 21 tensors"),
        ({"hidden_size": "wide"}, "cannot be used|cannot be built"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized"),
    ],
    ids=str,
)
def test_configs_that_cannot_be_loaded(
    changes: dict[str, Any], fault: str, tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = checkpoints.copy(tiny_llama_pool.base, tmp_path / "model")
    checkpoints.edit_json(folder / "config.json", **changes)
    with pytest.raises(PoolError, match=fault) as caught:
        open_one(tmp_path)
    assert str(caught.value).count("\n") == 2
    assert "model model" in caught.value.where


def test_config_of_a_giant_allocates_nothing(
    tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    folder = checkpoints.copy(tiny_llama_pool.base, tmp_path / "model")
    checkpoints.edit_json(folder / "config.json", hidden_size=10**15)
    with pytest.raises(PoolError, match="do not fit together") as caught:
        open_one(tmp_path)
    assert "shape [64, 1000000000000000]" in str(caught.value)


def test_bare_weights_need_another_loader(tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoints.copy(tiny_llama_pool.base, tmp_path / "model")
    (folder / "config.json").unlink()
    with pytest.raises(PoolError, match=r"no config\.json") as caught:
        open_one(tmp_path)
    assert "python:" in caught.value.fix


def test_broken_tokenizer_is_an_error(tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoints.copy(tiny_llama_pool.base, tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(PoolError, match="tokenizer"):
        open_one(tmp_path).load_module()
