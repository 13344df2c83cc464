"""Loaders: from a model folder to a torch module.

``transformers`` builds the class that config.json names and feeds it tensors that this package has checked;
transformers itself opens no weights file. ``python:module:function`` and ``python:path/to/file.py:function`` call
the user's function with the folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from searcher.errors import PoolError
from searcher.pool.source import FullSource


@dataclass(frozen=True)
class Skeleton:
    """What a module expects of a checkpoint.

    Args:
        shapes: Shape of every floating-point tensor of its state, by name, aliases included.
        tied: Alias name to the name of the tensor that it shares.
        orientation: Whether a weight is stored as ``(in, out)``, for the module types where this is known.
        ignored: Stored names that the architecture leaves unread.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]
    orientation: Mapping[str, bool]
    ignored: frozenset[str] = frozenset()


class Loader(ABC):
    """Builds the module of a full model."""

    @abstractmethod
    def skeleton(self, source: FullSource) -> Skeleton:
        """What the source's module expects of the weights.

        Raises:
            PoolError: If there is no such module.
        """

    @abstractmethod
    def load(self, source: FullSource, dtype: str) -> torch.nn.Module:
        """The source's module with its weights, on the CPU, in evaluation mode, without gradients.

        Args:
            source: A full model.
            dtype: Type of the parameters, such as ``float32``.

        Raises:
            PoolError: If module and weights do not fit.
        """

    @abstractmethod
    def full_config(self, source: FullSource) -> Mapping[str, Any] | None:
        """config.json with what it leaves to the architecture; None if the loader builds one depth only.

        Raises:
            PoolError: If config.json cannot be used.
        """

    @abstractmethod
    def tokenizer(self, source: FullSource) -> Any:  # noqa: ANN401
        """The source's tokenizer, or None if it has none.

        Raises:
            PoolError: If there are tokenizer files that cannot be loaded.
        """


def make_loader(loader: str, *, trust_remote_code: bool, root: Path) -> Loader:
    """The loader that a config names.

    Args:
        loader: ``transformers``, ``python:module:function`` or ``python:path/to/file.py:function``.
        trust_remote_code: Whether code that lies in model folders may run.
        root: Folder that relative file paths start from.

    Raises:
        PoolError: If there is no such loader.
    """
    if loader == "transformers":
        from searcher.pool.transformers_loader import TransformersLoader

        return TransformersLoader(trust_remote_code=trust_remote_code)
    if loader.startswith("python:"):
        from searcher.pool.python_loader import PythonLoader

        return PythonLoader(loader, root)
    raise PoolError(
        f"There is no loader {loader!r}.",
        where="pool.loader",
        fix="Use transformers, python:module:function or python:path/to/file.py:function.",
    )


def skeleton_of(module: torch.nn.Module, ignored: frozenset[str] = frozenset()) -> Skeleton:
    """Shapes, shared tensors and weight orientation of a module; it may be on the meta device."""
    shapes: dict[str, tuple[int, ...]] = {}
    tied: dict[str, str] = {}
    first_by_identity: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            continue
        shapes[name] = tuple(tensor.shape)
        first = first_by_identity.setdefault(id(tensor), name)
        if first != name:
            tied[name] = first
    return Skeleton(shapes, tied, dict(_orientation(module)), ignored)


def _orientation(module: torch.nn.Module) -> list[tuple[str, bool]]:
    """Tensor name and whether it is stored as (in, out), for linear and convolution layers."""
    straight = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    found: list[tuple[str, bool]] = []
    for name, child in module.named_modules():
        weight = f"{name}.weight" if name else "weight"
        if isinstance(child, straight):
            found.append((weight, False))
        elif type(child).__module__ == "transformers.pytorch_utils" and type(child).__name__ == "Conv1D":
            found.append((weight, True))
    return found


def finished(module: torch.nn.Module) -> torch.nn.Module:
    """The module in evaluation mode, without gradients."""
    return module.eval().requires_grad_(False)
