"""Bounds on objectives in their own units, as settings of strategies write them, turned into bounds on fitness."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem

Bounds: TypeAlias = Mapping[str, Mapping[str, float | str]]
"""Values by objective name under ``at_least`` or ``at_most``: numbers in the objectives' own units, or a share of what a
baseline scores, such as ``0.9 * base``."""

SIDES = {"at_least": "maximize", "at_most": "minimize"}
_SHARE = re.compile(r"\s*([0-9.eE+-]+)\s*\*\s*(\S.*?)\s*")


@dataclass(frozen=True)
class _Bound:
    """Smallest fitness of one objective: a number, or a multiple of the fitness of a baseline."""

    objective: int
    factor: float
    baseline: str = ""


class FitnessBounds:
    """Smallest fitness by objective number.

    A score that is minimised is its own fitness with the other sign, so that ``at_most: {loss: 1.5}`` is a fitness of
    at least -1.5, and ``at_most: {loss: 1.1 * base}`` 1.1 times that of the base.

    Args:
        problem: Names of the objectives, and their directions if known.
        given: ``at_least`` for objectives that are maximised and ``at_most`` for those that are minimised: bounds by
            name, in the objective's own unit or as a share of a baseline's score.
        setting: Name of the setting in errors.

    Raises:
        ConfigError: If a side or an objective is unknown, a bound is neither a finite number nor such a share, or the
            side does not fit the objective's direction.
    """

    def __init__(self, problem: Problem, given: Bounds, setting: str = "constraints") -> None:
        self._setting, self._names = setting, problem.objective_names
        self._bounds = tuple(
            self._bound(problem, side, name, value) for side in given for name, value in self._side(given, side)
        )
        self._scores: dict[str, tuple[float, ...] | None] = {}

    def __len__(self) -> int:
        return len(self._bounds)

    @property
    def objectives(self) -> frozenset[int]:
        """Numbers of the objectives that have a bound."""
        return frozenset(bound.objective for bound in self._bounds)

    def learn(self, trials: Sequence[Trial]) -> None:
        """Take the scores of baselines from trials; to be called before :attr:`pairs` is used for them."""
        for trial in trials:
            if trial.name:
                self._scores[trial.name] = None if trial.fitness is None else tuple(trial.fitness.tolist())

    @property
    def pairs(self) -> tuple[tuple[int, float], ...]:
        """Objective number and smallest fitness of each bound.

        Raises:
            ConfigError: If a baseline that a bound refers to has no score.
        """
        return tuple((bound.objective, bound.factor * self._unit(bound)) for bound in self._bounds)

    def _unit(self, bound: _Bound) -> float:
        if not bound.baseline:
            return 1.0
        scores = self._scores.get(bound.baseline)
        if scores is None or not np.isfinite(scores[bound.objective]):
            known = ", ".join(name for name, found in self._scores.items() if found) or "none of them is scored"
            raise ConfigError(
                f"A bound on {self._names[bound.objective]} refers to the score of {bound.baseline!r}, which has none.",
                where=f"strategy.{self._setting}",
                fix=f"Name a baseline ({known}) or give a number.",
            )
        return scores[bound.objective]

    def _side(self, given: Bounds, side: str) -> Sequence[tuple[str, float | str]]:
        if side not in SIDES:
            raise ConfigError(
                f"Unknown kind of constraint {side!r}.",
                where=f"strategy.{self._setting}",
                fix="Use at_least for objectives that are maximised, at_most for those that are minimised.",
            )
        return list(given[side].items())

    def _bound(self, problem: Problem, side: str, name: str, value: float | str) -> _Bound:
        factor, baseline = _parsed(value)
        if name not in problem.objective_names or not np.isfinite(factor):
            raise ConfigError(
                f"Expected a number, or a share of a baseline's score such as `0.9 * base`, for one of the objectives "
                f"{', '.join(problem.objective_names)}, but got {name}: {value}.",
                where=f"strategy.{self._setting}.{side}",
                fix="Name an objective of the run and give its bound in the objective's own unit.",
            )
        index = problem.objective_names.index(name)
        _check_direction(problem, index, side, self._setting)
        return _Bound(index, factor if baseline or side == "at_least" else -factor, baseline)


def _parsed(value: float | str) -> tuple[float, str]:
    """Number and name of ``0.9 * base``; the name is empty for a number alone, the number nan for anything else."""
    if not isinstance(value, str):
        return float(value), ""
    found = _SHARE.fullmatch(value)
    try:
        return (float(found[1]), found[2]) if found else (float(value), "")
    except ValueError:
        return float("nan"), ""


def _check_direction(problem: Problem, index: int, side: str, setting: str) -> None:
    if problem.directions and problem.directions[index] != SIDES[side]:
        name, direction = problem.objective_names[index], problem.directions[index]
        other = next(s for s, fits in SIDES.items() if fits == direction)
        raise ConfigError(
            f"Objective {name} is {direction}d, so a bound from the other side restricts nothing that is sought.",
            where=f"strategy.{setting}.{side}",
            fix=f"Write {name} under `{other}`.",
        )
