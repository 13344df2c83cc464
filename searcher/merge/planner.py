"""From a candidate and a tensor to what a backend has to do: facts, plans and buffers, remembered where they last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray

from searcher.merge.facts import TensorFacts
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.merge_tensor import scaled_plan, whole
from searcher.merge.pieces import Piece, stale_pieces
from searcher.merge.plan import TensorPlan, WholeTensor

if TYPE_CHECKING:
    import numpy as np

    from searcher.merge.backend import Work
    from searcher.merge.job import Job
    from searcher.merge.pool_tables import PoolTables
    from searcher.merge.stores import Tensors
    from searcher.pool.layout import Layout, TensorEntry

BUFFERS_KEPT = 1 << 14


class Planner:
    """Plans candidates of one pool.

    Args:
        layout: The parameter line.
        tables: Side tables of its tensors.
    """

    def __init__(self, layout: Layout, tables: PoolTables) -> None:
        self._layout, self._tables = layout, tables
        self._facts: dict[tuple[object, ...], TensorFacts] = {}
        self._buffers: dict[tuple[object, ...], Buffers] = {}
        self._last_pieces: tuple[tuple[bytes, bytes], dict[str, list[Piece]]] | None = None

    @property
    def remembers(self) -> bool:
        """Whether something may hold the sources' memory."""
        return bool(self._facts or self._buffers)

    def forget(self) -> None:
        """Hold no memory of the sources any more."""
        self._facts.clear()
        self._buffers.clear()

    def pieces(self, job: Job, stale: NDArray[np.int64]) -> dict[str, list[Piece]]:
        """Pieces of the tensors inside stale intervals, see ``stale_pieces``; most candidates have the same segments."""
        key = (job.recipe.boundaries.tobytes(), stale.tobytes())
        if self._last_pieces is None or self._last_pieces[0] != key:
            self._last_pieces = key, stale_pieces(self._layout, job.recipe.boundaries, stale)
        return self._last_pieces[1]

    def facts(self, job: Job, entry: TensorEntry, tensors: Tensors, *, lasting: bool = False) -> TensorFacts:
        """What operators may know about a tensor.

        Args:
            job: The candidate.
            entry: The tensor.
            tensors: Its stored values, by source.
            lasting: Whether these stay where they are, so that the facts hold for later candidates too.
        """
        if not lasting:
            return self._new_facts(job, entry, tensors)
        key = (entry.name, job.base, job.models)
        if key not in self._facts:
            self._facts[key] = self._new_facts(job, entry, tensors)
        return self._facts[key]

    def work(
        self,
        job: Job,
        entry: TensorEntry,
        pieces: Sequence[Piece],
        tensors: Tensors,
        out: torch.Tensor,
        *,
        lasting: bool = False,
    ) -> Iterator[Work]:
        """What has to be done for pieces of one tensor.

        Args:
            job: The candidate.
            entry: The tensor.
            pieces: Parts of it.
            tensors: Its stored values, by source.
            out: Where the result goes: the whole parameter line, or one that holds only this tensor.
            lasting: Whether the values and ``out`` stay where they are.
        """
        facts = self.facts(job, entry, tensors, lasting=lasting)
        offset = entry.offset if out.numel() != entry.size else 0
        for piece in pieces:
            plan = _plan(job, piece.segment, facts)
            if isinstance(plan, WholeTensor):
                out[offset + piece.start : offset + piece.stop] = whole(plan, facts)[piece.start : piece.stop]
                continue
            key = (entry.name, job.base, job.models, plan.used, plan.n_rows, out.data_ptr())
            buffers = self._buffers.get(key) if lasting else None
            if buffers is None:
                buffers = make_buffers(job, entry.name, tensors, plan, out[offset : offset + entry.size])
                self._keep(key, buffers, lasting=lasting)
            yield plan, buffers, piece.start, piece.stop

    def spans(self, job: Job, lines: Tensors, out: torch.Tensor, stale: NDArray[np.int64]) -> Iterator[Work]:
        """What has to be done for a candidate whose plans depend on no tensor: whole segments at once.

        Args:
            job: The candidate.
            lines: Parameter lines by source.
            out: The candidate's parameter line.
            stale: Intervals to write, shape (n, 2).
        """
        facts = self._new_facts(job, self._layout.tensors[0], {})
        for segment, (start, stop) in enumerate(pairwise(job.recipe.boundaries.tolist())):
            for low, high in stale.tolist():
                if max(low, start) < min(high, stop):
                    plan = job.operators[segment].plan(job.coefficients[segment], facts)
                    assert not isinstance(plan, WholeTensor)  # it would depend on the tensor
                    yield plan, make_buffers(job, "", lines, plan, out), max(low, start), min(high, stop)

    def _new_facts(self, job: Job, entry: TensorEntry, tensors: Tensors) -> TensorFacts:
        return TensorFacts(
            entry.name, entry.shape, job.models, job.is_delta, job.base is not None,
            partial(_read, tensors, job.base, job.models), self._tables.of(job.base), entry.block, self._layout.n_blocks,
        )  # fmt: skip

    def _keep(self, key: tuple[object, ...], buffers: Buffers, *, lasting: bool) -> None:
        if not lasting:
            return
        if len(self._buffers) > BUFFERS_KEPT:
            self._buffers.clear()
        self._buffers[key] = buffers


def _plan(job: Job, segment: int, facts: TensorFacts) -> TensorPlan | WholeTensor:
    """A segment's plan for a tensor; one for all tensors where they do not matter."""
    operator, coefficients = job.operators[segment], job.coefficients[segment]
    if not operator.shares_plan:
        return scaled_plan(operator, operator.plan(coefficients, facts), facts)
    if segment not in job.plans:
        job.plans[segment] = operator.plan(coefficients, facts)
    return scaled_plan(operator, job.plans[segment], facts)


def make_buffers(job: Job, name: str, tensors: Tensors, plan: TensorPlan, out: torch.Tensor) -> Buffers:
    """What a plan reads and writes.

    Args:
        job: The candidate.
        name: Of the tensor; seeds its hashes.
        tensors: Stored values by source, shape (n,) each.
        plan: The plan.
        out: Where the result goes, shape (n,).
    """
    used, rows = plan.used, plan.n_rows
    names = tuple(job.models[k] for k in used)
    return Buffers(
        name, out, None if job.base is None else tensors[job.base], tuple(tensors[n] for n in names),
        tuple(job.is_delta[k] for k in used), names, max(1, out.numel() // rows),
    )  # fmt: skip


def _read(tensors: Mapping[str, torch.Tensor], base: str | None, models: tuple[str, ...], k: int) -> torch.Tensor:
    """Stored values of model ``k``, or of the base for -1."""
    name = base if k < 0 else models[k]
    assert name is not None  # operators that read the base need one
    return tensors[name]
