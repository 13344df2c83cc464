"""LoRA adapters, compared with the weights that PEFT itself merges."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from searcher.errors import PoolError
from searcher.pool.files import find_files
from searcher.pool.lora import LoraSource
from searcher.pool.pool import open_pool
from searcher.pool.source import FullSource

if TYPE_CHECKING:
    from tests.pool.conftest import Checkpoints, TinyPool

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:peft"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
]
SMOLLM2 = Path(__file__).resolve().parents[3] / "shared" / "pools" / "smollm2" / "adapters"


def train_nothing(module: torch.nn.Module, folder: Path, **settings: Any) -> torch.nn.Module:
    """Wrap a module in a PEFT adapter with random factors, save the adapter, and return the merged module."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    wrapped = get_peft_model(module, LoraConfig(**{"r": 4, "lora_alpha": 8, **settings}))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape))
    wrapped.save_pretrained(folder)
    merged: torch.nn.Module = wrapped.merge_and_unload()
    return merged


ATTENTION = ["q_proj", "v_proj"]
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ATTENTION},
        {"target_modules": LINEAR, "lora_alpha": 5},
        {"target_modules": LINEAR, "use_rslora": True},
        {"target_modules": ATTENTION, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.self_attn.v_proj": 3}},
        {"target_modules": LINEAR, "rank_pattern": {r".*\.0\.mlp\..*": 3}, "alpha_pattern": {"^model.*up_proj": 7}},
        {"target_modules": LINEAR, "use_rslora": True, "rank_pattern": {"down_proj": 9}, "alpha_pattern": {"down": 2}},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ATTENTION, "fan_in_fan_out": True},  # PEFT switches it off for linear layers
        {"target_modules": ATTENTION, "layers_to_transform": [1]},
    ],
    ids=str,
)
def test_delta_is_what_peft_merges(
    settings: dict[str, Any], tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    from transformers import LlamaForCausalLM

    module = LlamaForCausalLM.from_pretrained(tiny_llama_pool.base)
    merged = train_nothing(module, tmp_path / "adapter", **settings).state_dict()
    pool = open_pool(base=str(tiny_llama_pool.base), models=["adapter"], root=tmp_path)
    base, adapter = pool.source("base"), pool.source("adapter")
    assert adapter.kind == "lora"
    assert adapter.is_delta
    changed = 0
    for entry in pool.layout.tensors:
        delta = adapter.read(entry.name)
        assert delta.dtype == torch.float32
        assert delta.shape == entry.shape
        assert delta.is_contiguous()
        torch.testing.assert_close(base.read(entry.name) + delta, merged[entry.name], rtol=1e-6, atol=1e-5)
        changed += bool(delta.any())
    assert isinstance(adapter, LoraSource)
    assert changed == len(adapter.targets) > 0


@pytest.mark.parametrize("targets", [["c_attn", "c_proj", "c_fc"], ["wte", "c_proj"]], ids=str)
def test_transposed_layers_of_gpt2(targets: list[str], checkpoints: Checkpoints, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=16, tie_word_embeddings=False)
    module = GPT2LMHeadModel(config)
    checkpoints.save(module, tmp_path / "base")
    merged = train_nothing(module, tmp_path / "adapter", target_modules=targets, fan_in_fan_out=True).state_dict()
    checkpoints.edit_json(tmp_path / "adapter" / "adapter_config.json", fan_in_fan_out=False)  # the layer decides
    pool = open_pool(base="base", models=["adapter"], root=tmp_path)
    base, adapter = pool.source("base"), pool.source("adapter")
    for entry in pool.layout.tensors:
        found = base.read(entry.name) + adapter.read(entry.name)
        torch.testing.assert_close(found, merged[entry.name], rtol=1e-6, atol=1e-5)


def test_pointwise_and_wide_convolutions(tmp_path: Path) -> None:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = torch.nn.Conv2d(3, 5, (3, 2))
            self.point = torch.nn.Conv2d(5, 4, 1)

    module = Network()
    (tmp_path / "base").mkdir()
    save_file(module.state_dict(), tmp_path / "base" / "model.safetensors")
    merged = train_nothing(module, tmp_path / "adapter", target_modules=["wide", "point"], r=2).state_dict()
    base = FullSource("base", find_files(tmp_path / "base"), "base")
    adapter = LoraSource("adapter", find_files(tmp_path / "adapter"), "adapter", base, orientation={}, tied={})
    for name in ("wide.weight", "point.weight"):
        torch.testing.assert_close(base.read(name) + adapter.read(name), merged[name], rtol=1e-6, atol=1e-5)


def plain_adapter(folder: Path, base: Path) -> Path:
    from transformers import LlamaForCausalLM

    train_nothing(LlamaForCausalLM.from_pretrained(base), folder, target_modules=ATTENTION)
    return folder


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias 'all'"),
        ({"bias": "lora_only"}, "bias 'lora_only'"),
        ({"peft_type": "IA3"}, "peft_type 'IA3'"),
        ({"peft_type": None}, "peft_type None"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"target_parameters": ["experts.down"]}, "target_parameters"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"r": 5}, "configured rank 5"),
        ({"r": "4"}, "is not a number"),
        ({"lora_alpha": None}, "is not a number"),
        ({"rank_pattern": {"q_proj": 2}}, "configured rank 2"),
        ({"rank_pattern": {"(": 2}}, "not a regular expression"),
        ({"alpha_pattern": ["q_proj"]}, "not an object"),
    ],
    ids=str,
)
def test_unsupported_settings_are_named(
    changes: dict[str, Any], named: str, tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    plain_adapter(tmp_path / "adapter", tiny_llama_pool.base)
    checkpoints.edit_json(tmp_path / "adapter" / "adapter_config.json", **changes)
    with pytest.raises(PoolError) as caught:
        open_pool(base=str(tiny_llama_pool.base), models=["adapter"], root=tmp_path)
    assert named in caught.value.what


PREFIX = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda t: t.pop(f"{PREFIX}.lora_A.weight"), "only one of the two factors"),
        (lambda t: t.update({"stray": torch.ones(2)}), "not part of a plain LoRA"),
        (lambda t: t.update({f"{PREFIX}.lora_magnitude_vector": torch.ones(2)}), "not part of a plain LoRA"),
        (lambda t: t.update({f"{PREFIX}.lora_A.default.weight": torch.ones(4, 32)}), "stands twice"),
        (lambda t: t.update({f"{PREFIX}.base_layer.weight": torch.ones(32, 32)}), "differs from the base"),
        (lambda t: t.update({"base_model.model.other.lora_A.weight": torch.ones(4, 32)}), "does not have"),
        (lambda t: t.update({f"{PREFIX}.lora_B.weight": torch.ones(30, 4)}), "has shape (30, 32), but the base has"),
        (lambda t: t.update({f"{PREFIX}.lora_A.weight": torch.ones(4)}), "configured rank"),
        (lambda t: t.clear(), "no LoRA tensors"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(
    edit: Callable[[dict[str, torch.Tensor]], object], fault: str, tiny_llama_pool: TinyPool, tmp_path: Path
) -> None:
    edit_tensors(plain_adapter(tmp_path / "adapter", tiny_llama_pool.base), edit)
    with pytest.raises(PoolError) as caught:
        open_pool(base=str(tiny_llama_pool.base), models=["adapter"], root=tmp_path)
    assert fault in caught.value.what
    assert "model adapter" in caught.value.where


def test_nan_in_an_adapter_is_refused(tiny_llama_pool: TinyPool, tmp_path: Path) -> None:
    folder = plain_adapter(tmp_path / "adapter", tiny_llama_pool.base)
    edit_tensors(folder, lambda tensors: tensors[f"{PREFIX}.lora_B.weight"].fill_(float("nan")))
    with pytest.raises(PoolError, match="do not fit together") as caught:
        open_pool(base=str(tiny_llama_pool.base), models=["adapter"], root=tmp_path)
    assert f"{PREFIX}.lora_B.weight" in str(caught.value)
    assert "128 NaN or infinite" in str(caught.value)


def test_adapter_of_a_tied_head_is_refused(tied_llama_pool: TinyPool, tmp_path: Path) -> None:
    plain_adapter(tmp_path / "adapter", tied_llama_pool.base)
    edit_tensors(
        tmp_path / "adapter",
        lambda t: t.update({f"base_model.model.lm_head.lora_{x}.weight": torch.ones(4, 4) for x in "AB"}),
    )
    with pytest.raises(PoolError, match="shares its weights with"):
        open_pool(base=str(tied_llama_pool.base), models=["adapter"], root=tmp_path)


def test_adapter_of_a_tied_embedding_is_read_with_a_warning(tied_llama_pool: TinyPool, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    module = LlamaForCausalLM.from_pretrained(tied_llama_pool.base)
    train_nothing(module, tmp_path / "adapter", target_modules=["embed_tokens"])
    pool = open_pool(base=str(tied_llama_pool.base), models=["adapter"], root=tmp_path)
    assert any("lm_head.weight" in warning for warning in pool.warnings)
    assert torch.equal(pool.models[0].read("lm_head.weight"), pool.models[0].read("model.embed_tokens.weight"))
    assert pool.models[0].read("lm_head.weight").any()


def sparse_base(folder: Path, adapter: Path) -> FullSource:
    """A base of zeros with the tensors that an adapter changes; the file takes no room on the disk."""
    header: dict[str, Any] = {}
    position = 0
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, down in tensors.items():
        if ".lora_A." in name:
            shape = [tensors[name.replace(".lora_A.", ".lora_B.")].shape[0], down.shape[1]]
            stop = position + 2 * math.prod(shape)
            target = name.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
            header[target] = {"dtype": "BF16", "shape": shape, "data_offsets": [position, stop]}
            position = stop
    text = json.dumps(header).encode()
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    return FullSource("base", find_files(folder), "base")


@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="the SmolLM2 adapters are not beside the repository")
@pytest.mark.parametrize("name", ["aiw", "arithmetic", "family", "noise", "syllogism"])
def test_real_adapters(name: str, tmp_path: Path) -> None:
    base = sparse_base(tmp_path / "base", SMOLLM2 / name)
    adapter = LoraSource(name, find_files(SMOLLM2 / name), name, base, orientation={}, tied={})
    assert len(adapter.targets) == 210  # 7 linear layers in each of 30 blocks
    assert list(adapter.non_finite()) == []
    stored = load_file(SMOLLM2 / name / "adapter_model.safetensors")
    for target in ("model.layers.0.self_attn.k_proj.weight", "model.layers.29.mlp.down_proj.weight"):
        prefix = f"base_model.model.{target.removesuffix('.weight')}"
        down, up = stored[f"{prefix}.lora_A.weight"].double(), stored[f"{prefix}.lora_B.weight"].double()
        delta = adapter.read(target)
        torch.testing.assert_close(delta.double(), up @ down * 16 / 8, rtol=1e-5, atol=1e-7)
        assert delta.any()
