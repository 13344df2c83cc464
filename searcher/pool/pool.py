"""The source models of a run: opened, compared and laid on one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from searcher.errors import PoolError
from searcher.pool.checks import (
    Finding,
    PoolMismatch,
    against_reference,
    against_skeleton,
    compare_configs,
    compare_dtypes,
    non_finite_findings,
    widest_dtype,
)
from searcher.pool.files import ModelFiles, find_files
from searcher.pool.layout import Layout, build_layout
from searcher.pool.loader import Loader, Skeleton, make_loader
from searcher.pool.lora import LoraSource
from searcher.pool.model_path import ModelPath, locate
from searcher.pool.source import FullSource, Source
from searcher.pool.tied import own_ties
from searcher.pool.tokenizer_check import compare_tokenizers


@dataclass(frozen=True)
class Pool:
    """Models that fit together.

    Args:
        base: The model the others were fine-tuned from, or None.
        models: The models to merge.
        layout: Where every parameter lies on the line.
        dtype: The narrowest type that holds all full models' values, such as ``float32``.
        warnings: Differences that do not prevent a merge.
        loader: Builds the torch module.
    """

    base: Source | None
    models: tuple[Source, ...]
    layout: Layout
    dtype: str
    warnings: tuple[str, ...] = ()
    loader: Loader | None = field(default=None, repr=False, compare=False)

    def source(self, name: str) -> Source:
        """The base or model called ``name``.

        Raises:
            PoolError: If there is none.
        """
        for source in self._sources:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in self._sources)
        raise PoolError(f"There is no model {name!r} in the pool.", where="pool", fix=f"Use one of: {known}.")

    @property
    def reference(self) -> FullSource:
        """The full model whose architecture and side files stand for all: the base, or else the first model."""
        reference = self.base or self.models[0]
        assert isinstance(reference, FullSource)  # open_pool refuses adapters in this place
        return reference

    def load_module(self) -> tuple[torch.nn.Module, Any]:
        """The reference as a torch module, on the CPU, in evaluation mode, and its tokenizer or None.

        Raises:
            PoolError: If it cannot be loaded exactly.
        """
        if self.loader is None:
            raise PoolError("The pool was made without a loader.", where="pool.loader", fix="Use open_pool.")
        reference = self.reference
        return self.loader.load(reference, self.dtype), self.loader.tokenizer(reference)

    @property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of every file that is read, by ``model/file``."""
        return {f"{source.name}/{file}": digest for source in self._sources for file, digest in source.files.items()}

    @property
    def origins(self) -> Mapping[str, str]:
        """Where every model is from: a path, or ``organisation/name@commit`` on the hub."""
        return {source.name: source.origin for source in self._sources}

    @property
    def unchanged(self) -> frozenset[str]:
        """Tensors that no model changes: those that adapters leave alone, if all models are adapters."""
        adapters = [source for source in self.models if isinstance(source, LoraSource)]
        if len(adapters) < len(self.models):
            return frozenset()
        changed = {target for source in adapters for target in source.targets}
        return frozenset(entry.name for entry in self.layout.tensors) - changed

    @property
    def _sources(self) -> tuple[Source, ...]:
        return self.models if self.base is None else (self.base, *self.models)


