"""What every executor is: it evaluates candidates somewhere and yields results as they complete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

from searcher.candidate import Candidate, Evaluation
from searcher.registry import Registry

EXECUTORS: Registry[type[Executor]] = Registry("executor", "searcher.executor")


class Executor(ABC):
    """Evaluates candidates; its constructor's keyword-only settings are its config schema."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many candidates it can work on at once; a strategy is asked for at most this many."""

    @abstractmethod
    def map(self, evaluate: Callable[[Candidate], Evaluation], candidates: Sequence[Candidate]) -> Iterator[Evaluation]:
        """Evaluate all candidates; yields in order of completion."""
