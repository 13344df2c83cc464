"""Keeping one objective's side effects from the next: working directory, training mode, the weights themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searcher.errors import ConfigError
from searcher.merge.live_model import LiveModel

if TYPE_CHECKING:
    import torch


@contextmanager
def isolated(model: LiveModel, objective: str) -> Iterator[None]:
    """Run an objective: the model is in evaluation mode before it, the working directory is restored after it.

    Raises:
        ConfigError: If the objective changed the model: every later score would be of other weights. (A change
            through ``.data`` leaves no trace and is not noticed.)
    """
    directory = Path.cwd()
    model.module.eval()  # submodules too: one may have been left in training mode
    before = _fingerprint(model)
    buffers = [b.clone() for b in model.module.buffers()]  # training mode rewrites statistics without a trace
    try:
        yield
    except Exception as error:
        _check(model, objective, before, buffers, error)
        raise
    finally:
        with suppress(OSError):  # the directory itself may be gone
            os.chdir(directory)
    _check(model, objective, before, buffers, None)


def _check(
    model: LiveModel, objective: str, before: list[Any], buffers: list[torch.Tensor], cause: Exception | None
) -> None:
    now = list(model.module.buffers())
    same = len(now) == len(buffers) and all(bool((a == b).all()) for a, b in zip(now, buffers, strict=True))
    if _fingerprint(model) != before or not same:
        raise ConfigError(
            f"Objective {objective!r} changed the live model's weights.",
            where=f"objective {objective!r}",
            fix="Let it work on a copy (copy.deepcopy(model.module)); the model belongs to the engine.",
        ) from cause


def _fingerprint(model: LiveModel) -> list[Any]:
    """Changes with every in-place operation, cast or replacement of a parameter."""
    parameters = [(p._version, p.data_ptr(), p.dtype) for p in model.module.parameters()]
    return [model.weights._version, model.weights.data_ptr(), *parameters]
