"""Inner products of the sources over the first positions of the parameter line, for crossover on recipes.

The inner product of two merges, ``sum over segments C_A^T G_segment C_B``, needs the Gram matrix ``G`` of every
segment; that is the difference of two prefixes. Prefixes at the borders of tensors are sums of the engine's Gram
tables, which are kept on disk; one inside a tensor reads that tensor again.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.merge.pool_tables import PoolTables
from searcher.merge.pool_vectors import PoolVectors
from searcher.merge.stores import all_sources
from searcher.merge.tables.gram import Gram, gram

if TYPE_CHECKING:
    from searcher.merge.tables.store import TableStore
    from searcher.pool.layout import TensorEntry
    from searcher.pool.pool import Pool

KEPT = 1 << 14  # prefixes inside tensors; the oldest are computed again when they are needed


class PrefixProducts:
    """Called with a position ``p``, gives the inner products over positions ``0 ... p - 1``.

    Nothing is read before the first call. Whole tensors' products are read from files once per pool and storage type,
    one tensor of each source in memory at a time, and found on disk by later runs.

    Args:
        pool: The sources.
        device: Where products are computed.
        dtype: Storage type of the sources; it is the rounded values that are merged.
        store: Where tables are kept between runs; None takes the user's cache folder.
    """

    def __init__(self, pool: Pool, device: str, dtype: torch.dtype, store: TableStore | None = None) -> None:
        self._pool = pool
        self._vectors = PoolVectors(pool, torch.device(device), dtype)
        self._entries = [entry for entry in pool.layout.tensors if entry.size]
        shapes = {entry.name: entry.shape for entry in self._entries}
        self._tables = PoolTables({source.name: source for source in all_sources(pool)}, dtype, shapes, store)
        self._base = None if pool.base is None else pool.base.name
        self._models = tuple(source.name for source in pool.models)
        self._stops = np.array([entry.stop for entry in self._entries], dtype=np.int64)
        self._inside: OrderedDict[int, NDArray[np.float64]] = OrderedDict()

    @torch.no_grad()
    def __call__(self, position: int) -> NDArray[np.float64]:
        """Inner products of (base, tau_1 ... tau_K), or of (theta_1 ... theta_K) without a base; shape ``(V, V)``.

        Args:
            position: From 0, where all are 0, to P.

        Raises:
            ValueError: If the position lies outside the line.
            PoolError: If a file cannot be read.
        """
        if not 0 <= position <= self._pool.layout.n_parameters:
            raise ValueError(f"Expected a position from 0 to {self._pool.layout.n_parameters}, but got {position}.")
        index = int(np.searchsorted(self._stops, position, side="right"))  # so many tensors lie before it as a whole
        products: NDArray[np.float64] = self._sums[index].copy()
        if index < len(self._entries) and position > self._entries[index].offset:
            products += self._part(self._entries[index], position)
        return products

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        """Products over the first i tensors that are not empty, shape ``(n_tensors + 1, V, V)``."""
        tables = self._tables.of(self._base)
        products = [
            tables.get("gram None", self._models, entry.name, partial(self._gram, entry)).products[0]
            for entry in self._entries
        ]
        self._tables.save()
        return np.concatenate([np.zeros_like(products[:1]), np.cumsum(products, axis=0)])

    def _part(self, entry: TensorEntry, position: int) -> NDArray[np.float64]:
        """Products over a tensor's elements before a position on the line, remembered."""
        if position not in self._inside:
            if len(self._inside) >= KEPT:
                self._inside.popitem(last=False)
            self._inside[position] = gram([vector[: position - entry.offset] for vector in self._all(entry)])
        return self._inside[position]

    def _gram(self, entry: TensorEntry) -> Gram:
        """The Gram table of a whole tensor, exactly as operators make it."""
        vectors = self._all(entry)
        base, others = (None, vectors) if self._base is None else (vectors[0], vectors[1:])
        return Gram.of(base, others, entry.shape)

    def _all(self, entry: TensorEntry) -> list[torch.Tensor]:
        """A tensor of the base and of all task vectors, or of all models."""
        return self._vectors(entry, with_base=True)
