"""Successive halving over examples: only the better part of the candidates is scored on the next, larger share.

Li, Jamieson et al. 2020, "A system for massively parallel hyperparameter tuning" (ASHA), in the form that stops
instead of pausing: a candidate that is not in the best 1/eta of all that reached the same rung is left there. With
several objectives "better" is the number of others that dominate a candidate (the rank of Fonseca and Fleming 1993:
unlike non-dominated sorting it need not be done again for every newcomer). There is no error rate as in a race; in
exchange it also drops candidates that are merely not among the best, and needs no known range of scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Candidate, EarlyStop, Score, Split
from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.rows import GrowingRows
from searcher.multi_objective.worst import lifted_worst

Array = NDArray[np.float64]
By: TypeAlias = Literal["front", "worst"]
"""What is better: fewer that dominate, or the number that strategies with ``scalarize: worst`` maximise."""


class Graded(Protocol):
    """What is needed of an objective; see :class:`searcher.objectives.base.Objective`."""

    name: str
    direction: Literal["maximize", "minimize"]

    @property
    def splits(self) -> Mapping[Split, slice]:
        """Slice of each split."""

    def of_examples(self, example_scores: Array) -> Score:
        """Joins per-example scores."""


class SuccessiveHalving:
    """Rungs, who reached them with which scores, and who may go on.

    Objectives without search examples, or whose values their example scores do not explain, are scored in full.

    Args:
        objectives: Those of the run.
        first: Examples of the first rung, of the objective with most; the others keep the proportion.
        reduction: Factor eta from rung to rung, and the inverse of the share of candidates that goes on.
        by: What is better.
    """

    def __init__(self, objectives: Sequence[Graded], *, first: int, reduction: float, by: By = "front") -> None:
        self._objectives = tuple(objectives)
        self._signs = np.array([1.0 if o.direction == "maximize" else -1.0 for o in objectives])
        self._sizes = {o.name: s.stop - s.start for o in objectives if (s := o.splits.get("search")) is not None}
        self._reduction = reduction
        self._rungs = self._counts(first)
        self._standings = [_Standing(len(self._objectives), by) for _ in self._rungs]

    def _counts(self, first: int) -> list[dict[str, int]]:
        """Examples of each objective on each rung before the last, which has all of them."""
        largest = max(self._sizes.values(), default=0)
        rungs, share = [], first / max(largest, 1)
        while share < 1.0:
            rungs.append({name: math.ceil(share * n) for name, n in self._sizes.items()})
            share *= self._reduction
        return rungs

    def observe(self, candidate: Candidate, scores: Mapping[str, Score]) -> None:
        """Take the scores of a candidate, also of one that was stopped: it reached the rungs before."""
        for o in self._objectives:
            if o.name in self._sizes and not _explains(o, scores[o.name]):
                del self._sizes[o.name]
                self._rungs = [{n: c for n, c in rung.items() if n != o.name} for rung in self._rungs]
        full = self._fitness({name: score.value for name, score in scores.items()})
        is_full = not any(_is_partial(score) for score in scores.values())
        for k, rung in enumerate(self._rungs):
            values = self._values_at(rung, scores)
            if values is None:
                break
            is_known = candidate.origin == "baseline"
            self._standings[k].add(candidate.number, self._fitness(values), full if is_full else None, is_known)

    def scores(
        self, objectives: Sequence[Any], score: Callable[[Any, Any], Score]
    ) -> tuple[dict[str, Score], EarlyStop | None]:
        """Search scores of a candidate: full ones, or estimates from the rung where it was left.

        Args:
            objectives: All of the run's, in its order.
            score: Scores the candidate on an objective's examples: a slice, or None if it has none.
        """
        whole = {o.name: score(o, o.splits.get("search")) for o in objectives if o.name not in self._sizes}
        seen = {o.name: np.empty(0) for o in objectives if o.name in self._sizes}
        for k, rung in enumerate(self._rungs):
            if not seen or not self._advance(objectives, rung, seen, score):
                break
            values = {name: found.value for name, found in {**whole, **self._joined(seen)}.items()}
            rival = self._standings[k].keeps_back(self._fitness(values), 1 / self._reduction)
            if rival is not None:
                return self._estimates(k, whole, seen), EarlyStop("halving", self._scored(whole, rung), rival)
        self._advance(objectives, {name: self._sizes[name] for name in seen}, seen, score)
        return {**whole, **self._joined(seen)}, None

    def _advance(
        self, objectives: Sequence[Any], rung: Mapping[str, int], seen: dict[str, Array], score: Callable[..., Score]
    ) -> bool:
        """Score up to these counts; False if an example has no score."""
        for o in objectives:
            start = seen[o.name].size if o.name in seen else 0
            if o.name in seen and rung[o.name] > start:
                first = o.splits["search"].start
                found = score(o, slice(first + start, first + rung[o.name])).example_scores
                seen[o.name] = np.concatenate([seen[o.name], found])
        return not any(np.isnan(values).any() for values in seen.values())

    def _joined(self, seen: Mapping[str, Array]) -> dict[str, Score]:
        return {o.name: o.of_examples(seen[o.name]) for o in self._objectives if o.name in seen}

    def _values_at(self, rung: Mapping[str, int], scores: Mapping[str, Score]) -> dict[str, float] | None:
        """Values as they were on a rung; None if it was not reached."""
        values = {}
        for o in self._objectives:
            examples = scores[o.name].example_scores
            if o.name not in rung or examples is None:
                values[o.name] = scores[o.name].value
                continue
            if np.isnan(examples[: rung[o.name]]).any():
                return None
            values[o.name] = o.of_examples(examples[: rung[o.name]]).value
        return values

    def _fitness(self, values: Mapping[str, float]) -> Array:
        return np.asarray(self._signs * np.array([values[o.name] for o in self._objectives]), dtype=np.float64)

    def _estimates(self, k: int, whole: Mapping[str, Score], seen: Mapping[str, Array]) -> dict[str, Score]:
        """Scores on the rung, moved by what the rest of the examples did to the candidates that were scored in full."""
        shift = self._signs * self._standings[k].shift
        found = dict(whole)
        for (name, score), by in zip(self._joined(seen).items(), self._of(seen, shift), strict=True):
            examples = np.full(self._sizes[name], np.nan)
            examples[: seen[name].size] = seen[name]
            found[name] = Score(self._inside(name, score.value + by), score.stderr, examples)
        return {o.name: found[o.name] for o in self._objectives}

    def _inside(self, name: str, value: float) -> float:
        """The value within the range of the objective's example scores, if that is known."""
        bounds = next(getattr(o, "score_range", None) for o in self._objectives if o.name == name)
        return value if bounds is None else min(max(value, bounds[0]), bounds[1])

    def _of(self, seen: Mapping[str, Array], values: Array) -> list[float]:
        return [float(v) for o, v in zip(self._objectives, values, strict=True) if o.name in seen]

    def _scored(self, whole: Mapping[str, Score], rung: Mapping[str, int]) -> dict[str, int]:
        full = {o.name: s.stop - s.start for o in self._objectives if (s := o.splits.get("search")) is not None}
        return {name: n if name in whole else rung[name] for name, n in full.items()}


