"""The ``python:`` loader: a function of the user that returns a torch module for a model folder."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from typing_extensions import override

from searcher.errors import PoolError
from searcher.pool.loader import Loader, Skeleton, finished, skeleton_of
from searcher.pool.source import FullSource


class PythonLoader(Loader):
    """Calls a function with the model's folder; the weights it loads are replaced by the pool's.

    Args:
        reference: ``python:module:function`` or ``python:path/to/file.py:function``.
        root: Folder that a relative file path starts from.
    """

    def __init__(self, reference: str, root: Path) -> None:
        self._reference = reference
        self._function = _find_function(reference, root)

    @override
    def skeleton(self, source: FullSource) -> Skeleton:
        return skeleton_of(self._call(source))

    @override
    def load(self, source: FullSource, dtype: str) -> torch.nn.Module:
        module = self._call(source).to(device="cpu", dtype=getattr(torch, dtype))
        state: dict[str, Any] = module.state_dict()
        for name in sorted(source.stored.keys() & state.keys()):
            with torch.no_grad():
                state[name].copy_(source.read_stored(name))
        return finished(module)

    @override
    def full_config(self, source: FullSource) -> None:
        return None  # the function builds what it builds

    @override
    def tokenizer(self, source: FullSource) -> None:
        return None

    def _call(self, source: FullSource) -> torch.nn.Module:
        """What the function returns for the source's folder."""
        try:
            module = self._function(source.path)
        except Exception as error:  # the user's code may raise anything
            raise PoolError(
                f"The loader function failed with {type(error).__name__}: {str(error)[:300]}.",
                where=f"{self._reference} on {source.path}",
                fix="Call the function by hand with this folder and correct it.",
            ) from error
        if not isinstance(module, torch.nn.Module):
            raise PoolError(
                f"The loader function returned {type(module).__name__}, not a torch.nn.Module.",
                where=f"{self._reference} on {source.path}",
                fix="Return the module, with its weights loaded.",
            )
        return module


def _find_function(reference: str, root: Path) -> Callable[[Path], object]:
    """The function that a reference names."""
    place, _, name = reference.removeprefix("python:").rpartition(":")
    if not place or not name:
        raise _refused(reference, "It is not of the form python:module:function.")
    try:
        module = _import_file((root / place).resolve()) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # the user's code may raise anything
        raise _refused(reference, f"Importing {place} failed with {type(error).__name__}: {error}.") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise _refused(reference, f"{place} has no function {name!r}.")
    return function  # type: ignore[no-any-return]


def _import_file(path: Path) -> ModuleType:
    """Import a file once, under a name of its own, so that it hides no installed module."""
    name = f"searcher_loader_{path.stem}_{zlib.crc32(bytes(path)):08x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _refused(reference: str, what: str) -> PoolError:
    return PoolError(what, where=f"pool.loader {reference}", fix="Check module, path and function name.")
