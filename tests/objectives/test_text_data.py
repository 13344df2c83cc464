"""Reading JSONL and text files, whatever is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.errors import ConfigError
from searcher.objectives.text_data import Cut, read_documents, read_jsonl


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_records_know_their_lines(tmp_path: Path) -> None:
    records = read_jsonl(write(tmp_path / "a.jsonl", '\ufeff{"a": 1}\r\n\n  \n{"b": [2]}'), "here")
    assert [dict(r.fields) for r in records] == [{"a": 1}, {"b": [2]}]
    assert [r.place for r in records] == [f"{tmp_path / 'a.jsonl'}, line 1", f"{tmp_path / 'a.jsonl'}, line 4"]


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    [record] = read_jsonl(write(tmp_path / "a.jsonl", '{"a": "one\u2028two\x85three"}\n'), "here")
    assert record.fields == {"a": "one\u2028two\x85three"}


@pytest.mark.parametrize("bad", ["{", "nonsense", '{"a": 1} x', "[1]", '"a"', "null", "1", "[" * 100_000])
def test_a_malformed_line_is_named(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"a": 1}}\n{bad}\n')
    with pytest.raises(ConfigError) as caught:
        read_jsonl(path, "objective 'qa'")
    assert caught.value.where == f"objective 'qa', {path}, line 2"
    assert "JSON object per line" in caught.value.fix


@pytest.mark.parametrize("content", [None, b"\xff\xfe{\x00", b'{"a": "\xe9"}'])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.jsonl"
    if content is not None:
        write(path, content)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        read_jsonl(path, "here")
    assert str(path) in caught.value.where


@pytest.mark.parametrize(("value", "text"), [('"x "', "x "), ("7", "7"), ("-0.5", "-0.5"), ('""', "")])
def test_fields_as_text(tmp_path: Path, value: str, text: str) -> None:
    [record] = read_jsonl(write(tmp_path / "a.jsonl", f'{{"a": {value}}}'), "here")
    assert record.text("a", "here") == text


@pytest.mark.parametrize("value", ["true", "null", "[1]", '{"b": 1}'])
def test_other_fields_are_not_text(tmp_path: Path, value: str) -> None:
    [record] = read_jsonl(write(tmp_path / "a.jsonl", f'{{"a": {value}}}'), "here")
    with pytest.raises(ConfigError, match="no text in 'a'") as caught:
        record.text("a", "here")
    assert "line 1" in caught.value.where
    with pytest.raises(ConfigError, match="no field 'b'; it has 'a'"):
        record.text("b", "here")


TEXT = "one\ntwo\n \n\n  three\n\n\t\nfour\n"
PIECES: list[tuple[Cut, list[tuple[str, int]]]] = [
    ("file", [(TEXT, 1)]),
    ("paragraph", [("one\ntwo", 1), ("three", 5), ("four\n", 8)]),
    ("line", [("one", 1), ("two", 2), ("  three", 5), ("four", 8)]),
]


@pytest.mark.parametrize(("cut", "expected"), PIECES)
def test_texts_are_cut(tmp_path: Path, cut: Cut, expected: list[tuple[str, int]]) -> None:
    path = write(tmp_path / "a.txt", TEXT)
    found = read_documents(path, "here", cut=cut)
    assert [(d.text, d.place) for d in found] == [(text, f"{path}, line {line}") for text, line in expected]


def test_white_space_alone_is_no_document(tmp_path: Path) -> None:
    assert read_documents(write(tmp_path / "a.txt", "\n \n\n"), "here", cut="line") == []
    assert read_documents(write(tmp_path / "a.txt", ""), "here", cut="file") == []


def test_texts_in_jsonl(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"body": "one\\n\\ntwo"}\n{"body": " "}\n')
    with pytest.raises(ConfigError, match="empty") as caught:
        read_documents(path, "here", text_key="body")
    assert "line 2" in caught.value.where
    with pytest.raises(ConfigError, match="no field 'text'"):
        read_documents(path, "here")
    write(path, '{"body": "one\\n\\ntwo"}\n')
    assert [d.text for d in read_documents(path, "here", text_key="body")] == ["one\n\ntwo"]
