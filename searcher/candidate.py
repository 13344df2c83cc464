"""Plain data that passes between the parts of a search: candidates, scores, evaluations, trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.recipe import Recipe

Genome: TypeAlias = NDArray[np.float64]
"""A point of the search space, shape ``(dim,)``, every gene in [0, 1]."""

Split: TypeAlias = Literal["search", "select", "held_out"]
SPLITS: tuple[Split, ...] = ("search", "select", "held_out")

Origin: TypeAlias = Literal["baseline", "seed", "strategy"]


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a strategy asks to have evaluated.

    Args:
        genome: Shape ``(dim,)``.
        parents: Numbers of the candidates it descends from, for spaces that combine recipes.
    """

    genome: Genome
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Candidate:
    """A recipe under its number in the run.

    Args:
        number: Position in the run, from 0.
        recipe: The merge.
        genome: The genome that decodes to the recipe, shape ``(dim,)``; None for a baseline outside the space.
        parents: Candidate numbers.
        origin: ``baseline``, ``seed`` (a known merge re-expressed in the space) or ``strategy``.
        name: Baselines have one.
    """

    number: int
    recipe: Recipe
    genome: Genome | None = None
    parents: tuple[int, ...] = ()
    origin: Origin = "strategy"
    name: str = ""


@dataclass(frozen=True, eq=False)
class Score:
    """The value of one objective for one candidate, in the objective's own unit and direction.

    Args:
        value: Mean over the examples; nan means unscored, never 0.
        stderr: Standard error of the value; nan if unknown.
        example_scores: Shape ``(n_examples,)``, or None if the objective has no examples.
    """

    value: float
    stderr: float = float("nan")
    example_scores: NDArray[np.float64] | None = None

    @classmethod
    def from_examples(cls, example_scores: NDArray[np.float64]) -> Score:
        """Mean and standard error of per-example scores; unscored (nan) examples are left out.

        The standard error is the sample standard deviation over the square root of the number of scored
        examples; with fewer than two of them it is nan. Examples that all agree do not prove certainty: if all
        are right or all wrong (1 or 0) it is that of the Beta posterior (:func:`beta_stderr`), otherwise nan.
        """
        scores = np.asarray(example_scores, dtype=np.float64)
        scored = scores[~np.isnan(scores)]
        if scored.size == 0:
            return cls(float("nan"), float("nan"), scores)
        return cls(float(np.mean(scored)), _stderr(scored), scores)


def _stderr(scored: NDArray[np.float64]) -> float:
    if scored.size < 2:
        return float("nan")
    if np.ptp(scored) > 0:
        return float(np.std(scored, ddof=1) / np.sqrt(scored.size))
    return beta_stderr(int(scored.sum()), scored.size) if scored[0] in (0.0, 1.0) else float("nan")


def beta_stderr(k: int, n: int) -> float:
    """Standard deviation of the Beta posterior of a success rate after k of n, under a uniform prior; never 0.

    The variance is ``(k + 1) (n - k + 1) / ((n + 2)^2 (n + 3))``.
    """
    return float(np.sqrt((k + 1) * (n - k + 1) / ((n + 2) ** 2 * (n + 3))))


@dataclass(frozen=True)
class EarlyStop:
    """Why and when the examples of a candidate were not all scored; its scores are estimates.

    Args:
        reason: ``race``: it could not reach the front; ``items``: its estimate from chosen items was behind the front;
            ``halving``: it was not among the best on a part of the examples.
        scored: Number of search examples that were scored, by objective name.
        rival: Number of the front member that beat it; after a race its scores are estimated from that one's.
    """

    reason: Literal["race", "items", "halving"]
    scored: Mapping[str, int]
    rival: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object; its keys are the constructor's arguments."""
        return {"reason": self.reason, "scored": dict(self.scored), "rival": self.rival}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All results of one candidate on one split of the examples.

    Args:
        candidate: Candidate number.
        split: Which examples were used.
        scores: By objective name; empty if the evaluation failed.
        seconds: Wall time of building and scoring.
        error: Error class of a failed evaluation, None if it succeeded.
        message: Detail of the failure.
        copied_from: Number of an earlier candidate with the same recipe whose scores these are.
        stopped: Set if it was stopped early: scores are then estimates, and example scores nan where unscored.
    """

    candidate: int
    split: Split
    scores: Mapping[str, Score] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    message: str = ""
    copied_from: int | None = None
    stopped: EarlyStop | None = None


@dataclass(frozen=True, eq=False)
class Trial:
    """What a strategy is told of a finished candidate.

    Args:
        candidate: Candidate number.
        genome: Shape ``(dim,)``; None for a baseline that lies outside the space.
        parents: Candidate numbers.
        fitness: One value per objective, maximised, shape ``(n_objectives,)``; None if the evaluation failed.
        stderr: Shape ``(n_objectives,)``, nan where unknown; None if the evaluation failed.
        example_scores: Per objective, per-example scores with the sign of the fitness, or None; nan where unscored.
        error: Error class of a failed evaluation.
        is_estimate: Whether it was stopped early, so that the fitness is an estimate from a part of the examples.
        name: Of a baseline; empty for all others.
    """

    candidate: int
    genome: Genome | None
    parents: tuple[int, ...] = ()
    fitness: NDArray[np.float64] | None = None
    stderr: NDArray[np.float64] | None = None
    example_scores: tuple[NDArray[np.float64] | None, ...] = ()
    error: str | None = None
    is_estimate: bool = False
    name: str = ""
