"""Functions by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.errors import ConfigError
from searcher.objectives.function_reference import load_function, source_file

SOURCE = """
from dataclasses import dataclass

@dataclass
class Counter:
    n: int = 0

def count(model):
    return Counter(3).n

constant = 3
"""


def load(reference: str, root: Path = Path()) -> object:
    return load_function(reference, root=root, where="objective 'a', function")


def test_a_file_relative_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.py").write_text(SOURCE, encoding="utf-8")
    function = load_function("sub/mine.py:count", root=tmp_path, where="")
    assert function(None) == 3
    assert source_file(function) == tmp_path / "sub" / "mine.py"


def test_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"def f(model): return {value}", encoding="utf-8")
    functions = [load_function(f"{folder}/mine.py:f", root=tmp_path, where="") for folder in "ab"]
    assert [f(None) for f in functions] == [1, 2]


def test_a_module() -> None:
    import math

    assert load("math:sqrt") is math.sqrt
    assert source_file(math.sqrt) is None


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("mine.py", "Expected module:function"),
        ("mine.py:", "Expected module:function"),
        (":count", "Expected module:function"),
        ("mine.py:a b", "Expected module:function"),
        ("absent.py:count", "does not exist"),
        ("mine.py:absent", "does not exist"),
        ("mine.py:constant", "is not a function"),
        ("broken.py:f", "ZeroDivisionError"),
        ("syntax.py:f", "SyntaxError"),
        ("leaves.py:f", "SystemExit"),
        ("no_such_module_anywhere:f", "ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_is_a_config_error(tmp_path: Path, reference: str, problem: str) -> None:
    files = {"mine": SOURCE, "broken": "1 / 0", "syntax": "def f(:", "leaves": "raise SystemExit(3)"}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem) as caught:
        load(reference, tmp_path)
    assert str(caught.value).count("\n") == 2
    assert "objective 'a'" in caught.value.where
