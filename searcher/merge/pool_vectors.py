"""What a pool's models add to its base, read from files tensor by tensor; for measurements outside a merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from searcher.merge.facts import NoTables, TensorFacts
from searcher.merge.stores import FileStore

if TYPE_CHECKING:
    from searcher.pool.layout import TensorEntry
    from searcher.pool.pool import Pool


class PoolVectors:
    """Task vectors of all models, or their weights if the pool has no base.

    Args:
        pool: The sources.
        device: Where the vectors are wanted.
        dtype: Storage type of the sources; it is the rounded values that are merged.
    """

    def __init__(self, pool: Pool, device: torch.device, dtype: torch.dtype) -> None:
        self._pool, self._device = pool, device
        self._files = FileStore(pool, device, dtype)
        self._models = tuple(model.name for model in pool.models)
        self._deltas = tuple(model.is_delta for model in pool.models)

    def __call__(self, entry: TensorEntry, *, with_base: bool = False) -> list[torch.Tensor]:
        """One vector per model, float32, shape ``(size,)`` each; with ``with_base`` the base, if any, comes first.

        Raises:
            PoolError: If a file cannot be read.
        """
        base, n = self._pool.base, len(self._models)
        sources = (*self._pool.models, *([] if base is None else [base]))
        read = {k: self._files.read(source.name, entry).to(self._device) for k, source in enumerate(sources)}
        read[-1] = read.get(n, read[0])  # facts know the base as -1
        facts = TensorFacts(
            entry.name, entry.shape, self._models, self._deltas, base is not None, read.__getitem__, NoTables()
        )
        if base is None:
            return [facts.weights(k) for k in range(n)]
        return [*([facts.base()] if with_base else []), *(facts.task_vector(k) for k in range(n))]
