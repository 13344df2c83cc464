"""Bounds on objectives in their own units, as settings of strategies write them, turned into bounds on fitness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from searcher.errors import ConfigError
from searcher.strategies.base import Problem

Bounds: TypeAlias = Mapping[str, Mapping[str, float]]
"""Values by objective name under ``at_least`` or ``at_most``, in the objectives' own units."""

SIDES = {"at_least": "maximize", "at_most": "minimize"}


def objective_bounds(problem: Problem, given: Bounds, setting: str = "constraints") -> tuple[tuple[int, float], ...]:
    """Smallest fitness by objective number.

    A score that is minimised is its own fitness with the other sign, so that ``at_most: {loss: 1.5}`` is a fitness of
    at least -1.5.

    Args:
        problem: Names of the objectives, and their directions if known.
        given: ``at_least`` for objectives that are maximised and ``at_most`` for those that are minimised: bounds by
            name, in the objective's own unit.
        setting: Name of the setting in errors.

    Raises:
        ConfigError: If a side or an objective is unknown, a bound is not finite, or the side does not fit the
            objective's direction.
    """
    found = []
    for side, bounds in given.items():
        if side not in SIDES:
            raise ConfigError(
                f"Unknown kind of constraint {side!r}.",
                where=f"strategy.{setting}",
                fix="Use at_least for objectives that are maximised, at_most for those that are minimised.",
            )
        for name, bound in bounds.items():
            if name not in problem.objective_names or not np.isfinite(bound):
                raise ConfigError(
                    f"Expected a number for one of the objectives {', '.join(problem.objective_names)}, "
                    f"but got {name}: {bound}.",
                    where=f"strategy.{setting}.{side}",
                    fix="Name an objective of the run and give its bound in the objective's own unit.",
                )
            index = problem.objective_names.index(name)
            _check_direction(problem, index, side, setting)
            found.append((index, float(bound) if side == "at_least" else -float(bound)))
    return tuple(found)


def _check_direction(problem: Problem, index: int, side: str, setting: str) -> None:
    if problem.directions and problem.directions[index] != SIDES[side]:
        name, direction = problem.objective_names[index], problem.directions[index]
        other = next(s for s, fits in SIDES.items() if fits == direction)
        raise ConfigError(
            f"Objective {name} is {direction}d, so a bound from the other side restricts nothing that is sought.",
            where=f"strategy.{setting}.{side}",
            fix=f"Write {name} under `{other}`.",
        )
