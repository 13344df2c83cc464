"""Where the sources' numbers are while candidates are built: on the device, or only in their files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from typing_extensions import override

from searcher.errors import PoolError
from searcher.merge.free_memory import trim_heap

if TYPE_CHECKING:
    from searcher.pool.layout import Layout, TensorEntry
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source

Tensors: TypeAlias = dict[str, torch.Tensor]  # by source name, each of shape (size,)
Mode: TypeAlias = Literal["resident", "host", "stream"]

CHUNK = 1 << 22  # elements converted together, to bound the memory of checks


class SourceStore(ABC):
    """Gives the sources' tensors on the device, in storage types.

    Args:
        pool: The sources; those with the same files are stored once.
        device: Where merging happens.
        dtype: Storage type of weights.
    """

    mode: Mode

    def __init__(self, pool: Pool, device: torch.device, dtype: torch.dtype) -> None:
        self._layout: Layout = pool.layout
        self._device, self._dtype = device, dtype
        self._sources: dict[str, Source] = {source.name: source for source in all_sources(pool)}

    @abstractmethod
    def tensors(self, names: Sequence[str], entries: Iterable[TensorEntry]) -> Iterator[tuple[TensorEntry, Tensors]]:
        """Each entry with that tensor of every named source; valid until the next one is asked for.

        Work that has been queued on the device's current stream by then still finds the values.

        Raises:
            PoolError: If a file cannot be read, or a value that is finite there is not in the storage type.
        """

    def lines(self, names: Sequence[str]) -> Tensors | None:
        """The whole parameter lines, shape ``(P,)`` each, if they are on the device."""
        return None

    def read(self, name: str, entry: TensorEntry) -> torch.Tensor:
        """One tensor from its file, on the CPU, in the storage type, shape ``(size,)``.

        Raises:
            PoolError: If the file cannot be read, or a value that is finite there is not in the storage type.
        """
        source = self._sources[name]
        stored = source.read(entry.name).reshape(-1)
        dtype = stored_dtype(source, self._dtype)
        if stored.dtype == dtype:
            return stored
        line = torch.empty(stored.shape, dtype=dtype)
        for start in range(0, stored.numel(), CHUNK):
            values, converted = stored[start : start + CHUNK], line[start : start + CHUNK]
            converted.copy_(values)
            if bool(converted.isinf().any()) and not bool(values.isinf().any()):
                raise PoolError(
                    f"Tensor {entry.name!r} of {name!r} has values too large for {str(dtype).removeprefix('torch.')}.",
                    where=f"tensor {entry.name} of {name}",
                    fix="Set pool.dtype to bfloat16 or float32.",
                )
        return line

    def key(self, name: str) -> object:
        """Equal for sources that hold the same numbers."""
        source = self._sources[name]
        return (source.kind, frozenset(source.files.items())) if source.files else (source.kind, source.path.resolve())


class ResidentStore(SourceStore):
    """Every source as one line of numbers on the device, loaded when first used."""

    def __init__(self, pool: Pool, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(pool, device, dtype)
        self.mode = "resident"
        self._lines: dict[object, torch.Tensor] = {}
        self._views: dict[str, dict[str, torch.Tensor]] = {}  # by source, then tensor: slicing takes microseconds

    @override
    def tensors(self, names: Sequence[str], entries: Iterable[TensorEntry]) -> Iterator[tuple[TensorEntry, Tensors]]:
        for name, line in self.lines(names).items():
            if name not in self._views:
                self._views[name] = {e.name: line[e.offset : e.stop] for e in self._layout.tensors}
        views = [(name, self._views[name]) for name in names]
        for entry in entries:
            yield entry, {name: found[entry.name] for name, found in views}

    @override
    def lines(self, names: Sequence[str]) -> Tensors:
        return {name: self._line(name) for name in names}

    def _line(self, name: str) -> torch.Tensor:
        key = self.key(name)
        if key not in self._lines:
            dtype = stored_dtype(self._sources[name], self._dtype)
            line = torch.empty(self._layout.n_parameters, dtype=dtype, device=self._device)
            for entry in self._layout.tensors:
                line[entry.offset : entry.stop] = self.read(name, entry)
            self._lines[key] = line
        return self._lines[key]


class FileStore(SourceStore):
    """Every tensor is read from its file each time; memory holds one tensor of each source."""

    def __init__(self, pool: Pool, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(pool, device, dtype)
        self.mode = "stream"

    @override
    def tensors(self, names: Sequence[str], entries: Iterable[TensorEntry]) -> Iterator[tuple[TensorEntry, Tensors]]:
        trim_heap()  # or blocks of small tensors would be held beside the first large one
        for entry in entries:
            found = {name: self.read(name, entry).to(self._device) for name in names}
            yield entry, found
            found.clear()  # whoever still holds it does not hold the values while the next ones are read


def all_sources(pool: Pool) -> tuple[Source, ...]:
    """The base, if any, and the models."""
    return pool.models if pool.base is None else (pool.base, *pool.models)


def stored_dtype(source: Source, dtype: torch.dtype) -> torch.dtype:
    """Storage type of one source; deltas of a float16 pool stay float32, because float16 loses small ones."""
    return torch.float32 if source.is_delta and dtype == torch.float16 else dtype
