"""The source models on the device, each as one line of numbers in the storage type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searcher.errors import PoolError

if TYPE_CHECKING:
    import torch

    from searcher.pool.layout import Layout, TensorEntry
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source


class Arena:
    """All sources of a pool, loaded when first used; sources with the same files are stored once.

    Args:
        pool: The sources.
        device: Where they go.
        dtype: Storage type of weights.
    """

    def __init__(self, pool: Pool, device: torch.device, dtype: torch.dtype) -> None:
        self._layout: Layout = pool.layout
        self._device = device
        self._dtype = dtype
        self._sources = {source.name: source for source in all_sources(pool)}
        self._keys = {name: _identity(source) for name, source in self._sources.items()}
        self._lines: dict[object, torch.Tensor] = {}

    def view(self, name: str, entry: TensorEntry) -> torch.Tensor:
        """One tensor of one source in the arena, shape ``(size,)``; not to be written to."""
        return self._line(name)[entry.offset : entry.stop]

    def _line(self, name: str) -> torch.Tensor:
        """The whole parameter line of one source, shape ``(P,)``."""
        import torch

        key = self._keys[name]
        if key not in self._lines:
            dtype = stored_dtype(self._sources[name], self._dtype)
            line = torch.empty(self._layout.n_parameters, dtype=dtype, device=self._device)
            for entry in self._layout.tensors:
                line[entry.offset : entry.stop] = self.read(name, entry)
            self._lines[key] = line
        return self._lines[key]

    def read(self, name: str, entry: TensorEntry) -> torch.Tensor:
        """One tensor of one source straight from its file, as ``view`` would give it, shape ``(size,)``.

        Raises:
            PoolError: If a value that is finite in the file is not in the storage type.
        """
        source = self._sources[name]
        stored = source.read(entry.name).reshape(-1)
        line = stored.to(stored_dtype(source, self._dtype))
        if line.dtype != stored.dtype and bool(line.isinf().any()) and not bool(stored.isinf().any()):
            raise PoolError(
                f"Tensor {entry.name!r} of {name!r} has values too large for {str(line.dtype).removeprefix('torch.')}.",
                where=f"tensor {entry.name} of {name}",
                fix="Set pool.dtype to bfloat16 or float32.",
            )
        return line.to(self._device)


def all_sources(pool: Pool) -> tuple[Source, ...]:
    """The base, if any, and the models."""
    return pool.models if pool.base is None else (pool.base, *pool.models)


def stored_dtype(source: Source, dtype: torch.dtype) -> torch.dtype:
    """Storage type of one source; deltas of a float16 pool stay float32, because float16 loses small ones."""
    import torch

    return torch.float32 if source.is_delta and dtype == torch.float16 else dtype


def _identity(source: Source) -> object:
    """Equal for sources that hold the same numbers."""
    return (source.kind, frozenset(source.files.items())) if source.files else (source.kind, source.path.resolve())
