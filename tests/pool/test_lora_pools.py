"""Pools of adapters and full checkpoints of one base, against PEFT's merge_and_unload and plain transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch

import searcher
from searcher.assembly import make_pool, make_space
from searcher.candidate import Split
from searcher.config import make_config
from searcher.errors import PoolError
from searcher.merge.engine import MergeEngine
from searcher.merge.live_model import LiveModel
from searcher.objectives.python import objective
from searcher.objectives.splits import split_examples
from searcher.pool.pool import Pool, open_pool
from searcher.recipe import Recipe
from searcher.yaml_file import YamlDocument

if TYPE_CHECKING:
    from tests.pool.conftest import Checkpoints, TinyPool

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:peft"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
]

ATTENTION = ["q_proj", "v_proj"]
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Ranks, scalings and targets that differ from member to member, as in any collection from the hub.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "attention": {"r": 2, "lora_alpha": 8, "target_modules": ATTENTION},
    "all": {"r": 8, "lora_alpha": 16, "target_modules": LINEAR},
    "stabilised": {"r": 4, "lora_alpha": 6, "target_modules": ["up_proj", "down_proj"], "use_rslora": True},
    "patterns": {
        "r": 3, "lora_alpha": 6, "target_modules": LINEAR, "layers_to_transform": [1],
        "rank_pattern": {"q_proj": 5, "mlp.up_proj": 1}, "alpha_pattern": {"layers.1.self_attn.v_proj": 1},
    },
    "half": {"r": 4, "lora_alpha": 8, "target_modules": LINEAR, "bfloat16": True},
}  # fmt: skip
FULL = "first"
TOKENS = torch.arange(24).reshape(3, 8) * 5 % 64


def adapter(base: Path, folder: Path, *, seed: int, bfloat16: bool = False, **settings: Any) -> Any:
    """Save a PEFT adapter with random factors; returns PEFT's model."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    wrapped = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                values = 0.1 * torch.randn(parameter.shape)
                parameter.copy_(values.to(torch.bfloat16) if bfloat16 else values)
    wrapped.save_pretrained(folder)
    if bfloat16:
        _store_as_bfloat16(folder / "adapter_model.safetensors")
    return wrapped


def _store_as_bfloat16(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}, file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_llama_pool: TinyPool, checkpoints: Checkpoints) -> Path:
    """Every adapter as PEFT saves it, and beside it (``NAME_merged``) the full model that PEFT makes of it."""
    root = tmp_path_factory.mktemp("lora-pool")
    (root / "base").symlink_to(tiny_llama_pool.base)
    (root / FULL).symlink_to(tiny_llama_pool.models[0])
    for seed, (name, settings) in enumerate(SETTINGS.items()):
        wrapped = adapter(root / "base", root / name, seed=seed, **settings)
        checkpoints.save(wrapped.merge_and_unload(), root / f"{name}_merged")
    return root


def members(*, merged: bool) -> list[str | dict[str, str]]:
    """The full checkpoint, and all adapters, or in their places what PEFT merged, under the same names."""
    if not merged:
        return [FULL, *SETTINGS]
    return [FULL, *({"path": f"{name}_merged", "name": name} for name in SETTINGS)]


@pytest.fixture(scope="module")
def adapters(folder: Path) -> Pool:
    return open_pool(base="base", models=members(merged=False), root=folder)


@pytest.fixture(scope="module")
def merged(folder: Path) -> Pool:
    return open_pool(base="base", models=members(merged=True), root=folder)


