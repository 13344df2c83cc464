"""What every strategy is: ask for genomes, be told of finished trials.

A strategy never sees weights, models, recipes or objectives. Its state is a function of its seed and of the
sequence of calls, so that a run resumes by replaying them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from searcher.candidate import Proposal, Trial
from searcher.registry import Registry

STRATEGIES: Registry[type[Strategy]] = Registry("strategy", "searcher.strategies")


@dataclass(frozen=True)
class Problem:
    """What a strategy may know of the search.

    Args:
        gene_names: One name per gene; the dimension is their number.
        objective_names: One name per objective.
        budget: Candidates that the run may evaluate, baselines included; None if only time limits it.
        seed: Seed of the run.
        directions: ``maximize`` or ``minimize`` per objective, of its scores; fitness is always maximised. Empty if
            not known.
        levels: Coarser searches of the same space, the coarsest first: for each gene the number of the gene of that
            level which it follows. Each level's genes move whole genes of the next.
        work: Parameters of the model times search examples, all objectives together: a rough measure of what an
            evaluation costs; None if nobody knows.
        is_refined: Whether a finer search follows that learns from this one.
    """

    gene_names: tuple[str, ...]
    objective_names: tuple[str, ...]
    budget: int | None
    seed: int
    directions: tuple[str, ...] = ()
    levels: tuple[tuple[int, ...], ...] = ()
    work: float | None = None
    is_refined: bool = False

    @property
    def dim(self) -> int:
        """Number of genes."""
        return len(self.gene_names)

    @property
    def n_objectives(self) -> int:
        """Number of objectives."""
        return len(self.objective_names)

    def rng(self) -> np.random.Generator:
        """A private generator; evaluators that reseed global generators cannot disturb it."""
        return np.random.default_rng([self.seed, 0x5EA2C])


class Strategy(ABC):
    """Ask-and-tell interface.

    The constructor takes the :class:`Problem` and keyword-only settings; their annotations and defaults are
    the config schema of the strategy, and the ``Args`` section of the class docstring is its help text.

    Before the first ``ask`` the strategy is told of the baselines: those inside the space have a genome, the
    others (genome None) only say what scores to beat. Failed trials have ``fitness`` None and must be survived.
    """

    wants_examples: bool = False
    """Whether trials must carry per-example scores; reading them back on resume costs time."""

    uses_earlier_runs: bool = False
    """Whether it may be told, before the first ask, of what other runs scored: trials with negative numbers, which take
    nothing from the budget and cannot be parents."""

    uses_levels: bool = False
    """Whether it takes from ``Problem.levels`` which genes matter together, so that a coarse search can be short."""

    @abstractmethod
    def __init__(self, problem: Problem) -> None: ...

    @abstractmethod
    def ask(self, n: int) -> list[Proposal]:
        """At least one and at most ``n`` proposals; earlier ones may still be pending."""

    @abstractmethod
    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn of finished trials, in the recorded order; the caller's arrays must not be changed."""

    def describe(self) -> str:
        """One line for logs and reports: what was chosen, and why, if there was a choice."""
        return type(self).__name__
