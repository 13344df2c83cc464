"""Merged folders as users get them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from searcher.errors import ConfigError, ExportError, PoolError
from searcher.export.manifest import check_manifest, unlisted_files
from searcher.mergekit.merge_file import MergeOptions, merge_file
from searcher.mergekit.methods import METHODS
from tests.mergekit.conftest import Merge
from tests.mergekit.tiny_models import llama_config, llama_shapes, weights, write_model

LINEAR = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n"
FRANKEN = """\
merge_method: passthrough
slices:
- sources: [{model: a, layer_range: [0, 3]}]
- sources: [{model: b, layer_range: [1, 4]}]
"""
FRANKEN_3 = FRANKEN.replace("[0, 3]", "[0, 2]").replace("[1, 4]", "[1, 3]")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: t for path in folder.glob("*.safetensors") for name, t in load_file(path).items()}


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def logits(folder: Path) -> torch.Tensor:
    """Loads as anybody would, with nothing missing or left over, and runs."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    tokens = AutoTokenizer.from_pretrained(folder)("w1 w2 w3", return_tensors="pt")
    with torch.no_grad():
        found: torch.Tensor = model.eval()(tokens.input_ids).logits
    assert found.isfinite().all()
    return found


def refused(error: type[Exception], merge: Merge, pool: str | Path, text: str, *words: str, **options: object) -> None:
    """The merge fails with three lines and leaves nothing behind."""
    with pytest.raises(error) as caught:
        merge(pool, text, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 3
    for word in words:
        assert word in message


def test_a_folder_is_whole_and_loads(merge: Merge, pools: dict[str, Path]) -> None:
    summary = merge("llama", LINEAR)
    record = check_manifest(summary.folder)
    assert unlisted_files(summary.folder, record) == []
    expected = {"config.json", "generation_config.json", "model.safetensors", "README.md", "mergekit_config.yml"}
    assert set(record["files"]) == expected | {"tokenizer.json", "tokenizer_config.json"}
    assert (record["format"], record["method"], record["sources"]) == ("merge", "linear", ["a", "b"])
    assert record["config_sha256"] == hashlib.sha256(LINEAR.encode()).hexdigest()
    assert (summary.folder / "mergekit_config.yml").read_text() == LINEAR
    assert LINEAR in (summary.folder / "README.md").read_text()
    assert summary.n_tensors == len(tensors(summary.folder))
    assert summary.record()["bytes"] == sum(t.nbytes for t in tensors(summary.folder).values())
    first, second = (load_file(pools["llama"] / name / "model.safetensors") for name in "ab")
    for name, merged in tensors(summary.folder).items():
        torch.testing.assert_close(merged, (first[name] + second[name]) / 2, rtol=0, atol=1e-6)
    assert logits(summary.folder).shape == (1, 3, 40)


def test_repeated_layers_make_a_deeper_model_that_runs(merge: Merge, pools: dict[str, Path]) -> None:
    folder = merge("llama", FRANKEN, max_shard_bytes=20_000).folder
    assert (folder / "model.safetensors.index.json").is_file()
    assert config_of(folder)["num_hidden_layers"] == 6
    found = tensors(folder)
    sources = {name: load_file(pools["llama"] / name / "model.safetensors") for name in "ab"}
    for layer, (name, number) in enumerate([("a", 0), ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3)]):
        key = "self_attn.q_proj.weight"
        assert torch.equal(found[f"model.layers.{layer}.{key}"], sources[name][f"model.layers.{number}.{key}"])
    assert torch.equal(found["model.embed_tokens.weight"], sources["a"]["model.embed_tokens.weight"])
    assert torch.equal(found["lm_head.weight"], sources["b"]["lm_head.weight"])
    logits(folder)


def test_the_same_layers_of_one_model_may_be_averaged_with_each_other(merge: Merge, pools: dict[str, Path]) -> None:
    text = "merge_method: linear\nparameters: {weight: 1}\nslices:\n- sources: [{model: a, layer_range: [0, 2]}, {model: a, layer_range: [2, 4]}]\n"
    found, own = tensors(merge("llama", text).folder), load_file(pools["llama"] / "a" / "model.safetensors")
    key = "model.layers.{}.mlp.up_proj.weight"
    torch.testing.assert_close(found[key.format(1)], (own[key.format(1)] + own[key.format(3)]) / 2)


@pytest.mark.parametrize(("pool", "stored"), [("llama", torch.float32), ("bfloat16", torch.bfloat16)])
def test_without_dtype_the_models_own_type_is_kept(pool: str, stored: torch.dtype, merge: Merge) -> None:
    folder = merge(pool, LINEAR).folder
    assert {t.dtype for t in tensors(folder).values()} == {stored}
    assert config_of(folder)["dtype"] == str(stored).removeprefix("torch.")


