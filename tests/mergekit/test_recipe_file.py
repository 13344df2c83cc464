"""Recipes of a run, merged without the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from searcher.errors import ConfigError, PoolError, SearcherError
from searcher.export.exporter import export_point
from searcher.export.manifest import check_manifest
from searcher.merge.engine import MergeEngine
from searcher.mergekit.merge_file import MergeOptions, merge_file
from searcher.pool.pool import open_pool
from tests.export.tiny_models import point_of, recipe_by, write_llamas
from tests.mergekit.tiny_models import write_adapters


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A recipe beside its sources, and the merged model as ``expected``."""
    write_llamas(tmp_path, n_layers=2)
    pool = open_pool(base="base", models=["low", "high"], root=tmp_path)
    recipe = recipe_by(pool.layout, "task_arithmetic", lambda e: (0.5, 0.1 * (e.block or 0)))
    point, engine = point_of(recipe, source_hashes=pool.hashes), MergeEngine(pool, device="cpu")
    export_point(point, engine, pool, tmp_path / "exported", format="recipe")
    export_point(point, engine, pool, tmp_path / "expected", format="hf")
    os.rename(tmp_path / "exported" / "recipe.json", tmp_path / "recipe.json")
    return tmp_path / "recipe.json"


def changed(path: Path, **entries: Any) -> Path:
    record = {**json.loads(path.read_text()), **entries}
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None or key == "base"}))
    return path


def test_a_recipe_gives_the_weights_that_the_run_exports(exported: Path) -> None:
    summary = merge_file(exported, exported.parent / "out")
    expected = load_file(exported.parent / "expected" / "model.safetensors")
    found = load_file(summary.folder / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert check_manifest(summary.folder)["format"] == "hf"
    assert (summary.n_tensors, summary.n_bytes) == (len(found), sum(t.nbytes for t in found.values()))


def test_sources_may_lie_anywhere(exported: Path, tmp_path: Path) -> None:
    (moved := tmp_path / "elsewhere").mkdir()
    for name in ("base", "low", "high"):
        os.rename(tmp_path / name, moved / name)
    with pytest.raises(ConfigError, match="where source 'base' is"):
        merge_file(exported, tmp_path / "out")
    given = {name: str(moved / name) for name in ("low", "high")}
    changed(exported, sources={"base": str(moved / "base"), "low": "wrong/place"})
    merge_file(exported, tmp_path / "out", options=MergeOptions(sources=given))
    with pytest.raises(ConfigError, match="no source 'hihg'"):
        merge_file(exported, tmp_path / "other", options=MergeOptions(sources={"hihg": "x"}))


def test_the_storage_type_of_the_run_is_kept(exported: Path) -> None:
    folder = merge_file(changed(exported, dtype="bfloat16"), exported.parent / "out").folder
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}


def test_adapters_find_the_model_that_they_change(tmp_path: Path) -> None:
    write_adapters(tmp_path)
    pool = open_pool(base="base", models=["first", "second"], root=tmp_path)
    recipe = recipe_by(pool.layout, "linear", lambda _: (0.5, 0.5), models=("first", "second"), base=None)
    record = {**point_of(recipe, source_hashes=pool.hashes).to_json(), "pool_base": "base"}
    (tmp_path / "recipe.json").write_text(json.dumps(record))
    folder = merge_file(tmp_path / "recipe.json", tmp_path / "out").folder
    found = load_file(folder / "model.safetensors")
    for name, expected in MergeEngine(pool, device="cpu").stream(recipe):
        assert torch.equal(found[name], expected)


def test_other_weights_under_the_same_name_are_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "low" / "model.safetensors").write_bytes((tmp_path / "high" / "model.safetensors").read_bytes())
    with pytest.raises(PoolError, match=r"low/model\.safetensors has another"):
        merge_file(exported, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_code_is_never_run_because_a_file_says_so(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')\n")
    changed(exported, loader=f"python:{tmp_path}/evil.py:load")
    with pytest.raises(ConfigError, match="runs code of yours"):
        merge_file(exported, tmp_path / "out")
    assert not (tmp_path / "was_here").exists()


WRONG: dict[str, dict[str, Any]] = {
    "no operator": {"operator": None},
    "unknown operator": {"operator": "tie"},
    "unknown setting": {"settings": {"strength": 1}},
    "no boundaries": {"boundaries": []},
    "falling boundaries": {"boundaries": [0, 5, 3]},
    "other size": {"boundaries": [0, 10], "coefficients": [[1, 1]]},
    "coefficients of other shape": {"coefficients": [[1]]},
    "texts": {"coefficients": "many"},
    "huge boundary": {"boundaries": [0, 10**30], "coefficients": [[1, 1]]},
    "models of another type": {"models": 3},
    "model of another type": {"models": [3, 4]},
    "unknown model": {"models": ["low", "nobody"]},
    "path as a name": {"models": ["low", "../high"]},
    "unknown dtype": {"dtype": "float1"},
    "dtype of another type": {"dtype": 3},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_recipe_is_refused_in_three_lines(name: str, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(SearcherError) as caught:
        merge_file(changed(exported, **WRONG[name]), tmp_path / "out")
    assert str(caught.value).count("\n") == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", '{"operator": NaN}'])
def test_a_file_that_is_no_recipe_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        merge_file(tmp_path / "recipe.json", tmp_path / "out")
    assert str(caught.value).count("\n") == 2
