"""Scores one candidate on all objectives: build, gate, score; a failure is recorded, never a number."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from searcher.candidate import SPLITS, Candidate, Evaluation, Score, Split
from searcher.errors import CandidateError, SearcherError
from searcher.isolation import isolated
from searcher.merge.live_model import LiveModel
from searcher.recipe import Recipe


class Scorer(Protocol):
    """What the evaluator needs of an objective."""

    name: str

    @property
    def n_examples(self) -> int | None:
        """Number of examples; None if it has none."""

    @property
    def splits(self) -> Mapping[Split, slice]:
        """Slice of each split."""

    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        """Score a live model."""


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
    """

    def __init__(self, engine: Builder, objectives: Sequence[Scorer], *, seed: int) -> None:
        self._engine, self._objectives, self._seed = engine, tuple(objectives), seed

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
        started = time.perf_counter()
        error, message, scores = None, "", {}
        try:
            model = self._engine.build(candidate.recipe)
            _check_weights(model)
            scores = {o.name: self._score(o, model, split) for o in self._objectives if _has(o, split)}
        except SearcherError:
            raise
        except CandidateError as failure:
            error, message, scores = failure.error_class, str(failure), {}
        except MemoryError as failure:
            error, message, scores = "OutOfMemory", str(failure) or "host memory", {}
        except KeyboardInterrupt:
            raise
        except BaseException as failure:  # noqa: BLE001 - the run must survive whatever one candidate does
            kind = type(failure).__name__
            error = "OutOfMemory" if kind == "OutOfMemoryError" else kind
            message, scores = str(failure), {}
        seconds = time.perf_counter() - started
        return Evaluation(candidate.number, split, scores, seconds, error, _printable(message))

    def _score(self, objective: Scorer, model: LiveModel, split: Split) -> Score:
        examples = objective.splits.get(split)
        with isolated(model, objective.name):
            score = objective.evaluate(model, examples, self._seed)
        if not math.isfinite(score.value) or math.isinf(score.stderr):
            found = f"{score.value} with standard error {score.stderr}"
            raise CandidateError("NonFiniteScore", f"Objective {objective.name!r} returned {found}.")
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
