"""Several objectives as one number, for strategies that maximise one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem

WHERE = "strategy.weights"


class WeightedSum:
    """Weighted sum of the fitness over the objectives, in their own units.

    Args:
        problem: Its objectives are the terms.
        weights: One per objective, not negative; None only with a single objective.

    Raises:
        ConfigError: If weights are missing, of the wrong number, negative, not finite or all 0.
    """

    def __init__(self, problem: Problem, weights: tuple[float, ...] | None) -> None:
        names = ", ".join(problem.objective_names)
        if weights is None and problem.n_objectives > 1:
            raise ConfigError(
                f"This strategy maximises one number, but the run has {problem.n_objectives} objectives ({names}).",
                where=WHERE,
                fix=f"Give one weight for each, `weights: {[1.0] * problem.n_objectives}`, or use the strategy "
                "`nsga2` or `auto`, which search for the whole front.",
            )
        self.weights: NDArray[np.float64] = np.asarray(weights or (1.0,), dtype=np.float64)
        if self.weights.shape != (problem.n_objectives,):
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
        """The sum; None if the evaluation failed or a value is not finite."""
        if trial.fitness is None:
            return None
        total = float(np.dot(self.weights, trial.fitness))
        return total if math.isfinite(total) and bool(np.isfinite(trial.fitness).all()) else None