class _Standing:
    """Who reached a rung, with which fitness, and by how many each is dominated.

    Baselines that others of them surpass do not count: a candidate is not among the good ones because it is better
    than the experts at what they never learned.

    Args:
        n_objectives: Length of a fitness vector.
        by: What is better.
    """

    def __init__(self, n_objectives: int, by: By) -> None:
        self._by = by
        self._numbers: list[int] = []
        self._points = GrowingRows(n_objectives)
        self._n_above = np.zeros(0, dtype=np.int64)
        self._is_baseline = np.zeros(0, dtype=np.bool_)
        self._counts = np.zeros(0, dtype=np.bool_)
        self._shifts, self._n_full = np.zeros(n_objectives), 0

    @property
    def shift(self) -> Array:
        """Mean of fitness in full minus fitness here, over candidates that were scored in full."""
        return np.asarray(self._shifts / max(self._n_full, 1), dtype=np.float64)

    def add(self, number: int, fitness: Array, full: Array | None, is_baseline: bool) -> None:
        """Enter a candidate; ``full`` is its fitness on all examples if it is known."""
        n_above = np.count_nonzero(self._dominating(fitness))
        below = (self._points.view <= fitness).all(axis=1) & (self._points.view < fitness).any(axis=1)
        self._n_above = np.append(self._n_above + below, n_above)
        self._points.append(fitness)
        self._numbers.append(number)
        self._is_baseline = np.append(self._is_baseline, is_baseline)
        self._counts = ~self._is_baseline | self._best_baselines() if is_baseline else np.append(self._counts, True)
        if full is not None:
            self._shifts, self._n_full = self._shifts + (full - fitness), self._n_full + 1

    def keeps_back(self, fitness: Array, share: float) -> int | None:
        """A candidate that is better, preferably one that dominates; None if this one is in the best share of all."""
        dominating = self._dominating(fitness)
        if self._by == "front":
            ahead = self._counts & (self._n_above < np.count_nonzero(dominating))
        else:
            ahead = self._counts & (lifted_worst(self._points.view) > lifted_worst(fitness))
        if np.count_nonzero(ahead) < (np.count_nonzero(self._counts) + 1) * share:
            return None
        best = ahead & dominating if (ahead & dominating).any() else ahead
        return self._numbers[int(np.flatnonzero(best)[0])]

    def _best_baselines(self) -> NDArray[np.bool_]:
        """Baselines that no other baseline dominates, or that with the best worst objective."""
        found = np.zeros(len(self._numbers), dtype=np.bool_)
        rows = np.flatnonzero(self._is_baseline)
        points = self._points.view[rows]
        if self._by == "front":
            found[rows] = non_dominated(points)
        elif rows.size:
            found[rows[np.argmax(lifted_worst(points))]] = True
        return found

    def _dominating(self, fitness: Array) -> NDArray[np.bool_]:
        return np.asarray((self._points.view >= fitness).all(axis=1) & (self._points.view > fitness).any(axis=1))


def _is_partial(score: Score) -> bool:
    return score.example_scores is not None and bool(np.isnan(score.example_scores).any())


def _explains(objective: Graded, score: Score) -> bool:
    """Whether a score is what its examples join to; a score of which a part is missing cannot tell."""
    if score.example_scores is None or score.example_scores.size == 0:
        return False
    if np.isnan(score.example_scores).any():
        return True
    return bool(np.isclose(objective.of_examples(score.example_scores).value, score.value, rtol=1e-9, atol=0.0))
