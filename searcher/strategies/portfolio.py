"""Several strategies that share one history; those whose proposals improve it propose more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.bandit import DiscountedThompson, ImprovementCredit
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.factory import make_strategy
from searcher.strategies.pending import PendingProposals

ONE_OBJECTIVE = ("cma_es", "optuna:TPESampler", "natural_niches")
SEVERAL_OBJECTIVES = ("natural_niches", "optuna:TPESampler", "nsga2")


@STRATEGIES.register("portfolio")
class Portfolio(Strategy):
    """A bandit over strategies that share one history: whatever one proposes, all are told of.

    The next proposal comes from the member that discounted Thompson sampling draws; a member earns what its proposals
    add to the ten best values, or to the hypervolume of the front with several objectives: the share of the last 20
    results that added less. Each member has a seed of its own. Members that only rank their own generation (the
    evolution strategies) take up what others found if it is better than all they know; ``random`` learns nothing.

    A strategy sees genes only, so that the operator of a merge is not chosen here: search its settings as genes.

    Args:
        members: Names of strategies, or mappings with ``name`` and settings; by default ``cma_es``,
            ``optuna:TPESampler`` and ``natural_niches`` for one objective, ``natural_niches``, ``optuna:TPESampler`` and
            ``nsga2`` for several.
        discount: What a reward still counts after the next, in (0, 1]; 0.98 remembers about 50 results.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        members: tuple[str | Mapping[str, object], ...] | None = None,
        discount: float = 0.98,
    ) -> None:
        if not 0.0 < discount <= 1.0:
            raise ConfigError(
                f"Expected a discount above 0 and at most 1, but got {discount}.",
                where="strategy.discount",
                fix="Give 0.98; 1 forgets nothing.",
            )
        given = members or (ONE_OBJECTIVE if problem.n_objectives == 1 else SEVERAL_OBJECTIVES)
        named = [_named(member) for member in given]
        if len(named) < 2:
            raise ConfigError(
                f"Expected at least two members, but got {len(named)}.",
                where="strategy.members",
                fix="Name several strategies, or use the one as the strategy of the run.",
            )
        self._members = [_make(problem, i, name, settings) for i, (name, settings) in enumerate(named)]
        self._names = [name for name, _ in named]
        self.wants_examples = any(member.wants_examples for member in self._members)
        self._bandit = DiscountedThompson(len(named), discount, problem.rng())
        self._credit = ImprovementCredit(problem.n_objectives)
        self._pending: PendingProposals[int] = PendingProposals()
        self._n_proposed = [0] * len(named)

    @override
    def ask(self, n: int) -> list[Proposal]:
        return [self._propose(self._bandit.choose()) for _ in range(n)]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            credit = self._credit.of(trial)
            member = None if trial.genome is None else self._pending.pop(trial.genome)
            if member is not None:
                self._bandit.reward(member, credit)
        for strategy in self._members:
            strategy.tell(trials)

    @override
    def describe(self) -> str:
        total = sum(self._n_proposed)
        counts = [
            name if total == 0 else f"{name} {count / total:.0%}"
            for name, count in zip(self._names, self._n_proposed, strict=True)
        ]
        return f"portfolio of {', '.join(counts)}" + (f" of {total} proposals so far" if total else "")

    def _propose(self, member: int) -> Proposal:
        proposal = self._members[member].ask(1)[0]
        self._pending.add(proposal.genome, member)
        self._n_proposed[member] += 1
        return proposal


def _named(member: object) -> tuple[str, dict[str, object]]:
    """Name and settings of a member."""
    settings = {"name": member} if isinstance(member, str) else dict(member) if isinstance(member, Mapping) else {}
    name = settings.pop("name", None)
    if not isinstance(name, str) or name == "portfolio":
        raise ConfigError(
            f"Expected the name of another strategy, or a mapping with one under `name`, but got {member!r}.",
            where="strategy.members",
            fix="Write for example `members: [cma_es, {name: nsga2, population: 20}]`.",
        )
    return name, settings


def _make(problem: Problem, place: int, name: str, settings: Mapping[str, object]) -> Strategy:
    """A member with a seed of its own, or two of them would draw the same numbers."""
    seed = int(np.random.SeedSequence([problem.seed, place]).generate_state(1)[0])
    try:
        return make_strategy(name, replace(problem, seed=seed), settings)
    except ConfigError as error:
        raise ConfigError(f"Member {name}: {error.what}", where=f"strategy.members[{place}]", fix=error.fix) from error
