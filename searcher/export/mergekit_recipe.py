"""A recipe's numbers tensor by tensor, and refusals of what mergekit cannot express."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

from searcher.errors import ConfigError, ExportError
from searcher.merge.operators.base import Operator, make_operator
from searcher.recipe import Recipe

FIX = "Export with format recipe (the exact recipe) or hf (the merged weights)."
FIX_CONVENTION = f"{FIX} Or search with `convention: mergekit`, which can be written."

NEAR = 1e-9  # numbers nearer than this count as equal; recipes round to 1e-12


@dataclass(frozen=True)
class Place:
    """What a tensor's numbers depend on.

    Args:
        segment: Index of its segment.
        size: Its number of elements.
        block: Its block, or None outside blocks.
    """

    segment: int
    size: int
    block: int | None = None


ValueAt: TypeAlias = Callable[[Place], float]
"""Value of one parameter for the tensors of a place."""


@dataclass(frozen=True)
class MergekitMethod:
    """One recipe in mergekit's vocabulary.

    Args:
        base: Source name of mergekit's ``base_model``, or None.
        inputs: Inputs other than the base: source name to parameter to its value.
        shared: Parameters of the whole output, to their value.
        fixed: Parameters that cannot vary, such as ``normalize``.
        notes: What to know about the result, a line each.
    """

    base: str | None
    inputs: Mapping[str, Mapping[str, ValueAt]]
    shared: Mapping[str, ValueAt] = field(default_factory=dict)
    fixed: Mapping[str, bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class RecipeReader:
    """Answers what a recipe says at each place.

    Args:
        recipe: The merge.
        places: Those of all tensors.
        n_blocks: Number of blocks of the model, for depth scaling.

    Raises:
        ExportError: If the operator does not take the recipe's settings.
    """

    def __init__(self, recipe: Recipe, places: Iterable[Place], n_blocks: int) -> None:
        self.recipe, self.n_blocks = recipe, n_blocks
        self.places = sorted(set(places), key=lambda p: (p.segment, p.size, -1 if p.block is None else p.block))
        self.sizes = sorted({place.size for place in self.places if place.size})
        self._operators = tuple(_operator(recipe, segment) for segment in range(recipe.n_segments))

    @property
    def is_paper(self) -> bool:
        """Whether the operator has conventions and the recipe's is not mergekit's."""
        return getattr(self._operators[0], "convention", "mergekit") == "paper"

    @property
    def scales_depth(self) -> bool:
        """Whether some change of the base is scaled by depth (LiNeS)."""
        return any(self.depth_scale(place) != 1.0 for place in self.places)

    def fixed(self, name: str) -> Any:  # noqa: ANN401 - a switch or a choice
        """A setting that is the same everywhere, as all switches are."""
        return _setting(self._operators[0], name)

    def shared(self, name: str) -> ValueAt:
        """A number by place."""
        return lambda place: _setting(self._operators[place.segment], name)

    def each(self, name: str, k: int) -> ValueAt:
        """A number of model ``k`` by place, of a setting that may differ among the models."""

        def value(place: Place) -> float:
            found = _setting(self._operators[place.segment], name)
            return float(found[k] if isinstance(found, tuple) else found)

        return value

    def coefficient(self, k: int) -> ValueAt:
        """Coefficient of model ``k`` by place."""
        return lambda place: float(self.recipe.coefficients[place.segment, k])

    def row(self, segment: int) -> tuple[float, ...]:
        """Coefficients of a segment, one per model."""
        return tuple(self.recipe.coefficients[segment].tolist())

    def depth_scale(self, place: Place) -> float:
        """By how much the change of the base is multiplied (LiNeS)."""
        return self._operators[place.segment].lines_scale(place.block, self.n_blocks)

    def used(self) -> dict[int, str]:
        """Models whose coefficient is not 0 everywhere, by index."""
        return {k: name for k, name in enumerate(self.recipe.models) if self.recipe.coefficients[:, k].any()}

    def check_base(self, names: Collection[str]) -> None:
        """Refuse the base among the inputs: mergekit takes a source once."""
        if self.recipe.base in names:
            raise ExportError(
                f"The base {self.recipe.base!r} is also one of the models, and mergekit takes a source once.",
                where="recipe, models",
                fix=FIX,
            )

    def refused(self, segment: int, why: str, *, fix: str = FIX) -> ExportError:
        """The error for a segment."""
        return ExportError(
            f"Segment {segment} cannot be written for mergekit: {why}.",
            where=f"recipe, segment {segment}, coefficients {list(self.row(segment))}",
            fix=fix,
        )

    def refuse_paper(self, why: str) -> None:
        """Refuse the ``paper`` convention of an operator of which mergekit computes something else."""
        if self.is_paper:
            raise ExportError(
                f"mergekit's {self.recipe.operator} differs from the `paper` convention of this recipe: {why}.",
                where="recipe, setting convention",
                fix=FIX_CONVENTION,
            )

    def check_default(self, *names: str) -> None:
        """Refuse other values than the defaults of settings that mergekit lacks."""
        defaults = type(self._operators[0]).settings()
        for segment, operator in enumerate(self._operators):
            for name in names:
                if (value := _setting(operator, name)) != defaults[name]:
                    raise ExportError(
                        f"mergekit's {self.recipe.operator} has no setting for {name!r} = {value}.",
                        where=f"recipe, segment {segment}, setting {name}",
                        fix=FIX,
                    )

    def check_depth(self) -> None:
        """Refuse depth scaling, for methods that have nothing to multiply."""
        for place in self.places:
            if self.depth_scale(place) != 1.0:
                raise self.refused(place.segment, f"mergekit's {self.recipe.operator} cannot be scaled by depth")

    def check_one(self, value: Callable[[Place, float], float], what: str) -> None:
        """Refuse a recipe unless ``value(place, coefficient)`` is 1 for all models that are used."""
        for place, (k, name) in product(self.places, self.used().items()):
            one = value(place, self.row(place.segment)[k])
            if name != self.recipe.base and not math.isclose(one, 1.0, abs_tol=NEAR):
                raise self.refused(place.segment, f"mergekit's {self.recipe.operator} has no weights; {what} must be 1")

    def check_equal(self, *, positive: bool = False) -> None:
        """Refuse coefficients of which the ratios are not 1, for methods in which only these matter."""
        for segment in range(self.recipe.n_segments):
            row = [self.row(segment)[k] for k in self.used()]
            if not equal(row) or 0.0 in row or (positive and min(row, default=1.0) < 0.0):
                kind = "equal and positive" if positive else "equal and not 0"
                why = f"mergekit's {self.recipe.operator} has no weights; coefficients must be {kind}"
                raise self.refused(segment, f"{why} (a model that is 0 everywhere is left out)")


def equal(values: Sequence[float]) -> bool:
    """Whether all values are the same up to rounding."""
    return all(math.isclose(value, values[0], rel_tol=NEAR) for value in values)


def _setting(operator: Operator, name: str) -> Any:  # noqa: ANN401 - any setting
    return getattr(operator, name) if hasattr(operator, name) else getattr(operator, f"{name}_")


def _operator(recipe: Recipe, segment: int) -> Operator:
    """The operator with the settings of one segment."""
    try:
        return make_operator(recipe.operator, recipe.settings_at(segment))
    except ConfigError as error:
        raise ExportError(error.what, where=f"recipe, segment {segment}, settings", fix=FIX) from error
