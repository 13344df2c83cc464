"""Keeping one objective's side effects from the next: working directory, training mode, the weights themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from searcher.errors import ConfigError
from searcher.merge.live_model import LiveModel


@contextmanager
def isolated(model: LiveModel, objective: str) -> Iterator[None]:
    """Run an objective: the model is in evaluation mode before it, the working directory is restored after it.

    Raises:
        ConfigError: If the objective changed the model: every later score would be of other weights. (A change
            through ``.data`` leaves no trace and is not noticed.)
    """
    directory = Path.cwd()
    if model.module.training:
        model.module.eval()
    before = _fingerprint(model)
    try:
        yield
    finally:
        with suppress(OSError):  # the directory itself may be gone
            os.chdir(directory)
    if _fingerprint(model) != before:
        raise ConfigError(
            f"Objective {objective!r} changed the live model's weights.",
            where=f"objective {objective!r}",
            fix="Let it work on a copy (copy.deepcopy(model.module)); the model belongs to the engine.",
        )


def _fingerprint(model: LiveModel) -> list[Any]:
    """Changes with every in-place operation, cast or replacement of a parameter."""
    parameters = [(p._version, p.data_ptr(), p.dtype) for p in model.module.parameters()]
    return [model.weights._version, model.weights.data_ptr(), *parameters]
