"""Scoring candidates on chosen examples: what an evaluator does with a subset.

The baselines are scored in full and choose the examples. A later candidate is scored on those, and its full score is
estimated. If the estimate, allowing for its error, could be on the front of what was scored in full, the candidate is
scored in full at once, while it is still built. So everything on the front has a full score, never an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Candidate, EarlyStop, Score, Split, beta_stderr
from searcher.errors import ConfigError
from searcher.item_selection.subset import ItemSubset, select_items

Array = NDArray[np.float64]
Examples: TypeAlias = slice | NDArray[np.int64]

_HOPE = 1.0  # standard errors by which an estimate may be short of the front and still earn a full score
_MEAN_TOLERANCE = 1e-6  # relative; above it a value is not the mean of its example scores


class Selectable(Protocol):
    """What is needed of an objective.

    One with a true attribute ``takes_indices`` is given the chosen examples as an index array, others as one slice for
    every run of neighbours.
    """

    name: str
    direction: Literal["maximize", "minimize"]

    @property
    def splits(self) -> Mapping[Split, slice]:
        """Slice of each split."""


class ItemSelection:
    """Chooses search examples once the baselines are scored, and scores later candidates on them.

    Args:
        objectives: Those of the run.
        examples: Per objective; one that has no more search examples than this is always scored in full.
        method: ``anchors``, ``irt`` or ``stratified``.
        seed: Of the choice.
    """

    def __init__(self, objectives: Sequence[Selectable], *, examples: int, method: str, seed: int) -> None:
        self._objectives = tuple(objectives)
        self._n, self._method, self._seed = examples, method, seed
        self._signs = np.array([1.0 if o.direction == "maximize" else -1.0 for o in objectives])
        self._baselines: dict[int, tuple[bool, Mapping[str, Score]]] = {}
        self._front: dict[int, Array] = {}  # of what was scored in full, fitness by candidate number
        self._subsets: dict[str, ItemSubset] | None = None

    def observe(self, candidate: Candidate, scores: Mapping[str, Score]) -> None:
        """Take the search scores of a candidate that was scored in full; estimates and partial scores are ignored."""
        if any(o.name not in scores or _is_partial(scores[o.name]) for o in self._objectives):
            return
        self._raise_bar(candidate.number, self._signs * np.array([scores[o.name].value for o in self._objectives]))
        if candidate.origin == "baseline" and self._subsets is None:
            merged = {*candidate.recipe.models, candidate.recipe.base}
            self._baselines[candidate.number] = candidate.name in merged, scores

    def _raise_bar(self, number: int, fitness: Array) -> None:
        if not any((known >= fitness).all() for known in self._front.values()):
            self._front = {n: known for n, known in self._front.items() if not (fitness >= known).all()}
            self._front[number] = fitness

    def subset(self, objective: str) -> ItemSubset | None:
        """The chosen examples, counted from the start of the search split; None if the objective is scored in full.

        The first call chooses; baselines that are observed later change nothing.

        Raises:
            ConfigError: If the method does not suit the baselines' scores.
        """
        if self._subsets is None:
            found = {o.name: self._choose(o) for o in self._objectives}
            self._subsets = {name: subset for name, subset in found.items() if subset is not None}
        return self._subsets.get(objective)

    def scores(
        self, objectives: Sequence[Any], score: Callable[[Any, Any], Score]
    ) -> tuple[dict[str, Score], EarlyStop | None]:
        """Search scores of a candidate: full ones, or estimates that are short of the front and why they were left.

        Args:
            objectives: What to score; all of the run's, in its order.
            score: Scores the candidate on an objective's examples: a slice, None if it has none, or an index array if it
                takes them.
        """
        estimates = {o.name: self._estimated(o, score) for o in objectives}
        rival = self._beaten_by(estimates)
        if rival is None:
            full = {o.name: score(o, o.splits["search"]) for o in objectives if estimates[o.name][1] > 0}
            return {o.name: full.get(o.name, estimates[o.name][0]) for o in objectives}, None
        n_scored = {
            o.name: self._n if estimates[o.name][1] > 0 else o.splits["search"].stop - o.splits["search"].start
            for o in objectives
            if "search" in o.splits
        }
        return {name: found for name, (found, _) in estimates.items()}, EarlyStop("items", n_scored, rival)

    def _estimated(self, objective: Any, score: Callable[[Any, Any], Score]) -> tuple[Score, float]:  # noqa: ANN401
        """A score and the error of estimating it; 0 for a full score."""
        subset, search = self.subset(objective.name), objective.splits.get("search")
        if subset is None or search is None:
            return score(objective, search), 0.0
        parts = _parts(objective, subset.indices + search.start)
        answers = np.concatenate([_example_scores(score(objective, part)) for part in parts])
        if not np.isfinite(answers).all():
            return score(objective, search), 0.0  # an example without a score: nothing to estimate from
        error = max(subset.estimate(answers)[1], np.finfo(np.float64).tiny)
        return estimated_score(subset, answers), error

    def _beaten_by(self, estimates: Mapping[str, tuple[Score, float]]) -> int | None:
        """A candidate scored in full that is no worse in anything than the estimates, one standard error to the good.

        None if there is none, or if nothing was estimated.
        """
        values = np.array([estimates[o.name][0].value for o in self._objectives])
        errors = np.array([estimates[o.name][1] for o in self._objectives])
        best = self._signs * values + _HOPE * errors
        if not (errors > 0).any():
            return None
        return next((number for number, fitness in self._front.items() if (fitness >= best).all()), None)

    def _choose(self, objective: Selectable) -> ItemSubset | None:
        search = objective.splits.get("search")
        if search is None or search.stop - search.start <= self._n:
            return None
        known = [(is_end, scores[objective.name]) for _, (is_end, scores) in sorted(self._baselines.items())]
        if not all(_is_mean(score) for _, score in known):
            return None
        usable = [(is_end, s.example_scores) for is_end, s in known if s.example_scores is not None]
        responses = np.array([values for _, values in usable]).reshape(-1, search.stop - search.start)
        if self._method == "irt" and not ((responses >= 0) & (responses <= 1)).all():
            raise ConfigError(
                f"Item-response theory needs example scores between 0 and 1, but those of {objective.name!r} go from "
                f"{responses.min():.4g} to {responses.max():.4g}.",
                where="item_selection.method",
                fix="Use `method: anchors`, which takes scores of any kind.",
            )
        ends = np.flatnonzero([is_end for is_end, _ in usable]).astype(np.int64)
        return select_items(responses, self._n, self._method, self._seed, ends if ends.size else None)


def estimated_score(subset: ItemSubset, answers: Array) -> Score:
    """The score of all items as estimated from answers to the chosen ones, shape ``(m,)``.

    The standard error joins the error of the estimate with that of all items being a sample. Example scores of items
    that were not chosen are nan.
    """
    value, error = subset.estimate(answers)
    if ((answers == 0) | (answers == 1)).all():
        value = min(max(value, 0.0), 1.0)
        sampling = beta_stderr(round(value * subset.n_items), subset.n_items)
    else:
        sampling = float(np.std(answers, ddof=1) / np.sqrt(subset.n_items)) if answers.size > 1 else math.nan
    examples = np.full(subset.n_items, np.nan)
    examples[subset.indices] = answers
    return Score(value, math.hypot(error, sampling), examples)


def _parts(objective: Selectable, chosen: NDArray[np.int64]) -> list[Examples]:
    if getattr(objective, "takes_indices", False):
        return [chosen]
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
    return [slice(int(run[0]), int(run[-1]) + 1) for run in runs]


def _example_scores(score: Score) -> Array:
    if score.example_scores is None:
        raise ConfigError(
            "An objective with examples gave no per-example scores, so that none can be left out.",
            where="item_selection",
            fix="Let the objective return one score per example, or set `item_selection: {enabled: false}`.",
        )
    return score.example_scores


def _is_partial(score: Score) -> bool:
    return score.example_scores is not None and bool(np.isnan(score.example_scores).any())


def _is_mean(score: Score) -> bool:
    """Whether the value is the mean over the examples; that of a perplexity, for one, is not."""
    if score.example_scores is None or not np.isfinite(score.example_scores).all():
        return False
    mean = float(score.example_scores.mean())
    return abs(score.value - mean) <= _MEAN_TOLERANCE * max(abs(mean), 1.0)