def test_models_of_two_types_keep_the_wider_tensor_by_tensor(merge: Merge, tmp_path: Path) -> None:
    shapes = llama_shapes(1, 40)
    for seed, name in enumerate("ab"):
        found = {k: t.half() if "norm" not in k or name == "b" else t for k, t in weights(shapes, seed).items()}
        folder = write_model(tmp_path / name, found, llama_config(1, 40))
        from safetensors.torch import save_file

        save_file(found, folder / "model.safetensors")
    merged = tensors(merge(tmp_path, LINEAR).folder)
    assert {t.dtype for name, t in merged.items() if "norm" in name} == {torch.float32}
    assert {t.dtype for name, t in merged.items() if "norm" not in name} == {torch.float16}
    logits(tmp_path / "out")


def test_tied_models_stay_tied(merge: Merge) -> None:
    folder = merge("tied", LINEAR).folder
    assert "lm_head.weight" not in tensors(folder)
    assert config_of(folder)["tie_word_embeddings"] is True
    logits(folder)


@pytest.mark.parametrize("first", ["tied", "untied"])
def test_tied_and_untied_models_make_an_untied_one(first: str, merge: Merge, pools: dict[str, Path]) -> None:
    other = {"tied": "untied", "untied": "tied"}[first]
    folder = merge(
        "tied_and_untied", LINEAR.replace("model: a", f"model: {first}").replace("model: b", f"model: {other}")
    ).folder
    assert config_of(folder)["tie_word_embeddings"] is False
    tied, untied = (load_file(pools["tied_and_untied"] / name / "model.safetensors") for name in ("tied", "untied"))
    expected = (tied["model.embed_tokens.weight"] + untied["lm_head.weight"]) / 2
    torch.testing.assert_close(tensors(folder)["lm_head.weight"], expected)
    logits(folder)


def test_filters_see_the_name_of_a_head_that_is_tied(merge: Merge, pools: dict[str, Path]) -> None:
    text = "merge_method: linear\nmodels: [{model: untied}, {model: tied}]\nparameters: {normalize: false, weight: [{filter: lm_head, value: 2}, {value: 1}]}\n"
    found = tensors(merge("tied_and_untied", text).folder)
    tied, untied = (load_file(pools["tied_and_untied"] / name / "model.safetensors") for name in ("tied", "untied"))
    expected = 2 * tied["model.embed_tokens.weight"] + 2 * untied["lm_head.weight"]
    torch.testing.assert_close(found["lm_head.weight"], expected)


def test_models_of_the_hub_are_named_in_card_and_manifest(
    merge: Merge, pools: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123abc"
    shutil.copytree(pools["llama"] / "a", snapshot)
    monkeypatch.setattr("searcher.pool.model_path.fetch_snapshot", lambda _: (snapshot, "org/name@0123abc"))
    folder = merge("llama", LINEAR.replace("model: a", "model: org/name@main")).folder
    assert check_manifest(folder)["sources"] == ["org/name@0123abc", "b"]
    card = (folder / "README.md").read_text()
    assert "base_model:\n- org/name\n" in card
    assert "base_model_relation: merge" in card


@pytest.mark.parametrize(("first", "last"), [("tied", "untied"), ("untied", "tied")])
def test_slices_of_tied_and_untied_models_have_a_head(
    first: str, last: str, merge: Merge, pools: dict[str, Path]
) -> None:
    lines = [f"- sources: [{{model: {name}, layer_range: [0, 2]}}]" for name in (first, last)]
    folder = merge("tied_and_untied", "merge_method: passthrough\nslices:\n" + "\n".join(lines)).folder
    assert config_of(folder)["tie_word_embeddings"] is False
    source = load_file(pools["tied_and_untied"] / last / "model.safetensors")
    head = source["lm_head.weight" if last == "untied" else "model.embed_tokens.weight"]
    assert torch.equal(tensors(folder)["lm_head.weight"], head)
    logits(folder)


def test_an_adapter_is_added_to_its_base(merge: Merge, pools: dict[str, Path]) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    root = pools["adapters"]
    folder = merge("adapters", "merge_method: passthrough\nmodels: [{model: base+second}]\n").folder
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(root / "base"), root / "second")
    whole = expected.merge_and_unload().state_dict()
    for name, tensor in tensors(folder).items():
        torch.testing.assert_close(tensor, whole[name], rtol=0, atol=1e-6)


