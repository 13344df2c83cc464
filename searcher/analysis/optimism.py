"""How far search scores flatter what a search chose (the winner's curse): search minus held-out, with its error.

The mean over the points of a front is taken example by example first. Points share their examples, so that errors of
their scores do not average out over the points; those of the examples do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """Mean of search minus held-out fitness over some points.

    Args:
        value: Positive if the search scores flatter.
        stderr: Its standard error; nan if unknown.
        is_bound: Whether the standard error is an upper bound, computed without examples.
    """

    value: float
    stderr: float
    is_bound: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval, by the normal distribution."""
        return self.value - 1.96 * self.stderr, self.value + 1.96 * self.stderr


def gap_of_examples(search: Rows, held_out: Rows) -> Gap:
    """The gap from per-example fitness of the same points.

    Args:
        search: Shape ``(p, n)``; nan where unscored.
        held_out: Shape ``(p, k)``, other examples.
    """
    (first, first_error), (second, second_error) = _mean(search), _mean(held_out)
    return Gap(first - second, math.hypot(first_error, second_error))


def excess_gap(search: Rows, held_out: Rows, search_others: Rows, held_out_others: Rows) -> Gap:
    """How much larger the gap of some points is than that of others on the same examples.

    If one part of the examples is easier, that lifts chosen points and others alike: against models that the search
    did not choose, it cancels.

    Args:
        search: Shape ``(p, n)``.
        held_out: Shape ``(p, k)``.
        search_others: Shape ``(q, n)``.
        held_out_others: Shape ``(q, k)``.
    """
    first = _per_example(search) - _per_example(search_others)
    second = _per_example(held_out) - _per_example(held_out_others)
    return gap_of_examples(first[None], second[None])


def gap_of_scores(search: Rows, held_out: Rows, search_stderr: Rows, held_out_stderr: Rows) -> Gap:
    """The gap without examples; its error is an upper bound, as if the errors of all points were the same.

    Args:
        search: Fitness of the points, shape ``(p,)``.
        held_out: Shape ``(p,)``.
        search_stderr: Shape ``(p,)``.
        held_out_stderr: Shape ``(p,)``.
    """
    error = math.hypot(float(search_stderr.mean()), float(held_out_stderr.mean()))
    return Gap(float((search - held_out).mean()), error, is_bound=True)


def _per_example(examples: Rows) -> Rows:
    """Mean over the points, shape ``(n,)``; nan for an example that some point lacks."""
    return np.asarray(examples.mean(axis=0))


def _mean(examples: Rows) -> tuple[float, float]:
    """Mean over points and examples, and its standard error over the examples."""
    means = _per_example(examples)
    means = means[~np.isnan(means)]
    if means.size < 2:
        return (float(means.mean()) if means.size else math.nan), math.nan
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(means.size))
