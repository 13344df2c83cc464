"""M2N2: an archive of merges that compete for examples, mate with what complements them, and cross at split points.

Reference: Abrantes, Lange and Tang 2025, "Competition and Attraction Improve Model Fusion", arXiv:2508.16204. What
differs from the authors' code, and why, is in ``docs/natural_niches.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.errors import ConfigError
from searcher.niches.archive import NicheArchive
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.example_scores import ExampleRows, Row
from searcher.strategies.offspring import Offspring, Parent

WARM_UP_SHARE = 5  # the warm-up takes at most one in so many evaluations


@STRATEGIES.register("natural_niches")
class NaturalNiches(Strategy):
    """M2N2, steady state: every proposal uses the archive as it is, every result enters it on arrival.

    Made for the space niche_boundary, where it crosses the recipes of two earlier candidates; in other spaces it
    crosses genomes. The examples of all objectives stand side by side; the better of a candidate's scores is the
    larger one, and scores below 0 (losses) are raised by the lowest one seen. An objective without example scores is
    one example, on which the worst member counts as 0 and the best as 1.

    Args:
        archive: Number of members P.
        alpha: Strength of competition; 0: none, as in a genetic algorithm.
        matchmaker: Whether the second parent is drawn by attraction to what the first lacks; else both by fitness.
        crossover: Whether children have two parents; without, they are mutated clones (not in niche_boundary).
        split_point: Whether the mixing ratio changes at split points; without, it is the same everywhere.
        warm_up: Random proposals at the start (in niche_boundary: crossings of two random known merges); by default
            as many as the baselines leave room for in the archive, at most a fifth of the budget.
        mutation: Standard deviation of noise on genes other than split points and ratio.
        graded: Whether an example's reward is the best score of any member instead of 1; the same for right and wrong.
        subtract_worst: Whether the worst member's score on an example counts as 0, for scores that differ little.
        weights: What one example of each objective counts; by default 1.
    """

    wants_examples = True

    def __init__(
        self,
        problem: Problem,
        *,
        archive: int = 20,
        alpha: float = 1.0,
        matchmaker: bool = True,
        crossover: bool = True,
        split_point: bool = True,
        warm_up: int | None = None,
        mutation: float = 0.1,
        graded: bool = True,
        subtract_worst: bool = False,
        weights: tuple[float, ...] | None = None,
    ) -> None:
        _check(archive, alpha, warm_up)
        self._rng = problem.rng()
        self._offspring = Offspring(problem, self._rng, crossover=crossover, split_point=split_point, mutation=mutation)
        self._rows = ExampleRows(problem, weights)
        self._capacity, self._alpha, self._matchmaker = archive, alpha, matchmaker
        self._graded, self._subtracts = graded, subtract_worst
        self._switches = {"matchmaker": matchmaker, "crossover": crossover, "split point": split_point}
        self._budget, self._warm_up = problem.budget, warm_up
        self._archive: NicheArchive | None = None
        self._parents: dict[int, Parent] = {}
        self._raised: Row | None = None  # what has been added to scores so that none is negative

    @override
    def ask(self, n: int) -> list[Proposal]:
        if self._warm_up is None:
            self._warm_up = self._default_warm_up()
        return [self._propose() for _ in range(n)]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            row = self._rows.of(trial)
            if row is not None and self._offspring.can_be_parent(trial.genome):
                self._enter(trial, row)

    @override
    def describe(self) -> str:
        off = [name for name, is_on in self._switches.items() if not is_on]
        missing = f", without {', '.join(off)}" if off else ""
        what = "recipes" if self._offspring.names_parents else "genomes"
        scalars = self._rows.scalar_names
        note = f"; without example scores, so one example each: {', '.join(scalars)}" if scalars else ""
        return f"M2N2 on {what}: archive {self._capacity}, alpha {self._alpha:g}{missing}{note}"

    @property
    def members(self) -> tuple[int, ...]:
        """Candidate numbers in the archive, in slot order."""
        return () if self._archive is None else self._archive.members

    def _propose(self) -> Proposal:
        if self._warm_up or not self._archive:
            self._warm_up = max(0, (self._warm_up or 0) - 1)
            return self._offspring.random()
        first, second = self._archive.pick_parents(self._rng, matchmaker=self._matchmaker)
        members = self._archive.members
        return self._offspring.child(self._parents[members[first]], self._parents[members[second]])

    def _default_warm_up(self) -> int:
        room = self._capacity - len(self.members)
        return room if self._budget is None else min(room, self._budget // WARM_UP_SHARE)

    def _enter(self, trial: Trial, row: Row) -> None:
        archive = self._archive
        if archive is None:
            archive = self._archive = self._new_archive(row)
        if trial.candidate in archive.members:
            return
        genome = None if trial.genome is None else np.array(trial.genome, dtype=np.float64)
        self._parents[trial.candidate] = Parent(trial.candidate, genome)
        removed = archive.add(trial.candidate, self._not_negative(archive, row))
        if removed is not None:
            del self._parents[removed]

    def _new_archive(self, row: Row) -> NicheArchive:
        self._raised = np.zeros(row.size)
        return NicheArchive(
            self._capacity,
            row.size,
            alpha=self._alpha,
            graded=self._graded,
            weights=self._rows.weights,
            subtract_worst=self._subtracts,
            rescale=self._rows.is_scalar,
        )

    def _not_negative(self, archive: NicheArchive, row: Row) -> Row:
        """The row raised by the lowest score seen on each example; the members are raised along with it."""
        assert self._raised is not None
        lacking = np.maximum(0.0, -(row + self._raised))
        if lacking.any():
            archive.raise_scores(lacking)
            self._raised = self._raised + lacking
        return np.maximum(0.0, row + self._raised)


def _check(archive: int, alpha: float, warm_up: int | None) -> None:
    for is_wrong, what, setting, fix in (
        (archive < 2, f"Expected an archive of at least 2 members, but got {archive}.", "archive", "Give 20."),
        (not (np.isfinite(alpha) and alpha >= 0), f"Expected alpha of 0 or more, but got {alpha}.", "alpha", "Give 1."),
        (
            warm_up is not None and warm_up < 0,
            f"Expected a warm-up of 0 proposals or more, but got {warm_up}.",
            "warm_up",
            "Give 0, or leave it out.",
        ),
    ):
        if is_wrong:
            raise ConfigError(what, where=f"strategy.{setting}", fix=fix)
