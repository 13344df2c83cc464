"""Chooses a strategy for the problem and says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.factory import make_strategy

CHEAP = 1e9  # weights times examples; below, a proposal of Bayesian optimisation takes longer than an evaluation
LONG = 500  # evaluations; beyond, surrogates cost more and more, and populations have the time they need
TPE = "optuna:TPESampler"
MANY = 5  # objectives; beyond, the hypervolume takes minutes

Choice: TypeAlias = tuple[str, Mapping[str, object], str]
"""Name of a strategy, its settings, and why."""


@STRATEGIES.register("auto")
class Auto(Strategy):
    """From coarse to fine with Bayesian optimisation, or with TPE where evaluations are cheap; CMA-ES or NSGA.

    With more than five objectives, or 500 evaluations and more: NSGA-III for more than three objectives, NSGA-II for two or
    three, CMA-ES for one. Otherwise, coarse to fine if the space has groups, Bayesian optimisation, unless evaluations are
    cheap (fewer than 1e9 weights times examples): then TPE, or CMA-ES for one objective.
    """

    def __init__(self, problem: Problem) -> None:
        name, settings, self._reason = choice(problem)
        self._chosen = make_strategy(name, problem, settings)

    @override
    def ask(self, n: int) -> list[Proposal]:
        return self._chosen.ask(n)

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._chosen.tell(trials)

    @override
    def describe(self) -> str:
        return f"{self._chosen.describe()}; chosen because {self._reason}"


def choice(problem: Problem) -> Choice:
    """The rule; what it rests on is in docs/how_to_choose.md."""
    n, budget = problem.n_objectives, problem.budget
    what = "there is one objective" if n == 1 else f"the front of {n} objectives is wanted"
    if n > MANY or (budget or LONG) >= LONG:
        name = "cma_es" if n == 1 else "nsga2" if n <= 3 else "nsga3"
        why = f"{budget} evaluations are enough for it" if budget else "no number of evaluations is given"
        return name, {}, f"{what} and {why}"
    if problem.work is not None and problem.work < CHEAP:
        why = f"{what} and evaluations are cheap ({problem.work:.0e} weights x examples)"
        if n == 1:
            return "cma_es", {}, why
        return ("coarse_to_fine", {"inner": TPE}, why) if problem.levels else (TPE, {}, why)
    name = "coarse_to_fine" if problem.levels else "bayes_opt"
    return name, {}, f"{what} and {budget} evaluations are to be used well"
