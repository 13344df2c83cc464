"""Writes a merged model as an ordinary folder, holding one tensor in memory at a time.

Sizes are known from the layout, so shards are planned and their headers written before the first tensor comes.
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
from searcher.pool.files import INDEX_FILE, SINGLE_FILE, inside
from searcher.pool.layout import Layout
from searcher.pool.safetensors_file import BYTES_BY_DTYPE, FLOAT_BY_DTYPE
from searcher.pool.source import Source
from searcher.pool.strict_json import read_json_object

STORED_BY_DTYPE: Mapping[str, str] = {dtype: stored for stored, dtype in FLOAT_BY_DTYPE.items()}


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


def write_model_folder(
    folder: Path,
    tensors: Iterable[tuple[str, torch.Tensor]],
    *,
    like: Source,
    layout: Layout,
    dtype: str,
    max_shard_bytes: int = 2 << 30,
) -> list[str]:
    """Write weights and side files into a folder; every file is synced to disk before the next is begun.

    The folder is not a whole model until this returns; write to a temporary name and rename. Tied aliases are not
    stored, as transformers does; integer tensors are copied from ``like``.

    Args:
        folder: Made if missing; existing files are never overwritten.
        tensors: All tensors of the layout, in its order.
        like: Full model whose config, tokenizer and generation settings are copied.
        layout: The parameter line.
        dtype: Type to store, such as ``bfloat16``.
        max_shard_bytes: Largest shard, in bytes; a single larger tensor gets a shard of its own.

    Returns:
        Names of the files written, weights first.

    Raises:
        ExportError: If the disk refuses or a file exists already.
        ValueError: If the tensors are not those of the layout.
    """
    if like.is_delta or dtype not in STORED_BY_DTYPE or max_shard_bytes < 1:
        raise ValueError(f"Expected a full model and a type of {list(STORED_BY_DTYPE)}, but got {like.kind}, {dtype}.")
    planned, is_merged = _plan(like, layout, STORED_BY_DTYPE[dtype])
    name = like.weights_files[0] if len(like.weights_files) == 1 else SINGLE_FILE  # its loader may expect the name
    parts = _interleaved(planned, is_merged, iter(tensors), like)
    names = write_weights(folder, parts, planned, max_shard_bytes=max_shard_bytes, single_file=name)
    with _disk_errors(folder, planned):
        names += [_write_side_file(folder, name, like, dtype) for name in like.side_files]
        _sync_folder(folder)
    return names


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
    with _disk_errors(folder, planned):
        folder.mkdir(parents=True, exist_ok=True)
        _write_shards(folder, by_name, iter(tensors))
        return [*names, _write_index(folder, by_name)] if n > 1 else names


def _plan(like: Source, layout: Layout, stored: str) -> tuple[list[PlannedTensor], list[bool]]:
    """All tensors and whether each is merged. Wide types come before narrow ones, so that all values are aligned."""
    merged = [PlannedTensor(e.name, stored, e.shape) for e in layout.tensors]
    copied = [
        PlannedTensor(t.name, t.dtype, t.shape)
        for t in sorted(like.stored.values(), key=lambda t: (-BYTES_BY_DTYPE[t.dtype], t.name))
        if not t.is_float
    ]
    wide = [tensor for tensor in copied if BYTES_BY_DTYPE[tensor.dtype] >= BYTES_BY_DTYPE[stored]]
    narrow = [tensor for tensor in copied if tensor not in wide]
    return [*wide, *merged, *narrow], [False] * len(wide) + [True] * len(merged) + [False] * len(narrow)


def _interleaved(
    planned: Sequence[PlannedTensor],
    is_merged: Sequence[bool],
    tensors: Iterator[tuple[str, torch.Tensor]],
    like: Source,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Merged tensors as they come, copied ones between them, and whatever comes after the last."""
    for tensor, merged in zip(planned, is_merged, strict=True):
        if not merged:
            yield tensor.name, like.read(tensor.name)
        elif (part := next(tensors, None)) is not None:
            yield part
        else:
            return
    yield from tensors


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


@contextmanager
def _disk_errors(folder: Path, planned: Sequence[PlannedTensor]) -> Iterator[None]:
    """Errors of the disk in three lines."""
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"The model cannot be written: {error.strerror or error}.",
            where=str(error.filename or folder),
            fix=f"Give an empty folder on a disk with at least {sum(t.n_bytes for t in planned):,} bytes free.",
        ) from error


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
    _write_bytes(folder / INDEX_FILE, json.dumps(index, indent=2).encode())
    return INDEX_FILE


def _write_side_file(folder: Path, name: str, like: Source, dtype: str) -> str:
    """Copy a side file; config.json gets the new type."""
    path = inside(like.path, name)
    if name == "config.json":
        content = read_json_object(path)
        if "model_type" in content and not content.keys() & {"dtype", "torch_dtype"}:
            content["dtype"] = dtype
        _write_bytes(folder / name, (json.dumps(with_dtype(content, dtype), indent=2) + "\n").encode())
    else:
        _write_bytes(folder / name, path.read_bytes())
    return name


def with_dtype(content: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """A config whose stated types, also those of parts, are the stored one."""
    changed: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            changed[key] = with_dtype(value, dtype)
        else:
            changed[key] = dtype if key in ("dtype", "torch_dtype") and value in STORED_BY_DTYPE else value
    return changed


def _write_bytes(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new names durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
