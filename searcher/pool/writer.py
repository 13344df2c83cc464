"""Writes a merged model as an ordinary folder, holding one tensor in memory at a time.

Sizes are known from the layout, so shards are planned and their headers written before the first tensor comes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
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
class _Planned:
    """A tensor of a planned shard; ``is_merged`` is False for what is copied from the reference."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    n_bytes: int
    is_merged: bool


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
    shards = _plan(like, layout, STORED_BY_DTYPE[dtype], max_shard_bytes)
    names = _shard_names(like, len(shards))
    needed = sum(tensor.n_bytes for shard in shards for tensor in shard)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_shards(folder, dict(zip(names, shards, strict=True)), iter(tensors), like, dtype)
        if len(shards) > 1:
            names.append(_write_index(folder, dict(zip(names, shards, strict=True)), needed))
        names += [_write_side_file(folder, name, like, dtype) for name in like.side_files]
        _sync_folder(folder)
    except OSError as error:
        raise ExportError(
            f"The model cannot be written: {error.strerror or error}.",
            where=str(error.filename or folder),
            fix=f"Give an empty folder on a disk with at least {needed:,} bytes free.",
        ) from error
    return names


def _plan(like: Source, layout: Layout, stored: str, max_shard_bytes: int) -> list[list[_Planned]]:
    """Tensors of every shard. Wide types come before narrow ones, so that all values are aligned in the file."""
    width = BYTES_BY_DTYPE[stored]
    merged = [_Planned(e.name, stored, e.shape, e.size * width, True) for e in layout.tensors]
    copied = [
        _Planned(t.name, t.dtype, t.shape, t.end - t.begin, False)
        for t in sorted(like.stored.values(), key=lambda t: (-BYTES_BY_DTYPE[t.dtype], t.name))
        if not t.is_float
    ]
    wide = [tensor for tensor in copied if BYTES_BY_DTYPE[tensor.dtype] >= width]
    shards: list[list[_Planned]] = [[]]
    filled = 0
    for tensor in [*wide, *merged, *(tensor for tensor in copied if tensor not in wide)]:
        if shards[-1] and filled + tensor.n_bytes > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.n_bytes
    return shards


def _shard_names(like: Source, n_shards: int) -> list[str]:
    """File names in Hugging Face style; a single file keeps the reference's name, which its loader may expect."""
    if n_shards > 1:
        return [f"model-{number:05d}-of-{n_shards:05d}.safetensors" for number in range(1, n_shards + 1)]
    return list(like.weights_files) if len(like.weights_files) == 1 else [SINGLE_FILE]


def _write_shards(
    folder: Path,
    shards: Mapping[str, list[_Planned]],
    tensors: Iterator[tuple[str, torch.Tensor]],
    like: Source,
    dtype: str,
) -> None:
    """Write all shards, taking merged tensors as they come."""
    for name, shard in shards.items():
        with (folder / name).open("xb") as file:
            file.write(_header(shard))
            for planned in shard:
                values = _next_merged(tensors, planned, dtype) if planned.is_merged else like.read(planned.name)
                file.write(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            _sync(file)
    surplus = next(tensors, None)
    if surplus is not None:
        raise ValueError(f"Expected the tensors of the layout, but got {surplus[0]!r} after the last.")


def _next_merged(tensors: Iterator[tuple[str, torch.Tensor]], planned: _Planned, dtype: str) -> torch.Tensor:
    """The next tensor of the stream, which must be the planned one, in the type to store."""
    name, values = next(tensors, (None, torch.empty(0)))
    if name != planned.name or tuple(values.shape) != planned.shape:
        found = "the end" if name is None else f"{name!r} of shape {tuple(values.shape)}"
        raise ValueError(f"Expected tensor {planned.name!r} of shape {planned.shape} next, but got {found}.")
    return values.detach().to(device="cpu", dtype=getattr(torch, dtype))


def _header(shard: list[_Planned]) -> bytes:
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


def _write_index(folder: Path, shards: Mapping[str, list[_Planned]], total: int) -> str:
    """The shard index in Hugging Face's form."""
    weight_map = {tensor.name: name for name, shard in shards.items() for tensor in shard}
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
        _write_bytes(folder / name, (json.dumps(_with_dtype(content, dtype), indent=2) + "\n").encode())
    else:
        _write_bytes(folder / name, path.read_bytes())
    return name


def _with_dtype(content: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """A config whose stated types, also those of parts, are the stored one."""
    changed: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            changed[key] = _with_dtype(value, dtype)
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
