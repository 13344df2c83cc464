"""The merge engine: a recipe becomes weights, in the live model or as a stream of tensors.

All paths run the same plans with the same arithmetic on the same stored numbers (see ``plan.py``). Their results
are therefore equal bit for bit on one device: single or many, whole or only what changed, resident or streamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.errors import ConfigError
from searcher.merge.backend import Work, make_backend
from searcher.merge.changes import Changes
from searcher.merge.facts import TensorFacts
from searcher.merge.gradient import segment_gradient
from searcher.merge.job import Job, make_job
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.live_model import LiveModel
from searcher.merge.memory import PlannedStore, choose_store
from searcher.merge.memory_plan import MemoryPlan
from searcher.merge.merge_tensor import scaled_plan, whole
from searcher.merge.pieces import Piece, pieces_by_tensor
from searcher.merge.plan import TensorPlan, WholeTensor
from searcher.merge.pool_tables import LARGE_KEPT, PoolTables
from searcher.merge.stores import FileStore, Tensors, all_sources

if TYPE_CHECKING:
    from searcher.pool.layout import Layout, TensorEntry
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source
    from searcher.recipe import Recipe

BUFFERS_KEPT = 1 << 14
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
        self.device = _device(device)
        self.dtype: torch.dtype = _dtype(pool.dtype, dtype)
        self.pool = pool
        self._sources: dict[str, Source] = {source.name: source for source in all_sources(pool)}
        self._memory = memory
        self._backend = make_backend(kernels, self.device, self.layout.n_parameters)
        shapes = {entry.name: entry.shape for entry in self.layout.tensors if entry.size}
        self._tables = PoolTables(self._sources, self.dtype, shapes)
        self._planned: set[tuple[object, ...]] = set()  # what side tables have been made for
        self._n_blocks = pool.layout.n_blocks
        self._last: Job | None = None  # what is in the live model's buffer
        self._changes = Changes()
        self._known_buffers: dict[tuple[object, ...], Buffers] = {}

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

    @torch.no_grad()
    def build(self, recipe: Recipe) -> LiveModel:
        """Write a merge into the live model, which is the same object every time.

        Segments that are as in the recipe built before are left as they are.

        Raises:
            ValueError: If the recipe does not fit the pool's layout or the operator.
            PoolError: If the pool lacks a model of the recipe, or the files a parameter of the module.
            CandidateError: If the operator is undefined for the coefficients.
        """
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
            self._many.append(self._new_live())
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
        job = make_job(recipe, self.pool, self._sources)
        files = FileStore(self.pool, torch.device(self.device), self.dtype)
        self._tables.keep_large(0)  # until the next build: one tensor of each source is all that may be held
        pieces = dict(_by_name(self.layout, job))
        for entry, tensors in files.tensors(job.names, self.layout.tensors):
            yield entry.name, self._merged(job, entry, pieces[entry.name], tensors)
        self._tables.save()

    def coefficient_gradient(
        self, recipe: Recipe, weight_gradients: torch.Tensor | Mapping[str, torch.Tensor]
    ) -> NDArray[np.float64]:
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
        result = np.zeros((recipe.n_segments, len(job.models)))
        for entry, pieces, tensors in self._visit(job, _gradient_entries(self.layout, weight_gradients)):
            facts = self._facts(job, entry, tensors)
            gradient = _gradient_of(weight_gradients, entry)
            for piece in pieces:
                operator, at = job.operators[piece.segment], job.coefficients[piece.segment]
                result[piece.segment] += segment_gradient(operator, at, facts, gradient, piece.start, piece.stop)
        return result

    def _merged(self, job: Job, entry: TensorEntry, pieces: Sequence[Piece], tensors: Tensors) -> torch.Tensor:
        """One merged tensor on the CPU."""
        out = torch.empty(entry.size, dtype=self.dtype, device=self.device)
        self._backend.submit(self._work(job, entry, pieces, tensors, out, keep_buffers=False))
        self._backend.wait()
        return out.view(entry.shape).cpu()

    def _visit(self, job: Job, entries: Iterable[TensorEntry]) -> Iterator[tuple[TensorEntry, list[Piece], Tensors]]:
        pieces = dict(_by_name(self.layout, job))
        for entry, tensors in self._store.tensors(job.names, entries):
            yield entry, pieces[entry.name], tensors

    def _prepare_and_merge(
        self, targets: Sequence[tuple[Job, torch.Tensor]], stale: Sequence[NDArray[np.int64]]
    ) -> None:
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
            spans = [_spans(self, job, lines, out, s) for (job, out), s in zip(targets, stale, strict=True)]
            self._backend.submit(list(chain.from_iterable(spans)))
        else:
            cut = [dict(_by_name(self.layout, job, s)) for (job, _), s in zip(targets, stale, strict=True)]
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
        work: list[Work] = []
        for (job, out), found in zip(targets, pieces, strict=True):
            work += self._work(job, entry, found, tensors, out[entry.offset : entry.stop])
        self._backend.submit(work)
        if not self._is_resident:
            self._known_buffers.clear()  # memory may have run out: nothing holds what was resident
            self._backend.wait()  # the next tensor may take this one's place

    def _work(
        self,
        job: Job,
        entry: TensorEntry,
        pieces: Sequence[Piece],
        tensors: Tensors,
        out: torch.Tensor,
        *,
        keep_buffers: bool = True,
    ) -> list[Work]:
        """What the backend has to do for pieces of one tensor."""
        facts = self._facts(job, entry, tensors)
        found: list[Work] = []
        for piece in pieces:
            operator, coefficients = job.operators[piece.segment], job.coefficients[piece.segment]
            plan = scaled_plan(operator, operator.plan(coefficients, facts), facts)
            if isinstance(plan, WholeTensor):
                out[piece.start : piece.stop] = whole(plan, facts)[piece.start : piece.stop]
                continue
            make = self._buffers if keep_buffers and self._is_resident else _make_buffers
            found.append((plan, make(job, entry.name, tensors, plan, out), piece.start, piece.stop))
        return found

    def _buffers(self, job: Job, name: str, tensors: Tensors, plan: TensorPlan, out: torch.Tensor) -> Buffers:
        """Buffers of a plan; they are the same for every candidate while the sources stay where they are."""
        key = (name, job.base, job.models, plan.used, plan.n_rows, out.data_ptr())
        if key not in self._known_buffers:
            if len(self._known_buffers) > BUFFERS_KEPT:
                self._known_buffers.clear()
            self._known_buffers[key] = _make_buffers(job, name, tensors, plan, out)
        return self._known_buffers[key]

    def _facts(self, job: Job, entry: TensorEntry, tensors: Tensors) -> TensorFacts:
        read = partial(_read, tensors, job)
        return TensorFacts(
            entry.name, entry.shape, job.models, job.is_delta, job.base is not None, read,
            self._tables.of(job.base), entry.block, self._n_blocks,
        )  # fmt: skip

    def _prepare(self, job: Job) -> None:
        """Make the side tables that planning asks for, with all threads, before the first build that needs them."""
        key = (job.recipe.operator, job.models, job.base, tuple(sorted(job.recipe.settings)))
        if key in self._planned or job.uniform:
            return
        pieces = dict(_by_name(self.layout, job))

        def plan(found: tuple[TensorEntry, Tensors]) -> None:
            entry, tensors = found
            facts = self._facts(job, entry, tensors)
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
        return self._new_live()

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


def _read(tensors: Tensors, job: Job, k: int) -> torch.Tensor:
    """Stored values of model ``k``, or of the base for -1."""
    name = job.base if k < 0 else job.models[k]
    assert name is not None  # operators that read the base need one
    return tensors[name]


def _by_name(layout: Layout, job: Job, stale: NDArray[np.int64] | None = None) -> Iterator[tuple[str, list[Piece]]]:
    """Tensor name to its pieces, of the stale intervals only; tensors without any are left out."""
    for entry, pieces in pieces_by_tensor(layout, job.recipe.boundaries):
        kept = pieces if stale is None else [p for piece in pieces for p in _inside(piece, entry, stale)]
        if kept or stale is None:
            yield entry.name, kept


def _inside(piece: Piece, entry: TensorEntry, stale: NDArray[np.int64]) -> Iterator[Piece]:
    """The parts of a piece that lie in intervals of shape (n, 2)."""
    start, stop = entry.offset + piece.start, entry.offset + piece.stop
    first = int(np.searchsorted(stale[:, 1], start, side="right"))
    for low, high in stale[first:].tolist():
        if low >= stop:
            return
        yield Piece(piece.segment, max(low, start) - entry.offset, min(high, stop) - entry.offset)


def _spans(
    engine: MergeEngine, job: Job, lines: Tensors, out: torch.Tensor, stale: NDArray[np.int64]
) -> Iterator[Work]:
    """Work of a job whose plans depend on no tensor: whole segments at once."""
    borders = job.recipe.boundaries.tolist()
    facts = engine._facts(job, engine.layout.tensors[0], {})
    for segment, (start, stop) in enumerate(pairwise(borders)):
        for low, high in stale.tolist():
            if max(low, start) < min(high, stop):
                plan = job.operators[segment].plan(job.coefficients[segment], facts)
                assert not isinstance(plan, WholeTensor)  # it would depend on the tensor
                yield plan, _make_buffers(job, "", lines, plan, out), max(low, start), min(high, stop)


def _make_buffers(job: Job, name: str, tensors: Tensors, plan: TensorPlan, out: torch.Tensor) -> Buffers:
    used, rows = plan.used, plan.n_rows
    names = tuple(job.models[k] for k in used)
    return Buffers(
        name, out, None if job.base is None else tensors[job.base], tuple(tensors[n] for n in names),
        tuple(job.is_delta[k] for k in used), names, max(1, out.numel() // rows),
    )  # fmt: skip


def _gradient_entries(layout: Layout, gradients: torch.Tensor | Mapping[str, torch.Tensor]) -> list[TensorEntry]:
    """Tensors with a gradient."""
    if isinstance(gradients, torch.Tensor):
        if gradients.shape != (layout.n_parameters,):
            raise ValueError(
                f"Expected gradients of shape (P,) = ({layout.n_parameters},), but got {tuple(gradients.shape)}."
            )
        return list(layout.tensors)
    known = {entry.name: entry for entry in layout.tensors}
    for name, gradient in gradients.items():
        if name not in known or tuple(gradient.shape) != known[name].shape:
            wanted = f"shape {known[name].shape}" if name in known else "a name of the layout"
            raise ValueError(f"Expected {wanted} for gradient {name!r}, but got shape {tuple(gradient.shape)}.")
    return [entry for entry in layout.tensors if entry.name in gradients]


def _gradient_of(gradients: torch.Tensor | Mapping[str, torch.Tensor], entry: TensorEntry) -> torch.Tensor:
    if isinstance(gradients, torch.Tensor):
        return gradients[entry.offset : entry.stop]
    return gradients[entry.name].reshape(-1)


def is_finite(weights: torch.Tensor) -> bool:
    """Whether no weight is NaN or infinite; one pass without a copy.

    Args:
        weights: Any shape, at least one element.
    """
    low, high = torch.aminmax(weights)  # NaN propagates to both
    return bool(low.isfinite() and high.isfinite())


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise ConfigError(
            f"Device {name!r} cannot be used: {str(error).splitlines()[0]}",
            where="pool.device",
            fix="Use auto, cpu, or a CUDA device that torch sees.",
        ) from error
    return name


def _dtype(widest: str, name: str | None) -> torch.dtype:
    wanted = name or ("float32" if widest == "float64" else widest)
    if wanted not in DTYPES:
        raise ConfigError(
            f"Storage type {wanted!r} is not supported.", where="pool.dtype", fix=f"Use one of: {', '.join(DTYPES)}."
        )
    return DTYPES[wanted]
