"""Several objectives as one number, for strategies that maximise one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.multi_objective.worst import lifted_worst
from searcher.strategies.base import Problem

Scalarization: TypeAlias = Literal["sum", "worst"]
"""How several objectives become one number: their weighted sum, or above all the worst of them."""

WHERE = "strategy.weights"


class Scalar(ABC):
    """One number to maximise in place of several objectives.

    Args:
        problem: Its objectives are combined.
        weights: One per objective, not negative.

    Raises:
        ConfigError: If weights are of the wrong number, negative, not finite or all 0.
    """

    def __init__(self, problem: Problem, weights: Sequence[float]) -> None:
        self.weights: NDArray[np.float64] = _array(weights)
        if self.weights.shape != (problem.n_objectives,):
            names = ", ".join(problem.objective_names)
            raise ConfigError(
                f"Expected {problem.n_objectives} weights, one per objective ({names}), but got {self.weights.size}.",
                where=WHERE,
                fix="Give the weights in the order of the objectives.",
            )
        if not np.isfinite(self.weights).all() or (self.weights < 0).any() or not self.weights.any():
            raise ConfigError(
                f"Expected weights of 0 or more, not all 0, but got {self.weights.tolist()}.",
                where=WHERE,
                fix="Every weight is maximised in the objective's own direction; give positive numbers.",
            )

    def value(self, trial: Trial) -> float | None:
        """The number; None if the evaluation failed or a value is not finite."""
        if trial.fitness is None or not np.isfinite(trial.fitness).all():
            return None
        found = self.combined(trial.fitness)
        return found if math.isfinite(found) else None

    @abstractmethod
    def combined(self, fitness: NDArray[np.float64]) -> float:
        """The number for finite fitness, shape ``(n_objectives,)``."""


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


def make_scalar(problem: Problem, scalarize: object, weights: Sequence[float] | None) -> Scalar:
    """The number that a strategy maximises.

    Args:
        problem: Its objectives are combined.
        scalarize: ``sum`` or ``worst``.
        weights: One per objective, or None.

    Raises:
        ConfigError: If there is no such scalarisation, or the weights cannot be used.
    """
    if scalarize == "worst":
        return WorstObjective(problem, weights)
    if scalarize != "sum":
        raise ConfigError(
            f"Unknown scalarisation {scalarize!r}.",
            where="strategy.scalarize",
            fix="Use sum (with weights) or worst.",
        )
    return WeightedSum(problem, weights)


def _array(weights: object) -> NDArray[np.float64]:
    try:
        return np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Expected a list of numbers, but got {weights!r}.", where=WHERE, fix="Give one number per objective."
        ) from error
