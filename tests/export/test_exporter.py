from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from searcher.errors import ExportError
from searcher.export.exporter import Format, export_point, hub_ids
from searcher.export.manifest import check_manifest
from searcher.export.point import ExportPoint
from searcher.merge.engine import MergeEngine
from searcher.pool.pool import Pool, open_pool
from searcher.recipe import Recipe
from tests.export.tiny_models import llama_config, llama_shapes, llama_weights, point_of, recipe_by, write_llamas


class Bench(NamedTuple):
    """A pool, its engine and a point."""

    root: Path
    pool: Pool
    engine: MergeEngine
    point: ExportPoint

    def export(self, folder: Path, **changes: Any) -> Path:
        return export_point(self.point, self.engine, self.pool, folder, **{"format": "hf", **changes})


def make_bench(root: Path, *, tied: bool) -> Bench:
    base, low, high = write_llamas(root, n_layers=2, tied=tied)
    for folder in (base, low, high):  # what real folders also hold
        config = llama_config(2, tied=tied) | {"_name_or_path": "/srv/canary/model"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": 2}))
    (base / "README.md").write_text("---\nlicense: mit\n---\n")
    pool = open_pool(base="base", models=["low", "high"], root=root)
    recipe = recipe_by(pool.layout, "ties", lambda e: (0.5, 0.25 + 0.25 * (e.block or 0)), settings={"density": 0.5})
    point = point_of(recipe, source_hashes=pool.hashes)
    return Bench(root, pool, MergeEngine(pool, device="cpu"), point)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("pool"), tied=request.param)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("pool"), tied=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_transformers_loads_an_export_and_gives_the_same_logits(bench: Bench, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = bench.export(tmp_path / "out")
    loaded, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, trust_remote_code=False)
    assert not any(info.values())
    tied = bool(bench.pool.layout.tied)
    assert loaded.config.tie_word_embeddings is tied
    assert (loaded.lm_head.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()) is tied
    tokens = torch.arange(12).reshape(2, 6)
    live = bench.engine.build(bench.point.recipe)
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, live.module(tokens).logits)


def test_an_export_is_whole_and_says_what_it_is(bench: Bench, tmp_path: Path) -> None:
    folder = bench.export(tmp_path / "out")
    record = check_manifest(folder)
    files = {"model.safetensors", "config.json", "generation_config.json", "recipe.json", "README.md"}
    assert set(record["files"]) == files
    assert names(folder) == files | {"manifest.json"}
    assert names(tmp_path) == {"out"}
    assert record["format"] == "hf"
    assert record["candidate"] == 37
    assert record["loader"] == "transformers"
    assert record["dtype"] == "float32"
    assert record["recipe"] == bench.point.recipe.digest
    assert record["scores"]["search"]["loss"] == [0.5, None]
    assert Recipe.from_json(json.loads((folder / "recipe.json").read_text())) == bench.point.recipe
    assert ModelCard((folder / "README.md").read_text()).data.get("library_name") == "transformers"


def test_an_export_holds_the_streamed_weights_and_no_path(bench: Bench, tmp_path: Path) -> None:
    folder = bench.export(tmp_path / "out")
    stored = load_file(folder / "model.safetensors")
    streamed = dict(bench.engine.stream(bench.point.recipe))
    assert stored.keys() == streamed.keys()
    assert all(torch.equal(stored[name], streamed[name]) for name in stored)
    for path in folder.glob("*"):
        content = path.read_bytes()
        assert b"canary" not in content
        assert str(bench.root).encode() not in content


def test_an_export_can_be_a_source_again(untied: Bench, tmp_path: Path) -> None:
    folder = untied.export(tmp_path / "out")
    pool = open_pool(base=str(folder), models=[str(untied.root / "low")], root=tmp_path)
    again = Recipe("task_arithmetic", ("low",), "out", untied.point.recipe.boundaries[[0, -1]], np.zeros((1, 1)))
    engine = MergeEngine(pool, device="cpu")
    second = export_point(point_of(again), engine, pool, tmp_path / "second", format="hf")
    check_manifest(second)
    first, copied = load_file(folder / "model.safetensors"), load_file(second / "model.safetensors")
    assert all(torch.equal(first[name], copied[name]) for name in first)
    assert Recipe.from_json(json.loads((second / "recipe.json").read_text())) == again


