"""Chooses a strategy for the problem and says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.factory import make_strategy

CHEAP = 1e9  # weights times examples; below, a proposal of Bayesian optimisation takes longer than an evaluation
LONG = 500  # evaluations; from there on Gaussian processes cost more and more
VERY_LONG = 2000  # evaluations; from there on TPE does, and populations have the time they need
TPE = "optuna:TPESampler"
FEW = 3  # objectives, whose front a population covers without reference directions
MANY = 5  # objectives; beyond, the hypervolume takes minutes

Choice: TypeAlias = tuple[str, Mapping[str, object], str]
"""Name of a strategy, its settings, and why."""


@STRATEGIES.register("auto")
class Auto(Strategy):
    """From coarse to fine with Bayesian optimisation, or with TPE where evaluations are cheap or many; CMA-ES or NSGA.

    For one to five objectives and fewer than 500 evaluations Bayesian optimisation, coarse to fine if the space has groups,
    unless evaluations are cheap (fewer than 1e9 weights times examples). For cheap or more evaluations CMA-ES if there is one
    objective, else TPE, coarse to fine if the space has groups. From 2000 evaluations on NSGA-II; NSGA-III, already from
    500 on, for more than three objectives, and always for more than five.
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
    is_long = budget is None or budget >= LONG
    if n <= MANY and not is_long and not _is_cheap(problem):
        name = "coarse_to_fine" if problem.levels else "bayes_opt"
        return name, {}, f"{what} and {budget} evaluations are to be used well"
    why = f"{what} and {_abundance(problem)}"
    if n == 1:
        return "cma_es", {}, why
    if n > MANY or (n > FEW and is_long):
        return "nsga3", {}, why
    if (budget or 0) >= VERY_LONG:
        return "nsga2", {}, why
    return ("coarse_to_fine", {"inner": TPE}, why) if problem.levels else (TPE, {}, why)


def _is_cheap(problem: Problem) -> bool:
    return problem.work is not None and problem.work < CHEAP


def _abundance(problem: Problem) -> str:
    """Why evaluations need not be saved."""
    if problem.budget is None:
        return "no number of evaluations is given"
    if problem.budget < LONG and _is_cheap(problem):
        return f"evaluations are cheap ({problem.work:.0e} weights x examples)"
    return f"{problem.budget} evaluations are enough for it"
