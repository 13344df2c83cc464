"""The merge engine: a recipe becomes weights, in the live model or as a stream of tensors.

Both paths run the same arithmetic on the same stored numbers: float32, product and sum rounded apart, one
rounding to the storage type at the end. Their results are therefore equal bit for bit, whatever the chunks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from searcher.errors import ConfigError, PoolError, nearest
from searcher.merge.arena import Arena, all_sources
from searcher.merge.binding import bind_module
from searcher.merge.live_model import LiveModel
from searcher.merge.operators.base import OPERATORS, Operator, Sources, make_operator
from searcher.merge.pieces import Piece, pieces_by_tensor

if TYPE_CHECKING:
    from searcher.pool.layout import Layout, TensorEntry
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source
    from searcher.recipe import Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHUNK_ON_CPU = 1 << 15  # elements; float32 copies of a few sources stay in the cache, and torch starts no threads
CHUNK_ON_GPU = 1 << 24
PREPARED_KEPT = 1 << 16  # scalars of so many (operator, tensor) pairs are remembered


class MergeEngine:
    """Builds merges of one pool.

    Sources are loaded on the first ``build`` and stay on the device; ``stream`` reads them from their files.

    Args:
        pool: The source models.
        device: ``auto`` (cuda if present, else cpu) or a torch device.
        dtype: Storage type: ``float32``, ``bfloat16`` or ``float16``; None takes the pool's widest (float64
            becomes float32). Arithmetic is float32 in any case.
        chunk: Elements merged at once; None chooses by device. The result does not depend on it.

    Raises:
        ConfigError: If the device does not exist here or the type is unknown.
    """

    def __init__(self, pool: Pool, *, device: str = "auto", dtype: str | None = None, chunk: int | None = None) -> None:
        self.layout: Layout = pool.layout
        self.device = _device(device)
        self.dtype: torch.dtype = _dtype(pool.dtype, dtype)
        self.pool = pool
        self._by_name: dict[str, Source] = {source.name: source for source in all_sources(pool)}
        self._chunk = chunk or (CHUNK_ON_CPU if self.device == "cpu" else CHUNK_ON_GPU)
        self._arena = Arena(pool, torch.device(self.device), self.dtype)
        self._prepared: OrderedDict[Hashable, Any] = OrderedDict()

    @torch.no_grad()
    def build(self, recipe: Recipe) -> LiveModel:
        """Write a merge into the live model, which is the same object every time.

        Raises:
            ValueError: If the recipe does not fit the pool's layout or the operator.
            PoolError: If the pool lacks a model of the recipe, or the files a parameter of the module.
            CandidateError: If the operator is undefined for the coefficients.
        """
        job = self._job(recipe)
        live = self._live
        live.recipe = None  # until the buffer is whole again
        for entry, pieces in pieces_by_tensor(self.layout, recipe.boundaries):
            stretch = slice(entry.offset, entry.stop)
            self._merge(job, entry, pieces, self._arena.view, live.weights[stretch])
        live.recipe = recipe
        return live

    @torch.no_grad()
    def stream(self, recipe: Recipe) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors of a merge in layout order, on the CPU, in the storage type; tied aliases not repeated.

        Memory holds one tensor of each source at a time and the result.

        Raises:
            ValueError: As ``build``.
            PoolError: As ``build``.
            CandidateError: As ``build``.
        """
        job = self._job(recipe)
        for entry, pieces in pieces_by_tensor(self.layout, recipe.boundaries):
            out = torch.empty(entry.size, dtype=self.dtype, device=self.device)
            self._merge(job, entry, pieces, self._arena.read, out)
            yield entry.name, out.view(entry.shape).cpu()

    def _merge(
        self,
        job: _Job,
        entry: TensorEntry,
        pieces: list[Piece],
        read: Callable[[str, TensorEntry], torch.Tensor],
        out: torch.Tensor,
    ) -> None:
        """Merge one tensor into ``out``, shape ``(size,)``."""
        if not pieces:
            return
        stored = tuple(read(name, entry) for name in job.models)
        whole = _Tensor(entry, None if job.base is None else read(job.base, entry), stored, job.is_delta)
        for piece in pieces:
            operator, coefficients = job.operators[piece.segment], job.coefficients[piece.segment]
            prepared = self._prepare(job, operator, coefficients, whole)
            for start in range(piece.start, piece.stop, self._chunk):
                stop = min(start + self._chunk, piece.stop)
                out[start:stop] = operator.merge(coefficients, whole.sources(start, stop), prepared)

    def _prepare(self, job: _Job, operator: Operator, coefficients: tuple[float, ...], whole: _Tensor) -> Any:  # noqa: ANN401
        """The operator's scalars for one tensor, computed once."""
        if type(operator).prepare is Operator.prepare:
            return None
        key = (operator, operator.prepare_key(coefficients), job.models, job.base, whole.entry.offset)
        if key not in self._prepared:
            self._prepared[key] = operator.prepare(coefficients, whole.sources(0, whole.entry.size))
            if len(self._prepared) > PREPARED_KEPT:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return self._prepared[key]

    @cached_property
    def _live(self) -> LiveModel:
        module, tokenizer = self.pool.load_module()
        weights = torch.zeros(self.layout.n_parameters, dtype=self.dtype, device=self.device)
        bind_module(module, self.layout, weights)
        return LiveModel(module, weights, tokenizer, None, self._save)

    def _save(self, folder: Path) -> Path:
        """Write the live model's present weights as a model folder."""
        from searcher.pool.writer import write_model_folder

        weights = self._live.weights
        tensors = ((e.name, weights[e.offset : e.stop].view(e.shape).cpu()) for e in self.layout.tensors)
        like = next(source for source in all_sources(self.pool) if not source.is_delta)
        dtype = next(name for name, known in DTYPES.items() if known == self.dtype)
        write_model_folder(folder, tensors, like=like, layout=self.layout, dtype=dtype)
        return folder

    def _job(self, recipe: Recipe) -> _Job:
        """The recipe checked against the pool, with one operator per segment."""
        self._check_names(recipe)
        self._check_shape(recipe)
        is_delta = tuple(self._by_name[name].is_delta for name in recipe.models)
        base = recipe.base
        if any(is_delta):  # adapters are relative to the pool's base, even where the operator needs none
            pool_base = None if self.pool.base is None else self.pool.base.name
            if base not in (None, pool_base):
                raise ValueError(f"Expected base {pool_base!r}, which the adapters belong to, but got {base!r}.")
            base = pool_base
        operators = [make_operator(recipe.operator, recipe.settings_at(s)) for s in range(recipe.n_segments)]
        coefficients = [tuple(row) for row in recipe.coefficients.tolist()]
        return _Job(base, recipe.models, is_delta, operators, coefficients)

    def _check_names(self, recipe: Recipe) -> None:
        for name in (*recipe.models, *([] if recipe.base is None else [recipe.base])):
            if name not in self._by_name:
                hint = nearest(name, self._by_name)
                raise PoolError(
                    f"The recipe names {name!r}, which is not in the pool."
                    + (f" Did you mean {hint!r}?" if hint else ""),
                    where=f"recipe of {recipe.operator}",
                    fix=f"Use the pool's models: {', '.join(sorted(self._by_name))}.",
                )
        if recipe.base is not None and self._by_name[recipe.base].is_delta:
            raise ValueError(f"Expected a full model as base, but {recipe.base!r} is an adapter.")

    def _check_shape(self, recipe: Recipe) -> None:
        operator, n, p = OPERATORS.get(recipe.operator), len(recipe.models), self.layout.n_parameters
        low, high = operator.n_models
        if recipe.layers is not None:
            raise ValueError("Expected a recipe that keeps the order of layers, but it has a layer sequence.")
        if recipe.n_parameters != p:
            raise ValueError(
                f"Expected boundaries up to P = {p}, the pool's parameters, but got {recipe.n_parameters}."
            )
        if n < low or (high is not None and n > high):
            limit = f"at least {low}" if high is None else f"{low} to {high}"
            raise ValueError(f"Expected {limit} models for operator {recipe.operator!r}, but got {n}.")
        if recipe.base is None and (operator.needs_base or (operator.interpolates and n == 1)):
            raise ValueError(f"Expected a base for operator {recipe.operator!r} with {n} models, but got none.")


@dataclass(frozen=True, eq=False)
class _Job:
    """A checked recipe."""

    base: str | None
    models: tuple[str, ...]
    is_delta: tuple[bool, ...]
    operators: list[Operator]
    coefficients: list[tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class _Tensor:
    """One tensor of all sources, in storage types, each of shape ``(size,)``."""

    entry: TensorEntry
    base: torch.Tensor | None
    stored: tuple[torch.Tensor, ...]
    is_delta: tuple[bool, ...]

    def sources(self, start: int, stop: int) -> Sources:
        """A stretch in float32."""
        return Sources(
            None if self.base is None else self.base[start:stop].float(),
            tuple(stored[start:stop].float() for stored in self.stored),
            self.is_delta,
            start,
            self.entry.name,
            self.entry.shape,
        )


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
