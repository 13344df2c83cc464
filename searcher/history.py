"""What is known of a run so far: candidates, scores, the Pareto front and its hypervolume.

A history is built from records alone, so that a running study, a report and an export see the same thing.
Everything inside is fitness (maximised); scores keep the objective's own direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Candidate, Evaluation, Score, Split, Trial
from searcher.multi_objective.dominance import Front, non_dominated
from searcher.multi_objective.hypervolume import hypervolume


@dataclass(frozen=True)
class ObjectiveInfo:
    """What a run records of an objective.

    Args:
        name: Its name in the run.
        direction: Whether larger values are better.
        unit: Unit of the values.
        n_examples: Examples per split; empty if it has none.
        reference: Value that bounds the hypervolume; chosen from the baselines if None.
        target: Value wished for; None if none was named.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str
    n_examples: Mapping[str, int] = field(default_factory=dict)
    reference: float | None = None
    target: float | None = None

    @property
    def sign(self) -> float:
        """Factor from score to fitness."""
        return 1.0 if self.direction == "maximize" else -1.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object; its keys are the constructor's arguments."""
        return {
            "name": self.name,
            "direction": self.direction,
            "unit": self.unit,
            "n_examples": dict(self.n_examples),
            "reference": self.reference,
            "target": self.target,
        }


