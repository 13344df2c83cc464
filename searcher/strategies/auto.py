"""Chooses a strategy for the problem and says why."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.cma_es import CmaEs
from searcher.strategies.nsga2 import Nsga2


@STRATEGIES.register("auto")
class Auto(Strategy):
    """CMA-ES for one objective, NSGA-II for several, both with their defaults."""

    def __init__(self, problem: Problem) -> None:
        if problem.n_objectives == 1:
            self._chosen: Strategy = CmaEs(problem)
            self._reason = "there is one objective"
        else:
            self._chosen = Nsga2(problem)
            self._reason = f"the front of {problem.n_objectives} objectives is wanted"

    @override
    def ask(self, n: int) -> list[Proposal]:
        return self._chosen.ask(n)

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._chosen.tell(trials)

    @override
    def describe(self) -> str:
        return f"{self._chosen.describe()}; chosen because {self._reason}"
