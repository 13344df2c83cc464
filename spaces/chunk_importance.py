"""What the importance of a layer is computed from: magnitudes of task vectors and assumed coefficients."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from searcher.recipe import Recipe
from searcher.spaces.base import SpaceContext
from searcher.spaces.chunk_plan import Unit


def norms(units: Sequence[Unit], magnitudes: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Sum of the magnitudes of each task vector over each unit, shape ``(U, K)``.

    Args:
        units: What is cut.
        magnitudes: Mean magnitude of each task vector by tensor name, shape ``(K,)``.
    """
    return np.array([np.sum([magnitudes[t.name] * t.size for t in unit.tensors], axis=0) for unit in units])


def assumed(
    given: float | tuple[float, ...] | str, units: Sequence[Unit], context: SpaceContext
) -> NDArray[np.float64]:
    """Magnitudes of the coefficients that the importance assumes, shape ``(U, K)``.

    Args:
        given: One number, one per model, or a recipe file, whose values are averaged over each unit.
        units: What is cut.
        context: The pool.

    Raises:
        ValueError: If the numbers are not as many as models, or the file is not a recipe of this pool.
    """
    if isinstance(given, str):
        return _from_recipe(Path(given), units, context)
    row = np.abs(np.broadcast_to(np.asarray(given, np.float64), np.shape(given) or (len(context.models),)))
    if row.shape != (len(context.models),) or not np.all(np.isfinite(row)):
        raise ValueError(f"Expected one finite coefficient, or {len(context.models)}, one per model, but got {given}.")
    return np.tile(row, (len(units), 1))


def _from_recipe(path: Path, units: Sequence[Unit], context: SpaceContext) -> NDArray[np.float64]:
    """Mean magnitude of a stored recipe's coefficients over each unit, shape (U, K)."""
    try:
        recipe = Recipe.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Expected a recipe file in `coefficients`, but {str(path)!r} cannot be read: {error}"
        ) from error
    if recipe.n_parameters != context.layout.n_parameters or not set(recipe.models) & set(context.models):
        raise ValueError(f"Expected a recipe of this pool in `coefficients`, but {str(path)!r} is of another.")
    found = np.zeros((len(units), len(context.models)))
    order = [(column, context.models.index(m)) for column, m in enumerate(recipe.models) if m in context.models]
    for row, unit in enumerate(units):
        shares = sum(_overlaps(recipe.boundaries, start, stop) for start, stop in unit.intervals) / unit.size
        for column, model in order:
            found[row, model] = shares @ np.abs(recipe.coefficients[:, column])
    return found


def _overlaps(boundaries: NDArray[np.int64], start: int, stop: int) -> NDArray[np.float64]:
    """Number of elements of an interval in each segment, shape (S,)."""
    inside: NDArray[np.float64] = np.diff(np.clip(boundaries, start, stop)).astype(np.float64)
    return inside
