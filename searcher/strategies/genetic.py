"""The genetic algorithm that M2N2 is compared with: the same loop without competition and without attraction."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.natural_niches import NaturalNiches


@STRATEGIES.register("genetic")
class Genetic(Strategy):
    """Steady-state genetic algorithm: parents drawn in proportion to their total score, the worst one replaced.

    It is natural_niches with alpha 0 and without matchmaker, as in the code of Abrantes et al. 2025.

    Args:
        archive: Size of the population.
        split_point: Whether the mixing ratio changes at split points; without, it is the same everywhere.
        warm_up: Random proposals at the start; by default as many as the baselines leave room for, at most a fifth of
            the budget.
        mutation: Standard deviation of noise on genes other than split points and ratio.
        weights: What one example of each objective counts; by default 1.
    """

    wants_examples = True

    def __init__(
        self,
        problem: Problem,
        *,
        archive: int = 20,
        split_point: bool = True,
        warm_up: int | None = None,
        mutation: float = 0.1,
        weights: tuple[float, ...] | None = None,
    ) -> None:
        self._loop = NaturalNiches(
            problem,
            archive=archive,
            alpha=0.0,
            matchmaker=False,
            split_point=split_point,
            warm_up=warm_up,
            mutation=mutation,
            graded=False,
            weights=weights,
        )
        self._capacity, self._splits = archive, split_point

    @override
    def ask(self, n: int) -> list[Proposal]:
        return self._loop.ask(n)

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._loop.tell(trials)

    @override
    def describe(self) -> str:
        return f"genetic algorithm: population {self._capacity}, parents by total score{'' if self._splits else ', without split point'}"
