"""What an operator may know about one tensor when it plans a merge.

Everything is computed when first asked for. Small statistics (side tables) go through ``tables``, which remembers
them for the whole run and on disk; what needs the values themselves reads the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from searcher.merge.tables.gram import Gram
    from searcher.merge.tables.importance import ImportanceTable
    from searcher.merge.tables.magnitudes import Cut, MagnitudeTable
    from searcher.merge.tables.variance import VarianceCut, VarianceTable

T = TypeVar("T")
CutRow: TypeAlias = tuple[NDArray[np.float32], NDArray[np.uint32]]
CUTS_KEPT = 8  # per tensor of a model


class Tables(Protocol):
    """Remembers side tables."""

    def get(self, kind: str, models: tuple[str, ...], tensor: str, compute: Callable[[], T]) -> T:
        """The table of some models for one tensor, computed unless known."""
        ...


class NoTables:
    """Remembers nothing beyond one merge."""

    def __init__(self) -> None:
        self._known: dict[Hashable, object] = {}

    def get(self, kind: str, models: tuple[str, ...], tensor: str, compute: Callable[[], T]) -> T:
        """Computed once per object."""
        key = (kind, models, tensor)
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class TensorFacts:
    """One tensor of the base and K models.

    Args:
        name: Name of the tensor.
        shape: Its shape.
        models: Names of the models.
        is_delta: Per model, whether what is stored is a task vector (LoRA) and not weights.
        has_base: Whether there is a base.
        read: From a model's index, -1 for the base, to its stored values, any float type, shape ``(size,)``.
        tables: Where side tables are remembered.
        block: The block (layer) that the tensor belongs to, if any.
        n_blocks: Number of blocks of the model.
    """

    name: str
    shape: tuple[int, ...]
    models: tuple[str, ...]
    is_delta: tuple[bool, ...]
    has_base: bool
    read: Callable[[int], torch.Tensor]
    tables: Tables
    block: int | None = None
    n_blocks: int = 0

    @cached_property
    def _grams(self) -> dict[tuple[str, bool, str | None], NDArray[np.float64]]:
        """What was asked for; facts of sources in memory serve thousands of candidates."""
        return {}

    @cached_property
    def _cut_rows(self) -> dict[tuple[tuple[int, ...], ...], CutRow]:
        return {}

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def row_length(self) -> int:
        """Length of the last axis; of the whole tensor if it has fewer than two."""
        return self.shape[-1] if len(self.shape) > 1 else self.size

    def base(self) -> torch.Tensor:
        """Base weights, float32, shape ``(size,)``."""
        return self.read(-1).float()

    def weights(self, k: int) -> torch.Tensor:
        """Weights of model ``k``, float32, shape ``(size,)``."""
        stored = self.read(k).float()
        return self.base() + stored if self.is_delta[k] else stored

    def task_vector(self, k: int) -> torch.Tensor:
        """Weights of model ``k`` minus the base's, float32, shape ``(size,)``."""
        stored = self.read(k).float()
        return stored if self.is_delta[k] else stored - self.base()

    def gram(
        self,
        of: Literal["weights", "deltas"],
        *,
        with_base: bool = False,
        axis: Literal["last", "first"] | None = None,
    ) -> NDArray[np.float64]:
        """Inner products, shape (R, V, V): of the models (V = K), or with the base before them (V = K + 1).

        Args:
            of: Weights or task vectors.
            with_base: Put the base first (weights only).
            axis: None for whole tensors (R = 1); ``last``: one row per vector along the last axis; ``first``: one
                per vector along the first axis (columns of a matrix).
        """
        key = (of, with_base, axis)
        found = self._grams.get(key)
        if found is None:
            gram = self.tables.get(f"gram {axis}", self.models, self.name, lambda: self._gram(axis))
            found = gram.deltas() if of == "deltas" else gram.weights(with_base=with_base)
            self._grams[key] = found
        return found

    def _gram(self, axis: Literal["last", "first"] | None) -> Gram:
        from searcher.merge.tables.gram import Gram

        base = self.base() if self.has_base else None
        vectors = [self.task_vector(k) if self.has_base else self.weights(k) for k in range(len(self.models))]
        return Gram.of(base, vectors, self.shape, axis)

    def cut_row(self, models: tuple[int, ...], kept: tuple[int, ...]) -> CutRow:
        """The cuts that keep some numbers of the largest magnitudes of some models' task vectors, as arrays.

        Args:
            models: Indices of the models, K' of them.
            kept: For each, how many, from 0. Exact up to 16,384 elements; above, right to 1e-4 of the elements.

        Returns:
            ``low`` and ``last_tie`` of each cut, shape (1, K') each; not to be changed.
        """
        known = self._cut_rows
        row = known.get((models, kept))
        if row is None:
            if len(known) >= CUTS_KEPT:
                known.clear()  # the density is searched: it will not come again
            cuts = [self._magnitudes(k).cut(n) for k, n in zip(models, kept, strict=True)]
            row = np.array([[c.low for c in cuts]], np.float32), np.array([[c.last_tie for c in cuts]], np.uint32)
            known[models, kept] = row
        return row

    def _magnitudes(self, k: int) -> MagnitudeTable:
        from searcher.merge.tables.magnitudes import MagnitudeTable

        return self.tables.get(
            "magnitudes", (self.models[k],), self.name, lambda: MagnitudeTable.of(self.task_vector(k), self.name)
        )

    def exact_cut(self, k: int, n: int) -> Cut:
        """The cut that keeps exactly the ``n`` largest magnitudes of a task vector; reads the tensor."""
        from searcher.merge.tables.magnitudes import exact_cut

        known: dict[int, Cut] = self.tables.get("exact", (self.models[k],), self.name, dict)
        if n not in known:
            if len(known) >= CUTS_KEPT:
                known.clear()  # the density is searched: it will not come again
            known[n] = exact_cut(self.task_vector(k), n, self.name)
        return known[n]

    def ranks(self, k: int) -> torch.Tensor:
        """Rank of each magnitude of a task vector inside its row, uint16, scaled to 0 ... 65535, shape ``(size,)``."""
        from searcher.merge.tables.ranks import row_ranks

        return self.tables.get(
            "ranks", (self.models[k],), self.name, lambda: row_ranks(self.task_vector(k), self.row_length)
        )

    def variance_cut(self, fraction: float) -> VarianceCut:
        """The cut that keeps a fraction of the elements whose task vectors differ among the models."""
        from searcher.merge.tables.variance import VarianceTable

        def compute() -> VarianceTable:
            return VarianceTable.of([self.task_vector(k) for k in range(len(self.models))], self.name)

        return self.tables.get("variance", self.models, self.name, compute).cut(fraction)

    def importance(self, k: int) -> ImportanceTable:
        """Row factors and quantiles of ``|tau| * var_row(tau) / 2``."""
        from searcher.merge.tables.importance import ImportanceTable

        return self.tables.get(
            "importance", (self.models[k],), self.name, lambda: ImportanceTable.of(self.task_vector(k), self.row_length)
        )
