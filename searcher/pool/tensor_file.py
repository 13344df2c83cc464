"""Tensors of one .safetensors file: copied into memory of their own, or mapped.

The pages of a mapping count as memory of the process for as long as it is open, so that reading a pool once takes as
much memory as it has bytes; and a file that shrinks while it is mapped kills the process. A copy is bounded by the
tensor and gives an error instead. Only a module that is about to be filled with the tensors is better off with a
mapping, whose pages the system may take back at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import torch

from searcher.errors import PoolError
from searcher.pool.safetensors_file import StoredTensor, read_header

TORCH_BY_DTYPE: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu, "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "I16": torch.int16, "U16": torch.uint16, "F16": torch.float16,
    "BF16": torch.bfloat16, "I32": torch.int32, "U32": torch.uint32, "F32": torch.float32, "I64": torch.int64,
    "U64": torch.uint64, "F64": torch.float64, "C64": torch.complex64,
}  # fmt: skip
CHANGED = "it has changed since it was opened"


class TensorFile:
    """A file that must stay as it is; safe to read from several threads.

    Args:
        path: The file.
        expected: What its header said when the model was opened, by tensor name.

    Raises:
        OSError: If it cannot be read or has another header by now.
    """

    def __init__(self, path: Path, expected: Mapping[str, StoredTensor]) -> None:
        self._path = path
        with path.open("rb", buffering=0) as file:
            self._state = _state(file)
            self._start = 8 + int.from_bytes(file.read(8), "little")
        _check_header(path, expected)

    def read(self, stored: StoredTensor) -> torch.Tensor:
        """One tensor, in its stored type and shape.

        Raises:
            OSError: If the file cannot be read, or its size or time of change is another than at first.
        """
        buffer = torch.empty(stored.end - stored.begin, dtype=torch.uint8)
        with self._path.open("rb", buffering=0) as file:
            if _state(file) != self._state:
                raise OSError(CHANGED)
            file.seek(self._start + stored.begin)
            _fill(file, buffer.numpy().data)
            if _state(file) != self._state:
                raise OSError(CHANGED)
        return buffer.view(TORCH_BY_DTYPE[stored.dtype]).view(stored.shape)


class MappedFile:
    """A memory-mapped file; its tensors are private to whoever reads them.

    Args:
        path: The file.
        expected: As for :class:`TensorFile`.

    Raises:
        OSError: If it cannot be read or has another header by now.
    """

    def __init__(self, path: Path, expected: Mapping[str, StoredTensor]) -> None:
        from safetensors import safe_open

        _check_header(path, expected)
        self._file: Any = safe_open(path, framework="pt", device="cpu")  # there is no public type for it

    def read(self, stored: StoredTensor) -> torch.Tensor:
        """One tensor, in its stored type and shape."""
        tensor: torch.Tensor = self._file.get_tensor(stored.name)
        return tensor


def _check_header(path: Path, expected: Mapping[str, StoredTensor]) -> None:
    try:
        header = read_header(path)
    except PoolError as error:
        raise OSError(f"{CHANGED}; {error.what}") from error
    if header != expected:
        raise OSError(CHANGED)


def _state(file: FileIO) -> tuple[int, int]:
    """Size in bytes and time of the last change."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _fill(file: FileIO, buffer: memoryview) -> None:
    """Read until the buffer is full; one call of the system reads at most 2 GiB."""
    while len(buffer):
        n_read = file.readinto(buffer)
        if not n_read:
            raise OSError("it ends too early")
        buffer = buffer[n_read:]
