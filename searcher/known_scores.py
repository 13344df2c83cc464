"""The evaluator's view of the score cache: a candidate's score is looked up, or computed and kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Score
from searcher.recipe import Recipe
from searcher.score_cache import Examples, ScoreCache
from searcher.score_key import ScoreKeys


class Joinable(Protocol):
    """What is needed of an objective; see :class:`searcher.objectives.base.Objective`."""

    name: str

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        """Joins per-example scores."""


@dataclass
class CacheCounts:
    """Look-ups of one session.

    Args:
        hits: Scores that were known.
        misses: Scores that had to be computed.
    """

    hits: int = 0
    misses: int = 0

    @property
    def rate(self) -> float:
        """Fraction of the look-ups that were hits; 0 without any."""
        return self.hits / max(self.hits + self.misses, 1)


class KnownScores:
    """Scores by recipe, objective and examples.

    Only what was asked for is looked up, so that a search decides the same with a full cache as with an empty one: a
    race still goes block by block, and a choice of examples is still all that is looked at.

    Args:
        cache: Where they are kept.
        keys: What they depend on in this run.
    """

    def __init__(self, cache: ScoreCache, keys: ScoreKeys) -> None:
        self._cache, self._keys = cache, keys
        self.counts = CacheCounts()

    def score(
        self,
        recipe: Recipe,
        objective: Joinable,
        examples: Examples | None,
        compute: Callable[[], Score],
        *,
        keep: bool = True,
    ) -> Score:
        """The score as it was kept, or joined from the example scores of a longer stretch, or else computed.

        Args:
            recipe: The merge.
            objective: What to score it on.
            examples: Which ones; None if the objective has none.
            compute: Scores the merge; what it raises is not kept.
            keep: Whether a computed score is kept; not worth it for the blocks of a race, which are kept joined.
        """
        key = self._keys.key(recipe, objective.name)
        if key is None:
            return compute()
        found = self._cache.get(key, examples)
        if found is None and examples is not None:
            found = self._part(key, objective, examples)
        if found is not None:
            self.counts.hits += 1
            return found
        self.counts.misses += 1
        score = compute()
        if keep:
            self.keep(recipe, objective, examples, score)
        return score

    def keep(self, recipe: Recipe, objective: Joinable, examples: Examples | None, score: Score) -> None:
        """Keep a score, unless it is none that a candidate may have."""
        key = self._keys.key(recipe, objective.name)
        if key is not None and math.isfinite(score.value) and not math.isinf(score.stderr):
            self._cache.put(key, examples, score)

    def _part(self, key: str, objective: Joinable, examples: Examples) -> Score | None:
        """The score of some examples out of an entry that covers them, if it joins to exactly what was kept."""
        whole = self._cache.covering(key, _around(examples))
        if whole is None:
            return None
        start, score = whole
        values = score.example_scores
        if values is None or not _same(objective.of_examples(values), score):
            return None
        wanted = (
            slice(examples.start - start, examples.stop - start) if isinstance(examples, slice) else examples - start
        )
        return objective.of_examples(values[wanted].copy())


def _around(examples: Examples) -> slice:
    return examples if isinstance(examples, slice) else slice(int(examples.min()), int(examples.max()) + 1)


def _same(a: Score, b: Score) -> bool:
    return bool(np.array_equal([a.value, a.stderr], [b.value, b.stderr], equal_nan=True))
