"""Finding models by path and naming them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searcher.errors import PoolError
from searcher.pool.model_path import locate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("base", "low", "other/low"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file.safetensors").touch()
    return tmp_path


def test_names_come_from_folders_and_files(root: Path) -> None:
    found = locate(["base"], ["low", {"path": "other/low", "name": "second"}, "file.safetensors"], root)
    assert [place.name for place in found] == ["base", "low", "second", "file"]
    assert [place.path for place in found] == [
        root / "base",
        root / "low",
        root / "other/low",
        root / "file.safetensors",
    ]


def test_absolute_paths_and_dots(root: Path) -> None:
    assert locate([], [str(root / "low")], Path("elsewhere"))[0].name == "low"
    assert locate([], ["other/low/."], root)[0].name == "low"
    assert locate([], ["other/low/.."], root)[0].name == "other"


def test_equal_names_are_refused(root: Path) -> None:
    with pytest.raises(PoolError, match="Two models are called 'low'") as caught:
        locate(["base"], ["low", "other/low"], root)
    assert caught.value.where == "pool.models[1]"
    assert "name: ANOTHER_NAME" in caught.value.fix
    with pytest.raises(PoolError, match="'base'"):
        locate(["base"], [{"path": "low", "name": "base"}], root)


@pytest.mark.parametrize(
    "text",
    [
        "missing",
        "other/missing",
        "../missing",
        "/missing/folder",
        "a/b/c",
        "a b/c",
        "x\0y",
        "x" * 5000,
        "~nobody-here/x",
    ],
)
def test_missing_paths_are_refused_without_asking_the_hub(
    text: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searcher.pool.model_path.fetch_snapshot", lambda _: pytest.fail("asked the hub"))
    with pytest.raises(PoolError) as caught:
        locate([], [text], root)
    assert "pool.models[0]" in caught.value.where


@pytest.mark.parametrize(
    "entry",
    ["", {"name": "x"}, {"path": ""}, {"path": "low", "more": "x"}, {"path": 3}, {"path": "low", "name": "a/b"}],
)
def test_malformed_entries_are_refused(entry: Any, root: Path) -> None:
    with pytest.raises(PoolError) as caught:
        locate([], [entry], root)
    assert caught.value.where == "pool.models[0]"
