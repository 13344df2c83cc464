"""Mean magnitudes of a pool's task vectors, tensor by tensor, for spaces that search more where more was learned."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.merge.pool_tables import PoolTables
from searcher.merge.pool_vectors import PoolVectors
from searcher.merge.stores import all_sources
from searcher.merge.tables.mean_magnitudes import MeanMagnitudes

if TYPE_CHECKING:
    from searcher.merge.tables.store import TableStore
    from searcher.pool.layout import TensorEntry
    from searcher.pool.pool import Pool


@torch.no_grad()
def mean_magnitudes(
    pool: Pool, device: str, dtype: torch.dtype, store: TableStore | None = None
) -> Mapping[str, NDArray[np.float64]]:
    """Mean magnitude of each task vector, by tensor name, shape ``(K,)``.

    Without a base it is that of the models' deviations from their mean, which is what a merge can change. Tensors are
    read from files one by one and found on disk by later runs.

    Args:
        pool: The sources.
        device: Where magnitudes are computed.
        dtype: Storage type of the sources; it is the rounded values that are merged.
        store: Where tables are kept between runs; None takes the user's cache folder.

    Raises:
        PoolError: If a file cannot be read.
    """
    entries = [entry for entry in pool.layout.tensors if entry.size]
    shapes = {entry.name: entry.shape for entry in entries}
    all_tables = PoolTables({source.name: source for source in all_sources(pool)}, dtype, shapes, store)
    tables = all_tables.of(None if pool.base is None else pool.base.name)
    vectors = PoolVectors(pool, torch.device(device), dtype)
    models = tuple(source.name for source in pool.models)

    def measure(entry: TensorEntry) -> MeanMagnitudes:
        return MeanMagnitudes.of(vectors(entry), centred=pool.base is None)

    found = {e.name: tables.get(MeanMagnitudes.kind, models, e.name, partial(measure, e)).values for e in entries}
    all_tables.save()
    return found | {e.name: np.zeros(len(models)) for e in pool.layout.tensors if not e.size}