def test_verification_sees_the_whole_model_and_goes_into_the_manifest(untied: Bench, tmp_path: Path) -> None:
    seen: list[Path] = []

    def verify(folder: Path) -> Mapping[str, Any]:
        seen.append(folder)
        assert {"model.safetensors", "config.json", "recipe.json", "README.md"} <= names(folder)
        assert "manifest.json" not in names(folder)
        return {"passed": True, "scores": {"search": {"loss": float("nan")}}}

    folder = untied.export(tmp_path / "out", verify=verify)
    assert check_manifest(folder)["verification"] == {"passed": True, "scores": {"search": {"loss": None}}}
    assert seen[0] != folder
    assert seen[0].parent == folder.parent


@pytest.mark.parametrize("error", [ExportError("no", where="x", fix="y"), ValueError("no"), OSError("no")])
def test_nothing_remains_if_the_verification_fails(untied: Bench, tmp_path: Path, error: Exception) -> None:
    def verify(_: Path) -> Mapping[str, Any]:
        raise error

    with pytest.raises((type(error), ExportError), match="no"):
        untied.export(tmp_path / "out", verify=verify)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("where", ["first tensor", "middle", "card", "manifest"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_crash_anywhere_leaves_nothing_whole(
    untied: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    from searcher.export import exporter

    def fail(*_: object, **__: object) -> None:
        raise error

    if where in ("card", "manifest"):
        monkeypatch.setattr(exporter, "model_card" if where == "card" else "write_manifest", fail)
    else:
        original = untied.engine.stream

        def stream(recipe: Recipe) -> Any:
            for number, item in enumerate(original(recipe)):
                if number == (0 if where == "first tensor" else 9):
                    raise error
                yield item

        monkeypatch.setattr(untied.engine, "stream", stream)
    with pytest.raises((KeyboardInterrupt, ExportError)):
        untied.export(tmp_path / "out")
    assert names(tmp_path) == set()


def test_a_replaced_export_stays_until_the_new_one_is_whole(untied: Bench, tmp_path: Path) -> None:
    folder = untied.export(tmp_path / "out")
    before = check_manifest(folder)
    with pytest.raises(ExportError, match="already"):
        untied.export(folder)

    def verify(_: Path) -> Mapping[str, Any]:
        raise ExportError("no", where="x", fix="y")

    with pytest.raises(ExportError, match="no"):
        untied.export(folder, overwrite=True, verify=verify)
    assert check_manifest(folder) == before
    untied.export(folder, overwrite=True, format="recipe")
    assert names(folder) == {"recipe.json", "README.md", "manifest.json"}


def test_a_disk_that_is_too_small_is_found_before_the_first_tensor(
    untied: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ExportError, match=r"needs [\d,]+ bytes, but only 1,000"):
        untied.export(tmp_path / "deep" / "out")
    assert names(tmp_path) == set()


def test_weights_that_are_not_finite_are_not_exported(untied: Bench, tmp_path: Path) -> None:
    recipe = recipe_by(untied.pool.layout, "task_arithmetic", lambda _: (1e40, 1e40))
    with pytest.raises(ExportError, match="not finite") as caught:
        export_point(point_of(recipe), untied.engine, untied.pool, tmp_path / "out", format="hf")
    assert "tensor" in caught.value.where
    assert names(tmp_path) == set()


def test_the_recipe_format_is_the_recipe_and_a_card(bench: Bench, tmp_path: Path) -> None:
    folder = bench.export(tmp_path / "out", format="recipe")
    assert set(check_manifest(folder)["files"]) == {"recipe.json", "README.md"}
    record = json.loads((folder / "recipe.json").read_text())
    assert record["candidate"] == 37
    assert record["genome"] == {"low": 0.25, "high": 0.5}
    assert "base/model.safetensors" in record["source_hashes"]


def test_the_mergekit_format_names_the_folders(bench: Bench, tmp_path: Path) -> None:
    folder = bench.export(tmp_path / "out", format="mergekit")
    assert set(check_manifest(folder)["files"]) == {"recipe.json", "README.md", "mergekit.yaml"}
    text = (folder / "mergekit.yaml").read_text()
    config = YAML(typ="safe", pure=True).load(text)
    assert config["base_model"] == str((bench.root / "base").resolve())
    assert config["merge_method"] == "ties"
    assert text.startswith("# Made for mergekit 0.1.5; run: mergekit-yaml mergekit.yaml OUTPUT\n# Some models")
    assert str(bench.root) not in (folder / "README.md").read_text()


def test_the_mergekit_format_says_when_sources_were_rounded(untied: Bench, tmp_path: Path) -> None:
    engine = MergeEngine(untied.pool, device="cpu", dtype="bfloat16")
    folder = export_point(untied.point, engine, untied.pool, tmp_path / "out", format="mergekit")
    text = (folder / "mergekit.yaml").read_text()
    assert "# The sources are stored in float32; the search rounded them to bfloat16 before merging.\n" in text
    assert YAML(typ="safe", pure=True).load(text)["out_dtype"] == "bfloat16"


def test_mergekit_is_refused_for_paths_it_cannot_read(tmp_path: Path) -> None:
    found = make_bench(tmp_path / "a+b", tied=False)
    with pytest.raises(ExportError, match=r"'\+' or '@'"):
        found.export(tmp_path / "out", format="mergekit")
    assert not (tmp_path / "out").exists()


def test_hub_models_are_known_by_their_snapshot_and_commit(tmp_path: Path) -> None:
    snapshots = tmp_path / "models--organisation--name" / "snapshots"
    write_llamas(snapshots, n_layers=1)
    pool = open_pool(base=None, models=[str(snapshots / "low"), str(snapshots / "high")], root=tmp_path)
    pool.models[0].origin = "organisation/name@low"
    assert hub_ids(pool) == {"low": "organisation/name@low"}
    local = write_llamas(tmp_path / "organisation", n_layers=1)
    pool = open_pool(base=None, models=["organisation/low"], root=tmp_path)
    assert pool.origins == {"low": f"organisation/{local[1].name}"}
    assert hub_ids(pool) == {}


LOADER = """
from pathlib import Path

import torch
from safetensors.torch import load_file


def load(folder: Path) -> torch.nn.Module:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    module.load_state_dict(load_file(folder / "model.safetensors"))
    return module
"""


def test_pools_of_other_loaders_are_exported_with_their_loader(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(LOADER)
    for seed, name in enumerate(("base", "low")):
        rng = np.random.default_rng(seed)
        shapes = {"0.weight": (4, 3), "0.bias": (4,), "1.weight": (2, 4), "1.bias": (2,)}
        tensors = {n: torch.from_numpy(rng.standard_normal(s)).to(torch.float32) for n, s in shapes.items()}
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors", {"format": "pt"})
        (tmp_path / name / "labels.json").write_text("{}")
    loader = f"python:{tmp_path / 'nets.py'}:load"
    pool = open_pool(base="base", models=["low"], loader=loader, root=tmp_path)
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_by(pool.layout, "task_arithmetic", lambda _: (0.5,), models=("low",))
    point = point_of(recipe, loader=loader)
    folder = export_point(point, engine, pool, tmp_path / "out", format="hf")
    record = check_manifest(folder)
    assert record["loader"] == "python:nets.py:load"
    assert set(record["files"]) == {"model.safetensors", "labels.json", "recipe.json", "README.md"}
    card = (folder / "README.md").read_text()
    assert "library_name" not in card
    assert str(tmp_path) not in card
    reloaded = open_pool(base=None, models=[str(folder)], loader=loader, root=tmp_path).load_module()[0]
    inputs = torch.ones(1, 3)
    assert torch.equal(reloaded(inputs), engine.build(recipe).module(inputs))
    with pytest.raises(ExportError, match="loader of its own"):
        export_point(point, engine, pool, tmp_path / "yaml", format="mergekit")


@pytest.mark.parametrize("format_", ["hf", "recipe", "mergekit"])
def test_sharded_and_half_precision_pools_export_too(tmp_path: Path, format_: Format) -> None:
    write_llamas(tmp_path, n_layers=1, dtype="bfloat16")
    pool = open_pool(base="base", models=["low", "high"], root=tmp_path)
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_by(pool.layout, "slerp", lambda _: (0.5, 0.5), base=None)
    folder = export_point(point_of(recipe), engine, pool, tmp_path / "out", format=format_)
    check_manifest(folder)
    if format_ == "hf":
        assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
        assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
        assert set(llama_weights(llama_shapes(1, tied=False), 0)) == set(load_file(folder / "model.safetensors"))
