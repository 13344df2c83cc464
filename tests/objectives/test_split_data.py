"""Examples of each split, from one file or several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.errors import ConfigError
from searcher.objectives.split_data import SplitData, read_split_data
from searcher.objectives.splits import split_examples


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()


def made(data: Any, **settings: Any) -> SplitData[str]:
    return read_split_data(data, read, where="objective 'qa'", **settings)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, n in (("a", 10), ("b", 4), ("c", 3)):
        (tmp_path / f"{name}.txt").write_text(" ".join(f"{name}{i}" for i in range(n)), encoding="utf-8")
    return tmp_path


def test_one_file_is_divided_as_any_other_data(files: Path) -> None:
    data = made(Path("a.txt"), split={"search": 0.5, "held_out": 0.5}, root=files)
    parts = split_examples(10, {"search": 0.5, "held_out": 0.5})
    assert data.examples == tuple(f"a{i}" for i in parts.order)
    assert data.slices == parts.slices
    assert data.files == (files / "a.txt",)


def test_index_files_count_among_the_files(files: Path) -> None:
    np.save(files / "search.npy", np.array([3, 1]))
    data = made(Path("a.txt"), split={"search": Path("search.npy")}, root=files)
    assert data.examples == ("a3", "a1")
    assert data.files == (files / "a.txt", files / "search.npy")


def test_a_file_per_split_keeps_the_order_of_its_lines(files: Path) -> None:
    data = made({"held_out": Path("b.txt"), "search": Path("a.txt"), "select": Path("c.txt")}, root=files)
    assert data.examples == (*read(files / "a.txt"), *read(files / "c.txt"), *read(files / "b.txt"))
    assert list(data.slices) == ["search", "select", "held_out"]
    assert data.slices["held_out"] == slice(13, 17)


def test_a_folder_is_its_files_in_order(files: Path) -> None:
    (files / "weights.bin").write_bytes(b"\x00")
    data = made({"search": files})
    assert data.examples == (*read(files / "a.txt"), *read(files / "b.txt"), *read(files / "c.txt"))
    assert [path.name for path in data.files] == ["a.txt", "b.txt", "c.txt"]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (3, {"search": 3, "held_out": 3}),
        (5, {"search": 5, "held_out": 4}),
        ({"search": 2}, {"search": 2, "held_out": 4}),
    ],
)
def test_a_limit_keeps_the_first(files: Path, limit: int | Mapping[str, int], expected: dict[str, int]) -> None:
    data = made({"search": Path("a.txt"), "held_out": Path("b.txt")}, limit=limit, root=files)
    assert {name: part.stop - part.start for name, part in data.slices.items()} == expected
    assert data.examples[data.slices["search"]] == tuple(f"a{i}" for i in range(expected["search"]))
    assert data.examples[data.slices["held_out"]] == tuple(f"b{i}" for i in range(expected["held_out"]))
    assert len(data.examples) == sum(expected.values())


BAD: list[tuple[str, dict[str, Any]]] = [
    ("Unknown split 'test'", {"data": {"search": Path("a.txt"), "test": Path("b.txt")}}),
    ("no search examples", {"data": {"held_out": Path("a.txt")}}),
    ("divided twice", {"data": {"search": Path("a.txt")}, "split": {"search": 1.0}}),
    ("same file", {"data": {"search": Path("a.txt"), "held_out": Path("./a.txt")}}),
    ("limit of 'search'", {"data": Path("a.txt"), "limit": 0}),
    ("limit of 'select'", {"data": Path("a.txt"), "limit": {"select": 3}}),
    ("no examples", {"data": Path("empty.txt")}),
    ("'held_out' has no examples", {"data": {"search": Path("a.txt"), "held_out": Path("empty.txt")}}),
    ("holds no .jsonl", {"data": Path("folder")}),
    ("sum to 1.5", {"data": Path("a.txt"), "split": {"search": 0.8, "held_out": 0.7}}),
]


@pytest.mark.parametrize(("problem", "settings"), BAD)
def test_bad_settings(files: Path, problem: str, settings: dict[str, Any]) -> None:
    (files / "empty.txt").write_text("", encoding="utf-8")
    (files / "folder").mkdir()
    with pytest.raises(ConfigError, match=problem) as caught:
        made(settings.pop("data"), root=files, **settings)
    assert caught.value.where.startswith("objective 'qa'")
