"""What a study needs of its parts: space, strategy, evaluator, executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from searcher.candidate import Candidate, Evaluation, Genome, Proposal, Split, Trial
from searcher.recipe import Recipe


class SupportsSpace(Protocol):
    """What a study needs of a space."""

    def decode(self, genome: Genome, parents: Sequence[Recipe] = ()) -> Recipe:
        """Genome to recipe."""

    def encode(self, recipe: Recipe) -> Genome | None:
        """Recipe to genome."""


class SupportsStrategy(Protocol):
    """What a study needs of a strategy."""

    def ask(self, n: int) -> list[Proposal]:
        """Proposals."""

    def tell(self, trials: Sequence[Trial]) -> None:
        """Results."""


class SupportsEvaluator(Protocol):
    """What a study needs of an evaluator."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits that can be scored."""

    def evaluate(self, candidate: Candidate, split: Split = "search") -> Evaluation:
        """Score a candidate."""


class SupportsExecutor(Protocol):
    """What a study needs of an executor."""

    @property
    def capacity(self) -> int:
        """Candidates at once."""

    def map(self, evaluate: Callable[[Candidate], Evaluation], candidates: Sequence[Candidate]) -> Any:  # noqa: ANN401
        """Evaluate them, yielding in order of completion."""
