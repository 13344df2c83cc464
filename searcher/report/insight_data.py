"""What a report shows of the trade-offs beyond scores: plain data and arrays, filled by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from searcher.analysis.optimism import Gap
from searcher.analysis.paired import tells_apart
from searcher.analysis.sensitivity import GeneEffects

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Differences:
    """Differences between points, and their standard errors, on one split.

    Args:
        split: Which examples.
        candidates: Candidate numbers of the points, baselines included; p of them.
        fitness: Signed scores, more is better, shape ``(p, m)``.
        stderr: Standard error of the difference of two points, shape ``(p, p, m)``; nan if unknown.
        is_paired: By objective, whether the errors are those of paired examples.
    """

    split: Literal["search", "held_out"]
    candidates: tuple[int, ...]
    fitness: Rows
    stderr: Rows
    is_paired: tuple[bool, ...]

    def told_apart(self) -> NDArray[np.int64]:
        """In how many objectives two points differ by more than chance explains, shape ``(p, p)``."""
        difference = self.fitness[:, None, :] - self.fitness[None, :, :]
        return np.asarray(tells_apart(difference, self.stderr).sum(axis=2))

    def alike(self, candidate: int) -> tuple[int, ...]:
        """Points that no objective tells apart from this one."""
        if candidate not in self.candidates:
            return ()
        i = self.candidates.index(candidate)
        difference = self.fitness[i] - self.fitness
        apart = tells_apart(difference, self.stderr[i]).any(axis=1) | ~np.isfinite(difference).all(axis=1)
        return tuple(c for c, is_apart in zip(self.candidates, apart, strict=True) if not is_apart and c != candidate)

    def of(self, first: int, second: int, objective: int) -> float:
        """Standard error of the difference of two points in one objective; nan if unknown."""
        if not {first, second} <= set(self.candidates):
            return float("nan")
        return float(self.stderr[self.candidates.index(first), self.candidates.index(second), objective])


@dataclass(frozen=True, eq=False)
class FrontCoefficients:
    """Merge coefficients of all front points over the same parts of the network.

    Args:
        candidates: Points, best in the first objective last; p of them.
        models: Source models; K of them.
        parts: Parts of the network, input first; S of them.
        values: Mean coefficient of a model over a part, shape ``(p, S, K)``.
    """

    candidates: tuple[int, ...]
    models: tuple[str, ...]
    parts: tuple[str, ...]
    values: Rows


@dataclass(frozen=True)
class SearchGap:
    """How far search scores flatter, for one objective.

    Args:
        objective: Its name.
        front: Mean of search minus held-out over the front points that the search proposed, more being better.
        baselines: The same over the baselines, which the search did not choose; None if there is none.
        excess: The first minus the second on the same examples; None if unknown.
    """

    objective: str
    front: Gap
    baselines: Gap | None = None
    excess: Gap | None = None


@dataclass(frozen=True, eq=False)
class Insight:
    """All of it; each part may be missing.

    Args:
        coefficients: Of the front points.
        genes: Names of the genes.
        effects: Effects of the genes by objective; left out with too few candidates for the genes.
        differences: Between front points and baselines.
        gaps: One per objective with held-out scores.
    """

    coefficients: FrontCoefficients | None = None
    genes: tuple[str, ...] = ()
    effects: Mapping[str, GeneEffects] = field(default_factory=dict)
    differences: Differences | None = None
    gaps: tuple[SearchGap, ...] = ()
