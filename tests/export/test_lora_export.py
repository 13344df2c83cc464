from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from searcher.errors import ExportError
from searcher.export.exporter import export_point
from searcher.export.lora_export import check_adapter, write_adapter
from searcher.export.manifest import check_manifest
from searcher.merge.engine import MergeEngine
from searcher.pool.pool import Pool, open_pool
from searcher.recipe import Recipe
from tests.export.tiny_models import llama_shapes, point_of, recipe_by, write_llamas

# Different ranks, scalings and targets; the second also adapts the embedding.
ADAPTERS: dict[str, dict[str, Any]] = {
    "a": {"r": 2, "lora_alpha": 8, "targets": ["self_attn.q_proj", "mlp.up_proj"]},
    "b": {"r": 3, "lora_alpha": 4, "use_rslora": True, "targets": ["self_attn.q_proj"], "embedding": True},
    "c": {
        "r": 1,
        "lora_alpha": 1,
        "rank_pattern": {"mlp.down_proj": 2},
        "targets": ["mlp.down_proj", "self_attn.v_proj"],
    },
}


def write_adapter_folder(folder: Path, seed: int, spec: dict[str, Any], *, n_layers: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = llama_shapes(n_layers, tied=False)
    modules = [f"model.layers.{layer}.{target}" for layer in range(n_layers) for target in spec["targets"]]
    tensors: dict[str, torch.Tensor] = {}

    def random(*shape: int) -> torch.Tensor:
        return torch.from_numpy(0.2 * rng.standard_normal(shape)).to(torch.float32)

    for module in modules:
        rank = next((r for end, r in spec.get("rank_pattern", {}).items() if module.endswith(end)), spec["r"])
        out, width = shapes[f"{module}.weight"]
        tensors[f"base_model.model.{module}.lora_A.weight"] = random(rank, width)
        tensors[f"base_model.model.{module}.lora_B.weight"] = random(out, rank)
    if spec.get("embedding"):
        rows, width = shapes["model.embed_tokens.weight"]
        tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = random(spec["r"], rows)
        tensors["base_model.model.model.embed_tokens.lora_embedding_B"] = random(width, spec["r"])
        modules.append("model.embed_tokens")
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    keep = {key: value for key, value in spec.items() if key not in ("targets", "embedding")}
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": modules, "bias": "none", **keep}
    (folder / "adapter_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    root = tmp_path_factory.mktemp("adapters")
    write_llamas(root, n_layers=2)
    for seed, (name, spec) in enumerate(ADAPTERS.items()):
        write_adapter_folder(root / name, seed, spec, n_layers=2)
    return open_pool(base="base", models=["a", "b", "c", "low"], root=root)


@pytest.fixture(scope="module")
def engine(pool: Pool) -> MergeEngine:
    return MergeEngine(pool, device="cpu")


def by_block(pool: Pool, operator: str = "task_arithmetic", **settings: Any) -> Recipe:
    return recipe_by(
        pool.layout,
        operator,
        lambda e: (0.5, -0.25, 1.0) if e.block else (0.25, 0.75, 0.0),
        models=("a", "b", "c"),
        settings=settings,
    )


def test_peft_loads_the_adapter_and_gives_the_merged_logits(pool: Pool, engine: MergeEngine, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    recipe = by_block(pool, "task_arithmetic", **{"lambda": 0.8})
    folder = export_point(point_of(recipe), engine, pool, tmp_path / "out", format="lora")
    base = AutoModelForCausalLM.from_pretrained(pool.reference.path, trust_remote_code=False)
    adapted = PeftModel.from_pretrained(base, str(folder)).eval()
    tokens = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        merged = engine.build(recipe).module(tokens).logits
        torch.testing.assert_close(adapted(tokens).logits, merged, rtol=1e-5, atol=1e-5)


def test_ranks_add_up_and_the_export_is_whole(pool: Pool, engine: MergeEngine, tmp_path: Path) -> None:
    folder = export_point(point_of(by_block(pool)), engine, pool, tmp_path / "out", format="lora")
    record = check_manifest(folder)
    assert set(record["files"]) == {"adapter_model.safetensors", "adapter_config.json", "recipe.json", "README.md"}
    assert 0.0 <= record["difference_from_merge"] < 1e-6
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (5, 5)  # q_proj: 2 + 3
    assert config["base_model_name_or_path"] is None
    tensors = load_file(folder / "adapter_model.safetensors")
    assert tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"].shape[0] == 5
    assert "base_model.model.model.embed_tokens.lora_embedding_A" in tensors
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    assert "library_name: peft" in (folder / "README.md").read_text()


@settings(max_examples=15)
@given(st.lists(st.lists(st.floats(-2, 2), min_size=3, max_size=3), min_size=2, max_size=2), st.floats(-2, 2))
def test_the_adapter_is_the_merge_for_all_coefficients(
    pool: Pool, engine: MergeEngine, tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], scale: float
) -> None:
    recipe = recipe_by(
        pool.layout, "task_arithmetic", lambda e: rows[e.block or 0], models=("a", "b", "c"), settings={"lambda": scale}
    )
    folder = tmp_path_factory.mktemp("adapter")
    write_adapter(folder, recipe, pool, base_id=None)
    assert check_adapter(folder, recipe, engine, pool) < 1e-6


def test_linear_works_where_the_base_is_taken_once(pool: Pool, engine: MergeEngine, tmp_path: Path) -> None:
    recipe = by_block(pool, "linear")
    write_adapter(tmp_path, recipe, pool, base_id="organisation/base")
    check_adapter(tmp_path, recipe, engine, pool)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "organisation/base"
    with pytest.raises(ExportError, match=r"Segment 1 takes the base 1\.25 times"):
        write_adapter(tmp_path, by_block(pool, "linear", normalize=False), pool, base_id=None)


def test_mergekit_gets_adapters_after_their_base(pool: Pool, engine: MergeEngine, tmp_path: Path) -> None:
    folder = export_point(point_of(by_block(pool)), engine, pool, tmp_path / "out", format="mergekit")
    text = (folder / "mergekit.yaml").read_text()
    base, adapter = (pool.source(name).path.resolve() for name in ("base", "a"))
    assert f"model: {base}+{adapter}\n" in text
    assert "--lora-merge-cache" in text.splitlines()[0]


def test_the_base_may_be_among_the_models(pool: Pool, engine: MergeEngine, tmp_path: Path) -> None:
    recipe = recipe_by(pool.layout, "linear", lambda _: (0.25, 0.75), models=("base", "a"))
    write_adapter(tmp_path, recipe, pool, base_id=None)
    check_adapter(tmp_path, recipe, engine, pool)


def test_a_wrong_adapter_is_noticed(pool: Pool, engine: MergeEngine, tmp_path: Path) -> None:
    write_adapter(tmp_path, by_block(pool), pool, base_id=None)
    other = recipe_by(pool.layout, "task_arithmetic", lambda _: (0.25, 0.75, 0.01), models=("a", "b", "c"))
    with pytest.raises(ExportError, match="does not reproduce") as caught:
        check_adapter(tmp_path, other, engine, pool)
    assert "tensor model." in caught.value.where


def test_what_no_adapter_can_express_is_refused(pool: Pool, engine: MergeEngine, tmp_path: Path) -> None:
    entry = next(e for e in pool.layout.tensors if e.name.endswith("q_proj.weight"))
    borders = np.array([0, entry.offset + 1, pool.layout.n_parameters])
    refused = [
        (Recipe("task_arithmetic", ("a",), "base", borders, np.array([[1.0], [2.0]])), "meet inside a tensor"),
        (recipe_by(pool.layout, "ties", lambda _: (1.0,), models=("a",)), "'ties' is not a sum"),
        (recipe_by(pool.layout, "task_arithmetic", lambda _: (1.0, 1.0), models=("a", "low")), "'low' is a full model"),
        (recipe_by(pool.layout, "task_arithmetic", lambda _: (1.0,), models=("base",)), "no adapters"),
    ]
    for recipe, words in refused:
        with pytest.raises(ExportError, match=words):
            export_point(point_of(recipe), engine, pool, tmp_path / "out", format="lora")
        assert not (tmp_path / "out").exists()


def test_half_precision_pools_are_exact_to_their_rounding(tmp_path: Path) -> None:
    write_llamas(tmp_path, n_layers=1, dtype="bfloat16")
    for seed, (name, spec) in enumerate(ADAPTERS.items()):
        write_adapter_folder(tmp_path / name, seed, spec, n_layers=1)
    pool = open_pool(base="base", models=["a", "b", "c"], root=tmp_path)
    engine = MergeEngine(pool, device="cpu")
    (tmp_path / "out").mkdir()
    recipe = by_block(pool)
    write_adapter(tmp_path / "out", recipe, pool, base_id=None)
    assert check_adapter(tmp_path / "out", recipe, engine, pool) < torch.finfo(torch.bfloat16).eps * 4
