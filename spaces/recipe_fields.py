"""Recipes as coefficient fields and back, so that two of them can be crossed.

Which vectors the coefficients belong to depends on the operator: task vectors around the base, whole weights, or the
position between two ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS
from searcher.niches.fields import Field, Prefix
from searcher.recipe import Recipe, SettingValue
from searcher.spaces.base import SpaceContext

Rows = NDArray[np.float64]

EXACT = 1e-9  # sums of coefficients that differ by less from 1 (or 0) count as equal to it
LINEAR, TASK_ARITHMETIC = "linear", "task_arithmetic"


class RecipeFields(ABC):
    """What the coefficients of a field mean.

    Args:
        context: Pool and operator.
    """

    ends: Mapping[str, Rows]
    """Known merges by name: constant rows, shape ``(V,)`` each."""

    def __init__(self, context: SpaceContext) -> None:
        self.context = context

    @property
    @abstractmethod
    def prefix(self) -> Prefix | None:
        """Inner products of the V vectors; None if they are not known or have no meaning."""

    @abstractmethod
    def rows(self, recipe: Recipe) -> Rows:
        """The recipe's coefficients of the V vectors, shape ``(S, V)``.

        Raises:
            ValueError: If it names models that are not in the pool, or is no merge of these vectors.
        """

    @abstractmethod
    def recipe(self, field: Field, settings: Mapping[str, SettingValue]) -> Recipe:
        """The recipe of a field, with the operator's settings."""

    def field(self, recipe: Recipe) -> Field:
        """A recipe's field.

        Raises:
            ValueError: If it is on another line, or as :meth:`rows`.
        """
        n = self.context.layout.n_parameters
        if recipe.n_parameters != n:
            raise ValueError(f"Expected a parent of {n} parameters, but got one of {recipe.n_parameters}.")
        return Field(recipe.boundaries, self.rows(recipe))

    def own(self, field: Field, rows: Rows, settings: Mapping[str, SettingValue]) -> Recipe:
        """A recipe of the run's operator, canonical."""
        c = self.context
        return Recipe(c.operator, c.models, c.base, field.boundaries, rows, dict(settings)).canonical()


def recipe_fields(context: SpaceContext, of: Literal["auto", "weights", "task_vectors"]) -> RecipeFields:
    """What is interpolated for an operator.

    Args:
        context: Pool and operator.
        of: ``auto``: weights for the operator linear, task vectors (or whatever else its coefficients scale) for others.

    Raises:
        ValueError: If the operator cannot.
    """
    if of not in ("auto", "weights", "task_vectors"):
        raise ValueError(f"Expected `of` to be auto, weights or task_vectors, but got {of!r}.")
    if context.interpolates:
        if of == "weights":
            raise ValueError(f"Expected `of: auto` for {context.operator}, which interpolates between two ends itself.")
        return Positions(context)
    if of == "weights" or (of == "auto" and context.operator == LINEAR):
        return Weights(context)
    if of == "task_vectors" and context.operator == LINEAR:
        raise ValueError("Expected the operator task_arithmetic for `of: task_vectors`; linear has no base.")
    return Coefficients(context)


class Coefficients(RecipeFields):
    """The operator's own coefficients, one per model: those of task vectors if it needs a base.

    Around the base, ``theta_0 + p tau_A + q tau_B``: its share stays 1. For operators that are linear in their
    coefficients (task_arithmetic) the child's weights are exactly the crossover of the parents' task vectors; for
    others (ties ...) the coefficients are crossed, and the angle is that of the untrimmed task vectors.
    """

    def __init__(self, context: SpaceContext) -> None:
        super().__init__(context)
        n, single = len(context.models), np.eye(len(context.models))
        ends = dict(zip(context.models, single, strict=True))
        if OPERATORS.get(context.operator).needs_base and context.base is not None:
            ends = {context.base: np.zeros(n), **ends}
            ends |= {"all": np.ones(n)} if n > 1 else {}
        elif n > 1:
            ends["average"] = np.full(n, 1.0 / n)
        self.ends = ends
        self._is_scaled = all(setting.name != "lambda" for setting in context.searched)

    @property
    @override
    def prefix(self) -> Prefix | None:
        known = self.context.prefix_products
        if known is None or self.context.base is None:
            return known
        return lambda position: known(position)[1:, 1:]

    @override
    def rows(self, recipe: Recipe) -> Rows:
        if self.context.operator == recipe.operator == TASK_ARITHMETIC and not self._is_scaled:
            return _coefficients(recipe, self.context, with_lambda=False)[0]  # the child has a lambda of its own
        return _coefficients(recipe, self.context)[0]

    @override
    def recipe(self, field: Field, settings: Mapping[str, SettingValue]) -> Recipe:
        is_scaled = self.context.operator == TASK_ARITHMETIC and self._is_scaled
        return self.own(field, field.rows / (_lambda(settings) if is_scaled else 1.0), settings)


