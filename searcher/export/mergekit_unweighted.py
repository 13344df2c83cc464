"""Methods without weights in mergekit: the coefficients must be 1, or equal where only their ratios matter.

A model whose coefficient is 0 everywhere is left out. Of most, the ``paper`` convention differs from mergekit's by an
amount that depends on the values of the weights, so that it is refused.
"""

from __future__ import annotations

from searcher.errors import ExportError
from searcher.export.mergekit_recipe import FIX, MergekitMethod, RecipeReader, ValueAt

SAMPLED_ABOVE = 1_000_000  # elements
SAMPLE_NOTE = (
    "mergekit takes the quantiles of tensors of more than a million entries from a random sample: "
    "which entries it keeps changes a little from run to run."
)


def karcher(reader: RecipeReader) -> MergekitMethod:
    """Of weights; a base has no effect in mergekit."""
    reader.check_depth()
    reader.check_equal()
    models = list(reader.used().values())
    if reader.fixed("deltas") and reader.recipe.base is not None:
        raise ExportError(
            "mergekit's karcher averages weights, not task vectors.",
            where="recipe, setting deltas",
            fix=f"{FIX} Or search with `deltas: false`.",
        )
    if len(models) > 1:
        reader.refuse_paper("its float32 angles move the mean by up to 1e-4 of the largest weight")
    shared = {"max_iter": reader.shared("max_iter"), "tol": reader.shared("tol")}
    return MergekitMethod(None, {name: {} for name in models}, shared)


def model_stock(reader: RecipeReader) -> MergekitMethod:
    """``t_scale`` and depth scaling, which multiply the change of the base, must make 1."""
    t_scale = reader.shared("t_scale")
    reader.check_equal()
    reader.check_one(
        lambda place, _: t_scale(place) * reader.depth_scale(place), "t_scale times the scale of the depth"
    )
    models = _trained(reader, 2)
    reader.refuse_paper("it clamps small norms and extrapolates where the models' changes oppose each other")
    fixed = {"filter_wise": bool(reader.fixed("filter_wise"))}
    return MergekitMethod(reader.recipe.base, {name: {} for name in models}, fixed=fixed)


def sce(reader: RecipeReader) -> MergekitMethod:
    """``lambda`` and depth scaling must make 1."""
    lambda_ = reader.shared("lambda")
    reader.check_default("exponent")
    reader.check_equal(positive=True)
    reader.check_one(lambda place, _: lambda_(place) * reader.depth_scale(place), "lambda times the scale of the depth")
    reader.refuse_paper("it weighs models equally where their changes are small")
    inputs: dict[str, dict[str, ValueAt]] = {name: {} for name in _trained(reader)}
    return MergekitMethod(reader.recipe.base, inputs, {"select_topk": reader.shared("select_topk")})


def ram(reader: RecipeReader) -> MergekitMethod:
    """``ram`` and ``ramplus_tl``; a model that is the base is never active and left out."""
    extra = ("r", "alpha") if reader.recipe.operator == "ramplus_tl" else ()
    reader.check_one(lambda place, c: c * reader.depth_scale(place), "coefficient times the scale of the depth")
    epsilon = reader.shared("epsilon")
    if extra and any(epsilon(place) > 1.0 for place in reader.places):
        raise ExportError(
            "mergekit's ramplus_tl counts at least epsilon entries, which must not exceed 1.",
            where="recipe, setting epsilon",
            fix=FIX,
        )
    shared = {name: reader.shared(name) for name in (*extra, "epsilon")}
    return MergekitMethod(
        reader.recipe.base, {n: {} for n in reader.used().values() if n != reader.recipe.base}, shared
    )


def nearswap(reader: RecipeReader) -> MergekitMethod:
    """The only model takes part whole."""
    reader.check_one(lambda place, c: c * reader.depth_scale(place), "coefficient times the scale of the depth")
    models = _trained(reader, 1)
    return MergekitMethod(reader.recipe.base, {name: {} for name in models}, {"t": reader.shared("t")})


def arcee_fusion(reader: RecipeReader) -> MergekitMethod:
    """The only model takes part whole."""
    reader.check_default("multiplier")
    reader.check_one(lambda place, c: c * reader.depth_scale(place), "coefficient times the scale of the depth")
    reader.refuse_paper("its importance is a float32 divergence, mostly rounding noise")
    notes = (SAMPLE_NOTE,) if max(reader.sizes, default=0) > SAMPLED_ABOVE else ()
    return MergekitMethod(reader.recipe.base, {name: {} for name in _trained(reader, 1)}, notes=notes)


def _trained(reader: RecipeReader, n: int = 0) -> list[str]:
    """Names of the models that take part.

    Raises:
        ExportError: If they are fewer than mergekit takes, or one is the base.
    """
    models = list(reader.used().values())
    reader.check_base(models)
    if len(models) < n:
        raise ExportError(
            f"mergekit's {reader.recipe.operator} takes {n} or more models, but {len(models)} have a coefficient.",
            where="recipe, coefficients",
            fix=FIX,
        )
    return models
