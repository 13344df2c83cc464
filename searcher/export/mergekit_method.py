"""A recipe's operator, coefficients and settings under the names that mergekit 0.1.5 gives them.

The inverse of ``searcher/mergekit/methods.py``. Depth scaling (``lines_alpha``, ``lines_beta``) becomes ``lambda`` or
part of the weights where mergekit has these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from searcher.errors import ExportError
from searcher.export.mergekit_averages import linear, multislerp, nuslerp, passthrough, slerp
from searcher.export.mergekit_recipe import FIX, MergekitMethod, Place, RecipeReader
from searcher.export.mergekit_task_vectors import dropped, elected, summed
from searcher.export.mergekit_unweighted import arcee_fusion, karcher, model_stock, nearswap, ram, sce
from searcher.recipe import Recipe

METHODS: Mapping[str, Callable[[RecipeReader], MergekitMethod]] = MappingProxyType({
    "linear": linear,
    "passthrough": passthrough,
    "slerp": slerp,
    "nuslerp": nuslerp,
    "multislerp": multislerp,
    "karcher": karcher,
    "model_stock": model_stock,
    "sce": sce,
    "ram": ram,
    "ramplus_tl": ram,
    "nearswap": nearswap,
    "arcee_fusion": arcee_fusion,
    "task_arithmetic": summed,
    "breadcrumbs": summed,
    "dare_linear": lambda reader: dropped(reader, summed),
    "della_linear": lambda reader: dropped(reader, summed),
    "ties": elected,
    "breadcrumbs_ties": elected,
    "dare_ties": lambda reader: dropped(reader, elected),
    "della": lambda reader: dropped(reader, elected),
})  # fmt: skip


def read_method(recipe: Recipe, places: Collection[Place], n_blocks: int = 0) -> MergekitMethod:
    """Translate a recipe.

    Args:
        recipe: The merge.
        places: Those of all tensors.
        n_blocks: Number of blocks of the model, for depth scaling.

    Raises:
        ExportError: If mergekit lacks the operator or one of its settings, or the numbers fall outside what its
            formula covers.
    """
    if recipe.operator not in METHODS:
        raise ExportError(
            f"mergekit does not compute operator {recipe.operator!r} as it is computed here.",
            where="recipe, operator",
            fix=f"{FIX} Operators that can be written: {', '.join(METHODS)}.",
        )
    return METHODS[recipe.operator](RecipeReader(recipe, places, n_blocks))