class Weights(RecipeFields):
    """Whole weights; with a base as its share and those of the task vectors, ``b theta_0 + sum_k c_k tau_k``.

    (The angle between siblings cannot be had from inner products of weights in float64 as well as from those.)
    """

    def __init__(self, context: SpaceContext) -> None:
        super().__init__(context)
        if context.operator not in (LINEAR, TASK_ARITHMETIC) or (context.searched and context.operator != LINEAR):
            raise ValueError(
                "Expected the operator linear, or task_arithmetic without searched settings, for `of: weights`, "
                f"but got {context.operator}."
            )
        n = len(context.models)
        ends = dict(zip(context.models, np.eye(n), strict=True))
        if context.operator == TASK_ARITHMETIC and context.base is not None:
            ends = {context.base: np.zeros(n), **ends}
            ends |= {"all": np.ones(n)} if n > 1 else {}
        elif n > 1:
            ends["average"] = np.full(n, 1.0 / n)
        self.ends = {name: np.append(1.0, row) for name, row in ends.items()} if context.base is not None else ends

    @property
    @override
    def prefix(self) -> Prefix | None:
        return self.context.prefix_products

    @override
    def rows(self, recipe: Recipe) -> Rows:
        taus, base = _coefficients(recipe, self.context)
        if self.context.base is None:
            return taus
        share = np.ones(len(taus)) if recipe.operator == TASK_ARITHMETIC else taus.sum(axis=1) + base
        return np.concatenate([share[:, None], taus], axis=1)

    @override
    def recipe(self, field: Field, settings: Mapping[str, SettingValue]) -> Recipe:
        c, rows = self.context, field.rows
        if c.base is not None:
            if c.operator == TASK_ARITHMETIC and _is(rows[:, 0], 1.0) and not settings.get("normalize"):
                return self.own(field, rows[:, 1:] / _lambda(settings), settings)
            rows = np.concatenate([rows[:, :1] - rows[:, 1:].sum(axis=1, keepdims=True), rows[:, 1:]], axis=1)
            models = (c.base, *c.models)
            if _is(rows[:, 0], 0.0):
                rows, models = rows[:, 1:], c.models
        else:
            models = c.models
        known = OPERATORS.get(LINEAR).settings()
        kept = {name: settings.get(name, default) for name, default in known.items()}
        if c.operator != LINEAR or not _is(rows.sum(axis=1), 1.0):
            kept["normalize"] = False  # the length on the sphere would be lost
        return Recipe(LINEAR, models, c.base, field.boundaries, rows, kept).canonical()


class Positions(RecipeFields):
    """The position between two ends of an operator that interpolates by itself (slerp, per tensor)."""

    def __init__(self, context: SpaceContext) -> None:
        super().__init__(context)
        low, high = (context.base or "base", context.models[0]) if len(context.models) == 1 else context.models
        self.ends = {low: np.zeros(1), high: np.ones(1)}

    @property
    @override
    def prefix(self) -> Prefix | None:
        return None

    @override
    def rows(self, recipe: Recipe) -> Rows:
        taus, _ = _coefficients(recipe, self.context)
        if taus.shape[1] == 1:
            return taus
        sums = taus.sum(axis=1)
        has_place = np.abs(sums) > EXACT  # the base of two models lies between neither: the middle
        return np.where(has_place, taus[:, 1] / np.where(has_place, sums, 1.0), 0.5)[:, None]

    @override
    def recipe(self, field: Field, settings: Mapping[str, SettingValue]) -> Recipe:
        t = field.rows
        return self.own(field, t if len(self.context.models) == 1 else np.concatenate([1.0 - t, t], axis=1), settings)


def _coefficients(recipe: Recipe, context: SpaceContext, *, with_lambda: bool = True) -> tuple[Rows, Rows]:
    """What a recipe multiplies the models by, shape (S, K), in the pool's order, and the base, shape (S,).

    The normalisation and lambda of linear operators are part of it.
    """
    known = {*context.models, context.base} if recipe.operator == LINEAR else {*context.models}
    if not set(recipe.models) <= known or recipe.operator not in (context.operator, LINEAR, TASK_ARITHMETIC):
        raise ValueError(f"Expected a parent of the models {list(context.models)}, but got {recipe.to_json()}.")
    rows = np.array(recipe.coefficients)
    if recipe.operator in (LINEAR, TASK_ARITHMETIC) and recipe.settings.get("normalize", recipe.operator == LINEAR):
        sums = rows.sum(axis=1, keepdims=True)
        rows = rows / np.where(np.abs(sums) > EXACT, sums, 1.0)
    if recipe.operator == TASK_ARITHMETIC and with_lambda:
        scale = np.asarray(recipe.settings.get("lambda", 1.0), dtype=np.float64)
        rows = rows * np.broadcast_to(scale, (recipe.n_segments,))[:, None]
    by_model = {model: rows[:, column] for column, model in enumerate(recipe.models)}
    zeros = np.zeros(recipe.n_segments)
    found = np.stack([by_model.get(model, zeros) for model in context.models], axis=1)
    return found, by_model.get(context.base or "", zeros)


def _lambda(settings: Mapping[str, SettingValue]) -> float:
    """The factor of task_arithmetic; 1 where it is 0, because nothing could undo that."""
    value = settings.get("lambda", 1.0)
    return float(value) if isinstance(value, int | float) and value else 1.0


def _is(values: Rows, number: float) -> bool:
    return bool(np.all(np.abs(values - number) <= EXACT))