def test_adapters_and_full_checkpoints_are_members_side_by_side(adapters: Pool) -> None:
    assert [source.kind for source in adapters.models] == ["full", *["lora"] * len(SETTINGS)]
    assert adapters.dtype == "float32"
    assert adapters.warnings == ()
    assert {name.partition("/")[0] for name in adapters.hashes} == {"base", FULL, *SETTINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_an_adapter_alone_is_the_model_that_peft_merges(name: str, adapters: Pool, merged: Pool, folder: Path) -> None:
    from transformers import LlamaForCausalLM

    live = MergeEngine(adapters, device="cpu").build(alone(adapters, name))
    theirs = LlamaForCausalLM.from_pretrained(folder / f"{name}_merged").eval()
    with torch.no_grad():
        assert (live.module(TOKENS).logits - theirs(TOKENS).logits).abs().max() <= 1e-5
    for entry in adapters.layout.tensors:
        found = adapters.source("base").read(entry.name) + adapters.source(name).read(entry.name)
        torch.testing.assert_close(found, merged.source(name).read(entry.name), rtol=1e-6, atol=1e-6)


def alone(pool: Pool, name: str) -> Recipe:
    return Recipe("task_arithmetic", (name,), "base", np.array([0, pool.layout.n_parameters]), np.ones((1, 1)))


def layer_wise(pool: Pool, operator: str, names: tuple[str, ...], **settings: Any) -> Recipe:
    """A recipe whose coefficients differ from tensor to tensor."""
    borders = np.array([0, *[entry.stop for entry in pool.layout.tensors]])
    rows = np.random.default_rng(5).uniform(0.1, 0.6, (borders.size - 1, len(names)))
    return Recipe(operator, names, "base", borders, rows, settings).canonical()


ALL = (FULL, *SETTINGS)


@pytest.mark.parametrize(
    ("operator", "names", "settings"),
    [
        ("task_arithmetic", ALL, {}),
        ("linear", ALL, {"normalize": True}),
        ("slerp", (FULL, "all"), {}),
        ("slerp", ("attention", "half"), {}),
        ("ties", ALL, {"density": 1.0}),
        ("sce", ALL, {"select_topk": 1.0}),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_every_merge_is_the_one_of_the_full_models(
    operator: str, names: tuple[str, ...], settings: dict[str, Any], adapters: Pool, merged: Pool
) -> None:
    """Not below density 1: a rounding error in an entry may then decide whether it is kept."""
    weights = [
        MergeEngine(pool, device="cpu").build(layer_wise(pool, operator, names, **settings)).weights.clone()
        for pool in (adapters, merged)
    ]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("memory", ["resident", "host", "stream"])
def test_where_adapters_live_in_memory_changes_nothing(
    memory: Literal["resident", "host", "stream"], adapters: Pool
) -> None:
    recipe = layer_wise(adapters, "task_arithmetic", ALL)
    expected = MergeEngine(adapters, device="cpu", memory="resident").build(recipe).weights
    assert torch.equal(MergeEngine(adapters, device="cpu", memory=memory).build(recipe).weights, expected)


def test_what_no_adapter_changes_has_no_genes(folder: Path) -> None:
    document = YamlDocument({
        "pool": {"base": "base", "models": ["attention", "patterns"]},
        "space": {"name": "layer_wise", "by": ["block", "kind"]},
        "objectives": [{"name": "a", "type": "python", "function": log_likelihood}],
    })  # fmt: skip
    config = make_config(document, folder)
    pool = make_pool(config)
    assert "model.embed_tokens.weight" in pool.unchanged
    assert "model.layers.1.mlp.up_proj.weight" not in pool.unchanged
    space = make_space(config, pool)
    labels = ["block 0.attention", "block 1.mlp", "block 1.attention"]
    assert space.names == tuple(f"{name}[{label}]" for label in labels for name in ("attention", "patterns"))
    assert space.decode(np.ones(6)).boundaries[-1] == pool.layout.n_parameters
    assert open_pool(base="base", models=[FULL, "attention"], root=folder).unchanged == frozenset()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"target_modules": ATTENTION, "use_dora": True}, "use_dora"),
        ({"target_modules": ATTENTION, "modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"target_modules": ATTENTION, "bias": "lora_only"}, "bias 'lora_only'"),
        ({"target_modules": ATTENTION, "lora_bias": True}, "lora_bias"),
        ({"target_modules": ATTENTION, "trainable_token_indices": [1, 2]}, "trainable_token_indices"),
        ({"target_modules": ATTENTION, "init_lora_weights": "pissa"}, "init_lora_weights 'pissa'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_more_than_two_factors_is_refused_by_name(
    settings: dict[str, Any], named: str, folder: Path, tmp_path: Path
) -> None:
    """Real adapters of PEFT: merged as plain LoRA they would give another model without a word."""
    adapter(folder / "base", tmp_path / "other", seed=9, r=2, **settings)
    with pytest.raises(PoolError) as caught:
        open_pool(base=str(folder / "base"), models=[str(tmp_path / "other")], root=tmp_path)
    assert named in caught.value.what
    assert "model other" in caught.value.where
    assert "merge_and_unload" in caught.value.fix


@objective(n_examples=3, direction="maximize", unit="nats per token")
def log_likelihood(model: LiveModel, examples: np.ndarray[tuple[int], np.dtype[np.int64]]) -> torch.Tensor:
    """Mean log-probability of each sequence's tokens after the first."""
    return _log_likelihood(model.module, TOKENS[torch.from_numpy(examples)])


def _log_likelihood(module: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        log_probabilities = module(tokens).logits[:, :-1].log_softmax(-1)
    mean: torch.Tensor = log_probabilities.gather(2, tokens[:, 1:, None])[..., 0].mean(1)
    return mean


def test_the_result_of_a_search_reproduces_its_score_in_plain_transformers(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    config = {
        "seed": 3,
        "pool": {
            "base": str(folder / "base"),
            "models": [str(folder / name) for name in ALL],
            "dtype": "float32",
            "device": "cpu",
        },
        "space": {"name": "layer_wise", "range": [0.0, 1.0]},
        "objectives": [
            {"name": "fit", "type": "python", "function": log_likelihood, "split": {"search": 0.6, "held_out": 0.4}}
        ],
        "strategy": "random",
        "budget": {"evaluations": 24},
    }
    run = searcher.optimize(config, run=tmp_path / "run")
    point = run.point(23)  # not a baseline: coefficients of all members, different in every block
    exported = point.export(tmp_path / "exported")
    loaded, info = AutoModelForCausalLM.from_pretrained(exported, output_loading_info=True)
    assert not any(info.values())
    live = point.build()
    with torch.no_grad():
        assert (loaded(TOKENS).logits - live.module(TOKENS).logits).abs().max() <= 1e-5
    scored = _log_likelihood(loaded, TOKENS).double()
    assert point.scores("search")["fit"] == pytest.approx(_split_mean(scored, "search"), abs=1e-6)
    assert not any("adapter" in path.name for path in exported.iterdir())


def _split_mean(scores: torch.Tensor, split: Split) -> float:
    """Mean over the sequences that the objective takes into a split."""
    division = split_examples(len(scores), {"search": 0.6, "held_out": 0.4})
    order = torch.from_numpy(division.order)
    return float(scores[order[division.slices[split]]].mean())
