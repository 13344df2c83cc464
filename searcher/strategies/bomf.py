"""BOMF: Bayesian optimisation of the fusion of checkpoints of one fine-tuning run.

Reference: Jang et al. 2024, "Model fusion through Bayesian optimization in language model fine-tuning"
(NeurIPS 2024), the second stage, and the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.errors import ConfigError
from searcher.multi_objective.dominance import non_dominated
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.bayes_opt import BayesOpt


@STRATEGIES.register("bomf")
class Bomf(Strategy):
    """Bayesian fusion of checkpoints (BOMF): metrics and loss as objectives, over weights that add up to 1.

    A preset of `bayes_opt`: the hypervolume of all objectives over the worst values measured, which is that of
    objectives scaled to [0, 1] over 0; as many Sobol points first as there are checkpoints, then one proposal at a
    time. Write `space: {name: model_wise, simplex: true}`: one gene fewer than checkpoints. As published the metric
    comes first in the list of objectives, and the run's answer is `best:METRIC`; the description of the finished run
    names the merge of the front whose posterior mean is largest, which luck has favoured less.

    Args:
        initial: Sobol points before the first proposal of the Gaussian processes; by default one more than genes.
        metric: Objective whose largest posterior mean is the answer; by default the first.
    """

    def __init__(self, problem: Problem, *, initial: int | None = None, metric: str | None = None) -> None:
        names = problem.objective_names
        if metric is not None and metric not in names:
            raise ConfigError(
                f"Unknown objective {metric!r}.", where="strategy.metric", fix=f"Use one of: {', '.join(names)}."
            )
        self._problem = problem
        self._metric = 0 if metric is None else names.index(metric)
        n = problem.dim + 1 if initial is None else initial
        self._search = BayesOpt(problem, initial=n, bounded_by="worst", trust_region="never", link="linear")
        self._scored: list[Trial] = []

    @override
    def ask(self, n: int) -> list[Proposal]:
        return self._search.ask(n)

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        self._search.tell(trials)
        self._scored += [
            t
            for t in trials
            if t.genome is not None and t.fitness is not None and np.isfinite(t.fitness).all() and not t.is_estimate
        ]

    @override
    def describe(self) -> str:
        name = self._problem.objective_names[self._metric]
        text = f"BOMF: {self._search.describe()}"
        picked = self.pick()
        return text if picked is None else f"{text}; largest posterior mean of {name} on the front: candidate {picked}"

    def pick(self) -> int | None:
        """Candidate with the largest posterior mean of the metric among the non-dominated ones.

        None if fewer than two candidates inside the space are scored.
        """
        means = self._search.posterior_means([t.genome for t in self._scored if t.genome is not None])
        if means is None:
            return None
        metric = np.where(non_dominated(np.array([t.fitness for t in self._scored])), means[:, self._metric], -np.inf)
        return self._scored[int(np.argmax(metric))].candidate
