"""Side tables on disk, found by the content of the models that they describe."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import warnings
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from searcher.atomic import write_atomically
from searcher.cache_folder import cache_folder
from searcher.merge.tables.arrays import Table

T = TypeVar("T", bound=Table)

COMPRESSION = 1  # fastest; it halves the files
KEY = "key"  # array with the digest of the key; the others are called "tensor/field"
WRITING = threading.Lock()  # temporary files are told apart by process only


def content_hash(file_hashes: Iterable[str]) -> str:
    """One hash for a model from those of all its files that its tensors depend on, whatever their names."""
    return hashlib.sha256("\n".join(sorted(file_hashes)).encode()).hexdigest()


@dataclass(frozen=True)
class TableKey:
    """What the tables in one file depend on, besides the kind of table.

    Args:
        models: Content hash of each model, in order; one for tables of single models.
        base: That of the base, or None.
        dtype: Storage type of the pool.
        shapes: Shape of each tensor by name.
        parameters: What else they depend on: numbers and strings by name.
    """

    models: tuple[str, ...]
    base: str | None
    dtype: str
    shapes: Mapping[str, tuple[int, ...]]
    parameters: Mapping[str, str | float] = field(default_factory=dict)

    def digest(self, table: type[Table]) -> str:
        """SHA-256 of the key and of the format of a kind of table, in hexadecimal."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        content = [table.kind, table.version, self.models, self.base, self.dtype, shapes, dict(self.parameters)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class TableStore:
    """A folder of side tables, one file per kind of table and set of models.

    Whatever is wrong with a file, its tables count as unknown, so that they are computed anew and the file is
    replaced. A folder that cannot be written costs one warning and nothing else. Several processes may share one.

    Args:
        folder: It need not exist; None means that nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._has_warned = False

    @classmethod
    def default(cls) -> TableStore:
        """The store in the user's cache folder; one that keeps nothing, and a warning, if there can be none."""
        try:
            return cls(cache_folder("tables"))
        except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
            store = cls(None)
            store._warn("the cache folder", error)
            return store

    def path(self, table: type[Table], key: TableKey) -> Path | None:
        """Where tables of a kind are kept, whether or not they are there."""
        name = f"{table.kind}-{key.digest(table)[:40]}.safetensors.gz"
        return None if self.folder is None else self.folder / name

    def load(self, table: type[T], key: TableKey) -> dict[str, T] | None:
        """The tables of all tensors by name, or None if they are not known."""
        path = self.path(table, key)
        if path is None:
            return None
        try:
            arrays = load(gzip.decompress(path.read_bytes()))
            if arrays.pop(KEY).tobytes().decode() != key.digest(table):
                return None
            return {name: table.from_arrays(fields) for name, fields in _by_tensor(arrays, key.shapes).items()}
        except (OSError, EOFError, ValueError, KeyError, zlib.error, SafetensorError):
            return None

    def save(self, table: type[T], key: TableKey, tables: Mapping[str, T]) -> None:
        """Keep the tables of all tensors.

        Raises:
            ValueError: If they are not those of the tensors in the key.
        """
        if tables.keys() != key.shapes.keys():
            raise ValueError(f"Expected tables of {len(key.shapes)} tensors, those of the key, but got {len(tables)}.")
        path = self.path(table, key)
        if path is None:
            return
        arrays = {f"{tensor}/{name}": a for tensor, one in tables.items() for name, a in one.to_arrays().items()}
        arrays[KEY] = np.frombuffer(key.digest(table).encode(), np.uint8)
        blob = gzip.compress(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}), COMPRESSION, mtime=0)
        try:
            with WRITING:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, lambda file: file.write(blob))
        except OSError as error:
            self._warn(str(path.parent), error)

    def _warn(self, folder: str, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(f"Side tables are not kept for the next run, {folder}: {error}", stacklevel=3)


def _by_tensor(
    arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays by tensor and field.

    Raises:
        KeyError: If an array belongs to none of the tensors.
    """
    fields: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in shapes}
    for full, array in arrays.items():
        tensor, _, name = full.rpartition("/")
        fields[tensor][name] = array
    return fields
