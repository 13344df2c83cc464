"""Side tables of a pool: in memory for the run, on disk for the next one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from searcher.merge.tables.arrays import Table
from searcher.merge.tables.gram import Gram
from searcher.merge.tables.importance import ImportanceTable
from searcher.merge.tables.magnitudes import MagnitudeTable
from searcher.merge.tables.mean_magnitudes import MeanMagnitudes
from searcher.merge.tables.store import TableKey, TableStore, content_hash
from searcher.merge.tables.variance import VarianceTable

if TYPE_CHECKING:
    from searcher.pool.source import Source

T = TypeVar("T")
OF_CHANGES = " of changes"  # marks tables of task vectors; their first source is the base
KINDS: dict[str, type[Table]] = {
    "gram None": Gram, "magnitudes": MagnitudeTable, "variance": VarianceTable, "importance": ImportanceTable,
    "mean_magnitudes": MeanMagnitudes,
}  # fmt: skip
Group = tuple[str, tuple[str, ...]]  # kind, and the sources it is of

LARGE_KEPT = 4 << 30  # bytes of tables with one entry per element (ranks); the oldest are computed again when needed


class PoolTables:
    """Tables by kind, sources and tensor; safe to use from several threads.

    Args:
        sources: The pool's sources by name; hashes of their files are part of a table's key on disk.
        dtype: Storage type, which changes task vectors by a rounding.
        shapes: Shape of every tensor with elements, by name.
        store: Where they are kept between runs.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        dtype: torch.dtype,
        shapes: Mapping[str, tuple[int, ...]],
        store: TableStore | None = None,
    ) -> None:
        self._sources, self._dtype = sources, str(dtype).removeprefix("torch.")
        self._shapes, self._store = shapes, store or TableStore.default()
        self._small: dict[Group, dict[str, Any]] = {}
        self._large: OrderedDict[tuple[Group, str], torch.Tensor] = OrderedDict()
        self._unsaved: set[Group] = set()
        self._lock = threading.Lock()
        self._large_kept = LARGE_KEPT

    def of(self, base: str | None) -> BoundTables:
        """The tables of task vectors from one base."""
        return BoundTables(self, base)

    def keep_large(self, n_bytes: int) -> None:
        """Let tables with one entry per element hold so much from now on."""
        with self._lock:
            self._large_kept = n_bytes
            self._evict()

    def get(self, group: Group, tensor: str, compute: Callable[[], T]) -> T:
        """One table, computed unless known."""
        with self._lock:
            known = self._known(group)
            if tensor in known:
                return known[tensor]  # type: ignore[no-any-return]
            if (group, tensor) in self._large:
                self._large.move_to_end((group, tensor))
                return self._large[group, tensor]  # type: ignore[return-value]
        made = compute()  # without the lock: two threads may compute the same, and one result is kept
        with self._lock:
            self._keep(group, tensor, made)
        return made

    def save(self) -> None:
        """Write what was computed since the last call; a disk that cannot be written only costs time next time."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, set()
            for group in unsaved:
                self._save(group)

    def _keep(self, group: Group, tensor: str, made: object) -> None:
        if not isinstance(made, torch.Tensor):
            self._small[group][tensor] = made
            if isinstance(made, Table):
                self._unsaved.add(group)
            return
        self._large[group, tensor] = made
        self._evict()

    def _evict(self) -> None:
        """Forget the oldest large tables beyond what may be kept."""
        while sum(t.nbytes for t in self._large.values()) > self._large_kept:
            self._large.popitem(last=False)

    def _known(self, group: Group) -> dict[str, Any]:
        """Tables of a group; looks on disk the first time."""
        if group not in self._small:
            self._small[group] = self._load(group)
        return self._small[group]

    def _load(self, group: Group) -> dict[str, Any]:
        found = self._on_disk(group)
        return {} if found is None else self._store.load(*found) or {}

    def _save(self, group: Group) -> None:
        """Write a group once it is complete."""
        found, tables = self._on_disk(group), self._small[group]
        if found is not None and tables.keys() == self._shapes.keys():
            self._store.save(*found, tables)

    def _on_disk(self, group: Group) -> tuple[type[Table], TableKey] | None:
        """Kind and key of a group's file; None for what is not kept on disk (models in memory, tables per row)."""
        kind, of_changes = group[0].removesuffix(OF_CHANGES), group[0].endswith(OF_CHANGES)
        hashes = [tuple(self._sources[name].files.values()) for name in group[1]]
        if kind not in KINDS or not all(hashes):
            return None
        contents = [content_hash(files) for files in hashes]
        base, models = (contents[0], contents[1:]) if of_changes else (None, contents)
        return KINDS[kind], TableKey(tuple(models), base, self._dtype, self._shapes)


class BoundTables:
    """The part of a pool's tables that belongs to one base; what :class:`TensorFacts` asks."""

    def __init__(self, tables: PoolTables, base: str | None) -> None:
        self._tables, self._base = tables, base

    def get(self, kind: str, models: tuple[str, ...], tensor: str, compute: Callable[[], T]) -> T:
        """As :meth:`PoolTables.get`."""
        sources = models if self._base is None else (self._base, *models)
        return self._tables.get((kind if self._base is None else kind + OF_CHANGES, sources), tensor, compute)
