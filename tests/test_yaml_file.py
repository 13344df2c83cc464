"""YAML from strangers: bounded, no aliases, line numbers."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from searcher.errors import ConfigError
from searcher.yaml_file import MAX_BYTES, parse_value, parse_yaml, read_yaml

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
HOSTILE = {
    "alias bomb": (BOMB, "line 2"),
    "alias": ("a: &x 1\nb: *x\n", "line 2"),
    "merge key": ("a: &x {b: 1}\nc:\n  <<: *x\n", "line 3"),
    "duplicate key": ("a: 1\nb: 2\na: 3\n", "line 3"),
    "nested duplicate": ("a:\n  b: 1\n  b: 2\n", "line 3"),
    "deep list": ("[" * 500, "line 1"),
    "deep mapping": ("\n".join("  " * i + "a:" for i in range(30)), "line"),
    "unclosed": ("a: [1, 2\n", "line"),
    "tab": ("a:\n\tb: 1\n", "line 2"),
    "two documents": ("a: 1\n---\nb: 2\n", ""),
    "list": ("- 1\n", ""),
    "scalar": ("just text\n", ""),
    "empty": ("", ""),
    "control characters": ("a: \x00\n", ""),
}


@pytest.mark.parametrize(("text", "where"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_quickly(text: str, where: str) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    assert len(str(caught.value).splitlines()) == 3
    assert where in caught.value.where
    assert "f.yaml" in caught.value.where
    assert time.perf_counter() - started < 5
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_files_are_bounded_and_utf8(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: " + "x" * MAX_BYTES)
    with pytest.raises(ConfigError, match="at most"):
        read_yaml(path)
    path.write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="directory"):
        read_yaml(tmp_path)


def test_lines_and_plain_types() -> None:
    document = parse_yaml("a: 1e-3\nb:\n  - {c: no, d: 012}\n  - yes\ne: null\n", "f.yaml")
    assert document.data == {"a": 0.001, "b": [{"c": "no", "d": 12}, "yes"], "e": None}
    assert {type(v) for v in (document.data["a"], document.data["b"][0]["d"])} == {float, int}
    assert document.where(("b", 0, "d")) == "f.yaml, line 3, key b.0.d"
    assert document.where(("b", 1, "unknown")) == "f.yaml, line 4, key b.1.unknown"
    assert document.where(("nowhere",)) == "f.yaml, key nowhere"


def test_tags_run_nothing() -> None:
    assert parse_yaml("a: !!python/object/apply:os.system ['true']\n", "f.yaml").data == {"a": ["true"]}


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("[0.1, 1]", [0.1, 1]), ("auto", "auto"), ("{a: 1}", {"a": 1})])
def test_values_of_overrides(text: str, value: object) -> None:
    assert parse_value(text, "--set") == value
