"""Per-example scores of all objectives as one row, for strategies whose candidates compete for examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem

Row = NDArray[np.float64]


class ExampleRows:
    """The examples of all objectives in a row, in the order of the objectives.

    The first scored trial decides how long the row is: an objective without example scores is one example, its value.
    Examples that were not scored (of a candidate that was stopped early) count as the objective's estimate.

    Args:
        problem: Its objectives are concatenated.
        weights: What one example of each objective counts, not negative; None: 1.

    Raises:
        ConfigError: If weights are of the wrong number, negative or not finite, or all 0.
    """

    def __init__(self, problem: Problem, weights: Sequence[float] | None = None) -> None:
        self._names = problem.objective_names
        self._weights = np.ones(problem.n_objectives) if weights is None else np.asarray(weights, dtype=np.float64)
        if self._weights.shape != (problem.n_objectives,) or not _are_weights(self._weights):
            raise ConfigError(
                f"Expected {problem.n_objectives} weights of 0 or more, not all 0, but got {list(weights or ())}.",
                where="strategy.weights",
                fix=f"Give one number per objective ({', '.join(self._names)}): what each of its examples counts.",
            )
        self._sizes: tuple[int | None, ...] | None = None

    @property
    def is_known(self) -> bool:
        """Whether a scored trial has told how long the row is."""
        return self._sizes is not None

    @property
    def scalar_names(self) -> tuple[str, ...]:
        """Objectives without example scores."""
        return tuple(name for name, size in zip(self._names, self._sizes or (), strict=False) if size is None)

    @property
    def weights(self) -> Row:
        """What each example counts, shape ``(N,)``."""
        return self._spread(self._weights)

    @property
    def is_scalar(self) -> NDArray[np.bool_]:
        """Which entries are values of objectives without example scores, shape ``(N,)``."""
        return self._spread(np.array([float(size is None) for size in self._sizes or ()])) > 0

    def of(self, trial: Trial) -> Row | None:
        """The trial's row, shape ``(N,)``; None if it failed or a value is not finite.

        An objective whose examples are missing or of another number than before counts everywhere with its value.
        """
        if trial.fitness is None or not np.isfinite(trial.fitness).all():
            return None
        examples = [*trial.example_scores, *[None] * len(self._names)][: len(self._names)]
        if self._sizes is None:
            self._sizes = tuple(None if found is None or found.size == 0 else found.size for found in examples)
        parts = [
            _filled(found, size, value)
            for found, size, value in zip(examples, self._sizes, trial.fitness.tolist(), strict=True)
        ]
        row = np.concatenate(parts)
        return row if np.isfinite(row).all() else None

    def _spread(self, per_objective: Row) -> Row:
        return np.repeat(per_objective, [size or 1 for size in self._sizes or ()])


def _filled(found: Row | None, size: int | None, value: float) -> Row:
    """The examples of one objective; its value where they are not known."""
    if size is None or found is None or found.shape != (size,):
        return np.full(size or 1, value)
    return np.where(np.isnan(found), value, found)


def _are_weights(weights: Row) -> bool:
    return bool(np.isfinite(weights).all() and (weights >= 0).all() and weights.any())
