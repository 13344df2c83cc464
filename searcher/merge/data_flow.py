"""Builds recipes with ``layers``: models of another depth, of the same sources.

Layers are copied tensor by tensor from where the engine keeps the sources (resident, host or files). The result lives in
one buffer of the largest depth built so far, beside the engine's ordinary live model; modules of the last ``KEPT`` depths
are views of it. Memory is therefore one model of that depth more than an ordinary search takes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from searcher.merge.binding import bind_module
from searcher.merge.job import Job, make_job
from searcher.merge.live_model import LiveModel
from searcher.merge.pieces import Piece, stale_pieces
from searcher.merge.placement import DTYPES
from searcher.merge.planner import Planner
from searcher.merge.stores import FileStore, all_sources
from searcher.pool.depth_source import DepthSource, OtherDepths
from searcher.recipe import Recipe

if TYPE_CHECKING:
    from searcher.merge.backend import Backend
    from searcher.merge.memory import PlannedStore
    from searcher.merge.pool_tables import PoolTables
    from searcher.merge.stores import Tensors
    from searcher.pool.depth import BuiltLine
    from searcher.pool.layout import TensorEntry
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source

KEPT = 4  # modules of different depth; each holds rotary tables and the like, the weights are shared


@dataclass(frozen=True, eq=False)
class BuiltModel:
    """What a sequence of layers makes of a pool.

    Args:
        line: The parameter line, and where its tensors are from.
        reference: The pool's reference at this depth.
    """

    line: BuiltLine
    reference: DepthSource


@dataclass(frozen=True, eq=False)
class _Part:
    """The part of a recipe that takes from the same sources: what to do, and the pieces of tensors it covers."""

    job: Job
    pieces: dict[str, list[Piece]]


class DataFlow:
    """Builds models of any depth from one pool.

    Args:
        pool: The sources.
        dtype: Storage type.
        device: Where merging happens.
        store: Where the sources are.
        backend: Executes plans.
        tables: The pool's side tables.

    Raises:
        PoolError: If the pool's models cannot have another depth.
    """

    def __init__(
        self,
        pool: Pool,
        dtype: torch.dtype,
        device: str,
        store: PlannedStore,
        backend: Backend,
        tables: PoolTables,
    ) -> None:
        self._pool, self._dtype, self._device = pool, dtype, device
        self._store, self._backend, self._tables = store, backend, tables
        self._sources: dict[str, Source] = {source.name: source for source in all_sources(pool)}
        self._depths = OtherDepths(pool)
        self._buffer = torch.empty(0, dtype=dtype, device=device)
        self._kept: OrderedDict[str, LiveModel] = OrderedDict()

    def model(self, recipe: Recipe) -> BuiltModel:
        """Parameter line and reference of a recipe's model.

        Raises:
            ValueError: If the recipe is no data-flow merge of this pool.
            PoolError: If the pool lacks a model of the recipe.
        """
        if recipe.layers is None:
            raise ValueError("Expected a recipe with layers.")
        line = self._depths.stack.at_depth([layer for _, layer in recipe.layers])
        model = BuiltModel(line, self._depths.source(recipe.layers))
        _check(recipe, model)
        return model

    def build(self, recipe: Recipe) -> LiveModel:
        """Write a recipe into the live model of its depth; those of other depths are void from then on.

        Raises:
            ValueError: As :meth:`model`.
            PoolError: As :meth:`model`, or if the module cannot be made.
        """
        model = self.model(recipe)
        parts = list(self._parts(recipe, model))
        live = self._live(model)
        for kept in self._kept.values():
            kept.recipe = None
        self._store.retry(lambda: self._write(model, parts, live.weights))
        live.recipe = recipe
        return live

    def stream(self, recipe: Recipe) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors of a merge in the order of its line, on the CPU, in the storage type.

        Raises:
            ValueError: As :meth:`model`.
            PoolError: As :meth:`model`.
        """
        model = self.model(recipe)
        parts = list(self._parts(recipe, model))
        files = FileStore(self._pool, torch.device(self._device), self._dtype)
        planner = Planner(model.line.layout, self._tables)
        for entry, origin in zip(model.line.layout.tensors, model.line.origins, strict=True):
            out = torch.empty(entry.size, dtype=self._dtype, device=self._device)
            for part in parts:
                if pieces := part.pieces.get(entry.name):
                    found = {name: files.read(name, origin).to(self._device) for name in part.job.names}
                    self._submit(planner, part.job, entry, pieces, found, out)
                    self._backend.wait()
            yield entry.name, out.view(entry.shape).cpu()

    def _parts(self, recipe: Recipe, model: BuiltModel) -> Iterator[_Part]:
        """The recipe by what its segments take from: a layer of one model reads no other."""
        view = replace(self._pool, layout=model.line.layout)
        rows = recipe.coefficients != 0.0
        rows[~rows.any(axis=1), 0] = True  # zeros of some model
        pieces = stale_pieces(model.line.layout, recipe.boundaries)
        for used in np.unique(rows, axis=0):
            segments = set(np.flatnonzero((rows == used).all(axis=1)).tolist())
            names = tuple(name for name, is_used in zip(recipe.models, used, strict=True) if is_used)
            own = Recipe(recipe.operator, names, None, recipe.boundaries, recipe.coefficients[:, used], recipe.settings)
            found = {name: [p for p in cut if p.segment in segments] for name, cut in pieces.items()}
            yield _Part(make_job(own, view, self._sources), {name: cut for name, cut in found.items() if cut})

    def _write(self, model: BuiltModel, parts: list[_Part], out: torch.Tensor) -> None:
        planner = Planner(model.line.layout, self._tables)
        pairs = list(zip(model.line.layout.tensors, model.line.origins, strict=True))
        try:
            for part in parts:
                wanted = [(entry, origin) for entry, origin in pairs if entry.name in part.pieces]
                found = self._store.tensors(part.job.names, [origin for _, origin in wanted])
                for (entry, _), (_, tensors) in zip(wanted, found, strict=True):
                    self._submit(planner, part.job, entry, part.pieces[entry.name], tensors, out)
                    if self._store.mode != "resident":
                        self._backend.wait()  # the next tensor may take this one's place
            self._backend.wait()
        except BaseException:
            self._backend.drop()  # what it has begun would write over the next candidate
            raise

    def _submit(
        self, planner: Planner, job: Job, entry: TensorEntry, pieces: list[Piece], tensors: Tensors, out: torch.Tensor
    ) -> None:
        self._backend.submit(list(planner.work(job, entry, pieces, tensors, out)))

    def _live(self, model: BuiltModel) -> LiveModel:
        """The live model of this depth, made unless it is kept."""
        key = json.dumps(model.reference.config, sort_keys=True)
        n = model.line.layout.n_parameters
        if n > self._buffer.numel():
            self._kept.clear()
            self._buffer = torch.empty(0, dtype=self._dtype, device=self._device)  # frees the old one first
            self._buffer = self._store.retry(partial(torch.zeros, n, dtype=self._dtype, device=self._device))
        if key not in self._kept:
            self._kept[key] = self._store.retry(lambda: self._new_live(model))
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _new_live(self, model: BuiltModel) -> LiveModel:
        assert self._pool.loader is not None  # OtherDepths refuses pools without one
        module = self._pool.loader.load(model.reference, self._pool.dtype)
        weights = self._buffer[: model.line.layout.n_parameters]
        bind_module(module, model.line.layout, weights)
        return LiveModel(module, weights, self._tokenizer, None, partial(_save, model, weights))

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - transformers has no common public type for tokenizers
        assert self._pool.loader is not None
        return self._pool.loader.tokenizer(self._pool.reference)


