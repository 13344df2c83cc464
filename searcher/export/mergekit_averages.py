"""Weighted averages, on the line and on the sphere, as mergekit writes them."""

from __future__ import annotations

from searcher.errors import ExportError
from searcher.export.mergekit_recipe import FIX, FIX_CONVENTION, MergekitMethod, Place, RecipeReader, ValueAt, equal
from searcher.merge.operators.normalization import SMALLEST_SUM

PAPER_EPS = 1e-12  # the paper's formula has none; mergekit's 1e-8 would show in tiny task vectors


def linear(reader: RecipeReader) -> MergekitMethod:
    """Depth scaling by ``s`` makes the average times ``s`` plus the base times ``1 - s``: one more input."""
    recipe = reader.recipe
    if not reader.scales_depth:
        inputs = {name: {"weight": reader.coefficient(k)} for k, name in enumerate(recipe.models)}
        return MergekitMethod(None, inputs, fixed={"normalize": bool(reader.fixed("normalize"))})
    totals = _totals(reader) if reader.fixed("normalize") else [1.0] * recipe.n_segments
    base = _base(reader)

    def weight(k: int | None, *, is_base: bool) -> ValueAt:
        def value(place: Place) -> float:
            scale = reader.depth_scale(place)
            share = 0.0 if k is None else reader.row(place.segment)[k] / totals[place.segment]
            return scale * share + (1.0 - scale if is_base else 0.0)

        return value

    inputs = {name: {"weight": weight(k, is_base=name == base)} for k, name in enumerate(recipe.models)}
    inputs.setdefault(base, {"weight": weight(None, is_base=True)})
    return MergekitMethod(None, inputs, fixed={"normalize": False})


def passthrough(reader: RecipeReader) -> MergekitMethod:
    """The coefficient is mergekit's ``scale``."""
    reader.check_depth()
    return MergekitMethod(None, {reader.recipe.models[0]: {"scale": reader.coefficient(0)}})


def slerp(reader: RecipeReader) -> MergekitMethod:
    """The first end is mergekit's base; a tensor of zeros is the one case in which the conventions differ."""
    reader.check_depth()
    reader.check_default("threshold")
    recipe = reader.recipe
    if len(recipe.models) == 1:
        return MergekitMethod(recipe.base, {recipe.models[0]: {}}, {"t": reader.coefficient(0)})
    totals = _totals(reader)
    return MergekitMethod(
        recipe.models[0], {recipe.models[1]: {}}, {"t": lambda p: reader.row(p.segment)[1] / totals[p.segment]}
    )


def nuslerp(reader: RecipeReader) -> MergekitMethod:
    """Between task vectors where there is a base; zero and opposite vectors are where the conventions differ."""
    reader.check_depth()
    base = _origin(reader)
    inputs = {name: {"weight": reader.coefficient(k)} for k, name in enumerate(reader.recipe.models)}
    fixed = {f"nuslerp_{name}": bool(reader.fixed(name)) for name in ("row_wise", "flatten")}
    return MergekitMethod(base, inputs, fixed=fixed)


def multislerp(reader: RecipeReader) -> MergekitMethod:
    """The conventions agree for one model, and for two with equal and positive coefficients.

    Depth scaling becomes part of the weights, whose sum scales the change if it is not divided by.
    """
    base, normalize = _origin(reader), bool(reader.fixed("normalize_weights"))
    scaled = reader.scales_depth
    totals = _totals(reader) if normalize and scaled else [1.0] * reader.recipe.n_segments
    for place in reader.places:
        _check_multislerp(reader, place, normalize=normalize, of_deltas=base is not None)
    eps = (lambda _: PAPER_EPS) if reader.is_paper else reader.shared("eps")

    def weight(k: int) -> ValueAt:
        return lambda p: reader.row(p.segment)[k] / totals[p.segment] * reader.depth_scale(p)

    inputs = {name: {"weight": weight(k)} for k, name in _used(reader).items()}
    return MergekitMethod(base, inputs, {"eps": eps}, {"normalize_weights": normalize and not scaled})


def _check_multislerp(reader: RecipeReader, place: Place, *, normalize: bool, of_deltas: bool) -> None:
    row = [c for c in reader.row(place.segment) if c != 0.0]
    scale, alone = reader.depth_scale(place), len(_used(reader)) < 2
    if reader.is_paper and (len(row) > 2 or not equal(row) or min(row, default=1.0) < 0.0):
        why = "mergekit averages directions on the chord, which is right for two equal positive weights only"
        raise reader.refused(place.segment, why, fix=FIX_CONVENTION)
    if alone and (scale != 1.0 or (reader.is_paper and not normalize and row != [1.0])):
        raise reader.refused(place.segment, "mergekit returns a single model whatever its weight")
    if scale != 1.0 and not (of_deltas and scale > 0.0):
        raise reader.refused(place.segment, "depth is scaled by positive numbers and of task vectors only")


def _used(reader: RecipeReader) -> dict[int, str]:
    """Models by index; those without weight take part in ``mergekit``, where one of two is not a single model."""
    return reader.used() if reader.is_paper else dict(enumerate(reader.recipe.models))


def _origin(reader: RecipeReader) -> str | None:
    """The base whose task vectors are averaged, or None for weights."""
    if not reader.fixed("deltas") or reader.recipe.base is None:
        return None
    reader.check_base(reader.recipe.models)
    return reader.recipe.base


def _base(reader: RecipeReader) -> str:
    if reader.recipe.base is None:
        raise ExportError("Depth is scaled relative to a base, but the recipe has none.", where="recipe, base", fix=FIX)
    return reader.recipe.base


def _totals(reader: RecipeReader) -> list[float]:
    """Sum of the coefficients of each segment; none may be zero."""
    totals = [sum(reader.row(segment)) for segment in range(reader.recipe.n_segments)]
    for segment, total in enumerate(totals):
        if abs(total) < SMALLEST_SUM:
            raise reader.refused(segment, "its coefficients sum to zero and cannot be normalised")
    return totals
