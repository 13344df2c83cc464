"""Several objectives as one number, for strategies that maximise one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.errors import ConfigError
from searcher.multi_objective.worst import lifted_worst
from searcher.strategies.base import Problem
from searcher.strategies.bounds import Bounds, FitnessBounds
from searcher.strategies.one_number import WHERE, Scalar
from searcher.strategies.preference import Achievement, Constrained, Lexicographic

Scalarization: TypeAlias = Literal["sum", "worst", "chebyshev", "lexicographic"]
"""How several objectives become one number: their weighted sum, above all the worst of them, the worst shortfall from
a reference point, or one objective after the other."""


class WeightedSum(Scalar):
    """Weighted sum of the fitness over the objectives, in their own units.

    Args:
        problem: Its objectives are the terms.
        weights: One per objective, not negative; None only with a single objective.

    Raises:
        ConfigError: If weights are missing or cannot be used.
    """

    def __init__(self, problem: Problem, weights: Sequence[float] | None) -> None:
        names = ", ".join(problem.objective_names)
        if weights is None and problem.n_objectives > 1:
            raise ConfigError(
                f"This strategy maximises one number, but the run has {problem.n_objectives} objectives ({names}).",
                where=WHERE,
                fix="Write `scalarize: worst` to lift the worst of them, or give one weight for each, "
                f"`weights: {[1.0] * problem.n_objectives}`, or use the strategy `nsga2` or `auto`, which search for "
                "the whole front.",
            )
        super().__init__(problem, weights or (1.0,))

    @override
    def combined(self, fitness: NDArray[np.float64]) -> float:
        return float(np.dot(self.weights, fitness))


class WorstObjective(Scalar):
    """The smallest weighted fitness over the objectives, plus a quarter of their mean.

    See :func:`searcher.multi_objective.worst.lifted_worst`. Fitness is compared as it is: objectives should share a
    unit, or have weights that make them comparable.
    An objective of weight 0 is left out.

    Args:
        problem: Its objectives are compared.
        weights: One per objective, not negative; None: equal.

    Raises:
        ConfigError: If weights cannot be used.
    """

    def __init__(self, problem: Problem, weights: Sequence[float] | None) -> None:
        super().__init__(problem, [1.0] * problem.n_objectives if weights is None else weights)
        self._counts = self.weights > 0

    @override
    def combined(self, fitness: NDArray[np.float64]) -> float:
        return float(lifted_worst((self.weights * fitness)[self._counts]))


def make_scalar(
    problem: Problem,
    scalarize: object,
    weights: Sequence[float] | None,
    *,
    reference_point: Bounds | None = None,
    order: Sequence[str] | None = None,
    tolerance: Sequence[float] | None = None,
    constraints: Bounds | None = None,
) -> Scalar:
    """The number that a strategy maximises.

    Args:
        problem: Its objectives are combined.
        scalarize: ``sum``, ``worst``, ``chebyshev`` or ``lexicographic``.
        weights: One per objective, or None.
        reference_point: For ``chebyshev``.
        order: For ``lexicographic``.
        tolerance: For ``lexicographic``.
        constraints: Bounds that come before everything else.

    Raises:
        ConfigError: If there is no such scalarisation, or a setting cannot be used or does not belong to it.
    """
    owners = {"reference_point": "chebyshev", "order": "lexicographic", "tolerance": "lexicographic"}
    given = {"reference_point": reference_point, "order": order, "tolerance": tolerance}
    for setting, owner in owners.items():
        if given[setting] is not None and scalarize != owner:
            raise _refused(setting, f"{setting} belongs to `scalarize: {owner}`, but got {scalarize!r}.")
    if scalarize == "lexicographic" and weights is not None:
        raise _refused("weights", "An order of importance has no weights.")
    if scalarize == "worst":
        scalar: Scalar = WorstObjective(problem, weights)
    elif scalarize == "chebyshev":
        scalar = Achievement(problem, weights, reference_point)
    elif scalarize == "lexicographic":
        scalar = Lexicographic(problem, order, tolerance)
    elif scalarize == "sum":
        scalar = WeightedSum(problem, weights)
    else:
        raise ConfigError(
            f"Unknown scalarisation {scalarize!r}.",
            where="strategy.scalarize",
            fix="Use sum (with weights), worst, chebyshev (with reference_point) or lexicographic (with order).",
        )
    return Constrained(problem, scalar, FitnessBounds(problem, constraints)) if constraints else scalar


def _refused(setting: str, what: str) -> ConfigError:
    return ConfigError(what, where=f"strategy.{setting}", fix="Remove it, or choose the other scalarisation.")
