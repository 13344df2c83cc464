"""JSON of untrusted files."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.errors import PoolError
from searcher.pool.strict_json import parse_json, read_json_object


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "Expecting value"),
        (b"{", "malformed"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"b": {"a": 1, "a": 1}}', "'a' stands twice"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"\xff", "decode"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 10_000, "digits"),
    ],
)
def test_malformed_json_is_refused(text: bytes, fault: str) -> None:
    with pytest.raises(PoolError, match=fault) as caught:
        parse_json(text, where="the place")
    assert caught.value.where == "the place"


def test_good_json() -> None:
    assert parse_json(b'{"a": [1, 2.5, null, "x"]}', where="x") == {"a": [1, 2.5, None, "x"]}


def test_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": "' + "x" * 100 + '"}')
    assert read_json_object(path)
    with pytest.raises(PoolError, match="larger than 50 bytes"):
        read_json_object(path, limit=50)


def test_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(PoolError, match="not a JSON object"):
        read_json_object(tmp_path / "config.json")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="missing"):
        read_json_object(tmp_path / "config.json")
