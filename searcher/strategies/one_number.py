"""What every number that stands for several objectives is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem

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

    def learn(self, trials: Sequence[Trial]) -> None:  # noqa: B027 - most need nothing
        """Take what it needs from trials, baselines among them, before it is asked for the number of any of them."""

    def value(self, trial: Trial) -> float | None:
        """The number; None if the evaluation failed or a value is not finite."""
        if trial.fitness is None or not np.isfinite(trial.fitness).all():
            return None
        found = self.combined(trial.fitness)
        return found if math.isfinite(found) else None

    @abstractmethod
    def combined(self, fitness: NDArray[np.float64]) -> float:
        """The number for finite fitness, shape ``(n_objectives,)``."""


def _array(weights: object) -> NDArray[np.float64]:
    try:
        return np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Expected a list of numbers, but got {weights!r}.", where=WHERE, fix="Give one number per objective."
        ) from error
