"""What a user prefers among trade-offs, as one number: a wished point, an order of importance, bounds.

References: Wierzbicki 1980, "The use of reference objectives in multiobjective optimization"; Deb 2000, "An efficient
constraint handling method for genetic algorithms".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.bounds import Bounds, FitnessBounds
from searcher.strategies.one_number import Scalar

AUGMENTATION = 0.05  # weight of the sum beside the worst shortfall, as in ParEGO (Knowles 2006)
MOST_ORDERED = 4  # objectives in an order of importance; a fifth would drown in the rounding of the first
EDGE = 1e-9  # a value at the lower edge of a band belongs to it, whatever its last bits


class Achievement(Scalar):
    """The worst weighted shortfall from a reference point, and a little of all of them.

    ``min_i w_i (f_i - z_i) + 0.05 sum_i w_i (f_i - z_i)``, the augmented achievement scalarising function of Wierzbicki
    1980; its maximum is Pareto optimal whether the reference point can be reached or not, and lies where the ray from
    the reference point with direction ``1 / w`` meets the front.

    Args:
        problem: Its objectives are compared.
        weights: What one unit of shortfall counts, one per objective, not negative; None: equal. An objective of weight 0
            is left out.
        reference_point: A value for every objective that counts.

    Raises:
        ConfigError: If weights or reference point cannot be used.
    """

    def __init__(self, problem: Problem, weights: Sequence[float] | None, reference_point: Bounds | None) -> None:
        super().__init__(problem, [1.0] * problem.n_objectives if weights is None else weights)
        self._wanted = FitnessBounds(problem, reference_point or {}, "reference_point")
        self._counts = self.weights > 0
        missing = [problem.objective_names[i] for i in np.flatnonzero(self._counts) if i not in self._wanted.objectives]
        if missing:
            raise ConfigError(
                f"The reference point has no value for {', '.join(missing)}.",
                where="strategy.reference_point",
                fix=f"Write `reference_point: {{at_least: {{{missing[0]}: VALUE}}}}` (`at_most` if it is minimised), or "
                "give the objective weight 0.",
            )

    @override
    def learn(self, trials: Sequence[Trial]) -> None:
        self._wanted.learn(trials)

    @property
    def reference(self) -> NDArray[np.float64]:
        """The reference point as fitness, shape ``(n_objectives,)``; 0 where it has no value.

        Raises:
            ConfigError: If it refers to a baseline without a score.
        """
        found = np.zeros(len(self.weights))
        for index, value in self._wanted.pairs:
            found[index] = value
        return found

    @override
    def combined(self, fitness: NDArray[np.float64]) -> float:
        beyond = (self.weights * (fitness - self.reference))[self._counts]
        return float(beyond.min() + AUGMENTATION * beyond.sum())


class Lexicographic(Scalar):
    """Objectives in an order of importance: a less important one decides only where the others are as good.

    An objective is cut into bands as wide as its tolerance, from 0 on; values in one band are as good as each other. Only
    the order of the numbers has a meaning, so they suit strategies that rank.

    Args:
        problem: Its objectives are ordered.
        order: Names, the most important first; objectives that are not named do not count.
        tolerance: Band widths of all named objectives but the last, in their own units.

    Raises:
        ConfigError: If order or tolerances cannot be used.
    """

    def __init__(self, problem: Problem, order: Sequence[str] | None, tolerance: Sequence[float] | None) -> None:
        names = tuple(order or ())
        is_known = len(set(names)) == len(names) and set(names) <= set(problem.objective_names)
        if not is_known or not 2 <= len(names) <= MOST_ORDERED:
            raise ConfigError(
                f"Expected 2 to {MOST_ORDERED} of the objectives {', '.join(problem.objective_names)}, but got {names}.",
                where="strategy.order",
                fix="Name objectives of the run, the most important first.",
            )
        self._widths = np.asarray(tolerance or (), dtype=np.float64)
        if self._widths.shape != (len(names) - 1,) or not (np.isfinite(self._widths) & (self._widths > 0)).all():
            raise ConfigError(
                f"Expected {len(names) - 1} positive tolerances, one for each of {', '.join(names[:-1])}, but got {tolerance}.",
                where="strategy.tolerance",
                fix="Give how much of each objective, in its own unit, you would trade for any gain in the next.",
            )
        self._index = [problem.objective_names.index(name) for name in names]
        super().__init__(problem, [float(name in names) for name in problem.objective_names])

    @override
    def combined(self, fitness: NDArray[np.float64]) -> float:
        *banded, last = fitness[self._index].tolist()
        found = last
        for value, width in zip(reversed(banded), reversed(self._widths.tolist()), strict=True):
            found = math.floor(value / width + EDGE) + _squashed(found)
        return float(found)


class Constrained(Scalar):
    """Another number where all bounds hold; elsewhere less than anywhere there, and falling with the violation.

    The rules of Deb 2000, "An efficient constraint handling method for genetic algorithms", as one number: only its order
    has a meaning. Violations count in units of the bound (of the fitness, for a bound of 0).

    Args:
        problem: Its objectives have bounds.
        inner: What is maximised where the bounds hold.
        bounds: Of the fitness.
    """

    def __init__(self, problem: Problem, inner: Scalar, bounds: FitnessBounds) -> None:
        super().__init__(problem, inner.weights.tolist())
        self._inner, self._bounds = inner, bounds

    @override
    def learn(self, trials: Sequence[Trial]) -> None:
        self._inner.learn(trials)
        self._bounds.learn(trials)

    @override
    def combined(self, fitness: NDArray[np.float64]) -> float:
        violation = sum(max(0.0, bound - float(fitness[i])) / (abs(bound) or 1.0) for i, bound in self._bounds.pairs)
        return -violation if violation > 0 else _squashed(self._inner.combined(fitness))


def _squashed(value: float) -> float:
    """A number between 0 and 1 that grows with the value."""
    return 0.5 + math.atan(value) / math.pi
