"""The header of one .safetensors file, checked before anything else touches the file.

The format is eight bytes of length N (little-endian), N bytes of JSON, then the tensors back to back. Nothing
here reads tensor data, and no header makes it slow or hungry: the JSON is at most ``MAX_HEADER_BYTES`` long and, before it is parsed, must
have about the punctuation of a list of tensors.

Reference: https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searcher.errors import PoolError
from searcher.pool.strict_json import parse_json

MAX_HEADER_BYTES = 8 << 20  # some 60,000 tensors in one file; the format itself allows 100 MB
MAX_DIMENSIONS = 64
# Bytes of header per sign, at least: the shortest entry has 50 bytes, with 1 brace, 2 brackets and 10 quotes.
LEAST_SPACING: Mapping[bytes, int] = {b"{": 40, b"[": 20, b'"': 4}
MAX_NAME_LENGTH = 1024

BYTES_BY_DTYPE: Mapping[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
FLOAT_BY_DTYPE: Mapping[str, str] = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
STORED_BY_DTYPE: Mapping[str, str] = {dtype: stored for stored, dtype in FLOAT_BY_DTYPE.items()}


@dataclass(frozen=True)
class StoredTensor:
    """What a header says about one tensor.

    Args:
        name: Its name.
        dtype: Type in the format's own spelling, such as ``BF16``.
        shape: Its shape.
        begin: First byte, counted from the end of the header.
        end: Byte after the last.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def is_float(self) -> bool:
        """Whether it has a place on the parameter line."""
        return self.dtype in FLOAT_BY_DTYPE


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Tensors of a .safetensors file by name, after checking every statement of its header.

    Raises:
        PoolError: If the file is not a regular file or breaks the format; says which rule, and where.
    """
    text, data_bytes = _read_header_text(path)
    content = parse_json(text, where=f"header of {path}")
    if not isinstance(content, dict):
        raise _malformed(path, "its header is not a JSON object")
    _check_metadata(path, content.pop("__metadata__", {}))
    tensors = {name: _entry(path, name, value) for name, value in content.items()}
    _check_tiling(path, tensors, data_bytes)
    return tensors


def _read_header_text(path: Path) -> tuple[bytes, int]:
    """The JSON bytes and the number of bytes that follow them."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _malformed(path, "it is not a regular file")
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _malformed(path, f"it has {len(prefix)} bytes, fewer than the 8 of the length field")
            length = int.from_bytes(prefix, "little")
            if length > status.st_size - 8:
                raise _malformed(path, f"it announces a header of {length} bytes, but only {status.st_size - 8} follow")
            if length > MAX_HEADER_BYTES:
                raise _malformed(path, f"its header of {length} bytes is over the limit of {MAX_HEADER_BYTES}")
            text = file.read(length)
    except OSError as error:
        raise PoolError(
            f"The file cannot be read: {error.strerror or error}.", where=str(path), fix="Check path and permissions."
        ) from error
    if not text.startswith(b"{"):
        raise _malformed(path, "its header does not start with '{'")
    if any(text.count(sign) > 16 + length // spacing for sign, spacing in LEAST_SPACING.items()):
        raise _malformed(path, "its header is not a list of tensors")  # parsing it could need gigabytes
    return text, status.st_size - 8 - length


def _open_without_waiting(path: str, flags: int) -> int:
    """Open without hanging on a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_metadata(path: Path, metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _malformed(path, "its __metadata__ is not an object of strings")


def _entry(path: Path, name: str, value: object) -> StoredTensor:
    """One checked entry of the header."""
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise _malformed(path, f"the tensor name {name[:80]!r} is empty, too long or not printable")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _malformed(path, f"tensor {name!r} does not have exactly the keys dtype, shape, data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES_BY_DTYPE:
        raise _malformed(path, f"tensor {name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise _malformed(path, f"the shape of tensor {name!r} is not a list of sizes below 2^63")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _malformed(path, f"the data_offsets of tensor {name!r} are not two rising byte positions")
    expected, found = math.prod(shape) * BYTES_BY_DTYPE[dtype], offsets[1] - offsets[0]
    if expected != found:
        raise _malformed(
            path, f"tensor {name!r} of {dtype} {shape} needs {expected} bytes, but its offsets span {found}"
        )
    return StoredTensor(name, dtype, tuple(shape), offsets[0], offsets[1])


def _are_sizes(values: Any) -> bool:  # noqa: ANN401
    """Whether a JSON value is a list of integers in 0 ... 2^63 - 1 (True and False are no integers here)."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _check_tiling(path: Path, tensors: Mapping[str, StoredTensor], data_bytes: int) -> None:
    """The byte ranges must cover the data exactly: no overlap, no hole, nothing behind the last."""
    position = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.end > data_bytes:
            raise _malformed(path, f"tensor {tensor.name!r} ends at byte {tensor.end} of {data_bytes}; it is truncated")
        if tensor.begin != position:
            fault = "overlaps the tensor before it" if tensor.begin < position else "leaves a hole before it"
            raise _malformed(path, f"tensor {tensor.name!r} {fault} (byte {tensor.begin}, expected {position})")
        position = tensor.end
    if position != data_bytes:
        raise _malformed(path, f"{data_bytes - position} bytes follow the last tensor")


def _malformed(path: Path, fault: str) -> PoolError:
    return PoolError(
        f"The safetensors file is malformed: {fault}.",
        where=str(path),
        fix="Download or save the file again; compare its SHA-256 with the source's.",
    )
