"""A recipe's operator, coefficients and settings under the names that mergekit 0.1.5 gives them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from searcher.errors import ExportError
from searcher.merge.operators.base import OPERATORS
from searcher.merge.operators.trimming import n_kept
from searcher.recipe import Recipe

ValueAt: TypeAlias = Callable[[int, int], float]
"""Value of one parameter for a tensor, by the index of its segment and its number of elements."""

FIX = "Export with format recipe (the exact recipe) or hf (the merged weights)."


@dataclass(frozen=True)
class MergekitMethod:
    """One recipe in mergekit's vocabulary.

    Args:
        base: Source name of mergekit's ``base_model``, or None.
        inputs: Inputs other than the base: source name to parameter to its value per segment.
        shared: Parameters of the whole output, to their value per segment.
        fixed: Parameters that cannot vary, such as ``normalize``.
    """

    base: str | None
    inputs: Mapping[str, Mapping[str, ValueAt]]
    shared: Mapping[str, ValueAt] = field(default_factory=dict)
    fixed: Mapping[str, bool] = field(default_factory=dict)


def read_method(recipe: Recipe, sizes: Collection[int]) -> MergekitMethod:
    """Translate a recipe.

    Args:
        recipe: The merge.
        sizes: Number of elements of every tensor it applies to.

    Raises:
        ExportError: If mergekit lacks the operator or one of its settings, or the numbers fall outside what its
            formula covers.
    """
    if recipe.operator == "linear":
        return _linear(recipe)
    if recipe.operator == "slerp":
        return _slerp(recipe)
    if recipe.operator == "task_arithmetic":
        return _task_arithmetic(recipe)
    if recipe.operator == "ties":
        return _ties(recipe, sizes)
    raise ExportError(
        f"mergekit does not compute operator {recipe.operator!r} as it is computed here.",
        where="recipe, operator",
        fix=f"{FIX} Operators that can be written: linear, slerp, task_arithmetic, ties.",
    )


def mergekit_n_kept(density: float, size: int) -> int:
    """Number of elements that mergekit's ``ties`` keeps of ``size``; it truncates where this project rounds."""
    if density >= 1.0:
        return size
    return 0 if density <= 0.0 else min(size, max(1, int(density * size)))


def mergekit_density(density: float, sizes: Collection[int]) -> Callable[[int], float]:
    """The density to write for a tensor of some size, so that mergekit keeps as many elements as this project.

    The given density if it serves all sizes; else one that serves them all, if there is one; else one per size.
    """

    def serves(value: float) -> bool:
        return all(mergekit_n_kept(value, size) == n_kept(density, size) for size in sizes)

    lowest = max(Fraction(n_kept(density, size), size) for size in sizes)
    highest = min(Fraction(n_kept(density, size) + 1, size) for size in sizes)
    for value in (density, float((lowest + highest) / 2)):
        if serves(value):
            return lambda _: value
    return lambda size: (n_kept(density, size) + 0.5) / size if n_kept(density, size) < size else 1.0


def _linear(recipe: Recipe) -> MergekitMethod:
    settings = _settings(recipe, "normalize")
    inputs = {name: {"weight": _column(recipe, k)} for k, name in enumerate(recipe.models)}
    return MergekitMethod(None, inputs, fixed={"normalize": bool(settings["normalize"])})


def _slerp(recipe: Recipe) -> MergekitMethod:
    _settings(recipe)
    if len(recipe.models) == 1:
        return MergekitMethod(recipe.base, {recipe.models[0]: {}}, {"t": _column(recipe, 0)})
    totals = _totals(recipe)
    return MergekitMethod(
        recipe.models[0],
        {recipe.models[1]: {}},
        {"t": lambda segment, _: float(recipe.coefficients[segment, 1] / totals[segment])},
    )


