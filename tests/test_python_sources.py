"""Which files a user's code is made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from searcher.python_sources import digest_of_sources, local_sources


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "main.py"


def names(folder: Path, found: tuple[Path, ...]) -> set[str]:
    return {str(path.relative_to(folder.resolve())) for path in found}


def test_imports_are_followed_into_functions_packages_and_circles(tmp_path: Path) -> None:
    main = written(
        tmp_path,
        main="import json, numpy\nfrom package.inner import x\ndef f():\n    import late\n",
        late="import main, absent\n",
        package__inner="from . import sibling\nfrom .deeper import thing\n",
        package__sibling="",
        package__deeper__thing="from ..sibling import y\n",
        unrelated="",
    )
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "deeper" / "__init__.py").write_text("")
    assert names(tmp_path, local_sources(main)) == {
        "main.py",
        "late.py",
        "package/__init__.py",
        "package/inner.py",
        "package/sibling.py",
        "package/deeper/__init__.py",
        "package/deeper/thing.py",
    }


def test_modules_are_found_where_python_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = written(tmp_path / "here", main="import elsewhere\n")
    written(tmp_path / "there", elsewhere="")
    assert names(tmp_path, local_sources(main)) == {"here/main.py"}
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "there")])
    assert names(tmp_path, local_sources(main)) == {"here/main.py", "there/elsewhere.py"}
    assert names(tmp_path, local_sources(main, [])) == {"here/main.py"}


def test_the_digest_follows_the_content_not_the_place(tmp_path: Path) -> None:
    first = digest_of_sources(written(tmp_path / "a", main="import other\n", other="X = 1\n"))
    assert first == digest_of_sources(written(tmp_path / "b", main="import other\n", other="X = 1\n"))
    assert first != digest_of_sources(written(tmp_path / "c", main="import other\n", other="X = 2\n"))


def test_what_is_no_python_raises(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError):
        local_sources(written(tmp_path, main="def:\n"))
    with pytest.raises(OSError, match="absent"):
        local_sources(tmp_path / "absent.py")
