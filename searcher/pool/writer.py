"""Writes a merged model as an ordinary folder: its weights, and the side files of a model that it is like."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from searcher.atomic import sync_folder
from searcher.pool.files import SINGLE_FILE, inside
from searcher.pool.layout import Layout
from searcher.pool.safetensors_file import BYTES_BY_DTYPE, STORED_BY_DTYPE
from searcher.pool.source import FullSource, Source
from searcher.pool.strict_json import read_json_object
from searcher.pool.weights_writer import PlannedTensor, disk_errors, write_new_file, write_weights


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
    with disk_errors(folder, planned):
        names += [_write_side_file(folder, name, like, dtype) for name in like.side_files]
        sync_folder(folder)
    return names


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


def _write_side_file(folder: Path, name: str, like: Source, dtype: str) -> str:
    """Copy a side file; config.json gets the new type."""
    path = inside(like.path, name)
    if name == "config.json":
        content = dict(like.config) if isinstance(like, FullSource) else read_json_object(path)
        if "model_type" in content and not content.keys() & {"dtype", "torch_dtype"}:
            content["dtype"] = dtype
        write_new_file(folder / name, (json.dumps(with_dtype(content, dtype), indent=2) + "\n").encode())
    else:
        write_new_file(folder / name, path.read_bytes())
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