def _task_arithmetic(recipe: Recipe) -> MergekitMethod:
    settings = _settings(recipe, "lambda", "normalize")
    # Lambda and the division are written into the weights, as this project multiplies scalars before tensors; also,
    # the base may be among the models, and has no weight in mergekit.
    scale = np.broadcast_to(np.asarray(settings["lambda"], dtype=np.float64), (recipe.n_segments,))
    totals = _totals(recipe) if settings["normalize"] else np.ones(recipe.n_segments)
    scaled = recipe.coefficients / totals[:, None] * scale[:, None]

    def weight(k: int) -> ValueAt:
        return lambda segment, _: float(scaled[segment, k])

    inputs = {name: {"weight": weight(k)} for k, name in _not_base(recipe)}
    return MergekitMethod(recipe.base, inputs, fixed={"normalize": False})


def _ties(recipe: Recipe, sizes: Collection[int]) -> MergekitMethod:
    settings = _settings(recipe, "density", "lambda", "normalize", "vote")
    _check_ties(recipe, normalize=bool(settings["normalize"]), vote=str(settings["vote"]))

    def density(k: int) -> ValueAt:
        ours = _varying(settings["density"], k)
        found = {d: mergekit_density(d, sizes) for d in {ours(s, 0) for s in range(recipe.n_segments)}}
        return lambda segment, size: found[ours(segment, size)](size)

    inputs = {name: {"weight": _column(recipe, k), "density": density(k)} for k, name in _not_base(recipe)}
    fixed = {"normalize": bool(settings["normalize"]), "rescale": False, "int8_mask": False}
    return MergekitMethod(recipe.base, inputs, {"lambda": _varying(settings["lambda"])}, fixed)


def _check_ties(recipe: Recipe, *, normalize: bool, vote: str) -> None:
    """Refuse the two conventions in which this project's ``ties`` and mergekit's differ."""
    for segment, row in enumerate(recipe.coefficients):
        if normalize and np.any(row < 0):
            raise _cannot(
                recipe, segment, "mergekit divides by the signed sum of the weights, so negative ones blow up"
            )
        if vote != "weighted" and len({float(c) for c in row if c != 0.0}) > 1:
            raise _cannot(recipe, segment, "mergekit's sign vote is weighted, so unequal weights vote differently")


def _totals(recipe: Recipe) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Sum of the coefficients of each segment, shape ``(S,)``; none may be zero."""
    totals = recipe.coefficients.sum(axis=1)
    for segment in np.flatnonzero(np.abs(totals) < 1e-8):
        raise _cannot(recipe, int(segment), "its coefficients sum to zero and cannot be normalised")
    return np.asarray(totals, dtype=np.float64)


def _cannot(recipe: Recipe, segment: int, why: str) -> ExportError:
    return ExportError(
        f"Segment {segment} cannot be written for mergekit: {why}.",
        where=f"recipe, segment {segment}, coefficients {recipe.coefficients[segment].tolist()}",
        fix=FIX,
    )


def _settings(recipe: Recipe, *known: str) -> dict[str, object]:
    """All settings of the operator, defaults included.

    Raises:
        ExportError: If one that mergekit lacks is not at its default.
    """
    defaults = OPERATORS.get(recipe.operator).settings()
    settings: dict[str, object] = {**defaults, **recipe.settings}
    for name, value in settings.items():
        if name not in known and (name not in defaults or not np.array_equal(np.asarray(value), defaults[name])):
            raise ExportError(
                f"mergekit's {recipe.operator} has no setting for {name!r} = {value}.",
                where=f"recipe, setting {name}",
                fix=FIX,
            )
    return settings


def _not_base(recipe: Recipe) -> list[tuple[int, str]]:
    """Index and name of each model that is not the base; the base's own task vector is zero."""
    return [(k, name) for k, name in enumerate(recipe.models) if name != recipe.base]


def _column(recipe: Recipe, k: int) -> ValueAt:
    """Coefficient of model ``k`` by segment."""
    return lambda segment, _: float(recipe.coefficients[segment, k])


def _varying(value: object, k: int = 0) -> ValueAt:
    """A setting by segment: a scalar, or an array of shape ``(S,)`` or ``(S, K)``."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0:
        return lambda segment, _: float(array)
    return lambda segment, _: float(array[segment] if array.ndim == 1 else array[segment, k])
