"""Scores one candidate on all objectives: build, gate, score; a failure is recorded, never a number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import SPLITS, Candidate, EarlyStop, Evaluation, Score, Split
from searcher.errors import CandidateError, SearcherError
from searcher.isolation import isolated
from searcher.known_scores import KnownScores
from searcher.merge.live_model import LiveModel
from searcher.raced_scores import RacedScores, find_race
from searcher.racing.race import RaceSettings, Rival
from searcher.recipe import Recipe

Scores: TypeAlias = dict[str, Score]


class Scorer(Protocol):
    """What the evaluator needs of an objective."""

    name: str

    @property
    def n_examples(self) -> int | None:
        """Number of examples; None if it has none."""

    @property
    def splits(self) -> Mapping[Split, slice]:
        """Slice of each split."""

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Whether larger values are better."""

    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        """Score a live model."""

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        """Joins per-example scores."""


class Selection(Protocol):
    """Lets candidates be scored on a part of the search examples first."""

    def observe(self, candidate: Candidate, scores: Mapping[str, Score]) -> None:
        """Take the search scores of a candidate, estimates included."""

    def scores(
        self, objectives: Sequence[Any], score: Callable[[Any, Any], Score]
    ) -> tuple[dict[str, Score], EarlyStop | None]:
        """Search scores of a candidate: full ones, or estimates and why they were left."""


def observe_recorded(
    selection: Selection,
    candidates: Sequence[Candidate],
    evaluations: Iterable[Evaluation],
    examples: Callable[[int], Mapping[str, NDArray[np.float64]]],
) -> None:
    """Let a selection observe what a run has recorded, as it did while the run went on.

    Args:
        selection: A new one.
        candidates: By number.
        evaluations: As recorded.
        examples: Per-example search scores of a candidate, by objective.
    """
    for evaluation in evaluations:
        if evaluation.split == "search" and evaluation.copied_from is None and evaluation.error is None:
            found = examples(evaluation.candidate)
            scores = {n: Score(s.value, s.stderr, found.get(n)) for n, s in evaluation.scores.items()}
            selection.observe(candidates[evaluation.candidate], scores)


class Builder(Protocol):
    """What the evaluator needs of the merge engine."""

    def build(self, recipe: Recipe) -> LiveModel:
        """Write a recipe into the live model."""