def _save(model: BuiltModel, weights: torch.Tensor, folder: Path) -> Path:
    """Write a live model's present weights as a model folder."""
    from searcher.pool.writer import write_model_folder

    layout = model.line.layout
    tensors = ((e.name, weights[e.offset : e.stop].view(e.shape).cpu()) for e in layout.tensors)
    dtype = next(name for name, known in DTYPES.items() if known == weights.dtype)
    write_model_folder(folder, tensors, like=model.reference, layout=layout, dtype=dtype)
    return folder


def check_copies(recipe: Recipe) -> None:
    """Refuse operators that do more than copy or average layers.

    Raises:
        ValueError: If the operator is not ``linear`` or the recipe has a base.
    """
    if recipe.operator != "linear" or recipe.base is not None:
        found = f"{recipe.operator!r} and {recipe.base!r}"
        raise ValueError(f"Expected operator 'linear' without a base for a layer sequence, but got {found}.")


def _check(recipe: Recipe, model: BuiltModel) -> None:
    check_copies(recipe)
    layout = model.line.layout
    if recipe.n_parameters != layout.n_parameters:
        raise ValueError(
            f"Expected boundaries up to P = {layout.n_parameters}, the parameters of {len(recipe.layers or ())} layers, "
            f"but got {recipe.n_parameters}."
        )
    used = _used_by_layer(recipe, model.line)
    for depth, (source, layer) in enumerate(recipe.layers or ()):
        if source not in used[depth]:
            raise ValueError(
                f"Expected weights of {source!r} at depth {depth}, where `layers` has its layer {layer}, "
                f"but all its coefficients are 0 there."
            )


def _used_by_layer(recipe: Recipe, line: BuiltLine) -> dict[int, set[str]]:
    """Names of the models that each depth takes from."""
    found: dict[int, set[str]] = {}
    for entry in line.layout.tensors:
        if entry.block is not None and entry.size:
            first = int(np.searchsorted(recipe.boundaries, entry.offset, side="right")) - 1
            last = int(np.searchsorted(recipe.boundaries, entry.stop, side="left"))
            used = np.flatnonzero((recipe.coefficients[first:last] != 0.0).any(axis=0))
            names = {recipe.models[k] for k in used}
            found.setdefault(entry.block, set()).update(names)
    return found