def open_pool(
    *,
    base: str | Mapping[str, str] | None,
    models: Sequence[str | Mapping[str, str]],
    loader: str = "transformers",
    trust_remote_code: bool = False,
    root: Path,
) -> Pool:
    """Open and check the models of a config.

    Every weight is read once to look for NaN and infinity; nothing is kept in memory.

    Args:
        base: Folder, .safetensors file or hub id, or ``{"path": ..., "name": ...}``; None if there is no base.
        models: The same, at least one; also adapter folders if there is a base.
        loader: ``transformers``, ``python:module:function`` or ``python:path/to/file.py:function``.
        trust_remote_code: Whether Python code that lies in model folders may run.
        root: Folder that relative paths start from.

    Raises:
        PoolError: If a model cannot be read.
        PoolMismatch: If the models do not fit together.
    """
    if not models:
        raise PoolError("The pool has no models.", where="pool.models", fix="List at least one model.")
    located = locate([base] if base is not None else [], models, root)
    files = [find_files(place.path) for place in located]
    builder = make_loader(loader, trust_remote_code=trust_remote_code, root=root)
    reference = _full_reference(located[0], files[0], has_base=base is not None)
    skeleton = builder.skeleton(reference)
    _raise_if_any(against_skeleton(reference, skeleton), "the architecture")
    tied = own_ties(reference.stored.keys(), skeleton.tied)
    reference.tie(tied)
    shapes = {name: s for name, s in reference.shapes.items() if name not in tied and name not in skeleton.ignored}
    sources: list[Source] = [reference]
    for place, found in zip(located[1:], files[1:], strict=True):
        sources.append(_open(place, found, reference, skeleton, tied, has_base=base is not None))
    warnings = _compare(reference, sources[1:], shapes, tied, skeleton)
    layout = build_layout(shapes, tied)
    full = [source for source in sources if isinstance(source, FullSource)]
    first, rest = (sources[0], sources[1:]) if base is not None else (None, sources)
    return Pool(first, tuple(rest), layout, widest_dtype(full), tuple(warnings), builder)


def _full_reference(place: ModelPath, files: ModelFiles, *, has_base: bool) -> FullSource:
    """The base, or the first model of a pool without one."""
    if files.kind == "lora":
        what = "The base is an adapter." if has_base else f"{place.name} is an adapter, but the pool has no base."
        fix = "Set pool.base to the full model that the adapters were trained on."
        raise PoolError(what, where=f"model {place.name}, {place.path}", fix=fix)
    source = FullSource(place.name, files, place.origin)
    if not source.shapes:
        raise PoolError(
            "The model has no floating-point tensors.",
            where=f"model {place.name}, {place.path}",
            fix="Give full-precision weights (float16, bfloat16, float32 or float64), not quantized ones.",
        )
    return source


def _open(
    place: ModelPath,
    files: ModelFiles,
    reference: FullSource,
    skeleton: Skeleton,
    tied: Mapping[str, str],
    *,
    has_base: bool,
) -> Source:
    """A model beside the reference."""
    if files.kind == "full":
        return FullSource(place.name, files, place.origin)
    if not has_base:
        raise PoolError(
            f"{place.name} is an adapter, but the pool has no base.",
            where=f"model {place.name}, {place.path}",
            fix="Set pool.base to the full model that the adapter was trained on.",
        )
    return LoraSource(place.name, files, place.origin, reference, orientation=skeleton.orientation, tied=tied)


def _compare(
    reference: FullSource,
    others: Sequence[Source],
    shapes: Mapping[str, tuple[int, ...]],
    tied: Mapping[str, str],
    skeleton: Skeleton,
) -> list[str]:
    """Warnings about differences; ties the aliases of models that fit.

    Raises:
        PoolMismatch: If there are differences that prevent a merge.
    """
    findings: list[Finding] = []
    warnings: list[str] = []
    for source in others:
        if isinstance(source, LoraSource):
            warnings += _tied_adapter_warnings(source, tied)
        if not isinstance(source, FullSource):
            continue
        findings += against_reference(source, shapes, tied, skeleton.ignored)
        for compare in (compare_configs, compare_tokenizers):
            found, warned = compare(reference, source)
            findings += found
            warnings += warned
        source.tie(own_ties(source.stored.keys(), tied))
    _raise_if_any(findings, reference.name)
    _raise_if_any(non_finite_findings([reference, *others]), reference.name)
    full = [reference, *(source for source in others if isinstance(source, FullSource))]
    return warnings + compare_dtypes(full)


def _tied_adapter_warnings(source: LoraSource, tied: Mapping[str, str]) -> list[str]:
    """Merging an adapter of a tied embedding also changes the head, which it left alone in training."""
    return [
        f"{source.name}: the adapter changes {target}, which {', '.join(a for a, t in tied.items() if t == target)} shares"
        for target in source.targets
        if target in tied.values()
    ]


def _raise_if_any(findings: Sequence[Finding], reference: str) -> None:
    if findings:
        raise PoolMismatch(findings, reference=reference)