def test_gpt2_is_merged_by_names_alone(merge: Merge) -> None:
    text = "merge_method: passthrough\nslices:\n- sources: [{model: base, layer_range: [0, 3]}]\n- sources: [{model: a, layer_range: [1, 2]}]\n"
    folder = merge("gpt2", text).folder
    assert config_of(folder)["n_layer"] == 4
    assert "lm_head.weight" not in tensors(folder)
    logits(folder)


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "BertForMaskedLM": {"max_position_embeddings": 32},
    "MixtralForCausalLM": {"num_key_value_heads": 2, "num_local_experts": 3},
    "Gemma2ForCausalLM": {"num_key_value_heads": 2, "head_dim": 4},
    "GPTNeoXForCausalLM": {},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_are_known_by_their_names_alone(name: str, merge: Merge, tmp_path: Path) -> None:
    import transformers

    architecture = getattr(transformers, name)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_attention_heads": 4,
        "vocab_size": 40,
        "num_hidden_layers": 3,
    }
    for model in "ab":
        architecture(architecture.config_class(**sizes, **ARCHITECTURES[name])).save_pretrained(tmp_path / model)
    found, report = architecture.from_pretrained(merge(tmp_path, FRANKEN_3).folder, output_loading_info=True)
    assert not any(report.values())
    assert found.config.num_hidden_layers == 4
    assert found(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_random_masks_follow_the_seed(merge: Merge, tmp_path: Path) -> None:
    text = "merge_method: dare_ties\nbase_model: base\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 0.5, density: 0.5}\n"
    found = []
    for seed in (0, 0, 1):
        found.append(tensors(merge("llama", text, seed=seed, overwrite=True).folder)["lm_head.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_an_earlier_merge_is_replaced_only_if_asked(merge: Merge) -> None:
    folder = merge("llama", LINEAR).folder
    before = (folder / "manifest.json").read_bytes()
    refused(ExportError, merge, "llama", LINEAR, "already an export", "--overwrite")
    assert (folder / "manifest.json").read_bytes() == before
    merge("llama", LINEAR.replace("weight: 1", "weight: [1, 2]"), overwrite=True)
    assert (folder / "manifest.json").read_bytes() != before


def test_nothing_is_left_of_a_merge_that_fails(merge: Merge, tmp_path: Path) -> None:
    text = "merge_method: linear\nmodels: [{model: a}, {model: b, parameters: {weight: [{filter: lm_head, value: -1}, {value: 1}]}}]\n"
    refused(ConfigError, merge, "llama", text + "parameters: {weight: 1}\n", "lm_head.weight", "sum to zero")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yml"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_results_that_are_not_finite_are_refused(number: float, merge: Merge, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        found = weights(llama_shapes(1, 40), seed)
        found["model.norm.weight"][3] = number
        write_model(tmp_path / name, found, llama_config(1, 40))
    refused(ExportError, merge, tmp_path, LINEAR, "not finite", "model.norm.weight")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_before_the_first_tensor(merge: Merge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.terminal_size((0, 0)) and type("U", (), {"free": 5})())
    refused(ExportError, merge, "llama", LINEAR, "only 5 are free")


def test_a_device_that_is_not_there_is_refused(merge: Merge) -> None:
    refused(ConfigError, merge, "llama", LINEAR, "cuda:77", device="cuda:77")
    refused(ConfigError, merge, "llama", LINEAR, "teapot", device="teapot")


def test_local_paths_stay_out_of_the_card(merge: Merge, pools: dict[str, Path]) -> None:
    folder = merge("llama", LINEAR.replace("model: a", f"model: {pools['llama'] / 'a'}")).folder
    for name in ("README.md", "config.json", "manifest.json", "tokenizer_config.json"):
        assert str(pools["llama"]) not in (folder / name).read_text()
    assert str(pools["llama"]) in (folder / "mergekit_config.yml").read_text()


def test_ticks_in_a_configuration_do_not_end_its_block(merge: Merge) -> None:
    folder = merge("llama", LINEAR + "# ```` <script>\n").folder
    assert (folder / "README.md").read_text().count("`````") == 2


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_merges(method: str, merge: Merge) -> None:
    n_models = METHODS[method].n_models[0] or 2
    names = "abc"[:n_models]
    base = "" if METHODS[method].base == "input" else "base_model: base\n"
    needed = [p.name for p in METHODS[method].parameters if p.default is None]
    lines = "".join(f"  {name}: 0.5\n" for name in needed)
    parameters = f"parameters:\n{lines}" if lines else ""
    text = f"merge_method: {method}\n{base}{parameters}models: [{', '.join(f'{{model: {n}}}' for n in names)}]\n"
    found = tensors(merge("llama", text).folder)
    assert len(found) == 39
    assert all(t.isfinite().all() for t in found.values())


WRONG = {
    "no base": (ConfigError, "llama", "merge_method: ties\nmodels: [{model: a, parameters: {weight: 1}}]\n", ("needs a base model",)),
    "no weight": (
        ConfigError, "llama", "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}, {model: b}]\n",
        ("'weight' of b", "key models.1"),
    ),
    "no weight for some tensors": (
        ConfigError, "llama", "merge_method: linear\nmodels: [{model: a, parameters: {weight: [{filter: mlp, value: 1}]}}]\n",
        ("'model.embed_tokens.weight'", "an entry without filter"),
    ),
    "too many models": (ConfigError, "llama", "merge_method: passthrough\nmodels: [{model: a}, {model: b}]\n", ("takes 1 model(s)",)),
    "too few models": (ConfigError, "llama", "merge_method: model_stock\nbase_model: base\nmodels: [{model: a}]\n", ("at least 2",)),
    "base not in the slice": (
        ConfigError, "llama",
        "merge_method: slerp\nbase_model: base\nparameters: {t: 1}\nslices: [{sources: [{model: a, layer_range: [0, 2]}]}]\n",
        ("is no source of the slice", "line 4"),
    ),
    "base twice": (
        ConfigError, "llama",
        ("merge_method: slerp\nbase_model: a\nparameters: {t: 1}\n"
        "slices: [{sources: [{model: a, layer_range: [0, 2]}, {model: a, layer_range: [0, 2]}]}]\n"),
        ("more than once",),
    ),
    "setting out of range": (
        ConfigError, "llama",
        "merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a}]\nparameters: {weight: 1, lambda: 1e9}\n",
        ("'lambda'", "line 4"),
    ),
    "past the end": (
        PoolError, "llama", "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [2, 9]}]}]\n",
        ("no layer 4", "layer_range", "End the range at 4"),
    ),
    "no such folder": (PoolError, "llama", "merge_method: passthrough\nmodels: [{model: nowhere}]\n", ("'nowhere'", "line 2")),
    "an adapter alone": (PoolError, "adapters", "merge_method: passthrough\nmodels: [{model: first}]\n", ("is an adapter",)),
    "a model as adapter": (PoolError, "llama", "merge_method: passthrough\nmodels: [{model: a+b}]\n", ("is no adapter",)),
    "other vocabularies": (
        PoolError, "vocabularies", "merge_method: linear\nmodels: [{model: base}, {model: third}]\nparameters: {weight: 1}\n",
        ("model.embed_tokens.weight", "tokenizer: {source: union}"),
    ),
    "embedding and head of other vocabularies": (
        PoolError,
        "vocabularies",
        "merge_method: passthrough\nslices:\n- sources: [{model: base, layer_range: [0, 1]}]\n- sources: [{model: other, layer_range: [0, 1]}]\n",
        ("has 40 tokens", "has 36", "tokenizer"),
    ),
    "token of nobody": (
        ConfigError, "vocabularies",
        ("merge_method: linear\nmodels: [{model: base}, {model: other}]\nparameters: {weight: 1}\n"
        "tokenizer: {source: base, tokens: {w1: {source: {kind: model_token, model: other, token: none}, force: true}}}\n"),
        ("no row for token 'none'", "line 4"),
    ),
    "token of another model": (
        ConfigError, "vocabularies",
        ("merge_method: linear\nmodels: [{model: base}, {model: other}]\nparameters: {weight: 1}\n"
        "tokenizer: {source: base, tokens: {w1: {source: third, force: true}}}\n"),
        ("third is no source of tensor",),
    ),
    "template": (ConfigError, "llama", LINEAR + "chat_template: llama4\n", ("llama4", "chatml")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_the_models_is_refused(name: str, merge: Merge, tmp_path: Path) -> None:
    error, pool, text, words = WRONG[name]
    refused(error, merge, pool, text, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yml"]


def test_models_of_other_depth_or_architecture_are_refused(merge: Merge, pools: dict[str, Path]) -> None:
    llama, tied, gpt2 = pools["llama"] / "a", pools["tied"] / "a", pools["gpt2"] / "a"
    text = "merge_method: linear\nmodels: [{{model: {}}}, {{model: {}}}]\nparameters: {{weight: 1}}\n"
    refused(PoolError, merge, "llama", text.format(llama, tied), "4 layers", "2")
    refused(PoolError, merge, "llama", text.format(llama, gpt2), "no tensor")


def test_relative_paths_start_where_the_command_runs(
    pools: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pools["llama"])
    (tmp_path / "c.yml").write_text(LINEAR)
    assert merge_file(tmp_path / "c.yml", tmp_path / "out").n_tensors == 39
    assert merge_file(tmp_path / "c.yml", tmp_path / "other", options=MergeOptions(device="cpu")).warnings == ()
