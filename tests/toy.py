"""A search without models: what study, storage and session tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from searcher.candidate import Candidate, Evaluation, Score, Split
from searcher.executor.serial import Serial
from searcher.history import ObjectiveInfo
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe
from searcher.spaces.base import Space, SpaceContext
from searcher.spaces.layer_wise import LayerWise
from searcher.storage import RunStorage
from searcher.strategies.base import Problem
from searcher.strategies.factory import make_strategy
from searcher.study import Budget, Study

LAYOUT = Layout(tuple(TensorEntry(f"layers.{b}.weight", (10,), 10 * b, 10, b, "mlp") for b in range(3)))
OBJECTIVES = (
    ObjectiveInfo("near", "minimize", "1", {"search": 6, "select": 2, "held_out": 4}),
    ObjectiveInfo("high", "maximize", "1", {"search": 6, "select": 2, "held_out": 4}),
)


def make_space(operator: str = "task_arithmetic") -> Space:
    return LayerWise(SpaceContext(LAYOUT, ("a", "b"), "base", operator, fixed={"lambda": 1.0, "normalize": False}))


def baselines() -> list[tuple[str, Recipe]]:
    settings = {"lambda": 1.0, "normalize": False}

    def recipe(*row: float) -> Recipe:
        return Recipe("task_arithmetic", ("a", "b"), "base", np.array([0, 30]), np.array([row]), settings)

    return [("base", recipe(0, 0)), ("a", recipe(1, 0)), ("b", recipe(0, 1)), ("uniform average", recipe(0.5, 0.5))]


class ToyEvaluator:
    """Scores coefficients: distance to 0.3, and sum; can fail and counts what it scores."""

    splits: tuple[Split, ...] = ("search", "select", "held_out")

    def __init__(self, fails: Callable[[Candidate], bool] = lambda _: False) -> None:
        self.scored: list[tuple[int, str]] = []
        self._fails = fails

    def evaluate(self, candidate: Candidate, split: Split = "search") -> Evaluation:
        self.scored.append((candidate.number, split))
        if self._fails(candidate):
            return Evaluation(candidate.number, split, error="NonFiniteWeights", message="3 are NaN")
        n = OBJECTIVES[0].n_examples[split]
        rows = np.repeat(candidate.recipe.coefficients, np.diff(candidate.recipe.boundaries), axis=0)
        shift = {"search": 0.0, "select": 0.01, "held_out": 0.02}[split]
        near = Score.from_examples(((rows - 0.3) ** 2).mean() + shift * np.arange(n))
        high = Score.from_examples(rows.mean() + shift * np.arange(n))
        return Evaluation(candidate.number, split, {"near": near, "high": high}, seconds=0.001)


def make_study(
    storage: RunStorage,
    *,
    strategy: str = "nsga2",
    n: int = 60,
    evaluator: ToyEvaluator | None = None,
    space: Space | None = None,
    listeners: Sequence[Any] = (),
    budget: Budget | None = None,
    seed: int = 0,
) -> Study:
    space = space or make_space()
    problem = Problem(space.names, tuple(o.name for o in OBJECTIVES), 60, seed)
    settings = {"weights": (1.0, 1.0)} if strategy == "cma_es" else {}
    return Study(
        space=space,
        strategy=make_strategy(strategy, problem, settings),
        objectives=OBJECTIVES,
        evaluator=evaluator or ToyEvaluator(),
        executor=Serial(),
        storage=storage,
        baselines=baselines(),
        budget=budget or Budget(n),
        listeners=listeners,
    )


def content(storage: RunStorage) -> list[tuple[Any, ...]]:
    """Everything a run decided, without times."""
    candidates = [
        (c.number, c.origin, c.name, c.parents, None if c.genome is None else c.genome.tolist(), c.recipe.digest)
        for c in storage.candidates()
    ]
    evaluations = [
        (
            e.candidate,
            e.split,
            {n: (repr(s.value), repr(s.stderr)) for n, s in e.scores.items()},
            e.error,
            e.copied_from,
        )
        for e in storage.evaluations()
    ]
    examples = [
        (number, split, name, repr(values.tolist()))  # nan, which a stopped race leaves, equals itself as text
        for number in range(len(candidates))
        for split in ("search", "select", "held_out")
        for name, values in storage.examples(number, split).items()
    ]
    return [*candidates, *evaluations, *examples]
