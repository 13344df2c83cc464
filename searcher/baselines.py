"""Merges that every run evaluates first: they cost little, seed every strategy and set the bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from searcher.merge.operators.base import OPERATORS
from searcher.recipe import Recipe

LINE = (
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.8,
    1.0,
)  # scales of the task-arithmetic line, each times the sum of task vectors


def standard_baselines(models: Sequence[str], base: str | None, n_parameters: int) -> list[tuple[str, Recipe]]:
    """The base, every source, the uniform average and a task-arithmetic line of eight scales, by name.

    Without a base: the sources and the uniform average. All are expressed by one operator, so that equal merges
    are equal recipes.
    """
    names = tuple(models)
    k = len(names)

    def recipe(coefficients: Sequence[float]) -> Recipe:
        operator = "linear" if base is None else "task_arithmetic"
        settings = OPERATORS.get(operator).settings()  # all of them, so that a space's recipe can be identical
        borders = np.array([0, n_parameters])
        return Recipe(operator, names, base, borders, np.array([coefficients], dtype=np.float64), settings)

    found = [] if base is None else [(base, recipe([0.0] * k))]
    found += [(name, recipe([float(i == j) for j in range(k)])) for i, name in enumerate(names)]
    found.append(("uniform average", recipe([1.0 / k] * k)))
    if base is not None:
        found += [(f"task arithmetic {scale:g}", recipe([scale] * k)) for scale in LINE]
    return found
