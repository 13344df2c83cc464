"""The merge engine: a recipe becomes weights, in the live model or as a stream of tensors.

All paths run the same plans with the same arithmetic on the same stored numbers (see ``plan.py``). Their results
are therefore equal bit for bit on one device: single or many, whole or only what changed, resident or streamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.merge.backend import Work, make_backend
from searcher.merge.changes import Changes
from searcher.merge.data_flow import DataFlow, check_copies
from searcher.merge.gradient import Gradients, gradient_entries, gradient_of, segment_gradient
from searcher.merge.job import Job, make_job
from searcher.merge.live_model import LiveModel
from searcher.merge.memory import PlannedStore, choose_store
from searcher.merge.memory_plan import MemoryPlan
from searcher.merge.pieces import Piece, stale_pieces
from searcher.merge.placement import DTYPES, device_of, dtype_of
from searcher.merge.planner import Planner
from searcher.merge.pool_tables import LARGE_KEPT, PoolTables
from searcher.merge.stores import FileStore, Tensors, all_sources

if TYPE_CHECKING:
    from searcher.pool.layout import Layout, TensorEntry
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source
    from searcher.recipe import Recipe


class MergeEngine:
    """Builds merges of one pool.

    Args:
        pool: The source models.
        device: ``auto`` (cuda if present, else cpu) or a torch device.
        dtype: Storage type: ``float32``, ``bfloat16`` or ``float16``; None takes the pool's widest (float64
            becomes float32). Arithmetic is float32 in any case.
        memory: Where sources live between builds: ``resident`` (on the device), ``host`` (in the host's memory, copied
            while merging), ``stream`` (read from their files each time), or ``auto``.
        kernels: ``auto``, ``reference``, ``compiled`` or ``triton``. The result does not depend on it.

    Raises:
        ConfigError: If the device does not exist here or an argument is unknown.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        device: str = "auto",
        dtype: str | None = None,
        memory: str = "auto",
        kernels: str = "auto",
    ) -> None:
        self.layout: Layout = pool.layout
        self.device = device_of(device)
        self.dtype: torch.dtype = dtype_of(pool.dtype, dtype)
        self.pool = pool
        self._sources: dict[str, Source] = {source.name: source for source in all_sources(pool)}
        self._memory = memory
        self._backend = make_backend(kernels, self.device, self.layout.n_parameters)
        shapes = {entry.name: entry.shape for entry in self.layout.tensors if entry.size}
        self._tables = PoolTables(self._sources, self.dtype, shapes)
        self._planned: set[tuple[object, ...]] = set()  # what side tables have been made for
        self._last: Job | None = None  # what is in the live model's buffer
        self._changes = Changes()
        self._planner = Planner(self.layout, self._tables)

    @property
    def memory(self) -> str:
        """Where the sources live: ``resident``, ``host`` or ``stream``."""
        return self._store.mode

    @property
    def memory_plan(self) -> MemoryPlan:
        """Where the sources live, why, and what was counted."""
        return self._store.plan

    @property
    def _is_resident(self) -> bool:
        """Whether sources stay where they are; it may change when memory runs out."""
        return self._store.mode == "resident"

    @cached_property
    def _store(self) -> PlannedStore:
        return choose_store(self._memory, self.pool, torch.device(self.device), self.dtype)

    @cached_property
    def data_flow(self) -> DataFlow:
        """Builds recipes with ``layers``.

        Raises:
            PoolError: If the pool's models cannot have another depth.
        """
        return DataFlow(self.pool, self.dtype, self.device, self._store, self._backend, self._tables)

    @torch.no_grad()
    def build(self, recipe: Recipe) -> LiveModel:
        """Write a merge into the live model, which is the same object every time.

        Segments that are as in the recipe built before are left as they are. Recipes with ``layers`` have a live model
        of their own for each depth, see :mod:`searcher.merge.data_flow`.

        Raises:
            ValueError: If the recipe does not fit the pool's layout or the operator.
            PoolError: If the pool lacks a model of the recipe, or the files a parameter of the module.
            CandidateError: If the operator is undefined for the coefficients.
        """
        if recipe.layers is not None:
            check_copies(recipe)
            return self.data_flow.build(recipe)
        job = make_job(recipe, self.pool, self._sources)
        live = self._live
        last, self._last = self._last, None  # until the buffer is whole again
        live.recipe = None
        stale = self._changes.stale(last, job, live.weights)
        self._store.retry(lambda: self._prepare_and_merge([(job, live.weights)], [stale]))
        self._changes.built(last, job, live.weights)
        self._last, live.recipe = job, recipe
        return live

    @torch.no_grad()
    def build_many(self, recipes: Sequence[Recipe]) -> list[LiveModel]:
        """Build several merges at once: every source is read once for all of them.

        Each has a live model of its own, which the next call of ``build_many`` writes again; memory holds as many
        models as there are recipes.

        Raises:
            ValueError: As ``build``.
            PoolError: As ``build``.
            CandidateError: As ``build``.
        """
        jobs = [make_job(recipe, self.pool, self._sources) for recipe in recipes]
        while len(self._many) < len(jobs):
            self._many.append(self._store.retry(self._new_live))
        models = self._many[: len(jobs)]
        for live in models:
            live.recipe = None
        everything = np.array([[0, self.layout.n_parameters]])
        targets = [(job, live.weights) for job, live in zip(jobs, models, strict=True)]
        self._store.retry(lambda: self._prepare_and_merge(targets, [everything] * len(jobs)))
        for live, job in zip(models, jobs, strict=True):
            live.recipe = job.recipe
        return models

    @torch.no_grad()
    def stream(self, recipe: Recipe) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors of a merge in layout order, on the CPU, in the storage type; tied aliases not repeated.

        Memory holds one tensor of each source at a time and the result.

        Raises:
            ValueError: As ``build``.
            PoolError: As ``build``.
            CandidateError: As ``build``.
        """
        if recipe.layers is not None:
            check_copies(recipe)
            yield from self.data_flow.stream(recipe)
            return
        job = make_job(recipe, self.pool, self._sources)
        files = FileStore(self.pool, torch.device(self.device), self.dtype)
        self._tables.keep_large(0)  # until the next build: one tensor of each source is all that may be held
        pieces = stale_pieces(self.layout, job.recipe.boundaries)
        for entry, tensors in files.tensors(job.names, self.layout.tensors):
            yield entry.name, self._merged(job, entry, pieces[entry.name], tensors)
        self._tables.save()

    def coefficient_gradient(self, recipe: Recipe, weight_gradients: Gradients) -> NDArray[np.float64]:
        """Derivatives of a loss with respect to all coefficients, shape (S, K), from those to the merged weights.

        Masks, elected signs and thresholds are held fixed, which is exact almost everywhere.

        Args:
            recipe: Where to differentiate.
            weight_gradients: The loss's derivative with respect to the merged weights: a line of shape ``(P,)``, or
                tensors by name in the layout's shapes (a tied parameter's under the name that is stored); names
                that are missing count as zero.

        Raises:
            ValueError: As ``build``, or if a gradient has the wrong shape or the operator has no derivative.
            PoolError: As ``build``.
        """
        job = make_job(recipe, self.pool, self._sources)
        return self._store.retry(lambda: self._gradient(job, weight_gradients))

    def _gradient(self, job: Job, weight_gradients: Gradients) -> NDArray[np.float64]:
        result = np.zeros((job.recipe.n_segments, len(job.models)))
        for entry, pieces, tensors in self._visit(job, gradient_entries(self.layout, weight_gradients)):
            facts = self._planner.facts(job, entry, tensors)
            gradient = gradient_of(weight_gradients, entry)
            for piece in pieces:
                operator, at = job.operators[piece.segment], job.coefficients[piece.segment]
                result[piece.segment] += segment_gradient(operator, at, facts, gradient, piece.start, piece.stop)
        return result

    def _merged(self, job: Job, entry: TensorEntry, pieces: Sequence[Piece], tensors: Tensors) -> torch.Tensor:
        """One merged tensor on the CPU."""
        out = torch.empty(entry.size, dtype=self.dtype, device=self.device)
        self._backend.submit(list(self._planner.work(job, entry, pieces, tensors, out)))
        self._backend.wait()
        return out.view(entry.shape).cpu()

    def _visit(self, job: Job, entries: Iterable[TensorEntry]) -> Iterator[tuple[TensorEntry, list[Piece], Tensors]]:
        pieces = stale_pieces(self.layout, job.recipe.boundaries)
        for entry, tensors in self._store.tensors(job.names, entries):
            yield entry, pieces[entry.name], tensors

    def _prepare_and_merge(
        self, targets: Sequence[tuple[Job, torch.Tensor]], stale: Sequence[NDArray[np.int64]]
    ) -> None:
        if not self._is_resident:
            self._planner.forget()  # memory may have run out: nothing holds what was resident
        self._tables.keep_large(min(LARGE_KEPT, self.memory_plan.tables))
        for job, _ in targets:
            self._prepare(job)
        try:
            self._merge(targets, stale)
        except BaseException:
            self._backend.drop()  # what it has begun would write over the next candidate
            raise

    def _merge(self, targets: Sequence[tuple[Job, torch.Tensor]], stale: Sequence[NDArray[np.int64]]) -> None:
        """Write the stale intervals of several candidates, tensor by tensor."""
        names = list(dict.fromkeys(name for job, _ in targets for name in job.names))
        lines = self._store.lines(names) if targets else None
        if lines is not None and all(job.uniform for job, _ in targets):
            spans = [self._planner.spans(job, lines, out, s) for (job, out), s in zip(targets, stale, strict=True)]
            self._backend.submit(list(chain.from_iterable(spans)))
        else:
            cut = [self._planner.pieces(job, s) for (job, _), s in zip(targets, stale, strict=True)]
            wanted = [entry for entry in self.layout.tensors if any(entry.name in pieces for pieces in cut)]
            for entry, tensors in self._store.tensors(names, wanted):
                self._submit(targets, [pieces.get(entry.name, []) for pieces in cut], entry, tensors)
        self._backend.wait()
        self._tables.save()

    def _submit(
        self,
        targets: Sequence[tuple[Job, torch.Tensor]],
        pieces: Sequence[Sequence[Piece]],
        entry: TensorEntry,
        tensors: Tensors,
    ) -> None:
        """One tensor of several candidates; a method of its own, so that nothing holds the tensor afterwards."""
        lasting = self._is_resident
        work: list[Work] = []
        for (job, out), found in zip(targets, pieces, strict=True):
            work += self._planner.work(job, entry, found, tensors, out, lasting=lasting)
        self._backend.submit(work)
        if not lasting:
            self._backend.wait()  # the next tensor may take this one's place

    def _prepare(self, job: Job) -> None:
        """Make the side tables that planning asks for, with all threads, before the first build that needs them."""
        given = {f.name for o in set(job.operators) for f in fields(o) if getattr(o, f.name) != f.default}
        key = (job.recipe.operator, job.models, job.base, frozenset(given))
        if key in self._planned or job.uniform:
            return
        pieces = stale_pieces(self.layout, job.recipe.boundaries)

        def plan(found: tuple[TensorEntry, Tensors]) -> None:
            entry, tensors = found
            facts = self._planner.facts(job, entry, tensors)
            for segment in dict.fromkeys(piece.segment for piece in pieces[entry.name]):
                job.operators[segment].plan(job.coefficients[segment], facts)

        visits = self._store.tensors(job.names, [e for e in self.layout.tensors if e.name in pieces])
        with one_thread_each() as workers, ThreadPoolExecutor(workers, thread_name_prefix="tables") as threads:
            futures = []
            for visit in visits:
                if self._is_resident and self.device == "cpu":
                    futures.append(threads.submit(plan, visit))
                else:
                    plan(visit)  # the next tensor may take this one's place
            for future in futures:
                future.result()
        self._planned.add(key)
        self._tables.save()

    @cached_property
    def _live(self) -> LiveModel:
        return self._store.retry(self._new_live)  # memory is planned before the model takes its part of it

    @cached_property
    def _many(self) -> list[LiveModel]:
        return []

    def _new_live(self) -> LiveModel:
        from searcher.merge.binding import bind_module

        module, tokenizer = self.pool.load_module()
        weights = torch.zeros(self.layout.n_parameters, dtype=self.dtype, device=self.device)
        bind_module(module, self.layout, weights)
        return LiveModel(module, weights, tokenizer, None, partial(self._save, weights))

    def _save(self, weights: torch.Tensor, folder: Path) -> Path:
        """Write a live model's present weights as a model folder."""
        from searcher.pool.writer import write_model_folder

        tensors = ((e.name, weights[e.offset : e.stop].view(e.shape).cpu()) for e in self.layout.tensors)
        like = next(source for source in all_sources(self.pool) if not source.is_delta)
        dtype = next(name for name, known in DTYPES.items() if known == self.dtype)
        write_model_folder(folder, tensors, like=like, layout=self.layout, dtype=dtype)
        return folder


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Let torch use one thread per caller, and say how many callers there should be; sorting shares threads badly."""
    n = max(1, torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        yield n
    finally:
        torch.set_num_threads(n)
