"""The models that a configuration names: opened, not read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from searcher.errors import PoolError
from searcher.mergekit.model_reference import ModelReference
from searcher.pool.files import ModelFiles, find_files
from searcher.pool.layout import block_key
from searcher.pool.loader import Skeleton, make_loader
from searcher.pool.lora import LoraSource
from searcher.pool.model_path import ModelPath, locate
from searcher.pool.safetensors_file import StoredTensor
from searcher.pool.source import FullSource
from searcher.pool.tied import own_ties


class MergeModel:
    """One model, perhaps with an adapter on top; tensors are read when asked for.

    Args:
        reference: How the configuration names it.
        name: Unique name; random masks depend on it.
        where: Place in the configuration, for messages.
        root: Folder that relative paths start from.

    Raises:
        PoolError: If the model or the adapter is missing or malformed, or they do not belong together.
    """

    def __init__(self, reference: ModelReference, name: str, *, where: str, root: Path) -> None:
        self.reference, self.name, self.where, self._root = reference, name, where, root
        place, files = _find(reference.path, reference.revision, where=where, root=root)
        if files.kind == "lora":
            fix = "Write the model that it was trained on before it: MODEL+ADAPTER."
            raise PoolError(f"{reference.path!r} is an adapter.", where=where, fix=fix)
        self.source = FullSource(name, files, place.origin)
        self.stored: Mapping[str, StoredTensor] = self.source.stored
        self.config: Mapping[str, Any] = self.source.config
        self._lora = None if reference.lora is None else self._open_lora(reference.lora, reference.lora_revision)

    def read(self, tensor: str) -> torch.Tensor:
        """A tensor on the CPU as it is stored, not to be written to; float32 where an adapter changes it.

        Raises:
            KeyError: If the model has no such tensor.
            PoolError: If the file cannot be read any more.
        """
        stored = self.source.read_stored(tensor)
        if self._lora is None or tensor not in self._lora.targets:
            return stored
        return stored.float() + self._lora.read(tensor)

    @cached_property
    def ties(self) -> Mapping[str, str]:
        """Names that the architecture ties, to the stored name that has their values; empty if it is not known."""
        try:
            return own_ties(self.stored.keys(), self._skeleton.tied)
        except PoolError:  # no config.json, or an architecture that transformers does not know
            return {}

    @cached_property
    def layers(self) -> Mapping[str, Mapping[int, Mapping[str, str]]]:
        """Tensor names inside numbered layers: stack (what stands before the number), number, rest of the name."""
        found: dict[str, dict[int, dict[str, str]]] = {}
        for name in self.stored:
            key = block_key(name)
            if key is not None:
                stack, number = key
                rest = name.split(".", stack.count(".") + 2 if stack else 1)[-1]
                found.setdefault(stack, {}).setdefault(number, {})[rest] = name
        return found

    @property
    def vocabulary_size(self) -> int | None:
        """Number of embedding rows that config.json states, or None."""
        for part in (self.config, *(value for value in self.config.values() if isinstance(value, dict))):
            size = part.get("vocab_size")
            if type(size) is int:
                return size
        return None

    @cached_property
    def _skeleton(self) -> Skeleton:
        return make_loader("transformers", trust_remote_code=False, root=self._root).skeleton(self.source)

    def _open_lora(self, path: str, revision: str | None) -> LoraSource:
        """The adapter."""
        place, files = _find(path, revision, where=self.where, root=self._root)
        if files.kind != "lora":
            fix = "Write models as a list; only an adapter may follow a '+'."
            raise PoolError(f"{path!r} is no adapter.", where=self.where, fix=fix)
        skeleton = self._skeleton
        ties = own_ties(self.stored.keys(), skeleton.tied)
        return LoraSource(self.name, files, place.origin, self.source, orientation=skeleton.orientation, tied=ties)


def open_models(references: Mapping[ModelReference, str], root: Path) -> dict[ModelReference, MergeModel]:
    """Open every model of a configuration.

    Args:
        references: Model to its place in the configuration, for messages.
        root: Folder that relative paths start from.

    Raises:
        PoolError: If a model cannot be opened.
    """
    models: dict[ModelReference, MergeModel] = {}
    for reference, where in references.items():
        name = _unique(_name(reference), {model.name for model in models.values()})
        models[reference] = MergeModel(reference, name, where=where, root=root)
    return models


def _find(path: str, revision: str | None, *, where: str, root: Path) -> tuple[ModelPath, ModelFiles]:
    """Place and files of one model or adapter."""
    text = path if revision is None or _exists(path, root) else f"{path}@{revision}"
    try:
        place = locate([], [{"path": text, "name": "model"}], root)[0]
        return place, find_files(place.path)
    except PoolError as error:
        # There is no such key in this file.
        place_there = error.where.removeprefix("pool.models[0]").removeprefix(", ")
        raise PoolError(error.what, where=", ".join(filter(None, (where, place_there))), fix=error.fix) from error


def _exists(path: str, root: Path) -> bool:
    try:
        return (root / Path(path).expanduser()).exists()
    except (OSError, ValueError, RuntimeError):
        return False  # locate says why


def _name(reference: ModelReference) -> str:
    """Last part of the path, and of the adapter's."""
    parts = [reference.path, *([reference.lora] if reference.lora else [])]
    return "+".join(part.rstrip("/\\").replace("\\", "/").split("/")[-1] or "model" for part in parts)


def _unique(name: str, taken: set[str]) -> str:
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique
