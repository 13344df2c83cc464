"""Coarse to fine: first few genes that move many at once, later more; what was learned before goes along.

One coefficient per model is soon found and brings most of the gain; coefficients per layer bring a little more, but a
search that begins with them gets lost. Spaces with groups say which genes a coarser search ties together
(:meth:`searcher.spaces.base.Space.levels`). Every genome of a coarse level is one of the finer ones, so that all scores,
the baselines' among them, are data for the search on the next level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.factory import make_strategy

PER_GENE = 15  # evaluations of a level for each of its genes, beside the baselines
PER_GENE_KNOWN = 8  # if the inner strategy knows on the next level which genes these moved together
TOLERANCE = 1e-9  # between genes that a level ties together


@STRATEGIES.register("coarse_to_fine")
class CoarseToFine(Strategy):
    """Another strategy, first on one gene per model, then on more and more; for spaces with groups, such as layer_wise.

    Args:
        inner: The strategy that searches on each level: a name, or ``{name: NAME, ...}`` with its settings.
        evaluations: Proposals on each level but the last; by default 15 per gene, or 8 with an inner strategy that knows
            the levels (``bayes_opt``), at most half of the budget left. A level that would get less than one
            evaluation per gene is not entered.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        inner: str | Mapping[str, object] = "bayes_opt",
        evaluations: tuple[int, ...] | None = None,
    ) -> None:
        self._problem = problem
        self._levels = [Level(np.array(tie)) for tie in (*problem.levels, tuple(range(problem.dim)))]
        self._evaluations = _checked(evaluations, len(self._levels))
        settings = {"name": inner} if isinstance(inner, str) else dict(inner)
        self._name, self._settings = _named(settings), {k: v for k, v in settings.items() if k != "name"}
        self._told: list[Trial] = []
        self._n_before = 0  # told before the first proposal
        self._n_proposed = 0
        self._at, self._left = 0, 0
        self._inner = self._make()
        self.wants_examples = self._inner.wants_examples
        self._has_begun = False

    @override
    def ask(self, n: int) -> list[Proposal]:
        if not self._has_begun:
            self._has_begun, self._n_before = True, len(self._told)
            self._left = self._share()
        while self._left <= 0 and self._is_worth_refining():
            self._refine()
        is_last = self._left <= 0
        proposals = self._inner.ask(n if is_last else min(n, self._left))
        self._left -= len(proposals)
        self._n_proposed += len(proposals)
        return [Proposal(self._levels[self._at].expand(p.genome), p.parents) for p in proposals]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._told.extend(trials)
        self._inner.tell([self._tied(trial) for trial in trials])

    @override
    def describe(self) -> str:
        sizes = ", then ".join(str(level.dim) for level in self._levels)
        level = self._levels[self._at]
        return f"coarse to fine, {sizes} genes; with {level.dim}: {self._inner.describe()}"

    def _make(self) -> Strategy:
        level = self._levels[self._at]
        names = tuple(self._problem.gene_names[i] for i in level.first)
        seed, is_last = self._problem.seed + self._at, self._at + 1 == len(self._levels)
        problem = replace(self._problem, gene_names=names, seed=seed, levels=self._coarser(), is_refined=not is_last)
        return make_strategy(self._name, problem, self._settings)

    def _coarser(self) -> tuple[tuple[int, ...], ...]:
        """The levels before the present one: for each of its genes the number of the one that moved it."""
        first = self._levels[self._at].first
        return tuple(tuple(level.tie[first].tolist()) for level in self._levels[: self._at])

    def _tied(self, trial: Trial) -> Trial:
        """The trial as one of the present level: without a genome if that does not lie in it."""
        return trial if trial.genome is None else replace(trial, genome=self._levels[self._at].reduce(trial.genome))

    def _remaining(self) -> float:
        budget = self._problem.budget
        return np.inf if budget is None else budget - self._n_before - self._n_proposed

    def _share(self) -> int:
        """Proposals on the present level; on the last, or one that is not left again, all that remain."""
        if self._evaluations is not None and self._at < len(self._evaluations):
            return self._evaluations[self._at]
        each = PER_GENE_KNOWN if self._inner.uses_levels else PER_GENE
        wanted = each * self._levels[self._at].dim
        return int(min(wanted, max(self._remaining() / 2, 1)))

    def _is_worth_refining(self) -> bool:
        if self._at + 1 == len(self._levels):
            return False
        return self._evaluations is not None or self._remaining() >= self._levels[self._at + 1].dim

    def _refine(self) -> None:
        """Begin the next level with all that is known."""
        self._at += 1
        self._inner = self._make()
        self._inner.tell([self._tied(trial) for trial in self._told])
        self._left = 0 if self._at + 1 == len(self._levels) else self._share()


@dataclass(frozen=True, eq=False)
class Level:
    """Genes tied together.

    Args:
        tie: For each gene of the space the gene of the level that moves it, shape ``(dim of the space,)``.
    """

    tie: NDArray[np.int64]

    @property
    def dim(self) -> int:
        """Number of genes of the level."""
        return int(self.tie.max()) + 1 if self.tie.size else 0

    @property
    def first(self) -> NDArray[np.int64]:
        """For each gene of the level the first that it moves, shape ``(dim,)``."""
        return np.unique(self.tie, return_index=True)[1].astype(np.int64)

    def expand(self, genome: Genome) -> Genome:
        """The genome of the space, shape ``(dim of the space,)``."""
        return genome[self.tie]

    def reduce(self, genome: Genome) -> Genome | None:
        """The genome of the level, shape ``(dim,)``; None if tied genes differ."""
        found: Genome = genome[self.first]
        return found if np.abs(found[self.tie] - genome).max(initial=0.0) <= TOLERANCE else None


def _named(settings: Mapping[str, object]) -> str:
    name = settings.get("name")
    if not isinstance(name, str) or name in ("coarse_to_fine", "auto"):
        raise ConfigError(
            f"Expected the name of a strategy that does not choose others, but got {name!r}.",
            where="strategy.inner",
            fix="Use bayes_opt, cma_es, nsga2 or optuna:TPESampler.",
        )
    return name


def _checked(evaluations: Sequence[int] | None, n_levels: int) -> tuple[int, ...] | None:
    if evaluations is None:
        return None
    if len(evaluations) != n_levels - 1 or any(n < 1 for n in evaluations):
        raise ConfigError(
            f"Expected {n_levels - 1} positive numbers, one for each level but the last, but got {list(evaluations)}.",
            where="strategy.evaluations",
            fix="Leave it out for a choice by budget; `searcher plan` shows the levels.",
        )
    return tuple(evaluations)