class History:
    """Records of a run, in order.

    Args:
        objectives: The objectives, in the order of the fitness vector.
    """

    def __init__(self, objectives: Sequence[ObjectiveInfo]) -> None:
        self.objectives = tuple(objectives)
        self.signs = np.array([o.sign for o in objectives])
        self.candidates: list[Candidate] = []
        self.evaluations: dict[tuple[int, Split], Evaluation] = {}
        self.hypervolumes: list[tuple[int, float]] = []  # (evaluations so far, hypervolume), when it changed
        self.seconds = 0.0
        self._by_digest: dict[str, int] = {}
        self._fitness: dict[int, NDArray[np.float64]] = {}
        self._front = Front(len(self.objectives))
        known = [_known_reference(o) for o in objectives]
        self._reference = None if any(r is None for r in known) else np.array(known, dtype=np.float64)
        self.n_searched = 0
        self.n_stopped = 0  # candidates stopped early, copies of them not included
        self.examples_scored = self.examples_saved = 0  # search examples over all objectives

    @classmethod
    def of(
        cls, objectives: Sequence[ObjectiveInfo], candidates: Iterable[Candidate], evaluations: Iterable[Evaluation]
    ) -> History:
        """The history of recorded candidates and evaluations."""
        history = cls(objectives)
        for candidate in candidates:
            history.add_candidate(candidate)
        for evaluation in evaluations:
            history.add_evaluation(evaluation)
        return history

    def add_candidate(self, candidate: Candidate) -> None:
        """Add the next candidate; numbers are consecutive from 0."""
        assert candidate.number == len(self.candidates)
        self.candidates.append(candidate)

    def add_evaluation(self, evaluation: Evaluation) -> bool:
        """Add an evaluation; returns whether the search front changed."""
        self.evaluations[evaluation.candidate, evaluation.split] = _without_examples(evaluation)
        self.seconds += evaluation.seconds
        if evaluation.split != "search":
            return False
        self.n_searched += 1
        self._by_digest.setdefault(self.candidates[evaluation.candidate].recipe.digest, evaluation.candidate)
        self._count_examples(evaluation)
        is_whole = evaluation.error is None and evaluation.stopped is None
        if is_whole:
            self._fitness[evaluation.candidate] = self.fitness_of(evaluation)
        if self._reference is None:
            return self._open_front()
        return is_whole and self._enter(evaluation.candidate)

    def _count_examples(self, evaluation: Evaluation) -> None:
        """Example evaluations of the search; failures, which may happen at any of them, count for nothing."""
        if evaluation.copied_from is None and evaluation.error is None:
            saved = 0
            if evaluation.stopped is not None:
                whole = {o.name: o.n_examples.get("search", 0) for o in self.objectives}
                saved = sum(whole[name] - n for name, n in evaluation.stopped.scored.items())
                self.n_stopped += 1
            self.examples_saved += saved
            self.examples_scored += sum(o.n_examples.get("search", 0) for o in self.objectives) - saved

    def fitness_of(self, evaluation: Evaluation) -> NDArray[np.float64]:
        """Signed scores, shape ``(n_objectives,)``; nan where an objective has no score in this split."""
        values = [evaluation.scores[o.name].value if o.name in evaluation.scores else math.nan for o in self.objectives]
        return np.asarray(self.signs * np.array(values), dtype=np.float64)

    def fitness(self, candidate: int) -> NDArray[np.float64] | None:
        """Search fitness of a candidate, or None if it failed, was stopped early or has not been evaluated."""
        return self._fitness.get(candidate)

    def earlier(self, digest: str) -> int | None:
        """Number of the first evaluated candidate with this recipe."""
        return self._by_digest.get(digest)

    @property
    def front(self) -> tuple[int, ...]:
        """Numbers of the non-dominated candidates on the search examples, ascending; of equal ones the earliest."""
        return tuple(sorted(self._front.members))

    @property
    def hypervolume(self) -> float:
        """Hypervolume of the front over the reference point, in the product of the objectives' units."""
        return self.hypervolumes[-1][1] if self.hypervolumes else 0.0

    @property
    def reference(self) -> NDArray[np.float64]:
        """Reference point as fitness, shape ``(n_objectives,)``; fixed once the first search score is known."""
        if self._reference is None:
            return np.array([o.sign * o.reference if o.reference is not None else 0.0 for o in self.objectives])
        return self._reference

    def trial(self, candidate: int, examples: Mapping[str, NDArray[np.float64]] | None = None) -> Trial:
        """What a strategy is told of an evaluated candidate.

        Args:
            candidate: Its number.
            examples: Per-example scores by objective, read from storage; None if the strategy does not use them.
        """
        known, evaluation = self.candidates[candidate], self.evaluations[candidate, "search"]
        name = known.name if known.origin == "baseline" else ""
        if evaluation.error is not None:
            return Trial(candidate, known.genome, known.parents, error=evaluation.error, name=name)
        stderr = np.array([evaluation.scores[o.name].stderr for o in self.objectives])
        found = [(o.sign, (examples or {}).get(o.name)) for o in self.objectives]
        signed = tuple(None if values is None else sign * values for sign, values in found)
        fitness, is_estimate = self.fitness_of(evaluation), evaluation.stopped is not None
        return Trial(candidate, known.genome, known.parents, fitness, stderr, signed, None, is_estimate, name)

    def baselines(self) -> list[Candidate]:
        """The baseline candidates, by number."""
        return [c for c in self.candidates if c.origin == "baseline"]

    def reported(self) -> tuple[int, ...]:
        """The front that is reported.

        Without select examples: the search front. With them: those of its members that no other member
        dominates on the search and select examples together; one that fails on the select examples is left out.
        """
        front = self.front
        if any((n, "select") not in self.evaluations for n in front):
            return front
        passed = [n for n in front if self.evaluations[n, "select"].error is None]
        if not passed:
            return front
        pooled = np.array([self._pooled(n) for n in passed])
        return tuple(n for n, kept in zip(passed, non_dominated(pooled), strict=True) if kept)

    def _pooled(self, candidate: int) -> NDArray[np.float64]:
        """Fitness over search and select examples together, weighted by their numbers."""
        search, select = self._fitness[candidate], self.fitness_of(self.evaluations[candidate, "select"])
        n_search = np.array([o.n_examples.get("search", 1) for o in self.objectives], dtype=np.float64)
        n_select = np.array([o.n_examples.get("select", 0) for o in self.objectives], dtype=np.float64)
        n_select[np.isnan(select)] = 0.0
        return (n_search * search + n_select * np.nan_to_num(select)) / (n_search + n_select)

    def _enter(self, candidate: int) -> bool:
        """Update front and hypervolume with a newly scored candidate."""
        fitness = self._fitness[candidate]
        if (self._front.fitness == fitness).all(axis=1).any() or not self._front.add(candidate, fitness):
            return False
        volume = hypervolume(self._front.fitness, self.reference)
        if volume != self.hypervolume:
            self.hypervolumes.append((self.n_searched, volume))
        return True

    def _open_front(self) -> bool:
        """Fix the reference point once every baseline is scored or failed, and admit what was scored so far."""
        baselines = [c.number for c in self.baselines()]
        if not self._fitness or any((n, "search") not in self.evaluations for n in baselines):
            return False
        bar = [self._fitness[n] for n in baselines if n in self._fitness] or list(self._fitness.values())
        self._reference = np.array(
            [_reference(o, np.array([f[i] for f in bar])) for i, o in enumerate(self.objectives)]
        )
        entered = [self._enter(number) for number in sorted(self._fitness)]
        return any(entered)


def _without_examples(evaluation: Evaluation) -> Evaluation:
    """Per-example scores stay in storage; a long run would fill the memory with them."""
    return replace(evaluation, scores={n: Score(s.value, s.stderr) for n, s in evaluation.scores.items()})


def _known_reference(objective: ObjectiveInfo) -> float | None:
    """The bound as fitness where no baseline is needed to choose it: given, or the worst possible fraction."""
    if objective.reference is not None:
        return objective.sign * objective.reference
    if objective.unit == "fraction":
        return 0.0 if objective.direction == "maximize" else -1.0
    return None


def _reference(objective: ObjectiveInfo, fitness: NDArray[np.float64]) -> float:
    """A bound worse than all baselines: known beforehand, or a tenth of their range below the worst."""
    known = _known_reference(objective)
    if known is not None:
        return known
    worst, best = float(fitness.min()), float(fitness.max())
    return worst - 0.1 * ((best - worst) or abs(worst) or 1.0)
