"""What a search by Gaussian processes maximises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Scalarize: TypeAlias = Literal["front", "sum", "worst"]
Reference: TypeAlias = Literal["front", "worst"]


@dataclass(frozen=True)
class Goal:
    """What is maximised, in units of the fitness.

    Args:
        scalarize: ``front``: the hypervolume under the Pareto front; ``sum``: the weighted sum of the fitness;
            ``worst``: the smallest weighted fitness plus ``mean_share`` times the mean of the weighted fitness.
        weights: One per objective, 0 or more; those of weight 0 do not count for ``worst``. Not used by ``front``.
        mean_share: See ``worst``.
        at_least: One ``(objective, bound)`` pair per outcome constraint ``fitness[objective] >= bound``.
        reference: What ``worst`` subtracts from the fitness before it is weighted, one per objective; empty: nothing.
        bounded_by: What bounds the hypervolume: a little below the worst values of the ``front``, or the ``worst`` values of
            all that was evaluated, which are 0 where objectives are scaled to [0, 1].
    """

    scalarize: Scalarize
    weights: tuple[float, ...]
    mean_share: float = 0.0
    at_least: tuple[tuple[int, float], ...] = ()
    reference: tuple[float, ...] = ()
    bounded_by: Reference = "front"