class Evaluator:
    """Builds and scores candidates.

    All candidates see the same examples in the same order with the same seed (common random numbers).

    Args:
        engine: Builds recipes.
        objectives: What to score; names are unique.
        seed: Passed to every objective.
        known: Scores computed before; None computes everything.
        selection: Lets candidates of the strategy be scored on a part of the examples first; None scores all in full.
    """

    def __init__(
        self,
        engine: Builder,
        objectives: Sequence[Scorer],
        *,
        seed: int,
        known: KnownScores | None = None,
        selection: Selection | None = None,
    ) -> None:
        self._engine, self._objectives, self._seed = engine, tuple(objectives), seed
        self.known, self.selection = known, selection

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits that at least one objective has, ``search`` always."""
        return tuple(s for s in SPLITS if s == "search" or any(s in o.splits for o in self._objectives))

    def evaluate(self, candidate: Candidate, split: Split = "search") -> Evaluation:
        """Score a candidate on one split; whatever goes wrong with it becomes a failed evaluation.

        Objectives without examples are scored in the search split only.

        Raises:
            SearcherError: If the fault is not the candidate's: a damaged pool or a wrong config.
        """
        selection = self.selection if split == "search" else None
        if selection is None:
            return self._attempt(candidate, split, lambda merge: (self._full(merge, split), None))
        if candidate.origin == "strategy":
            found = self._attempt(candidate, split, lambda merge: self._selected(merge, selection))
        else:
            found = self._attempt(candidate, split, lambda merge: (self._full(merge, split), None))
        if found.error is None:
            selection.observe(candidate, found.scores)
        return found

    def _selected(self, merge: _Merge, selection: Selection) -> tuple[Scores, EarlyStop | None]:
        in_parts: dict[str, Scorer] = {}

        def score(objective: Scorer, examples: slice | None) -> Score:
            is_part = isinstance(examples, slice) and examples != objective.splits["search"]  # not worth a file
            in_parts.update({objective.name: objective} if is_part else {})
            return _checked(objective.name, self._apply(objective, merge, examples, keep=not is_part))

        scores, stopped = selection.scores(self._objectives, score)
        if stopped is None or stopped.reason != "items":  # scored from the first example on, not here and there
            self._keep_parts(merge, in_parts.values(), scores, stopped)
        return scores, stopped

    def race(self, candidate: Candidate, rivals: Sequence[Rival], settings: RaceSettings) -> Evaluation:
        """Score a candidate on the search examples in blocks, until it surely cannot join these front members.

        One that is not stopped has the scores that :meth:`evaluate` gives.

        Raises:
            SearcherError: If the fault is not the candidate's.
        """
        return self._attempt(candidate, "search", lambda merge: self._raced(merge, rivals, settings))

    def _attempt(
        self, candidate: Candidate, split: Split, score: Callable[[_Merge], tuple[Scores, EarlyStop | None]]
    ) -> Evaluation:
        started = time.perf_counter()
        error, message = None, ""
        scores: Scores = {}
        stopped: EarlyStop | None = None
        try:
            merge = _Merge(self._engine, candidate.recipe)
            if self.known is None:
                merge.build()
            scores, stopped = score(merge)
        except SearcherError:
            raise
        except CandidateError as failure:
            error, message = failure.error_class, str(failure)
        except MemoryError as failure:
            error, message = "OutOfMemory", str(failure) or "host memory"
        except KeyboardInterrupt:
            raise
        except BaseException as failure:  # noqa: BLE001 - the run must survive whatever one candidate does
            kind = type(failure).__name__
            error, message = "OutOfMemory" if kind == "OutOfMemoryError" else kind, str(failure)
        seconds = time.perf_counter() - started
        return Evaluation(candidate.number, split, scores, seconds, error, _printable(message), stopped=stopped)

    def _full(self, merge: _Merge, split: Split) -> Scores:
        return {o.name: self._score(o, merge, o.splits.get(split)) for o in self._objectives if _has(o, split)}

    def _raced(self, merge: _Merge, rivals: Sequence[Rival], settings: RaceSettings) -> tuple[Scores, EarlyStop | None]:
        race, lanes = find_race(self._objectives, rivals, settings)
        if race is None:
            return self._full(merge, "search"), None
        raced = RacedScores(
            race, lanes, lambda objective, examples: self._apply(objective, merge, examples, keep=False)
        )
        for objective in self._objectives:  # what cannot race goes first: every rival it excludes shortens the race
            if objective.name not in raced.names and _has(objective, "search"):
                raced.whole[objective.name] = self._score(objective, merge, objective.splits.get("search"))
        scores, stopped = raced.run()
        self._keep_parts(merge, lanes.values(), scores, stopped)
        return {o.name: _checked(o.name, scores[o.name]) for o in self._objectives if o.name in scores}, stopped

    def _keep_parts(self, merge: _Merge, objectives: Iterable[Any], scores: Scores, stopped: EarlyStop | None) -> None:
        """Keep examples that were scored in parts, joined: all, or those before the candidate was stopped."""
        for objective in objectives if self.known is not None else ():
            examples, search = scores[objective.name].example_scores, objective.splits["search"]
            n = search.stop - search.start if stopped is None else stopped.scored[objective.name]
            if examples is not None and n:
                part = slice(search.start, search.start + n)
                self.known.keep(merge.recipe, objective, part, objective.of_examples(examples[:n]))  # type: ignore[union-attr]

    def _score(self, objective: Scorer, merge: _Merge, examples: slice | None) -> Score:
        return _checked(objective.name, self._apply(objective, merge, examples))

    def _apply(self, objective: Scorer, merge: _Merge, examples: slice | None, *, keep: bool = True) -> Score:
        """A score, looked up if it is known, else computed."""

        def compute() -> Score:
            model = merge.build()
            with isolated(model, objective.name):
                return objective.evaluate(model, examples, self._seed)

        if self.known is None:
            return compute()
        return self.known.score(merge.recipe, objective, examples, compute, keep=keep)


class _Merge:
    """A candidate's model, built and checked when it is first needed: known scores need none."""

    def __init__(self, engine: Builder, recipe: Recipe) -> None:
        self._engine, self.recipe = engine, recipe

    def build(self) -> LiveModel:
        return self._model

    @cached_property
    def _model(self) -> LiveModel:
        model = self._engine.build(self.recipe)
        _check_weights(model)
        return model


def _checked(name: str, score: Score) -> Score:
    if not math.isfinite(score.value) or math.isinf(score.stderr):
        found = f"{score.value} with standard error {score.stderr}"
        raise CandidateError("NonFiniteScore", f"Objective {name!r} returned {found}.")
    return score


def _printable(message: str) -> str:
    """At most 2,000 characters that can be stored as UTF-8; file names may hold others."""
    return message[:2000].encode("utf-8", "replace").decode("utf-8")


def _has(objective: Scorer, split: Split) -> bool:
    return split in objective.splits or (split == "search" and not objective.splits)


def _check_weights(model: LiveModel) -> None:
    """A broken model never wins: it fails before any objective sees it."""
    from searcher.merge.placement import is_finite

    if not is_finite(model.weights):
        n_broken = int((~model.weights.isfinite()).sum())
        raise CandidateError("NonFiniteWeights", f"{n_broken} merged weights are NaN or infinite.")
