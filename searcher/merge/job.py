"""A recipe checked against a pool, with one operator per segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searcher.errors import PoolError, nearest
from searcher.merge.operators.base import OPERATORS, Operator, make_operator

if TYPE_CHECKING:
    from searcher.merge.plan import TensorPlan, WholeTensor
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source
    from searcher.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Job:
    """What a recipe asks of the engine.

    Args:
        recipe: The recipe.
        base: Name of the base that is read, or None.
        models: Names of the K models.
        is_delta: Per model, whether its task vector is stored (LoRA).
        operators: One per segment, with that segment's settings.
        coefficients: One row per segment.
        plans: Those that were made once for all tensors, by segment.
    """

    recipe: Recipe
    base: str | None
    models: tuple[str, ...]
    is_delta: tuple[bool, ...]
    operators: tuple[Operator, ...]
    coefficients: tuple[tuple[float, ...], ...]
    plans: dict[int, TensorPlan | WholeTensor] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All sources that are read, the base first."""
        return self.models if self.base is None else (self.base, *self.models)

    @property
    def uniform(self) -> bool:
        """Whether no plan depends on the tensor, so that one pass may run over many."""
        return all(o.uniform and o.lines_alpha == 1.0 and o.lines_beta == 0.0 for o in self.operators)

    def same_sources(self, other: Job) -> bool:
        """Whether two jobs differ in numbers only."""
        mine, theirs = self.recipe, other.recipe
        return (mine.operator, mine.models, mine.base) == (theirs.operator, theirs.models, theirs.base)


def make_job(recipe: Recipe, pool: Pool, sources: Mapping[str, Source]) -> Job:
    """Check a recipe.

    Args:
        recipe: The recipe.
        pool: Whose layout it must fit.
        sources: Its models and base by name.

    Raises:
        ValueError: If the recipe does not fit the pool's layout or the operator.
        PoolError: If the pool lacks a model of the recipe.
        ConfigError: If a setting of the operator is illegal.
    """
    _check_names(recipe, sources)
    _check_shape(recipe, pool.layout.n_parameters)
    is_delta = tuple(sources[name].is_delta for name in recipe.models)
    base = recipe.base
    if any(is_delta):  # adapters are relative to the pool's base, even where the operator needs none
        pool_base = None if pool.base is None else pool.base.name
        if base not in (None, pool_base):
            raise ValueError(f"Expected base {pool_base!r}, which the adapters belong to, but got {base!r}.")
        base = pool_base
    operators = tuple(make_operator(recipe.operator, recipe.settings_at(s)) for s in range(recipe.n_segments))
    return Job(recipe, base, recipe.models, is_delta, operators, tuple(map(tuple, recipe.coefficients.tolist())))


def _check_names(recipe: Recipe, sources: Mapping[str, Source]) -> None:
    for name in (*recipe.models, *([] if recipe.base is None else [recipe.base])):
        if name not in sources:
            hint = nearest(name, sources)
            raise PoolError(
                f"The recipe names {name!r}, which is not in the pool." + (f" Did you mean {hint!r}?" if hint else ""),
                where=f"recipe of {recipe.operator}",
                fix=f"Use the pool's models: {', '.join(sorted(sources))}.",
            )
    if recipe.base is not None and sources[recipe.base].is_delta:
        raise ValueError(f"Expected a full model as base, but {recipe.base!r} is an adapter.")


def _check_shape(recipe: Recipe, n_parameters: int) -> None:
    operator, n = OPERATORS.get(recipe.operator), len(recipe.models)
    low, high = operator.n_models
    if recipe.layers is not None:
        raise ValueError("Expected a recipe that keeps the order of layers, but it has a layer sequence.")
    if recipe.n_parameters != n_parameters:
        raise ValueError(
            f"Expected boundaries up to P = {n_parameters}, the pool's parameters, but got {recipe.n_parameters}."
        )
    if n < low or (high is not None and n > high):
        limit = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"Expected {limit} models for operator {recipe.operator!r}, but got {n}.")
    if recipe.base is None and (operator.needs_base or (operator.interpolates and n == 1)):
        raise ValueError(f"Expected a base for operator {recipe.operator!r} with {n} models, but got none.")
