"""MAP-Elites on two measures of what a candidate solves.

References: Mouret and Clune 2015, "Illuminating search spaces by mapping elites", arXiv:1504.04909; the version that
Abrantes et al. 2025 compare M2N2 with (github.com/SakanaAI/natural_niches).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.example_scores import ExampleRows
from searcher.strategies.offspring import Offspring, Parent


@dataclass(frozen=True, eq=False)
class _Elite:
    """A candidate that holds a cell.

    Args:
        parent: The candidate.
        values: Its two coordinates, then its fitness, shape ``(2 + n_objectives,)``.
    """

    parent: Parent
    values: NDArray[np.float64]


@STRATEGIES.register("map_elites")
class MapElites(Strategy):
    """A grid of elites over two scores; parents are drawn in proportion to quality, crossed as in M2N2.

    With several objectives the measures are the first two; with one, its scores on the examples of even and of odd
    number. (The authors take the accuracy on odd and on even digits.) Quality is the mean of the objectives.

    Scores that have all been between 0 and 1 (accuracies) are taken as they are, so that the grid is fixed; of others
    the range that has been seen is 0 to 1, and the elites are put in their cells anew when it grows. Unlike in the authors' code, a measure at the upper end belongs to the last cell
    (there it is beyond the grid and the candidate is lost), and the two parents differ as soon as there are two elites.

    Args:
        bins: Cells per measure.
        split_point: Whether the mixing ratio changes at split points; without, it is the same everywhere.
        warm_up: Random proposals at the start; by default 20 less the baselines, at most a fifth of the budget.
        mutation: Standard deviation of noise on genes other than split points and ratio.
    """

    wants_examples = True

    def __init__(
        self,
        problem: Problem,
        *,
        bins: int = 10,
        split_point: bool = True,
        warm_up: int | None = None,
        mutation: float = 0.15,
    ) -> None:
        if bins < 1:
            raise ConfigError(f"Expected at least 1 bin, but got {bins}.", where="strategy.bins", fix="Give 10.")
        if warm_up is not None and warm_up < 0:
            raise ConfigError(
                f"Expected a warm-up of 0 proposals or more, but got {warm_up}.",
                where="strategy.warm_up",
                fix="Give 0, or leave it out.",
            )
        self._rng = problem.rng()
        self._offspring = Offspring(problem, self._rng, crossover=True, split_point=split_point, mutation=mutation)
        self._rows = ExampleRows(problem)
        self._bins, self._n_objectives = bins, problem.n_objectives
        self._budget, self._warm_up = problem.budget, warm_up
        self._n_told = 0
        unseen = np.full(2 + problem.n_objectives, np.inf)
        self._seen = np.stack([unseen, -unseen])  # lowest and highest values so far
        self._elites: dict[tuple[int, int], _Elite] = {}

    @override
    def ask(self, n: int) -> list[Proposal]:
        if self._warm_up is None:
            room = max(0, 20 - self._n_told)
            self._warm_up = room if self._budget is None else min(room, self._budget // 5)
        return [self._propose() for _ in range(n)]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            elite = self._elite(trial)
            if elite is not None:
                self._n_told += 1
                self._enter(elite)

    @override
    def describe(self) -> str:
        what = "the first two objectives" if self._n_objectives > 1 else "scores on even and on odd examples"
        return f"MAP-Elites: {self._bins} x {self._bins} cells over {what}, {len(self._elites)} of them held"

    @property
    def elites(self) -> dict[tuple[int, int], int]:
        """Candidate number by cell."""
        return {cell: elite.parent.number for cell, elite in self._elites.items()}

    def _propose(self) -> Proposal:
        if self._warm_up or not self._elites:
            self._warm_up = max(0, (self._warm_up or 0) - 1)
            return self._offspring.random()
        first, second = self._pick()
        return self._offspring.child(first.parent, second.parent)

    def _pick(self) -> tuple[_Elite, _Elite]:
        """Two different elites in proportion to quality (less the worst's, if not all scores are fractions).

        They are drawn alike if fewer than two have any.
        """
        elites = [self._elites[cell] for cell in sorted(self._elites)]
        if len(elites) == 1:
            return elites[0], elites[0]
        quality = np.array([self._quality(elite) for elite in elites])
        if not self._is_fraction.all():
            quality -= quality.min()  # the zero of such a scale means nothing
        weights = quality if np.count_nonzero(quality) > 1 else np.ones(len(elites))
        first, second = self._rng.choice(len(elites), size=2, replace=False, p=weights / weights.sum())
        return elites[first], elites[second]

    def _elite(self, trial: Trial) -> _Elite | None:
        """What a trial puts on the grid; None if it failed or cannot be a parent."""
        row = self._rows.of(trial)
        if row is None or trial.fitness is None or not self._offspring.can_be_parent(trial.genome):
            return None
        genome = None if trial.genome is None else np.array(trial.genome, dtype=np.float64)
        if self._n_objectives > 1:
            measures = np.array(trial.fitness[:2], dtype=np.float64)
        else:
            measures = np.array([row[0::2].mean(), row[1::2].mean() if row.size > 1 else row.mean()])
        return _Elite(Parent(trial.candidate, genome), np.concatenate([measures, trial.fitness]))

    def _enter(self, elite: _Elite) -> None:
        before = self._bounds()
        self._seen = np.stack([np.minimum(self._seen[0], elite.values), np.maximum(self._seen[1], elite.values)])
        if not np.array_equal(before, self._bounds()):  # other cells: the elites find theirs anew
            elites, self._elites = list(self._elites.values()), {}
            for known in sorted(elites, key=lambda one: one.parent.number):
                self._hold(known)
        self._hold(elite)

    def _hold(self, elite: _Elite) -> None:
        """Give a candidate its cell if it is empty or its holder is worse."""
        x, y = np.clip(np.floor(self._scaled(elite)[:2] * self._bins), 0, self._bins - 1).astype(int).tolist()
        holder = self._elites.get((x, y))
        if holder is None or self._quality(elite) > self._quality(holder):
            self._elites[x, y] = elite

    def _quality(self, elite: _Elite) -> float:
        return float(self._scaled(elite)[2:].mean())

    def _scaled(self, elite: _Elite) -> NDArray[np.float64]:
        """Measures and fitness between 0 and 1."""
        low, high = self._bounds()
        return np.asarray((elite.values - low) / np.where(high > low, high - low, 1.0))

    def _bounds(self) -> NDArray[np.float64]:
        """What counts as 0 and as 1, shape (2, 2 + n_objectives): 0 and 1, or what has been seen if that is beyond."""
        return np.where(self._is_fraction, np.array([[0.0], [1.0]]), self._seen)

    @property
    def _is_fraction(self) -> NDArray[np.bool_]:
        """Which values have all been between 0 and 1, shape (2 + n_objectives,)."""
        return np.asarray((self._seen[0] >= 0.0) & (self._seen[1] <= 1.0))
