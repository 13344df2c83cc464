"""Malformed safetensors files are refused with one error that names the file and the fault."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from searcher.errors import PoolError
from searcher.pool.safetensors_file import MAX_HEADER_BYTES, StoredTensor, read_header

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def packed(header: Any, data: bytes = b"\0" * 8) -> bytes:
    """A file with a given header, which may be wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {**F32, **changes}}


MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes"),
    "short length field": (b"\1\0\0", "3 bytes"),
    "truncated header": (packed({"a": F32})[:30], "only 22 follow"),
    "huge length": ((1 << 63).to_bytes(8, "little") + b"{}", "announces a header"),
    "zero length": (packed(b"", b""), "does not start with"),
    "header over the limit": (packed(b"{" + b" " * MAX_HEADER_BYTES + b"}", b""), "over the limit"),
    "not JSON": (packed(b"{nonsense"), "JSON is malformed"),
    "not UTF-8": (packed(b'{"\xff": 1}'), "JSON is malformed"),
    "not an object": (packed(b"[1]"), "does not start with"),
    "text after the JSON": (packed(json.dumps({"a": F32}).encode() + b" x"), "JSON is malformed"),
    "deep nesting": (packed(b'{"' + b"a" * 200_000 + b'":' + b"[" * 9000), "nested too deeply"),
    "giant integer": (packed(b'{"a":' + b"9" * 10_000 + b"}"), "JSON is malformed"),
    "NaN": (packed(b'{"a": NaN}'), "NaN is not JSON"),
    "duplicate tensor": (packed(b'{"a":%b,"a":%b}' % ((json.dumps(F32).encode(),) * 2)), "'a' stands twice"),
    "duplicate key in an entry": (packed(b'{"a":{"dtype":"F32","dtype":"F16"}}'), "'dtype' stands twice"),
    "metadata of numbers": (packed({"__metadata__": {"a": 1}, "a": F32}), "__metadata__"),
    "metadata is a list": (packed({"__metadata__": [], "a": F32}), "__metadata__"),
    "entry is a list": (packed({"a": [1]}), "exactly the keys"),
    "missing key": (packed({"a": {"dtype": "F32", "shape": [2]}}), "exactly the keys"),
    "extra key": (packed(entry(more=1)), "exactly the keys"),
    "unknown dtype": (packed(entry(dtype="F99")), "unknown dtype"),
    "dtype is a list": (packed(entry(dtype=["F32"])), "unknown dtype"),
    "negative size": (packed(entry(shape=[-2])), "shape of tensor 'a'"),
    "fractional size": (packed(entry(shape=[2.0])), "shape of tensor 'a'"),
    "true as a size": (packed(entry(shape=[True, 2])), "shape of tensor 'a'"),
    "size overflow": (packed(entry(shape=[1 << 62, 4])), "needs"),
    "size of 2^64": (packed(entry(shape=[1 << 64])), "shape of tensor 'a'"),
    "too many dimensions": (packed(entry(shape=[1] * 65 + [2])), "shape of tensor 'a'"),
    "shape and bytes disagree": (packed(entry(shape=[3])), "needs 12 bytes"),
    "falling offsets": (packed(entry(data_offsets=[8, 0])), "data_offsets"),
    "negative offset": (packed(entry(data_offsets=[-8, 0])), "data_offsets"),
    "three offsets": (packed(entry(data_offsets=[0, 4, 8])), "data_offsets"),
    "truncated data": (packed({"a": F32}, b"\0" * 7), "truncated"),
    "trailing data": (packed({"a": F32}, b"\0" * 9), "1 bytes follow"),
    "hole before": (packed(entry(data_offsets=[4, 12]), b"\0" * 12), "hole"),
    "overlap": (packed({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, b"\0" * 12), "overlaps"),
    "same bytes twice": (packed({"a": F32, "b": F32}), "overlaps"),
    "empty name": (packed({"": F32}), "tensor name"),
    "control character in a name": (packed({"a\x1b[31m": F32}), "tensor name"),
    "long name": (packed({"a" * 5000: F32}), "tensor name"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_file_is_refused(case: str, tmp_path: Path) -> None:
    content, fault = MALFORMED[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(PoolError) as caught:
        read_header(path)
    lines = str(caught.value).split("\n")
    assert len(lines) == 3
    assert fault in lines[0]
    assert str(path) in lines[1]
    assert caught.value.exit_code == 3


def outcome(path: Path) -> dict[str, StoredTensor] | PoolError:
    try:
        return read_header(path)
    except PoolError as error:
        return error


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: bytes, framed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    path.write_bytes(packed(b"{" + data) if framed else data)
    found = outcome(path)
    assert found == {} or (isinstance(found, PoolError) and str(path) in found.where)


@given(st.data())
def test_a_changed_header_byte_is_refused_or_still_tiles(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = bytearray(packed({"a": F32, "b": {"dtype": "I16", "shape": [], "data_offsets": [8, 10]}}, b"\0" * 10))
    good[data.draw(st.integers(0, len(good) - 11))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(bytes(good))
    found = outcome(path)
    if isinstance(found, PoolError):
        assert str(path) in found.where
    else:
        assert sum(tensor.end - tensor.begin for tensor in found.values()) == 10


@pytest.mark.parametrize("filler", [b"[],", b'"ab",', b'{"a":0},', b'{"a":{"a":', b'"",'])
def test_largest_hostile_header_needs_little_memory(filler: bytes, tmp_path: Path) -> None:
    body = filler * ((MAX_HEADER_BYTES - 100) // len(filler))
    path = tmp_path / "model.safetensors"
    path.write_bytes(packed(b'{"a":[' + body + b"0]}"))
    tracemalloc.start()
    with pytest.raises(PoolError, match="not a list of tensors"):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_header_of_many_numbers_needs_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(packed(b'{"a":[' + b"999," * (MAX_HEADER_BYTES // 4 // 16) + b"0]}"))
    tracemalloc.start()
    with pytest.raises(PoolError, match="exactly the keys"):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (200 << 20) // 16  # a sixteenth of the limit in length, hence in memory


def test_many_tiny_tensors_are_read(tmp_path: Path) -> None:
    header = {f"{n}": {"dtype": "U8", "shape": [], "data_offsets": [n, n + 1]} for n in range(2000)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(packed(json.dumps(header, separators=(",", ":")).encode(), b"\0" * 2000))
    assert len(read_header(path)) == 2000


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(PoolError, match="not a regular file"):
        read_header(tmp_path / "model.safetensors")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="cannot be read"):
        read_header(tmp_path / "model.safetensors")


def test_good_file_of_the_package_is_read(tmp_path: Path) -> None:
    tensors = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(()),
        "c": torch.zeros(0, 4, dtype=torch.bfloat16),
        "d": torch.zeros(5, dtype=torch.int64),
        "e": torch.zeros(3, dtype=torch.bool),
    }
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    found = read_header(tmp_path / "model.safetensors")
    assert {name: tensor.shape for name, tensor in found.items()} == {n: tuple(t.shape) for n, t in tensors.items()}
    assert {name for name, tensor in found.items() if tensor.is_float} == {"a", "b", "c"}
