"""What every objective is: a live model becomes a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Score, Split
from searcher.merge.live_model import LiveModel
from searcher.registry import Registry

OBJECTIVES: Registry[type[Objective]] = Registry("objective", "searcher.objectives")


class Objective(ABC):
    """Scores a live model on a run of examples.

    The constructor takes ``name`` and keyword-only settings; their annotations and defaults are the config
    schema of the objective. Examples are kept in one fixed order in which those of each split are
    contiguous, so that a split is a slice and all candidates see the same examples in the same order.

    Attributes:
        name: The objective's name in the run.
        direction: Whether larger values are better.
        unit: Unit of the value, such as ``fraction`` or ``nats``.
        score_range: Lowest and highest score that an example can have, whatever the model; None if there is no such
            bound. Only objectives with a range race (``docs/racing.md``).
        takes_indices: Whether ``evaluate`` also takes the examples as an int64 index array, shape ``(n,)``; an objective
            that does not is asked once for every run of neighbours among chosen examples.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str
    score_range: tuple[float, float] | None = None
    takes_indices: bool = False

    @property
    @abstractmethod
    def n_examples(self) -> int | None:
        """Number of examples over all splits; None if the objective has no examples."""

    @property
    @abstractmethod
    def splits(self) -> Mapping[Split, slice]:
        """The slice of each split that the objective has; empty if it has no examples."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content the scores depend on; their hashes go into the run's header."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before the search, such as that the examples are a public test split."""
        return ()

    @abstractmethod
    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        """Score the model on these examples (None: all).

        Raises:
            CandidateError: If the model's outputs are not finite or it cannot be scored.
        """

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        """The score that ``evaluate`` gives for these per-example scores, shape ``(n,)``; joins scores of blocks.

        An objective that does not report the plain mean, or another standard error, overrides this; one for which
        it differs from ``evaluate`` does not race.
        """
        return Score.from_examples(example_scores)
