"""Writes tensors as .safetensors files, holding one tensor in memory at a time.

Sizes are known beforehand, so shards are planned and their headers written before the first tensor comes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from searcher.errors import ExportError
from searcher.pool.files import INDEX_FILE, SINGLE_FILE
from searcher.pool.safetensors_file import BYTES_BY_DTYPE, FLOAT_BY_DTYPE


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor that is going to be written.

    Args:
        name: Its name.
        dtype: Type to store, in the format's own spelling, such as ``BF16``.
        shape: Its shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Size in the file, in bytes."""
        return math.prod(self.shape) * BYTES_BY_DTYPE[self.dtype]


def write_weights(
    folder: Path,
    tensors: Iterable[tuple[str, torch.Tensor]],
    planned: Sequence[PlannedTensor],
    *,
    max_shard_bytes: int = 2 << 30,
    single_file: str = SINGLE_FILE,
) -> list[str]:
    """Write tensors as one .safetensors file, or as shards with an index; each file is synced before the next.

    Args:
        folder: Made if missing; existing files are never overwritten.
        tensors: The planned tensors in their order; floating-point ones are cast to the planned type.
        planned: What to expect; types in falling width keep all values aligned in the file.
        max_shard_bytes: Largest shard, in bytes; a single larger tensor gets a shard of its own.
        single_file: Name of the file where one is enough.

    Returns:
        Names of the files written.

    Raises:
        ExportError: If the disk refuses or a file exists already.
        ValueError: If the tensors are not the planned ones.
    """
    shards = _shards(planned, max_shard_bytes)
    n = len(shards)
    names = [f"model-{number:05d}-of-{n:05d}.safetensors" for number in range(1, n + 1)] if n > 1 else [single_file]
    by_name = dict(zip(names, shards, strict=True))
    with disk_errors(folder, planned):
        folder.mkdir(parents=True, exist_ok=True)
        _write_shards(folder, by_name, iter(tensors))
        return [*names, _write_index(folder, by_name)] if n > 1 else names


@contextmanager
def disk_errors(folder: Path, planned: Sequence[PlannedTensor]) -> Iterator[None]:
    """Errors of the disk in three lines.

    Args:
        folder: Where the model goes, for errors that name no file.
        planned: What is written, which says how much room there must be.

    Raises:
        ExportError: Instead of any OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"The model cannot be written: {error.strerror or error}.",
            where=str(error.filename or folder),
            fix=f"Give an empty folder on a disk with at least {sum(t.n_bytes for t in planned):,} bytes free.",
        ) from error


def write_new_file(path: Path, content: bytes) -> None:
    """Write and sync a file that must not be there yet.

    Raises:
        OSError: If the disk refuses or the file exists already.
    """
    with path.open("xb") as file:
        file.write(content)
        _sync(file)


def _shards(planned: Sequence[PlannedTensor], max_shard_bytes: int) -> list[list[PlannedTensor]]:
    """The tensors of every shard, in order."""
    shards: list[list[PlannedTensor]] = [[]]
    filled = 0
    for tensor in planned:
        if shards[-1] and filled + tensor.n_bytes > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.n_bytes
    return shards


def _write_shards(
    folder: Path, shards: Mapping[str, list[PlannedTensor]], tensors: Iterator[tuple[str, torch.Tensor]]
) -> None:
    """Write all shards, taking tensors as they come."""
    for name, shard in shards.items():
        with (folder / name).open("xb") as file:
            file.write(_header(shard))
            for planned in shard:
                values = _next(tensors, planned)
                file.write(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            _sync(file)
    surplus = next(tensors, None)
    if surplus is not None:
        raise ValueError(f"Expected the tensors of the layout, but got {surplus[0]!r} after the last.")


def _next(tensors: Iterator[tuple[str, torch.Tensor]], planned: PlannedTensor) -> torch.Tensor:
    """The next tensor of the stream, which must be the planned one, in the type to store."""
    name, values = next(tensors, (None, torch.empty(0)))
    if name != planned.name or tuple(values.shape) != planned.shape:
        found = "the end" if name is None else f"{name!r} of shape {tuple(values.shape)}"
        raise ValueError(f"Expected tensor {planned.name!r} of shape {planned.shape} next, but got {found}.")
    stored = FLOAT_BY_DTYPE.get(planned.dtype)
    return values.detach().to(device="cpu", dtype=None if stored is None else getattr(torch, stored))


def _header(shard: list[PlannedTensor]) -> bytes:
    """Length field and JSON of a safetensors file, padded so that the data starts at a multiple of 8."""
    content: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for tensor in shard:
        offsets = [position, position + tensor.n_bytes]
        content[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        position += tensor.n_bytes
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_index(folder: Path, shards: Mapping[str, list[PlannedTensor]]) -> str:
    """The shard index in Hugging Face's form."""
    weight_map = {tensor.name: name for name, shard in shards.items() for tensor in shard}
    total = sum(tensor.n_bytes for shard in shards.values() for tensor in shard)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_new_file(folder / INDEX_FILE, json.dumps(index, indent=2).encode())
    return INDEX_FILE


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
