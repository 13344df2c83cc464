"""Random search: the yardstick for every other strategy."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.strategies.base import STRATEGIES, Problem, Strategy


@STRATEGIES.register("random")
class RandomSearch(Strategy):
    """Uniform samples of the search space, independent of all results.

    Each proposal costs O(dim) at any length of the run, and the sequence does not depend on how many are asked
    for at a time.
    """

    def __init__(self, problem: Problem) -> None:
        self._dim = problem.dim
        self._rng = problem.rng()

    @override
    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._rng.random(self._dim)) for _ in range(n)]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        """Nothing is learned."""

    @override
    def describe(self) -> str:
        return f"random search, uniform over {self._dim} genes"
