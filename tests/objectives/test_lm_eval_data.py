"""Local files of tasks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from searcher.objectives.lm_eval_data import code_and_config, fingerprints, use_local_data

pytest.importorskip("lm_eval")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jsonl", "b.jsonl", "data/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    return tmp_path


def test_paths_become_absolute_in_every_shape(folder: Path) -> None:
    for files in ("a.jsonl", ["a.jsonl"], {"test": "a.jsonl"}, {"test": ["a.jsonl"]}):
        config: dict[str, Any] = {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
        assert use_local_data(config, (folder,)) == (folder / "a.jsonl",)
        assert str(folder / "a.jsonl") in str(config["dataset_kwargs"])


def test_patterns_and_folders_name_all_their_files(folder: Path) -> None:
    config: dict[str, Any] = {"dataset_path": "json", "dataset_kwargs": {"data_files": "*.jsonl"}}
    assert use_local_data(config, (folder,)) == (folder / "a.jsonl", folder / "b.jsonl")
    config = {"dataset_path": "data"}
    assert use_local_data(config, (folder,)) == (folder / "data" / "c.jsonl",)
    assert config["dataset_path"] == str(folder / "data")


def test_the_first_folder_wins(folder: Path) -> None:
    (folder / "data" / "a.jsonl").write_text("{}", encoding="utf-8")
    config: dict[str, Any] = {"dataset_path": "json", "dataset_kwargs": {"data_files": "a.jsonl"}}
    assert use_local_data(config, (folder / "data", folder)) == (folder / "data" / "a.jsonl",)


@pytest.mark.parametrize("name", ["https://example.org/a.jsonl", "hf://datasets/a/b.jsonl", "lost.jsonl"])
def test_other_places_stay_as_they_are(name: str, folder: Path) -> None:
    config: dict[str, Any] = {"dataset_path": "json", "dataset_kwargs": {"data_files": name}}
    assert use_local_data(config, (folder,)) == ()
    assert config["dataset_kwargs"] == {"data_files": name}


def test_a_data_set_of_the_hub_has_no_files(folder: Path) -> None:
    config: dict[str, Any] = {"dataset_path": "some/data", "dataset_kwargs": {"revision": "abc"}}
    assert use_local_data(config, (folder,)) == ()
    assert config == {"dataset_path": "some/data", "dataset_kwargs": {"revision": "abc"}}


def test_includes_and_functions_are_followed(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "task.yaml").write_text("include: parts/base\ntask: mine\nx: [!function code.f]\n", encoding="utf-8")
    (tmp_path / "parts" / "base").write_text("y: {z: !function deep.g}\nw: !function json.loads\n", encoding="utf-8")
    (tmp_path / "code.py").write_text("", encoding="utf-8")
    (tmp_path / "parts" / "deep.py").write_text("", encoding="utf-8")
    found = code_and_config(tmp_path / "task.yaml")
    assert {str(p.relative_to(tmp_path)) for p in found} == {"task.yaml", "code.py", "parts/base", "parts/deep.py"}


def test_data_that_cannot_be_told_have_no_fingerprint() -> None:
    class Part:
        def __init__(self, mark: str) -> None:
            self._fingerprint = mark

    assert fingerprints(SimpleNamespace(dataset={"train": Part("a"), "test": Part("b")})) == {"train": "a", "test": "b"}
    for unknown in (None, {}, [Part("a")], {"train": Part("a"), "test": [1, 2]}, {"train": Part("")}):
        assert fingerprints(SimpleNamespace(dataset=unknown)) is None
    assert fingerprints(SimpleNamespace()) is None
