"""Nested MAP: two models at a time, each judged by its own task, until one merge is left.

Reference: Li et al. 2025 and the authors' code: the two models whose metrics differ least are merged by MAP in two
coefficients; the point of their front with the largest preference-weighted sum of metrics, each divided by its
Euclidean norm over the front, replaces them. Evaluations grow with N instead of N squared; effects between
models of different pairs are only seen where their merges meet, and all that remains is one preference's merge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.quadratic_surrogate.amortized_front import AmortizedFront, Plan
from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.budget import OVERSAMPLING
from searcher.quadratic_surrogate.quadratic import n_unknowns

Floats: TypeAlias = NDArray[np.float64]

PER_PAIR = 20  # evaluations of each pair but the last, as in the code of MAP
IN_PLANE = 1e-9


def n_nested(n_models: int) -> int:
    """Evaluations until the last pair has had as many as the others; the models alone included."""
    return PER_PAIR if n_models == 2 else n_models + PER_PAIR * (n_models - 1)


@dataclass(frozen=True, eq=False)
class Merge:
    """A model, or a merge that replaced a pair.

    Args:
        direction: Genes at coordinate 1, shape ``(N,)``; supports of two merges are disjoint.
        tasks: Numbers of its models and objectives.
        highest: Coordinate that is sampled at most.
        value: Weighted mean fitness of its tasks; nan if unknown.
    """

    direction: Floats
    tasks: tuple[int, ...]
    highest: float
    value: float = float("nan")


@dataclass(frozen=True, eq=False)
class Told:
    """A finished trial; ``fitness`` has shape ``(N,)``, or is None if it failed."""

    genome: Floats
    fitness: Floats | None
    stderr: Floats | None
    is_estimate: bool


class NestedFronts:
    """The stages of nested MAP; a function of its seed and of the calls.

    Args:
        limits: Box of genes; 0 must be the lowest, where a model is absent.
        plan: Of the stages; with more than two models its points are those of two genes.
        filling: Points of an even sequence.
        rng: Source of all random numbers.
        weights: Preference, one per objective, positive, shape ``(N,)``.

    Raises:
        ValueError: If the lowest gene of the box is not 0.
    """

    def __init__(
        self,
        limits: Box,
        plan: Plan,
        filling: Callable[[int, int], Floats],
        rng: np.random.Generator,
        weights: Floats,
    ) -> None:
        if limits.low.any():
            raise ValueError("Expected 0 as the lowest gene, where a model is absent.")
        self._limits, self._plan, self._filling, self._rng, self._weights = limits, plan, filling, rng, weights
        self._merges = [Merge(row, (k,), float(limits.high[k])) for k, row in enumerate(np.eye(limits.dim))]
        if limits.dim > 2:
            pair = n_unknowns(2, "full")
            self._plan = replace(plan, terms="full", points=OVERSAMPLING * pair, is_adaptive=False)
        self._told: list[Told] = []
        self._stage: AmortizedFront | None = None
        self._pair: tuple[int, int] = (0, 1)
        self._out: dict[int, tuple[AmortizedFront, int] | int | None] = {}  # of a stage; a model alone; a filling
        self._n_out = self._n_filled = self._n_stages = self._n_in_stage = 0
        self._picks: list[tuple[int, ...]] = []

    def next(self) -> tuple[int, Floats]:
        """Number and genome, shape ``(N,)``, of what should be measured next."""
        self._n_out += 1
        number = self._n_out - 1
        if self._stage is None and len(self._merges) > 2 and not self._n_stages:
            waiting = {of for of in self._out.values() if isinstance(of, int)}
            missing = [k for k in range(self._limits.dim) if not self._has_tried(k)]
            alone = next((k for k in missing if k not in waiting), None)
            if alone is not None:
                self._out[number] = alone
                return number, self._merges[alone].direction * self._merges[alone].highest
            if missing:  # workers wait for models that are being measured
                self._out[number] = None
                self._n_filled += 1
                return number, self._limits.at(self._filling(self._n_filled - 1, self._limits.dim))
            self._merges = [replace(m, value=self._alone(m.tasks[0])) for m in self._merges]
        if self._stage is None or self._is_done(self._stage):
            self._stage = self._begin()
        inner, point = self._stage.next()
        self._n_in_stage += 1
        self._out[number] = self._stage, inner
        return number, np.clip(point @ self._directions(), self._limits.low, self._limits.high)

    def add(
        self,
        genome: Floats,
        fitness: Floats | None,
        stderr: Floats | None = None,
        *,
        number: int | None = None,
        is_estimate: bool = False,
    ) -> None:
        """Learn of a measured genome; as :meth:`AmortizedFront.add`."""
        usable = fitness is not None and bool(np.isfinite(fitness).all())
        told = Told(genome.copy(), fitness.copy() if usable and fitness is not None else None, stderr, is_estimate)
        self._told.append(told)
        place = None if number is None else self._out.pop(number)
        if self._stage is not None:
            is_own = isinstance(place, tuple) and place[0] is self._stage
            self._pass_on(self._stage, told, place[1] if isinstance(place, tuple) and is_own else None)

    def describe(self, names: Sequence[str]) -> str:
        """What is merged with what."""
        n = self._limits.dim
        text = f"{n} models pairwise, about {PER_PAIR} evaluations per pair and the rest for the last"
        if self._picks:
            merged = ", ".join(" + ".join(names[k] for k in tasks) for tasks in self._picks)
            text += f"; merged: {merged}"
        if self._stage is not None:
            first, second = (self._merges[i].tasks for i in self._pair)
            text += f"; now {' + '.join(names[k] for k in first)} with {' + '.join(names[k] for k in second)}"
        return text

    def _begin(self) -> AmortizedFront:
        """Merge the pair of the stage that ends, if any, and begin with the next."""
        if self._stage is not None:
            self._replace_pair(self._stage)
        gaps = {pair: self._gap(pair) for pair in combinations(range(len(self._merges)), 2)}
        self._pair = min(gaps, key=lambda pair: (gaps[pair], pair))
        pair = [self._merges[i] for i in self._pair]
        links = tuple(self._plan.links[m.tasks[0]] if len(m.tasks) == 1 else "none" for m in pair)
        limits = Box(np.zeros(2), np.array([m.highest for m in pair]))
        stage = AmortizedFront(limits, replace(self._plan, links=links), self._filling, self._rng)
        self._n_stages += 1
        self._n_in_stage = 0
        for told in self._told:
            self._pass_on(stage, told, None)
        return stage

    def _gap(self, pair: tuple[int, int]) -> float:
        gap = abs(self._merges[pair[0]].value - self._merges[pair[1]].value)
        return gap if np.isfinite(gap) else np.inf

    def _is_done(self, stage: AmortizedFront) -> bool:
        return len(self._merges) > 2 and self._n_in_stage >= PER_PAIR and stage.fit() is not None

    def _replace_pair(self, stage: AmortizedFront) -> None:
        """Put the preferred merge of the pair in its place."""
        surrogates = stage.fit()
        assert surrogates is not None
        points, fitness = stage.predicted(surrogates)
        pair = [self._merges[i] for i in self._pair]
        shares = np.array([self._weights[list(m.tasks)].sum() for m in pair])
        norms = np.linalg.norm(fitness, axis=0)
        sums = (fitness / np.where(norms > 0, norms, 1.0)) @ shares
        best = int(np.argmax(sums))
        tasks = tuple(sorted(pair[0].tasks + pair[1].tasks))
        direction = points[best] @ self._directions()
        if direction.max() <= IN_PLANE:  # neither model helps: they go on together, as they are
            direction = np.sum([m.direction * m.highest for m in pair], axis=0)
        value = float(fitness[best] @ shares / shares.sum())
        self._merges = [m for i, m in enumerate(self._merges) if i not in self._pair]
        self._merges.append(Merge(direction, tasks, 1.0, value))
        self._picks.append(tasks)

    def _pass_on(self, stage: AmortizedFront, told: Told, number: int | None) -> None:
        """Tell a stage of a trial in its plane, as fitness of its two merges."""
        pair = [self._merges[i] for i in self._pair]
        heads = [int(np.argmax(m.direction)) for m in pair]
        point = np.array([told.genome[i] / m.direction[i] for i, m in zip(heads, pair, strict=True)])
        if number is None and np.abs(point @ self._directions() - told.genome).max() > IN_PLANE:
            return
        fitness, stderr = (self._of_pair(column, power) for column, power in ((told.fitness, 1), (told.stderr, 2)))
        stage.add(point, fitness, stderr, number=number, is_estimate=told.is_estimate)

    def _of_pair(self, values: Floats | None, power: int) -> Floats | None:
        """Weighted means of the tasks of each merge of the pair: of the values, or in quadrature."""
        if values is None:
            return None
        found = []
        for merge in (self._merges[i] for i in self._pair):
            tasks = list(merge.tasks)
            share = self._weights[tasks] / self._weights[tasks].sum()
            found.append(
                values[tasks[0]] if len(tasks) == 1 else np.sum((share * values[tasks]) ** power) ** (1 / power)
            )
        return np.array(found)

    def _directions(self) -> Floats:
        return np.stack([self._merges[i].direction for i in self._pair])

    def _has_tried(self, k: int) -> bool:
        return any(_is_alone(told.genome, k) for told in self._told)

    def _alone(self, k: int) -> float:
        """Best fitness of a model by its own task among the merges of it alone."""
        found = [t.fitness[k] for t in self._told if t.fitness is not None and _is_alone(t.genome, k)]
        return float(max(found, default=np.nan))


def _is_alone(genome: Floats, k: int) -> bool:
    return bool(genome[k] > IN_PLANE and np.abs(np.delete(genome, k)).max() <= IN_PLANE)
