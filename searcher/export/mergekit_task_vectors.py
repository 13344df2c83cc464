"""Methods that add task vectors up, with or without dropping entries and electing signs, as mergekit writes them.

``paper`` and ``mergekit`` differ in how many entries they keep, which the fractions that are written make up for, in
the divisor where coefficients are negative and in random masks. The last two are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from searcher.export.mergekit_counts import mergekit_band, mergekit_density, mergekit_outliers
from searcher.export.mergekit_recipe import FIX, FIX_CONVENTION, MergekitMethod, RecipeReader, ValueAt
from searcher.merge.operators.normalization import SMALLEST_SUM
from searcher.merge.tables.magnitudes import EXACT_TENSOR

TABLE_NOTE = (
    "Thresholds of the `paper` convention are from a table: up to 1e-4 of the entries of large tensors may differ. "
    "Search with `convention: mergekit` for none."
)


def summed(reader: RecipeReader) -> MergekitMethod:
    """``task_arithmetic`` and ``breadcrumbs``: the weights are ``lambda * c_k``, divided by the sum if ``normalize``.

    Lambda and the division are written into the weights, as this project multiplies scalars before tensors; also,
    the base may be among the models, and has no weight in mergekit. Depth scaling comes last and is mergekit's lambda.
    """
    totals = _totals(reader)
    lambda_ = reader.shared("lambda")

    def weight(k: int) -> ValueAt:
        return lambda p: reader.row(p.segment)[k] / totals[p.segment] * lambda_(p)

    inputs = {name: {"weight": weight(k), **_kept(reader, k)} for k, name in _not_base(reader)}
    shared = {"lambda": reader.depth_scale} if reader.scales_depth else {}
    fixed = {"normalize": False, **_rescale(reader)}
    return MergekitMethod(reader.recipe.base, inputs, shared, fixed, _notes(reader))


def elected(reader: RecipeReader) -> MergekitMethod:
    """``ties`` and ``breadcrumbs_ties``; depth scaling is part of mergekit's lambda."""
    _check_elected(reader)
    lambda_ = reader.shared("lambda")
    inputs = {name: {"weight": reader.coefficient(k), **_kept(reader, k)} for k, name in _not_base(reader)}
    fixed = {"normalize": bool(reader.fixed("normalize")), **_rescale(reader), "int8_mask": False}
    shared: dict[str, ValueAt] = {"lambda": lambda p: lambda_(p) * reader.depth_scale(p)}
    return MergekitMethod(reader.recipe.base, inputs, shared, fixed, _notes(reader))


def dropped(reader: RecipeReader, combined: Callable[[RecipeReader], MergekitMethod]) -> MergekitMethod:
    """``dare_*`` and ``della*``, of which mergekit draws other random masks: only without dropping."""
    for place in reader.places:
        for k, coefficient in enumerate(reader.row(place.segment)):
            if coefficient != 0.0 and reader.each("density", k)(place) < 1.0:
                why = "mergekit draws other random masks, so every density must be 1"
                raise reader.refused(place.segment, why)
    return combined(reader)


def _check_elected(reader: RecipeReader) -> None:
    """Refuse where the conventions differ, and votes that mergekit has no name for."""
    unweighted = reader.fixed("vote") != "weighted"
    for segment in range(reader.recipe.n_segments):
        row = reader.row(segment)
        if reader.is_paper and reader.fixed("normalize") and min(row) < 0.0:
            why = "mergekit divides by the signed sum of the weights, so negative ones blow up"
            raise reader.refused(segment, why, fix=FIX_CONVENTION)
        if unweighted and len({c for c in row if c != 0.0}) > 1:
            why = "mergekit's sign vote is weighted, so unequal weights vote differently"
            raise reader.refused(segment, why, fix=f"{FIX} Or search with `vote: weighted`.")
        if unweighted and _drops(reader, segment) and reader.fixed("rescale"):
            raise reader.refused(segment, "mergekit's sign vote is of rescaled entries and this one is not")


def _kept(reader: RecipeReader, k: int) -> dict[str, ValueAt]:
    """Density and gamma of a model."""
    operator = reader.recipe.operator
    if operator == "task_arithmetic":
        return {}
    if operator.startswith(("dare", "della")):
        return {"density": lambda _: 1.0}
    if operator == "ties":
        return {"density": _counted(reader, "density", k, mergekit_density)}
    return {
        "density": _counted(reader, "density", k, mergekit_band),
        "gamma": _counted(reader, "gamma", k, mergekit_outliers),
    }


def _counted(
    reader: RecipeReader, name: str, k: int, written: Callable[[float, list[int]], Callable[[int], float]]
) -> ValueAt:
    """A fraction of elements by place, in the ``paper`` convention one that makes mergekit count as it does."""
    ours = reader.each(name, k)
    if not reader.is_paper:
        return ours
    found = {fraction: written(fraction, reader.sizes) for fraction in {ours(p) for p in reader.places}}
    return lambda p: found[ours(p)](p.size)


def _rescale(reader: RecipeReader) -> dict[str, bool]:
    """Random masks that keep everything have nothing to rescale."""
    operator = reader.recipe.operator
    if operator == "task_arithmetic":
        return {}
    return {"rescale": bool(reader.fixed("rescale")) and not operator.startswith(("dare", "della"))}


def _totals(reader: RecipeReader) -> list[float]:
    """What the coefficients of each segment are divided by."""
    if not reader.fixed("normalize"):
        return [1.0] * reader.recipe.n_segments
    totals = []
    for segment in range(reader.recipe.n_segments):
        total = sum(reader.row(segment))
        if abs(total) < SMALLEST_SUM and reader.is_paper:
            raise reader.refused(segment, "its coefficients sum to zero and cannot be normalised", fix=FIX_CONVENTION)
        totals.append(1.0 if abs(total) < SMALLEST_SUM else total)
    return totals


def _notes(reader: RecipeReader) -> tuple[str, ...]:
    trims = reader.is_paper and reader.recipe.operator in ("ties", "breadcrumbs", "breadcrumbs_ties")
    large = trims and max(reader.sizes, default=0) > EXACT_TENSOR
    return (TABLE_NOTE,) if large and any(_drops(reader, s) for s in range(reader.recipe.n_segments)) else ()


def _drops(reader: RecipeReader, segment: int) -> bool:
    """Whether a model that takes part in a segment loses entries."""
    places = [p for p in reader.places if p.segment == segment]
    used = [k for k, c in enumerate(reader.row(segment)) if c != 0.0]
    return any(reader.each("density", k)(p) < 1.0 for k in used for p in places)


def _not_base(reader: RecipeReader) -> Iterator[tuple[int, str]]:
    """Index and name of each model that is not the base; the base's own task vector is zero."""
    return ((k, name) for k, name in enumerate(reader.recipe.models) if name != reader.recipe.base)
