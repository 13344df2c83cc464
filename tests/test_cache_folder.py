"""Where recomputable files go, whatever the environment says."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from searcher.cache_folder import cache_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no variable that says otherwise."""
    monkeypatch.delenv("SEARCHER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_our_own_variable_comes_before_the_shared_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder("tables") == tmp_path / "shared" / "searcher" / "tables"
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path / "own"))
    assert cache_folder("tables") == tmp_path / "own" / "tables"  # no "searcher" in a folder that is ours anyway


@pytest.mark.parametrize("shared", [None, "", "caches", "./caches"])
def test_without_an_absolute_folder_it_is_in_the_home(
    shared: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The XDG specification has empty and relative folders ignored: they would follow the current folder."""
    monkeypatch.setenv("SEARCHER_CACHE", "")
    if shared is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", shared)
    assert cache_folder("kernels") == home / ".cache" / "searcher" / "kernels"


def test_it_is_made_for_the_user_alone_and_kept(home: Path) -> None:
    folder = cache_folder("kernels")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # its files are imported as code
    (folder / "kernel.py").write_text("")
    assert cache_folder("kernels") == folder
    assert [path.name for path in folder.iterdir()] == ["kernel.py"]


def test_a_file_in_the_way_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        cache_folder("tables")
